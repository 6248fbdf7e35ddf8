//! Opening the data directory: one process, one file, nobody else's eyes.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
};

use rusqlite::{Connection, OpenFlags};

use super::{fault, schema};
use crate::directory::{self, FILE_MODE};

/// The database's name in the data directory; SQLite keeps `-wal` and `-shm` beside it.
const DATABASE: &str = "multimusic.db";

/// The lock's name in the data directory. It is never deleted: a lock on a deleted file locks nobody out.
const LOCK: &str = "multimusic.lock";

/// Most bytes of the lock file that are read: a process id has at most ten digits.
const LOCK_BYTES_MAX: u64 = 32;

/// Why the store does not open. Each line says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made or opened.
    #[error("cannot use {}: DATA_DIR must be a directory that this process may write", path.display())]
    Inaccessible {
        /// What was to be made or opened.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{} is in use by another process ({holder}): stop it, or choose another DATA_DIR", directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// What the other process wrote of itself.
        holder: String,
    },
    /// The file is another program's.
    #[error("{} is a database of another program: move it away, or choose another DATA_DIR", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// The file was written by a newer build.
    #[error(
        "{} has schema version {found} and this build knows up to {known}: start the newer build, or choose another DATA_DIR",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema version.
        found: i32,
        /// The newest that this build knows.
        known: usize,
    },
    /// The file is damaged, or was never a database.
    #[error("{} is damaged or not a database: restore a copy, or move it away and start anew", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite failed in another way.
    #[error("cannot {doing} the database {}", file.display())]
    Failed {
        /// The file.
        file: PathBuf,
        /// What was to be done to it.
        doing: &'static str,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// No thread for the writer.
    #[error("cannot start the store's writing thread")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// SQLite's failure to do `doing` to the file.
    pub(super) fn sqlite(file: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let file = file.to_owned();
        if fault::means_damage(&source) { Self::Damaged { file, source } } else { Self::Failed { file, doing, source } }
    }
}

/// The data directory, held until this is dropped.
#[derive(Debug)]
pub(super) struct DataDirectory {
    /// The database's path.
    pub(super) database: PathBuf,
    /// The operating system drops the lock with the file, also after a kill.
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory if need be, and takes it for this process.
    pub(super) fn take(data_dir: &Path) -> Result<Self, OpenError> {
        let inaccessible = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Inaccessible { path, source }
        };
        directory::create(data_dir).map_err(inaccessible(data_dir))?;
        let lock = lock(data_dir)?;
        let database = data_dir.join(DATABASE);
        // Made here and not by SQLite, which would leave the mode to the umask.
        create(&database).map_err(inaccessible(&database))?;
        // The names are durable before anything in the files is promised to be.
        directory::sync(data_dir).map_err(inaccessible(data_dir))?;
        Ok(Self { database, _lock: lock })
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// A lock of our own: SQLite's come and go with transactions and would let a second process in between.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let inaccessible = |source| OpenError::Inaccessible { path: path.clone(), source };
    let mut file = create(&path).map_err(inaccessible)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's own words are a courtesy: without them the refusal stands all the same.
            let _ = (&file).take(LOCK_BYTES_MAX).read_to_string(&mut holder);
            let holder = Some(holder.trim()).filter(|holder| !holder.is_empty()).unwrap_or("unknown").to_owned();
            return Err(OpenError::InUse { directory: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(inaccessible(source)),
    }
    let named = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "pid {}", process::id()));
    named.map_err(inaccessible)?;
    Ok(file)
}

/// Opens the writer's connection and brings the file up to date.
pub(super) fn writer(file: &Path) -> Result<Connection, OpenError> {
    // No CREATE: the file was made with its mode, and a missing one is a fault.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut sql = Connection::open_with_flags(file, flags).map_err(|source| OpenError::sqlite(file, "open", source))?;
    schema::prepare(&mut sql, file)?;
    Ok(sql)
}
