//! The last events published: the event sink of one machine.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mm_engine::ports::{EventError, EventSink, StoreError};
use mm_model::{ConnectionKey, Timestamp, UserId, event::ConnectionEvent};
use rusqlite::params;

use super::{
    SqliteStore,
    fault::Fault,
    query::{self, Fields},
};

const TABLE: &str = "events";

/// Events kept: a page of history for everybody on a machine of a few thousand people, some 100 bytes each.
pub const EVENTS_MAX: u32 = 10_000;

/// How long an event is kept, as long as a tombstone: people who left are not remembered for ever.
const EVENTS_KEPT_FOR: Duration = Duration::from_hours(720);

/// The event sink of one machine: a table of the last [`EVENTS_MAX`] events, each once by its id.
#[derive(Debug)]
pub struct SqliteEvents {
    store: Arc<SqliteStore>,
}

impl SqliteEvents {
    /// Events beside the rows of this store.
    pub const fn new(store: Arc<SqliteStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl EventSink for SqliteEvents {
    async fn publish(&self, event: &ConnectionEvent) -> Result<(), EventError> {
        let event = event.clone();
        let kept = self.store.writer.write("keep an event", move |unit| keep(unit.sql, &event)).await;
        kept.map_err(|error| EventError(Box::new(error)))
    }
}

impl SqliteStore {
    /// The last events published, the newest first, at most `limit` and [`EVENTS_MAX`].
    pub fn recent_events(&self, limit: u32) -> Result<Vec<ConnectionEvent>, StoreError> {
        self.read_inline("read the recent events", |sql| recent(sql, limit.min(EVENTS_MAX)))
    }
}

fn keep(sql: &rusqlite::Connection, event: &ConnectionEvent) -> Result<(), Fault> {
    let text = "INSERT INTO events (event_id, kind, user_id, provider, at) VALUES (?1, ?2, ?3, ?4, ?5) \
                ON CONFLICT (event_id) DO NOTHING";
    let params = params![
        event.id,
        query::word(event.kind, TABLE, &event.id, "kind")?,
        event.key.user.as_str(),
        event.key.provider.as_str(),
        query::integer(event.at.unix(), TABLE, &event.id, "at")?,
    ];
    query::execute(sql, text, params)?;
    query::execute(sql, "DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?1", [EVENTS_MAX])?;
    Ok(())
}

fn recent(sql: &rusqlite::Connection, limit: u32) -> Result<Vec<ConnectionEvent>, Fault> {
    let text = "SELECT event_id, kind, user_id, provider, at FROM events ORDER BY seq DESC LIMIT ?1";
    query::all(sql, text, [limit], |row| {
        let mut fields = Fields::new(row, TABLE, 1);
        Ok(ConnectionEvent {
            id: fields.take("id")?,
            kind: fields.need("kind", Fields::word)?,
            key: ConnectionKey {
                user: fields.need("userId", Fields::parsed)?,
                provider: fields.need("platform", Fields::parsed)?,
            },
            at: fields.need("at", Fields::time)?,
        })
    })
}

/// Deletes the events of a person who is forgotten.
pub(super) fn forget(sql: &rusqlite::Connection, user: &UserId) -> Result<(), Fault> {
    query::execute(sql, "DELETE FROM events WHERE user_id = ?1", [user.as_str()])?;
    Ok(())
}

/// Deletes events of people of whom no row is left, among `limit` of them after number `after`. Returns where to go on.
pub(super) fn forget_the_gone(sql: &rusqlite::Connection, after: i64, limit: i64) -> Result<Option<i64>, Fault> {
    let text = "SELECT max(seq) FROM (SELECT seq FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2)";
    let last = query::first(sql, text, [after, limit], |row| Ok(row.get::<_, Option<i64>>(0)?))?.flatten();
    let Some(last) = last else { return Ok(None) };
    let text = "DELETE FROM events WHERE seq > ?1 AND seq <= ?2 \
                AND NOT EXISTS (SELECT 1 FROM users WHERE users.user_id = events.user_id) \
                AND NOT EXISTS (SELECT 1 FROM connections WHERE connections.user_id = events.user_id)";
    query::execute(sql, text, [after, last])?;
    Ok(Some(last))
}

/// Deletes events that are too old.
pub(super) fn prune(sql: &rusqlite::Connection, now: Timestamp) -> Result<(), Fault> {
    let old = query::integer(now.minus(EVENTS_KEPT_FOR).unix(), TABLE, &"prune", "at")?;
    query::execute(sql, "DELETE FROM events WHERE at < ?1", [old])?;
    Ok(())
}
