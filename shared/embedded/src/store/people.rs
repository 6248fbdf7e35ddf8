//! The person's own row.

use mm_model::{
    Minute, Timestamp, User, UserId, Version,
    limits::ENDED_SESSIONS_MAX,
    user::{EndedSession, ForcedAdmission, ForcedRefreshes},
};
use rusqlite::{Row, params};

use super::{
    fault::Fault,
    query::{self, Fields},
    writer::Unit,
};

const TABLE: &str = "users";

const SELECT: &str = "SELECT user_id, created_at, ended_sessions, sessions_end_at, last_logout_at, \
     forced_minute, forced_count, forced_last FROM users WHERE user_id = ?1";

const INSERT: &str = "INSERT INTO users (user_id, created_at, ended_sessions, sessions_end_at, last_logout_at, \
     forced_minute, forced_count, forced_last) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (user_id) DO NOTHING";

const UPDATE: &str = "UPDATE users SET created_at = ?2, ended_sessions = ?3, sessions_end_at = ?4, last_logout_at = ?5, \
     forced_minute = ?6, forced_count = ?7, forced_last = ?8 WHERE user_id = ?1";

/// The person's row.
pub(super) fn find(sql: &rusqlite::Connection, user: &UserId) -> Result<Option<User>, Fault> {
    query::first(sql, SELECT, [user.as_str()], decode)
}

/// Writes the row of a person who has none; says whether it did.
pub(super) fn insert_if_absent(sql: &rusqlite::Connection, user: &User) -> Result<bool, Fault> {
    Ok(store(sql, INSERT, user)? > 0)
}

/// Deletes the person's row; says whether there was one.
pub(super) fn delete(sql: &rusqlite::Connection, user: &UserId) -> Result<bool, Fault> {
    Ok(query::execute(sql, "DELETE FROM users WHERE user_id = ?1", [user.as_str()])? > 0)
}

/// Ends one session.
pub(super) fn end_session(
    unit: &mut Unit<'_>,
    user: &UserId,
    session: EndedSession,
    now: Timestamp,
) -> Result<(), Fault> {
    change(unit, user, |row| (row.end_session(session, now), ())).map(|_| ())
}

/// Ends every session.
pub(super) fn end_all_sessions(unit: &mut Unit<'_>, user: &UserId, now: Timestamp) -> Result<(), Fault> {
    change(unit, user, |row| (row.end_all_sessions(now), ())).map(|_| ())
}

/// Counts a forced refresh.
pub(super) fn force(
    unit: &mut Unit<'_>,
    user: &UserId,
    seen: Version,
    now: Timestamp,
) -> Result<Option<ForcedAdmission>, Fault> {
    change(unit, user, |row| row.force(seen, now))
}

/// Applies one of the model's transitions to the row, if there is one, and writes what it changed.
fn change<T>(
    unit: &mut Unit<'_>,
    user: &UserId,
    transition: impl FnOnce(User) -> (User, T),
) -> Result<Option<T>, Fault> {
    let Some(before) = find(unit.sql, user)? else {
        unit.tally.refused += 1;
        return Ok(None);
    };
    let (after, answer) = transition(before.clone());
    if after == before {
        unit.tally.refused += 1;
    } else {
        store(unit.sql, UPDATE, &after)?;
        unit.tally.writes += 1;
    }
    Ok(Some(answer))
}

fn store(sql: &rusqlite::Connection, statement: &str, user: &User) -> Result<usize, Fault> {
    let id = &user.id;
    check(user)?;
    let seconds = |at: Option<Timestamp>, field| at.map(|at| query::integer(at.unix(), TABLE, id, field)).transpose();
    let ended = serde_json::to_string(&user.ended_sessions).map_err(|_| broken(id, "endedSessions", "serializable"))?;
    let minute = user.forced.map(|forced| query::integer(forced.minute.number(), TABLE, id, "forcedMinute"));
    let params = params![
        id.as_str(),
        seconds(Some(user.created_at), "createdAt")?,
        ended,
        seconds(user.sessions_end_at, "sessionsEndAt")?,
        seconds(user.last_logout_at, "lastLogoutAt")?,
        minute.transpose()?,
        user.forced.map(|forced| forced.count),
        user.forced.as_ref().map(|forced| forced.last.as_bytes()),
    ];
    query::execute(sql, statement, params)
}

fn decode(row: &Row<'_>) -> Result<User, Fault> {
    let mut fields = Fields::new(row, TABLE, 1);
    let id = fields.need("userId", Fields::parsed)?;
    let created_at = fields.need("createdAt", Fields::time)?;
    let ended_sessions = fields.need("endedSessions", Fields::json)?;
    let sessions_end_at = fields.time("sessionsEndAt")?;
    let last_logout_at = fields.time("lastLogoutAt")?;
    let minute = fields.number("forcedMinute")?.map(Minute::new);
    let count = fields.take("forcedCount")?;
    let last = fields.take::<Option<_>>("forcedLast")?.map(Version::from_bytes);
    let forced = match (minute, count, last) {
        (Some(minute), Some(count), Some(last)) => Some(ForcedRefreshes { minute, count, last }),
        (None, None, None) => None,
        _ => return Err(fields.impossible("forcedMinute", "there exactly when count and last are")),
    };
    let user = User { id, created_at, ended_sessions, sessions_end_at, last_logout_at, forced };
    check(&user)?;
    Ok(user)
}

fn check(user: &User) -> Result<(), Fault> {
    if user.ended_sessions.len() > ENDED_SESSIONS_MAX {
        return Err(broken(&user.id, "endedSessions", "within its limit"));
    }
    Ok(())
}

fn broken(user: &UserId, field: &'static str, rule: &'static str) -> Fault {
    Fault::Impossible { table: TABLE, row: user.to_string(), field, rule }
}
