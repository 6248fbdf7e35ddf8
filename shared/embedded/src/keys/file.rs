//! The key file: two lines of text, readable by its owner alone, written once.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use mm_engine::ports::Rng;
use zeroize::Zeroizing;

use super::{WRAPPING_KEY_BYTES, text};
use crate::directory::{self, FILE_MODE};

const NAME: &str = "key";

/// The first line, for whoever opens the file: what it is and what to do with it.
const HEADER: &str =
    "# MultiMusic wrapping key 1. Without it no stored token opens: back it up, apart from the database.";

/// Most bytes read: the two lines are under 200.
const FILE_BYTES_MAX: u64 = 1024;

/// Permission bits of anybody but the owner.
const OTHERS: u32 = 0o077;

/// The wrapping key's file is not usable.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is gone, and what it wrapped is not.
    #[error("{} is missing, but the database holds keys that only it opens: restore it from its backup", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others can read or write it.
    #[error("{} is open to others (mode {mode:o}): chmod 600 {}", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is there and holds no key.
    #[error("{} holds no complete key: restore it from its backup, or delete it if this installation never ran", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error("{} could not be {doing}", path.display())]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

pub(super) fn open_or_create(
    data_dir: &Path,
    may_create: bool,
    rng: &dyn Rng,
) -> Result<Zeroizing<[u8; WRAPPING_KEY_BYTES]>, KeyFileError> {
    let path = path(data_dir);
    match File::open(&path) {
        Ok(file) => read(file, path),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound && may_create => create(data_dir, path, rng),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Err(KeyFileError::Missing { path }),
        Err(source) => Err(KeyFileError::Storage { doing: "opened", path, source }),
    }
}

fn read(file: File, path: PathBuf) -> Result<Zeroizing<[u8; WRAPPING_KEY_BYTES]>, KeyFileError> {
    let failed = |source| KeyFileError::Storage { doing: "read", path: path.clone(), source };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Permissions { path, mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    let key = std::str::from_utf8(&bytes).ok().and_then(|content| {
        let (header, key) = content.split_once('\n')?;
        (header == HEADER).then(|| text::parse(key).ok()).flatten()
    });
    key.ok_or(KeyFileError::Unusable { path })
}

/// Makes the file, unless somebody else has made it in the meantime.
fn create(data_dir: &Path, path: PathBuf, rng: &dyn Rng) -> Result<Zeroizing<[u8; WRAPPING_KEY_BYTES]>, KeyFileError> {
    let mut key = Zeroizing::new([0; WRAPPING_KEY_BYTES]);
    rng.fill(&mut *key);
    directory::create(data_dir).map_err(|source| KeyFileError::Storage {
        doing: "created",
        path: data_dir.to_owned(),
        source,
    })?;
    let mut options = File::options();
    options.write(true).create_new(true).mode(FILE_MODE);
    let file = options.open(&path);
    let mut file = file.map_err(|source| KeyFileError::Storage { doing: "created", path: path.clone(), source })?;
    if let Err(source) = write(&mut file, &key).and_then(|()| directory::sync(data_dir)) {
        // Ours, and nothing was wrapped with it: half a key would only stop the next start.
        let _removed = fs::remove_file(&path);
        return Err(KeyFileError::Storage { doing: "written", path, source });
    }
    Ok(key)
}

fn write(file: &mut File, key: &[u8; WRAPPING_KEY_BYTES]) -> io::Result<()> {
    let content = Zeroizing::new(format!("{HEADER}\n{}\n", *text::write(key)));
    file.write_all(content.as_bytes())?;
    file.sync_all()
}
