//! Deleting what is past its time.

use mm_engine::ports::StoreError;
use mm_model::Timestamp;

use super::{SqliteStore, changes, events, fault::Fault, logins, query, writer::Unit};

/// Rows of each kind deleted in one transaction: some milliseconds, so that no refresh waits long behind a purge.
const PURGE_BATCH: i64 = 500;

/// Rows looked through in one transaction: two look-ups each, some milliseconds.
const PIECE: i64 = 2_000;

/// Most transactions of one purge. What remains then goes with the next one.
const PURGE_BATCHES_MAX: u32 = 200;

impl SqliteStore {
    /// `ConnectionStore::purge`.
    pub(super) async fn purge_in_batches(&self, now: Timestamp) -> Result<u64, StoreError> {
        let doing = "delete what is past its time";
        let mut deleted = 0;
        for _ in 0..PURGE_BATCHES_MAX {
            let (count, full) = self.writer.write(doing, move |unit| batch(unit, now)).await?;
            deleted += count;
            if !full {
                break;
            }
        }
        self.writer
            .write(doing, move |unit| {
                changes::prune(unit.sql, now)?;
                events::prune(unit.sql, now)
            })
            .await?;
        self.forget_the_gone(changes::forget_the_gone).await?;
        self.forget_the_gone(events::forget_the_gone).await?;
        Ok(deleted)
    }

    /// What was told of people of whom no row is left: they asked to be forgotten. Looked for in pieces, because neither table
    /// has an index on its people.
    async fn forget_the_gone(&self, piece: Piece) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let doing = "delete what was told of people who are gone";
            match self.writer.write(doing, move |unit| piece(unit.sql, after, PIECE)).await? {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }
}

/// Looks through some rows after a number, and says where to go on.
type Piece = fn(&rusqlite::Connection, i64, i64) -> Result<Option<i64>, Fault>;

/// Deletes one batch; says how many rows went and whether there may be more.
fn batch(unit: &mut Unit<'_>, now: Timestamp) -> Result<(u64, bool), Fault> {
    let counts = [
        logins::purge(unit.sql, now, PURGE_BATCH)?,
        tombstones(unit.sql, now, PURGE_BATCH)?,
        forgotten(unit.sql, PURGE_BATCH)?,
    ];
    let counts = counts.map(|count| u64::try_from(count).unwrap_or(u64::MAX));
    let count = counts.iter().sum();
    unit.tally.writes += count;
    Ok((count, counts.iter().any(|count| *count >= PURGE_BATCH.unsigned_abs())))
}

/// Deletes tombstones whose time is over, whatever they still owe: a provider that did not take a revocation in all that
/// time never will, and nobody's row stays for ever because of it.
fn tombstones(sql: &rusqlite::Connection, now: Timestamp, limit: i64) -> Result<usize, Fault> {
    let now = query::integer(now.unix(), "connections", &"purge", "ttl")?;
    let text = "DELETE FROM connections WHERE rowid IN (SELECT rowid FROM connections INDEXED BY tombstones \
                WHERE purge_at <= ?1 AND status = 'disconnected' ORDER BY purge_at LIMIT ?2)";
    query::execute(sql, text, [now, limit])
}

/// Deletes tombstones of people who were forgotten while a revocation was owed, once it is not owed any more; before their
/// time is over.
fn forgotten(sql: &rusqlite::Connection, limit: i64) -> Result<usize, Fault> {
    let text = "DELETE FROM connections WHERE rowid IN (SELECT rowid FROM connections AS gone INDEXED BY tombstones \
                WHERE purge_at IS NOT NULL AND to_revoke IS NULL AND status = 'disconnected' \
                AND NOT EXISTS (SELECT 1 FROM users WHERE users.user_id = gone.user_id) LIMIT ?1)";
    query::execute(sql, text, [limit])
}
