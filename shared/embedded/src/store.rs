//! The table of connections in one SQLite file.
//!
//! Start at [`SqliteStore::open`]. Every write is a job of one thread, which commits what waits together and answers
//! after the fsync (`writer`); every read runs on the caller's thread on one of a few read-only connections (`readers`).
//! A conditional write is the model's own [`Step::apply`](mm_model::Step::apply), run inside a transaction on the row that
//! the transaction sees (`connections`, `accounts`). A row is checked when it is written and when it is read (`codec`).
//!
//! Durable: the log is synced at every commit, so neither `kill -9` nor a power failure loses what was acknowledged. A
//! full or failing disk makes writes fail as a whole; living tokens can still be read.
//!
//! In the data directory: `multimusic.db`, beside it SQLite's own `-wal` and `-shm` while it is open, and
//! `multimusic.lock`, which holds the directory for one process. A copy made while the store is open needs `-wal` too.
//!
//! What is absent: no write outside the writing thread; no index on expiry, so that a refresh costs no index write; no
//! clock.

use std::{fmt, path::Path, sync::Arc};

use mm_engine::ports::StoreError;

mod accounts;
mod changes;
mod codec;
mod connections;
mod counters;
mod events;
mod fault;
mod logins;
mod open;
mod operations;
mod people;
mod port;
mod purge;
mod query;
mod readers;
mod restart;
mod schema;
mod wheel;
mod writer;

pub use counters::IoCounts;
pub use events::{EVENTS_MAX, SqliteEvents};
pub use fault::{is_corrupt, is_disk_full};
pub use open::OpenError;
pub use restart::OwedNudge;

use counters::Counters;
use fault::Fault;
use open::DataDirectory;
use readers::Readers;
use writer::Writer;

/// The store of one machine: a data directory, held against every other process while this lives.
///
/// Dropping it waits for the writes that were asked for, folds the log into the file and gives the directory free.
pub struct SqliteStore {
    // Dropped in this order: the writer's connection is the last one, so that it can fold the log away.
    readers: Readers,
    writer: Writer,
    counters: Arc<Counters>,
    directory: DataDirectory,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("directory", &self.directory)
            .field("io", &self.counters.counts())
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the store in `data_dir`, which is made if need be, and brings its file up to date.
    ///
    /// # Errors
    ///
    /// Another process holds the directory; the file is damaged, foreign or newer than this build; the disk refuses.
    /// Nothing is changed then.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let directory = DataDirectory::take(data_dir)?;
        let file = &directory.database;
        let sql = open::writer(file)?;
        let readers = Readers::open(file).map_err(|source| OpenError::sqlite(file, "read", source))?;
        let counters = Arc::new(Counters::default());
        let writer = Writer::start(sql, Arc::clone(&counters)).map_err(OpenError::Thread)?;
        Ok(Self { readers, writer, counters, directory })
    }

    /// What was read and written since the store was opened.
    pub fn io(&self) -> IoCounts {
        self.counters.counts()
    }

    /// How far the stream told the changes: a cursor of [`changes`](mm_engine::ports::ConnectionStore::changes); `None`
    /// before the first.
    pub fn told(&self) -> Result<Option<String>, StoreError> {
        self.read_inline("read how far the stream told", changes::told)
    }

    /// Notes how far the stream told. A cursor that is further back is ignored.
    pub async fn set_told(&self, cursor: &str) -> Result<(), StoreError> {
        let cursor = cursor.to_owned();
        self.writer.write("note how far the stream told", move |unit| changes::set_told(unit.sql, &cursor)).await
    }

    /// A read that the port asked for.
    fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&rusqlite::Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.counters.add_read();
        self.read_inline(doing, read)
    }

    fn read_inline<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&rusqlite::Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.readers.read(read).map_err(|fault| fault.doing(doing))
    }
}

#[cfg(test)]
mod tests;
