//! The transactions over more than one row: a login, a disconnect, forgetting a person; and whose account is whose.

use mm_engine::ports::{Expected, Link, LinkOutcome, TakenFrom, Unlink};
use mm_model::{AccountId, Connection, ConnectionKey, ProviderId, UserId, connection::Status};
use rusqlite::params;

use super::{
    changes, codec, connections, events,
    fault::Fault,
    people,
    query::{self, Fields},
    writer::Unit,
};

const IDENTITIES: &str = "identities";

/// Whose account it is.
pub(super) fn owner(
    sql: &rusqlite::Connection,
    provider: &ProviderId,
    account: &AccountId,
) -> Result<Option<UserId>, Fault> {
    let text = "SELECT provider, user_id FROM identities WHERE provider = ?1 AND provider_account_id = ?2";
    query::first(sql, text, params![provider.as_str(), account.as_str()], |row| {
        let mut fields = Fields::new(row, IDENTITIES, 1);
        fields.take::<String>("platform")?;
        fields.need("userId", Fields::parsed)
    })
}

/// Writes a login.
pub(super) fn link(unit: &mut Unit<'_>, link: &Link) -> Result<LinkOutcome, Fault> {
    let connection = &link.connection;
    let key = &connection.key;
    must_be(connection.is_connected(), connection, "that of a connected account")?;
    let before = connections::find(unit.sql, key)?;
    match (&before, link.expected) {
        // A repeated write whose answer was lost: whatever came after it stands.
        (Some(before), _) if before.version == connection.version => return Ok(LinkOutcome::Done),
        (Some(before), Expected::Version(expected)) if before.version == expected => {}
        (None, Expected::Absent) => {}
        _ => return Ok(contended(unit)),
    }
    let account = &connection.account;
    let owner = owner(unit.sql, &key.provider, account)?;
    let loser = match &link.taken_from {
        None if owner.as_ref().is_none_or(|owner| *owner == key.user) => None,
        Some(taken) if owner.as_ref() == Some(&taken.tombstone.key.user) => {
            let Some(loser) = loser(unit, taken)? else { return Ok(contended(unit)) };
            Some((loser, &taken.tombstone))
        }
        _ => return Ok(contended(unit)),
    };
    if let Some((before, tombstone)) = &loser {
        release(unit, &tombstone.key, account)?;
        connections::write(unit, Some(before), tombstone)?;
    }
    if let Some(released) = link.released.as_ref().filter(|released| *released != account) {
        release(unit, key, released)?;
    }
    if people::insert_if_absent(unit.sql, &link.user)? {
        unit.tally.writes += 1;
    }
    connections::write(unit, before.as_ref(), connection)?;
    claim(unit, key, account)?;
    Ok(LinkOutcome::Done)
}

/// The other side's row, if it still is what the move was decided on.
fn loser(unit: &Unit<'_>, taken: &TakenFrom) -> Result<Option<Connection>, Fault> {
    must_be(!taken.tombstone.is_connected(), &taken.tombstone, "that of a tombstone")?;
    let row = connections::find(unit.sql, &taken.tombstone.key)?;
    Ok(row.filter(|row| row.version == taken.expected))
}

/// Writes a disconnect.
pub(super) fn unlink(unit: &mut Unit<'_>, unlink: &Unlink) -> Result<LinkOutcome, Fault> {
    let tombstone = &unlink.tombstone;
    must_be(matches!(tombstone.status, Status::Disconnected { .. }), tombstone, "that of a tombstone")?;
    let Some(before) = connections::find(unit.sql, &tombstone.key)? else { return Ok(contended(unit)) };
    if before.version == tombstone.version {
        return Ok(LinkOutcome::Done);
    }
    if before.version != unlink.expected {
        return Ok(contended(unit));
    }
    release(unit, &tombstone.key, &tombstone.account)?;
    connections::write(unit, Some(&before), tombstone)?;
    Ok(LinkOutcome::Done)
}

/// Deletes a person and their tombstones, and where nothing is owed what was told of them. Tombstones that owe a revocation
/// stay until that is done; the purge finds them by their missing person, and with them what is told from now on.
pub(super) fn forget(unit: &mut Unit<'_>, user: &UserId) -> Result<LinkOutcome, Fault> {
    let rows = connections::of(unit.sql, user)?;
    if rows.iter().any(Connection::is_connected) {
        return Ok(contended(unit));
    }
    for tombstone in rows.iter().filter(|row| row.revocations.is_empty()) {
        connections::delete(unit, tombstone)?;
    }
    if people::delete(unit.sql, user)? {
        unit.tally.writes += 1;
    }
    if rows.iter().all(|row| row.revocations.is_empty()) {
        changes::forget(unit.sql, user)?;
        events::forget(unit.sql, user)?;
    }
    Ok(LinkOutcome::Done)
}

/// Removes the identity if it is this person's.
fn release(unit: &mut Unit<'_>, key: &ConnectionKey, account: &AccountId) -> Result<(), Fault> {
    let text = "DELETE FROM identities WHERE provider = ?1 AND provider_account_id = ?2 AND user_id = ?3";
    let params = params![key.provider.as_str(), account.as_str(), key.user.as_str()];
    let deleted = query::execute(unit.sql, text, params)?;
    unit.tally.writes += u64::from(deleted > 0);
    Ok(())
}

/// Writes the identity, which is absent or this person's already.
fn claim(unit: &mut Unit<'_>, key: &ConnectionKey, account: &AccountId) -> Result<(), Fault> {
    let text = "INSERT INTO identities (provider, provider_account_id, user_id) VALUES (?1, ?2, ?3) \
                ON CONFLICT (provider, provider_account_id) DO NOTHING";
    let params = params![key.provider.as_str(), account.as_str(), key.user.as_str()];
    let inserted = query::execute(unit.sql, text, params).map_err(|fault| match fault {
        // The caller left the identity of the account before: its owner would later read the new account's tokens.
        Fault::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
            let rule = "the connected account: release the one before";
            Fault::Impossible { table: IDENTITIES, row: key.to_string(), field: "providerAccountId", rule }
        }
        other => other,
    })?;
    unit.tally.writes += u64::from(inserted > 0);
    Ok(())
}

fn contended(unit: &mut Unit<'_>) -> LinkOutcome {
    unit.tally.refused += 1;
    LinkOutcome::Contended
}

fn must_be(holds: bool, row: &Connection, rule: &'static str) -> Result<(), Fault> {
    let fault = || Fault::Impossible { table: codec::TABLE, row: row.key.to_string(), field: "status", rule };
    if holds { Ok(()) } else { Err(fault()) }
}
