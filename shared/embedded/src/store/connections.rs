//! The conditional writes to one connection's row.

use mm_engine::ports::Outcome;
use mm_model::{Connection, ConnectionKey, Refusal, Seat, Step, UserId};
use rusqlite::params;

use super::{
    changes,
    codec::{self, TABLE},
    fault::Fault,
    query,
    writer::Unit,
};

/// One row.
pub(super) fn find(sql: &rusqlite::Connection, key: &ConnectionKey) -> Result<Option<Connection>, Fault> {
    query::first(sql, &codec::SELECT, params![key.user.as_str(), key.provider.as_str()], codec::decode)
}

/// One person's rows, ordered by provider.
pub(super) fn of(sql: &rusqlite::Connection, user: &UserId) -> Result<Vec<Connection>, Fault> {
    query::all(sql, &codec::SELECT_OF_USER, [user.as_str()], codec::decode)
}

/// Applies a step: the model's own transition, on the row as this transaction sees it.
pub(super) fn apply(unit: &mut Unit<'_>, key: &ConnectionKey, step: &Step) -> Result<Outcome, Fault> {
    let Some(before) = find(unit.sql, key)? else {
        unit.tally.refused += 1;
        return Ok(Outcome::Refused(Refusal::Missing, None));
    };
    match step.apply(before.clone()) {
        Ok(after) => {
            write(unit, Some(&before), &after)?;
            Ok(Outcome::Applied(after))
        }
        Err(refusal) => {
            unit.tally.refused += 1;
            Ok(Outcome::Refused(refusal, Some(before)))
        }
    }
}

/// Writes a row over `before`, and notes what it tells.
pub(super) fn write(unit: &mut Unit<'_>, before: Option<&Connection>, after: &Connection) -> Result<(), Fault> {
    let values = codec::encode(after)?;
    let statement = match before {
        None => &codec::INSERT,
        Some(before) if seat(before) == seat(after) => &codec::UPDATE_SEATED,
        Some(_) => &codec::UPDATE,
    };
    let written = query::execute(unit.sql, statement, rusqlite::params_from_iter(values))?;
    if written != 1 {
        return Err(Fault::Sqlite(rusqlite::Error::StatementChangedRows(written)));
    }
    unit.tally.writes += 1;
    if before.and_then(seat) != seat(after) {
        unit.tally.index_writes += 1;
    }
    changes::note(unit.sql, before, after)
}

/// Deletes a tombstone that owes nothing.
pub(super) fn delete(unit: &mut Unit<'_>, tombstone: &Connection) -> Result<(), Fault> {
    if tombstone.is_connected() || !tombstone.revocations.is_empty() {
        let row = tombstone.key.to_string();
        return Err(Fault::Impossible {
            table: TABLE,
            row,
            field: "status",
            rule: "that of a tombstone that owes nothing",
        });
    }
    let key = &tombstone.key;
    let text = "DELETE FROM connections WHERE user_id = ?1 AND provider = ?2";
    query::execute(unit.sql, text, params![key.user.as_str(), key.provider.as_str()])?;
    unit.tally.writes += 1;
    Ok(())
}

fn seat(connection: &Connection) -> Option<Seat> {
    connection.active().and_then(|active| active.seat)
}
