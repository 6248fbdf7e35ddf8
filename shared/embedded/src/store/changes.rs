//! The log of changes that the stream tells, and how far it told.

use std::time::Duration;

use mm_engine::ports::ChangePage;
use mm_model::{Connection, ConnectionKey, Timestamp, UserId, Version, event::Change, limits::LEASE_STRICT};
use rusqlite::{OptionalExtension as _, params};

use super::{
    fault::Fault,
    query::{self, Fields},
};

const TABLE: &str = "changes";

/// Changes in one page: as many as a stream record batch usually holds.
pub(super) const CHANGE_PAGE_MAX: usize = 100;

/// How long a change that was told is kept, for whoever looks into what happened.
pub(super) const TOLD_KEPT_FOR: Duration = Duration::from_hours(24);

/// Most changes kept, told or not: some 100 bytes each. A stream that is this far behind has been off for weeks, and the
/// wheel has found every connection since.
pub(super) const CHANGES_MAX: i64 = 100_000;

/// Notes the change if it bears a mark that the row did not bear before.
pub(super) fn note(sql: &rusqlite::Connection, before: Option<&Connection>, after: &Connection) -> Result<(), Fault> {
    let marks = |row: &Connection| (row.event, row.active().and_then(|active| active.soon));
    let (event, soon) = marks(after);
    let told = before.filter(|before| before.version == after.version).map(marks).unwrap_or_default();
    let is_new = (event.is_some() && event != told.0) || (soon.is_some() && soon != told.1);
    if !is_new {
        return Ok(());
    }
    let key = &after.key;
    let event = event.map(|event| query::word(event, TABLE, key, "event")).transpose()?;
    let soon = soon.map(|soon| query::integer(soon.unix(), TABLE, key, "soon")).transpose()?;
    let at = query::integer(changed_at(before, after).unix(), TABLE, key, "at")?;
    let revocations: Vec<u8> = after.revocations.iter().flat_map(|owed| *owed.version.as_bytes()).collect();
    let revocations = Some(revocations).filter(|bytes| !bytes.is_empty());
    let text = "INSERT INTO changes (user_id, provider, version, at, event, soon, revocations) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let params =
        params![key.user.as_str(), key.provider.as_str(), after.version.as_bytes(), at, event, soon, revocations];
    query::execute(sql, text, params)?;
    Ok(())
}

/// When it changed. RELEASE and UNKNOWN carry no clock and leave `updatedAt` alone: the claim before them, less than a
/// lease ago, is known by the lease that it wrote.
fn changed_at(before: Option<&Connection>, after: &Connection) -> Timestamp {
    let claimed = before
        .filter(|before| before.version == after.version)
        .and_then(|before| before.active()?.lease)
        .map(|lease| lease.expires_at.minus(LEASE_STRICT));
    claimed.map_or(after.updated_at, |claimed| claimed.max(after.updated_at))
}

/// The changes after `cursor`, the oldest first.
pub(super) fn after(sql: &rusqlite::Connection, cursor: Option<&str>) -> Result<ChangePage, Fault> {
    let after = cursor.map_or(Ok(0), parse)?;
    let text = "SELECT seq, user_id, provider, version, at, event, soon, revocations FROM changes \
                WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let limit = i64::try_from(CHANGE_PAGE_MAX).unwrap_or(i64::MAX);
    let mut last = after;
    let changes = query::all(sql, text, params![after, limit], |row| {
        let mut fields = Fields::new(row, TABLE, 1);
        last = fields.take("seq")?;
        Ok(Change {
            key: ConnectionKey {
                user: fields.need("userId", Fields::parsed)?,
                provider: fields.need("platform", Fields::parsed)?,
            },
            version: Version::from_bytes(fields.need("version", Fields::take)?),
            at: fields.need("at", Fields::time)?,
            event: fields.word("event")?,
            soon: fields.time("soon")?,
            revocations: versions(&mut fields)?,
        })
    })?;
    Ok(ChangePage { changes, next: last.to_string() })
}

/// The versions of the column `revocations`.
fn versions(fields: &mut Fields<'_>) -> Result<Vec<Version>, Fault> {
    let Some(bytes) = fields.take::<Option<Vec<u8>>>("revocations")? else { return Ok(Vec::new()) };
    let (versions, rest) = bytes.as_chunks();
    if versions.is_empty() || !rest.is_empty() {
        return Err(fields.impossible("revocations", "absent, or versions of 16 bytes each"));
    }
    Ok(versions.iter().copied().map(Version::from_bytes).collect())
}

/// How far the stream told; `None` before its first change.
pub(super) fn told(sql: &rusqlite::Connection) -> Result<Option<String>, Fault> {
    let told: Option<i64> =
        sql.prepare_cached("SELECT told FROM stream_cursor")?.query_row([], |row| row.get(0)).optional()?;
    Ok(told.map(|told| told.to_string()))
}

/// Notes how far the stream told; never back.
pub(super) fn set_told(sql: &rusqlite::Connection, cursor: &str) -> Result<(), Fault> {
    let text = "INSERT INTO stream_cursor (id, told) VALUES (1, ?1) \
                ON CONFLICT (id) DO UPDATE SET told = excluded.told WHERE excluded.told > told";
    query::execute(sql, text, [parse(cursor)?])?;
    Ok(())
}

/// Deletes the changes told of a person who is forgotten. Those still to be told go with a later purge.
pub(super) fn forget(sql: &rusqlite::Connection, user: &UserId) -> Result<(), Fault> {
    query::execute(
        sql,
        "DELETE FROM changes WHERE user_id = ?1 AND seq <= (SELECT told FROM stream_cursor)",
        [user.as_str()],
    )?;
    Ok(())
}

/// Deletes changes told of people of whom no row is left, among `limit` of them after number `after`. Returns where to go on.
pub(super) fn forget_the_gone(sql: &rusqlite::Connection, after: i64, limit: i64) -> Result<Option<i64>, Fault> {
    let text = "SELECT max(seq) FROM (SELECT seq FROM changes WHERE seq > ?1 AND seq <= (SELECT told FROM stream_cursor) ORDER BY seq LIMIT ?2)";
    let last = query::first(sql, text, [after, limit], |row| Ok(row.get::<_, Option<i64>>(0)?))?.flatten();
    let Some(last) = last else { return Ok(None) };
    let text = "DELETE FROM changes WHERE seq > ?1 AND seq <= ?2 \
                AND NOT EXISTS (SELECT 1 FROM users WHERE users.user_id = changes.user_id) \
                AND NOT EXISTS (SELECT 1 FROM connections WHERE connections.user_id = changes.user_id)";
    query::execute(sql, text, [after, last])?;
    Ok(Some(last))
}

/// Deletes what is too old or too much.
pub(super) fn prune(sql: &rusqlite::Connection, now: Timestamp) -> Result<(), Fault> {
    let old = query::integer(now.minus(TOLD_KEPT_FOR).unix(), TABLE, &"prune", "at")?;
    // Told ones from the oldest on, up to the first that is young: `at` grows with `seq` but for clock differences.
    let text = "DELETE FROM changes WHERE seq <= (SELECT told FROM stream_cursor) \
                AND seq < coalesce((SELECT min(seq) FROM changes WHERE at >= ?1), 9223372036854775807)";
    query::execute(sql, text, [old])?;
    let text = "DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?1";
    query::execute(sql, text, [CHANGES_MAX])?;
    Ok(())
}

fn parse(cursor: &str) -> Result<i64, Fault> {
    let number = cursor.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| Fault::Impossible {
        table: TABLE,
        row: "(none)".to_owned(),
        field: "cursor",
        rule: "one that this store gave out",
    })
}
