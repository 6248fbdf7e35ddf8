//! A store in a directory of its own, and rows that the model made.

use std::time::Duration;

use mm_engine::ports::{ConnectionStore, Consistency, Expected, Link, LinkOutcome, Outcome, Unlink};
use mm_model::{
    AttemptId, Connection, ConnectionKey, Sealed, Step, Timestamp, User, Version,
    login::Consent,
    refresh::{Claimed, Refreshed},
    step::Claim,
};
use tempfile::TempDir;

use crate::store::SqliteStore;

pub(super) const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);
pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const LEASE: Duration = Duration::from_mins(2);

pub(super) fn store() -> (TempDir, SqliteStore) {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    (directory, store)
}

pub(super) fn key(user: &str) -> ConnectionKey {
    ConnectionKey { user: user.parse().unwrap(), provider: "spotify".parse().unwrap() }
}

pub(super) fn version(n: u64) -> Version {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Version::from_bytes(bytes)
}

pub(super) fn attempt(n: u64) -> AttemptId {
    AttemptId::from_bytes(*version(n).as_bytes())
}

pub(super) fn sealed(text: &str) -> Sealed {
    Sealed::from_bytes(text.as_bytes().to_vec())
}

pub(super) fn consent(account: &str, n: u64, lifetime: Duration) -> Consent {
    Consent {
        issuer: "https://provider.test client".parse().unwrap(),
        account: account.parse().unwrap(),
        version: version(n),
        access_token: sealed("access"),
        refresh_token: Some(sealed("refresh")),
        lifetime: lifetime.as_secs(),
        expires_at: NOW.plus(lifetime),
        scope: Some("read".to_owned()),
        grant_lifetime: Some(HOUR * 24 * 182),
        now: NOW,
    }
}

/// The row of a first login: account `account-of-<user>`, a one-hour token.
pub(super) fn row(user: &str, n: u64) -> Connection {
    Connection::establish(key(user), consent(&format!("account-of-{user}"), n, HOUR), None, false)
}

pub(super) fn link(connection: &Connection, expected: Expected) -> Link {
    Link {
        connection: connection.clone(),
        expected,
        user: User::new(connection.key.user.clone(), NOW),
        released: None,
        taken_from: None,
    }
}

/// Connects `user` with version `n`.
pub(super) async fn connect(store: &SqliteStore, user: &str, n: u64) -> Connection {
    let connection = row(user, n);
    assert_eq!(store.link(&link(&connection, Expected::Absent)).await.unwrap(), LinkOutcome::Done);
    connection
}

/// Disconnects the row with version `n`.
pub(super) async fn disconnect(
    store: &SqliteStore,
    row: &Connection,
    n: u64,
    now: Timestamp,
    revoke: bool,
) -> Connection {
    let tombstone = row.clone().disconnect(version(n), now, revoke);
    let unlink = Unlink { tombstone: tombstone.clone(), expected: row.version };
    assert_eq!(store.unlink(&unlink).await.unwrap(), LinkOutcome::Done);
    tombstone
}

pub(super) async fn read(store: &SqliteStore, user: &str) -> Option<Connection> {
    let key = key(user);
    store.person(&key.user, Consistency::Strong).await.unwrap().connection(&key.provider).cloned()
}

pub(super) async fn applied(store: &SqliteStore, user: &str, step: Step) -> Connection {
    match store.apply(&key(user), &step).await.unwrap() {
        Outcome::Applied(row) => row,
        Outcome::Refused(refusal, _) => panic!("{step:?} was refused: {refusal:?}"),
    }
}

pub(super) fn claim(n: u64, now: Timestamp) -> Step {
    Step::Claim(Claim { attempt: attempt(n), now, lease: LEASE, awake_window: HOUR * 24 })
}

/// The commit that follows a claim.
pub(super) fn commit(claimed: Connection, n: u64, lifetime: Duration, now: Timestamp) -> Step {
    let refreshed = Refreshed {
        version: version(n),
        access_token: sealed("newer access"),
        refresh_token: Some(sealed("newer refresh")),
        lifetime,
        scope: None,
        now,
    };
    Step::Commit(Box::new(Claimed::new(claimed).unwrap().commit(refreshed)))
}
