//! The data directory: made for its owner alone, and its entries made durable.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

/// Only the owner may enter: the files hold keys and sealed tokens.
const DIRECTORY_MODE: u32 = 0o700;

/// Only the owner may read and write.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Makes the directory where it is missing.
pub(crate) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Makes created, renamed and removed entries durable: a file's own sync does not cover its name.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
