//! `kill -9` in the middle of writing: what was acknowledged is there, what is there is whole, and the lock is free.
#![expect(clippy::unwrap_used, reason = "clippy does not see that the helpers of an integration test are tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use mm_embedded::store::SqliteStore;
use mm_engine::ports::{ConnectionStore, Consistency, Expected, Link, LinkOutcome};
use mm_model::{Connection, ConnectionKey, Sealed, Timestamp, User, UserId, Version, login::Consent};
use tempfile::TempDir;

/// Marks a directory in which the child may write: it is a test only when its parent started it.
const MARKER: &str = "victim";

/// Tasks that write at the same time, so that commits hold several rows.
const WRITERS: u64 = 8;

/// Rows after which the child ends by itself, should nobody kill it.
const ROWS_MAX: u64 = 50_000;

const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

fn user(n: u64) -> UserId {
    format!("user-{n}").parse().unwrap()
}

fn login(n: u64) -> Link {
    let mut version = [0; 16];
    version[..8].copy_from_slice(&n.to_be_bytes());
    let lifetime = Duration::from_hours(1);
    let consent = Consent {
        issuer: "https://provider.test client".parse().unwrap(),
        account: format!("account-{n}").parse().unwrap(),
        version: Version::from_bytes(version),
        access_token: Sealed::from_bytes(vec![0xA5; 600]),
        refresh_token: Some(Sealed::from_bytes(vec![0x5A; 300])),
        lifetime: lifetime.as_secs(),
        expires_at: NOW.plus(lifetime),
        scope: None,
        grant_lifetime: None,
        now: NOW,
    };
    let key = ConnectionKey { user: user(n), provider: "spotify".parse().unwrap() };
    Link {
        connection: Connection::establish(key, consent, None, false),
        expected: Expected::Absent,
        user: User::new(user(n), NOW),
        released: None,
        taken_from: None,
    }
}

/// Started by the test below in a directory with the marker; prints the number of each row that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test below"]
async fn writes_until_killed() {
    let Ok(first) = fs::read_to_string(MARKER) else { return };
    let first: u64 = first.parse().unwrap();
    let store = Arc::new(SqliteStore::open(Path::new(".")).unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in (first + writer..first + ROWS_MAX).step_by(usize::try_from(WRITERS).unwrap()) {
                    assert_eq!(store.link(&login(n)).await.unwrap(), LinkOutcome::Done);
                    println!("acknowledged {n}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_a_kill() {
    let directory = TempDir::new().unwrap();
    let mut acknowledged = Vec::new();
    for (round, patience) in [1, 3, 10, 40, 100, 250].into_iter().enumerate() {
        let first = u64::try_from(round).unwrap() * ROWS_MAX;
        fs::write(directory.path().join(MARKER), first.to_string()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "writes_until_killed"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut rows = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .filter_map(|line| line.unwrap().rsplit_once("acknowledged ").map(|(_, n)| n.parse::<u64>().unwrap()));
        let seen: Vec<_> = rows.by_ref().take(patience).collect();
        assert_eq!(seen.len(), patience, "the child ended before it was killed");
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(seen);
        // What it still had said when it died.
        acknowledged.extend(rows);

        let store = SqliteStore::open(directory.path()).unwrap();
        for n in &acknowledged {
            let expected = login(*n);
            let rows = store.person(&user(*n), Consistency::Strong).await.unwrap();
            assert_eq!(rows.connections, std::slice::from_ref(&expected.connection), "row {n}");
            assert_eq!(rows.user, Some(expected.user), "row {n}");
            let key = &expected.connection.key;
            let owner = store.owner(&key.provider, &expected.connection.account).await.unwrap();
            assert_eq!(owner, Some(user(*n)), "row {n}");
        }
        // A row that was not acknowledged may be there, but only with everything that belongs to it.
        for n in first..first + 2 * WRITERS * 250 {
            let rows = store.person(&user(n), Consistency::Strong).await.unwrap();
            assert_eq!(rows.user.is_some(), !rows.connections.is_empty(), "row {n}");
        }
    }
}
