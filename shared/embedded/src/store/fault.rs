//! What can go wrong between a port's method and SQLite.

use mm_engine::ports::StoreError;
use rusqlite::ErrorCode;

/// A failure inside a read or a unit of work; becomes a [`StoreError`] where the method knows what it was doing.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite refused or failed.
    Sqlite(rusqlite::Error),
    /// A row, read or about to be written, that no transition can have made.
    Impossible {
        /// The table.
        table: &'static str,
        /// The row's key. Never anything that was sealed, hashed or to be kept secret.
        row: String,
        /// The attribute, as the row spells it elsewhere: in camel case.
        field: &'static str,
        /// What must hold.
        rule: &'static str,
    },
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    /// The port's error, for a caller who wanted the store to do `doing`.
    pub(super) fn doing(self, doing: &'static str) -> StoreError {
        match self {
            Self::Sqlite(source) => StoreError::Unavailable { doing, source: Box::new(source) },
            Self::Impossible { table, row, field, rule } => StoreError::Impossible { table, row, field, rule },
        }
    }
}

/// The same error once more, for each of the jobs that one failed commit disappoints.
pub(super) fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => rusqlite::Error::SqliteFailure(*code, message.clone()),
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}

/// Whether SQLite says that the file is damaged or no database at all.
pub(super) fn means_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether an error of the embedded store means that its file is damaged: nothing but a restored copy helps.
pub fn is_corrupt(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable { source, .. } => source.downcast_ref().is_some_and(means_damage),
        StoreError::Contended { .. } | StoreError::Impossible { .. } => false,
    }
}

/// Whether an error of the embedded store means that the disk is full: once there is room again, it goes on by itself.
pub fn is_disk_full(error: &StoreError) -> bool {
    let full = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DiskFull);
    match error {
        StoreError::Unavailable { source, .. } => source.downcast_ref().is_some_and(full),
        StoreError::Contended { .. } | StoreError::Impossible { .. } => false,
    }
}
