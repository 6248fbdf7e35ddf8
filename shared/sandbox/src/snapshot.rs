//! The state file: what a restarted sandbox has to remember so that the product's tokens stay good.
//!
//! It holds grants, token hashes and logins. Not kept: codes (a minute old at most), planned faults, changed behaviour, the log.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    authority::{Authority, Session},
    hash::TokenHash,
    ledger::{AccessRow, Grant, MAX_EXCHANGED_IN_FILE, RefreshRow, RefreshState},
};

/// Format of the file; a file of another one is refused rather than guessed at.
const FORMAT: u32 = 1;

/// Largest file read, in bytes (64 MiB): far beyond what the tables' own limits let it grow to in a development session.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Why the state file could not be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It could not be read.
    #[error("the sandbox's state file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("the sandbox's state file {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its content is none that this build writes.
    #[error("the sandbox's state file {} is not readable as format {FORMAT}; delete it to start afresh", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why, if it is not the format's number or the size.
        #[source]
        source: Option<serde_json::Error>,
    },
}

/// The file's content, borrowed for writing or owned after reading.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    format: u32,
    last_grant: u64,
    grants: Vec<Grant>,
    refresh: Vec<(TokenHash, RefreshRow)>,
    /// Exchanged refresh tokens, oldest first.
    exchanged: Vec<(TokenHash, RefreshRow)>,
    access: Vec<(TokenHash, AccessRow)>,
    sessions: Vec<(TokenHash, Session)>,
}

/// Writes the state beside the file and moves it into place, so that a reader finds the old or the new state, whole.
pub(crate) fn save(authority: &Authority, path: &Path) -> Result<(), StateError> {
    let write_error = |source| StateError::Write { path: path.to_owned(), source };
    let ledger = &authority.ledger;
    let first_kept = ledger.exchanged.len().saturating_sub(MAX_EXCHANGED_IN_FILE);
    let row = |hash: &TokenHash| ledger.refresh.get(hash).map(|row| (*hash, *row));
    let snapshot = Snapshot {
        format: FORMAT,
        last_grant: ledger.last_grant,
        grants: ledger.grants.values().cloned().collect(),
        refresh: ledger
            .refresh
            .iter()
            .filter(|(_, row)| row.state == RefreshState::Current)
            .map(|(hash, row)| (*hash, *row))
            .collect(),
        exchanged: ledger.exchanged.iter().skip(first_kept).filter_map(row).collect(),
        access: ledger.access.iter().map(|(hash, row)| (*hash, *row)).collect(),
        sessions: authority
            .session_order
            .iter()
            .filter_map(|hash| authority.sessions.get(hash).map(|session| (*hash, session.clone())))
            .filter(|(_, session)| !session.names.is_empty())
            .collect(),
    };
    let text = serde_json::to_vec(&snapshot).map_err(|error| write_error(error.into()))?;
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).map_err(write_error)
}

/// Reads the state back; `false` when there is no file yet.
pub(crate) fn load(authority: &mut Authority, path: &Path) -> Result<bool, StateError> {
    let read_error = |source| StateError::Read { path: path.to_owned(), source };
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(read_error(error)),
    };
    if size > MAX_FILE_BYTES {
        return Err(StateError::Content { path: path.to_owned(), source: None });
    }
    let text = fs::read(path).map_err(read_error)?;
    let snapshot: Snapshot = serde_json::from_slice(&text)
        .map_err(|error| StateError::Content { path: path.to_owned(), source: Some(error) })?;
    if snapshot.format != FORMAT {
        return Err(StateError::Content { path: path.to_owned(), source: None });
    }
    let ledger = &mut authority.ledger;
    ledger.last_grant = snapshot.last_grant;
    ledger.grants = snapshot.grants.into_iter().map(|grant| (grant.id, grant)).collect();
    ledger.exchanged = snapshot.exchanged.iter().map(|(hash, _)| *hash).collect();
    ledger.refresh = snapshot.refresh.into_iter().chain(snapshot.exchanged).collect();
    ledger.access = snapshot.access.into_iter().collect();
    authority.session_order = snapshot.sessions.iter().map(|(hash, _)| *hash).collect();
    authority.sessions = snapshot.sessions.into_iter().collect();
    Ok(true)
}
