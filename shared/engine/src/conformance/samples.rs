//! Rows and values for the cases, and the few reads that they look with.

use std::{sync::Arc, time::Duration};

use mm_model::{
    AccountId, AttemptId, Connection, ConnectionKey, Issuer, ProviderId, Sealed, Seat, Step, Timestamp, User, UserId,
    Version,
    connection::{Active, Lease, ReauthorizationReason, Revocation, Status},
    event::EventMark,
    grant::Grant,
    limits::LEASE_STRICT,
    step::Flag,
};

use crate::ports::{
    ConnectionStore, Consistency, Expected, Link, LinkOutcome, Outcome, PersonRows, StoreError, Unlink,
};

pub(super) type Store = Arc<dyn ConnectionStore>;

/// What a case ends with. What it found wrong is a failed assertion, so that the line and both sides are shown.
pub(super) type Checked = Result<(), StoreError>;

/// The cases' present, far in the future: a store that deletes by its own clock must not find anything past its time.
pub(super) const NOW: Timestamp = Timestamp::from_unix(4_000_000_020);

/// The life of a sample's token.
pub(super) const HOUR: Duration = Duration::from_hours(1);

/// Within it, the samples are awake.
pub(super) const AWAKE: Duration = Duration::from_hours(24);

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn numbered(kind: u8, n: u32) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    bytes
}

pub(super) fn version(n: u32) -> Version {
    Version::from_bytes(numbered(0xfe, n))
}

pub(super) fn attempt(n: u32) -> AttemptId {
    AttemptId::from_bytes(numbered(0xa7, n))
}

/// A sealed token that no other number has.
pub(super) fn sealed(n: u32) -> Sealed {
    Sealed::from_bytes([numbered(0x5e, n), numbered(0x00, n), numbered(0xff, n)].concat())
}

/// Parses a sample's identifier.
fn id<T: TryFrom<String>>(text: impl Into<String>) -> T
where
    T::Error: std::fmt::Debug,
{
    let parsed = T::try_from(text.into());
    assert!(parsed.is_ok(), "a sample's id must be one: {:?}", parsed.err());
    let Ok(parsed) = parsed else { unreachable!("asserted above") };
    parsed
}

pub(super) fn account(name: &str) -> AccountId {
    id(name)
}

pub(super) fn user(name: &str) -> UserId {
    id(name)
}

pub(super) fn provider(name: &str) -> ProviderId {
    id(name)
}

pub(super) fn key(user_name: &str) -> ConnectionKey {
    at(user_name, "soundcloud")
}

pub(super) fn at(user_name: &str, provider_name: &str) -> ConnectionKey {
    ConnectionKey { user: user(user_name), provider: provider(provider_name) }
}

pub(super) fn issuer() -> Issuer {
    id("https://provider.example client-1")
}

/// Connected an hour ago under version `n`, its account named after the person; a token that expires in ten minutes and is
/// due now; awake, in its seat, unleased, every optional field filled.
pub(super) fn due(key: &ConnectionKey, n: u32) -> Connection {
    let issued = NOW.minus(seconds(3000));
    let active = Active {
        access_token: sealed(n),
        refresh_token: Some(sealed(n + 1_000_000)),
        expires_at: issued.plus(HOUR),
        lifetime: 3600,
        seat: Some(Seat::fast(key, HOUR)),
        misfits: 1,
        next_refresh_at: NOW,
        soon: None,
        lease: None,
        unknown_outcomes: 0,
        attempts: 0,
        last_error: None,
        seen_at: NOW.minus(HOUR),
        grant: Grant::new(NOW.minus(HOUR), Some(Duration::from_hours(4368))),
    };
    Connection {
        key: key.clone(),
        version: version(n),
        issuer: issuer(),
        account: account(&format!("account of {}", key.user)),
        scope: Some("read write".to_owned()),
        created_at: NOW.minus(HOUR),
        updated_at: issued,
        event: None,
        revocations: Vec::new(),
        status: Status::Active(Box::new(active)),
    }
}

/// The row with its active part edited.
pub(super) fn edited(row: &Connection, edit: impl FnOnce(&mut Active)) -> Connection {
    let mut row = row.clone();
    let active = match &mut row.status {
        Status::Active(active) => active,
        other => unreachable!("a sample to edit is active, not {other:?}"),
    };
    edit(active);
    row
}

/// The row, claimed a second ago by attempt `owner`.
pub(super) fn claimed(row: &Connection, owner: u32) -> Connection {
    edited(row, |active| {
        active.lease = Some(lease(owner));
        active.unknown_outcomes += 1;
    })
}

/// The lease that attempt `owner` took a second ago.
pub(super) fn lease(owner: u32) -> Lease {
    Lease { owner: attempt(owner), expires_at: NOW.minus(seconds(1)).plus(LEASE_STRICT) }
}

/// An intent to revoke the refresh token of pair `n`, of an account that nobody has here.
pub(super) fn owed(n: u32) -> Revocation {
    Revocation {
        version: version(n),
        refresh_token: sealed(n),
        account: account("another account"),
        issuer: issuer(),
        lease: None,
        attempts: 0,
    }
}

/// The row, flagged a minute ago under version `n`.
pub(super) fn flagged(row: &Connection, n: u32) -> Connection {
    let since = NOW.minus(seconds(60));
    let status = Status::ReauthorizationRequired { reason: ReauthorizationReason::Refused, since };
    let event = Some(EventMark::ReauthRequired);
    Connection { version: version(n), updated_at: since, event, status, ..row.clone() }
}

/// The row, disconnected a minute ago under version `n`; it owes its grant's revocation.
pub(super) fn gone(row: &Connection, n: u32) -> Connection {
    row.clone().disconnect(version(n), NOW.minus(seconds(60)), true)
}

/// The row, disconnected where nothing can be revoked.
pub(super) fn gone_owing_nothing(row: &Connection, n: u32) -> Connection {
    row.clone().disconnect(version(n), NOW.minus(seconds(60)), false)
}

/// The transaction that writes `row` as a first login.
pub(super) fn first_link(row: &Connection) -> Link {
    Link {
        connection: row.clone(),
        expected: Expected::Absent,
        user: User::new(row.key.user.clone(), NOW.minus(HOUR)),
        released: None,
        taken_from: None,
    }
}

/// Brings `row` into a store that has none there, by the port's own writes.
pub(super) async fn plant(store: &Store, row: &Connection) -> Checked {
    assert_eq!(row.check(), Ok(()), "a sample must be possible");
    let before = Connection {
        key: row.key.clone(),
        account: row.account.clone(),
        revocations: row.revocations.clone(),
        ..due(&key("sample"), 999_999)
    };
    match &row.status {
        Status::Active(_) => {
            assert_eq!(store.link(&first_link(row)).await?, LinkOutcome::Done);
        }
        Status::ReauthorizationRequired { reason, since } => {
            let before = Connection { scope: row.scope.clone(), created_at: row.created_at, ..before };
            assert_eq!(store.link(&first_link(&before)).await?, LinkOutcome::Done);
            let flag = Flag { version: before.version, new_version: row.version, reason: *reason, now: *since };
            let outcome = store.apply(&row.key, &Step::Flag(flag)).await?;
            assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
        }
        Status::Disconnected { .. } => {
            assert_eq!(store.link(&first_link(&before)).await?, LinkOutcome::Done);
            let unlink = Unlink { tombstone: row.clone(), expected: before.version };
            assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
        }
    }
    assert_eq!(strong(store, &row.key).await?.as_ref(), Some(row), "written and read back");
    Ok(())
}

/// The row as it is.
pub(super) async fn strong(store: &Store, key: &ConnectionKey) -> Result<Option<Connection>, StoreError> {
    Ok(rows(store, &key.user).await?.connection(&key.provider).cloned())
}

/// Everything of one person as it is.
pub(super) async fn rows(store: &Store, user: &UserId) -> Result<PersonRows, StoreError> {
    store.person(user, Consistency::Strong).await
}
