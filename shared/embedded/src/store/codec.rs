//! A connection as a row, there and back. Both ways end in [`Connection::check`]: what no transition can have made is
//! neither written nor believed.

use std::sync::LazyLock;

use mm_model::{
    Connection, ConnectionKey, Sealed, Timestamp, Version,
    connection::{Active, Lease, ReauthorizationReason, Status},
    grant::Grant,
    id::AttemptId,
    wheel::Seat,
};
use rusqlite::{
    Row,
    types::{ToSqlOutput, Value, ValueRef},
};

use super::{
    fault::Fault,
    query::{self, Fields},
};

/// The table.
pub(super) const TABLE: &str = "connections";

/// The columns in the order of the codec and of the statements' parameters. The seat comes right after the key, so that
/// a statement that leaves it alone is the same list without its head.
const COLUMNS: [&str; 31] = [
    "user_id",
    "provider",
    "seat",
    "version",
    "issuer",
    "provider_account_id",
    "scope",
    "created_at",
    "updated_at",
    "event",
    "to_revoke",
    "status",
    "reason",
    "since",
    "purge_at",
    "access_token",
    "refresh_token",
    "expires_at",
    "lifetime",
    "misfits",
    "next_refresh_at",
    "soon",
    "lease_owner",
    "lease_expires_at",
    "unknown_outcomes",
    "attempts",
    "last_error",
    "seen_at",
    "grant_issued_at",
    "grant_expires_at",
    "warned_days",
];

/// The attributes that only an active connection has, in the order of their columns.
const ACTIVE_ONLY: [&str; 16] = [
    "accessToken",
    "refreshToken",
    "expiresAt",
    "lifetime",
    "misfits",
    "nextRefreshAt",
    "soon",
    "leaseOwner",
    "leaseExpiresAt",
    "unknownOutcomes",
    "attempts",
    "lastError",
    "seenAt",
    "grantIssuedAt",
    "grantExpiresAt",
    "warnedDays",
];

/// How many columns are the key.
const KEY_COLUMNS: usize = 2;

static COLUMN_LIST: LazyLock<String> = LazyLock::new(|| COLUMNS.join(", "));

/// Reads one row, for [`decode`].
pub(super) static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM {TABLE} WHERE user_id = ?1 AND provider = ?2", *COLUMN_LIST));

/// Reads one person's rows, for [`decode`], ordered by provider.
pub(super) static SELECT_OF_USER: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM {TABLE} WHERE user_id = ?1 ORDER BY provider", *COLUMN_LIST));

/// Writes a new row.
pub(super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let places = (1..=COLUMNS.len()).map(|place| format!("?{place}")).collect::<Vec<_>>();
    format!("INSERT INTO {TABLE} ({}) VALUES ({})", *COLUMN_LIST, places.join(", "))
});

/// Writes over a row whose seat changes.
pub(super) static UPDATE: LazyLock<String> = LazyLock::new(|| update(KEY_COLUMNS));

/// Writes over a row whose seat stays. SQLite rewrites an index entry when the statement names one of its columns, even
/// with the same value: a refresh must not name the seat, or it would pay for the index each time.
pub(super) static UPDATE_SEATED: LazyLock<String> = LazyLock::new(|| update(KEY_COLUMNS + 1));

fn update(first: usize) -> String {
    let sets = COLUMNS.iter().enumerate().skip(first).map(|(index, column)| format!("{column} = ?{}", index + 1));
    format!("UPDATE {TABLE} SET {} WHERE user_id = ?1 AND provider = ?2", sets.collect::<Vec<_>>().join(", "))
}

/// The row's values, one for each of [`COLUMNS`].
pub(super) type Values<'a> = [ToSqlOutput<'a>; COLUMNS.len()];

/// The row of a connection that holds together.
pub(super) fn encode(connection: &Connection) -> Result<Values<'_>, Fault> {
    check(connection)?;
    let key = &connection.key;
    let active = connection.active();
    let seconds = |field, at: Timestamp| whole(key, field, at.unix());
    let since_or_null = |field, at: Option<Timestamp>| at.map_or(Ok(null()), |at| seconds(field, at));
    let of_active = |field, number: Option<u64>| number.map_or(Ok(null()), |number| whole(key, field, number));
    let time_of_active =
        |field, time: fn(&Active) -> Option<Timestamp>| of_active(field, active.and_then(time).map(Timestamp::unix));
    let revocations = match connection.revocations.as_slice() {
        [] => null(),
        owed => serde_json::to_string(owed).map_err(|_| broken(key, "toRevoke", "serializable"))?.into(),
    };
    let event = connection.event.map(|event| query::word(event, TABLE, key, "event")).transpose()?;
    let last_error = active.and_then(|active| active.last_error);
    let last_error = last_error.map(|error| query::word(error, TABLE, key, "lastError")).transpose()?;
    let (status, reason, since, purge_at) = match &connection.status {
        Status::Active(_) => ("active", None, None, None),
        Status::ReauthorizationRequired { reason, since } => {
            ("reauthorization_required", Some(query::word(reason, TABLE, key, "reason")?), Some(*since), None)
        }
        Status::Disconnected { since, purge_at } => ("disconnected", None, Some(*since), Some(*purge_at)),
    };
    Ok([
        text(key.user.as_str()),
        text(key.provider.as_str()),
        owned_text(active.and_then(|active| active.seat).map(|seat| seat.to_string())),
        blob(connection.version.as_bytes()),
        text(connection.issuer.as_str()),
        text(connection.account.as_str()),
        connection.scope.as_deref().map_or(null(), text),
        seconds("createdAt", connection.created_at)?,
        seconds("updatedAt", connection.updated_at)?,
        owned_text(event),
        revocations,
        text(status),
        owned_text(reason),
        since_or_null("since", since)?,
        since_or_null("ttl", purge_at)?,
        active.map_or(null(), |active| blob(active.access_token.as_bytes())),
        active.and_then(|active| active.refresh_token.as_ref()).map_or(null(), |token| blob(token.as_bytes())),
        time_of_active("expiresAt", |active| Some(active.expires_at))?,
        of_active("lifetime", active.map(|active| active.lifetime))?,
        of_active("misfits", active.map(|active| active.misfits.into()))?,
        time_of_active("nextRefreshAt", |active| Some(active.next_refresh_at))?,
        time_of_active("soon", |active| active.soon)?,
        active.and_then(|active| active.lease.as_ref()).map_or(null(), |lease| blob(lease.owner.as_bytes())),
        time_of_active("leaseExpiresAt", |active| active.lease.map(|lease| lease.expires_at))?,
        of_active("unknownOutcomes", active.map(|active| active.unknown_outcomes.into()))?,
        of_active("attempts", active.map(|active| active.attempts.into()))?,
        owned_text(last_error),
        time_of_active("seenAt", |active| Some(active.seen_at))?,
        time_of_active("grantIssuedAt", |active| Some(active.grant.issued_at))?,
        time_of_active("grantExpiresAt", |active| active.grant.expires_at)?,
        of_active("warnedDays", active.and_then(|active| active.grant.warned_days).map(u64::from))?,
    ])
}

/// The connection that a selected row holds.
pub(super) fn decode(row: &Row<'_>) -> Result<Connection, Fault> {
    let mut fields = Fields::new(row, TABLE, KEY_COLUMNS);
    let key = ConnectionKey {
        user: fields.need("userId", Fields::parsed)?,
        provider: fields.need("platform", Fields::parsed)?,
    };
    let seat: Option<Seat> = fields.parsed("seat")?;
    let version = Version::from_bytes(fields.need("version", Fields::take)?);
    let issuer = fields.need("issuer", Fields::parsed)?;
    let account = fields.need("providerAccountId", Fields::parsed)?;
    let scope = fields.take("scope")?;
    let created_at = fields.need("createdAt", Fields::time)?;
    let updated_at = fields.need("updatedAt", Fields::time)?;
    let event = fields.word("event")?;
    let revocations = fields.json("toRevoke")?.unwrap_or_default();
    let status: String = fields.take("status")?;
    let reason: Option<ReauthorizationReason> = fields.word("reason")?;
    let since = fields.time("since")?;
    let purge_at = fields.time("ttl")?;
    let status = match (status.as_str(), reason, since, purge_at) {
        ("active", None, None, None) => Status::Active(Box::new(active(&mut fields, seat)?)),
        ("reauthorization_required", Some(reason), Some(since), None) => {
            Status::ReauthorizationRequired { reason, since }
        }
        ("disconnected", None, Some(since), Some(purge_at)) => Status::Disconnected { since, purge_at },
        _ => return Err(fields.impossible("status", "consistent with reason, since and ttl")),
    };
    if !matches!(status, Status::Active(_)) {
        fields.absent(&ACTIVE_ONLY, "absent unless active")?;
        if seat.is_some() {
            return Err(fields.impossible("seat", "absent unless active"));
        }
    }
    let connection =
        Connection { key, version, issuer, account, scope, created_at, updated_at, event, revocations, status };
    check(&connection)?;
    Ok(connection)
}

fn active(fields: &mut Fields<'_>, seat: Option<Seat>) -> Result<Active, Fault> {
    let access_token = Sealed::from_bytes(fields.need("accessToken", Fields::take)?);
    let refresh_token = fields.take::<Option<Vec<u8>>>("refreshToken")?.map(Sealed::from_bytes);
    let expires_at = fields.need("expiresAt", Fields::time)?;
    let lifetime = fields.need("lifetime", Fields::number)?;
    let misfits = fields.need("misfits", Fields::take)?;
    let next_refresh_at = fields.need("nextRefreshAt", Fields::time)?;
    let soon = fields.time("soon")?;
    let lease_owner = fields.take::<Option<_>>("leaseOwner")?.map(AttemptId::from_bytes);
    let lease_expires_at = fields.time("leaseExpiresAt")?;
    let lease = match (lease_owner, lease_expires_at) {
        (Some(owner), Some(expires_at)) => Some(Lease { owner, expires_at }),
        (None, None) => None,
        _ => return Err(fields.impossible("leaseOwner", "there exactly when leaseExpiresAt is")),
    };
    let unknown_outcomes = fields.need("unknownOutcomes", Fields::take)?;
    let attempts = fields.need("attempts", Fields::take)?;
    let last_error = fields.word("lastError")?;
    let seen_at = fields.need("seenAt", Fields::time)?;
    let grant = Grant {
        issued_at: fields.need("grantIssuedAt", Fields::time)?,
        expires_at: fields.time("grantExpiresAt")?,
        warned_days: fields.take("warnedDays")?,
    };
    Ok(Active {
        access_token,
        refresh_token,
        expires_at,
        lifetime,
        seat,
        misfits,
        next_refresh_at,
        soon,
        lease,
        unknown_outcomes,
        attempts,
        last_error,
        seen_at,
        grant,
    })
}

fn check(connection: &Connection) -> Result<(), Fault> {
    connection.check().map_err(|wrong| broken(&connection.key, wrong.field, wrong.rule))
}

fn broken(key: &ConnectionKey, field: &'static str, rule: &'static str) -> Fault {
    Fault::Impossible { table: TABLE, row: key.to_string(), field, rule }
}

fn whole<'a>(key: &ConnectionKey, field: &'static str, number: u64) -> Result<ToSqlOutput<'a>, Fault> {
    query::integer(number, TABLE, key, field).map(ToSqlOutput::from)
}

const fn null<'a>() -> ToSqlOutput<'a> {
    ToSqlOutput::Owned(Value::Null)
}

const fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

fn owned_text<'a>(text: Option<String>) -> ToSqlOutput<'a> {
    ToSqlOutput::Owned(text.map_or(Value::Null, Value::Text))
}

const fn blob(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Blob(bytes))
}
