//! What the stream is told: each mark once, in the order of its row's changes, from any place on.

use mm_model::{
    Connection, ConnectionKey, Seat, Step, Timestamp, Version,
    event::{Change, EventMark},
    limits::{LEASE_REUSABLE, LEASE_STRICT},
    step::{Claim, ClaimRevocation, Commit, FinishRevocation, Handoff, Release, Reseal, Seen, Sleep},
};

use super::samples::{
    AWAKE, Checked, HOUR, NOW, Store, attempt, due, edited, first_link, gone, key, owed, plant, sealed, seconds,
    version,
};
use crate::ports::{Expected, Link, LinkOutcome, Outcome, StoreError, Unlink};

/// Pages read in a row at most: a store that hands out cursors for ever fails rather than hangs.
const PAGES_MAX: usize = 10_000;

/// Empty pages in a row after which nothing more is expected: a stream may have several shards, and gaps between records.
const EMPTY_PAGES_MAX: usize = 3;

/// Every change after `cursor`, and where it goes on.
pub(super) async fn after(store: &Store, cursor: Option<&str>) -> Result<(Vec<Change>, String), StoreError> {
    let mut cursor = cursor.map(ToOwned::to_owned);
    let (mut changes, mut empty) = (Vec::new(), 0);
    for _ in 0..PAGES_MAX {
        let page = store.changes(cursor.as_deref()).await?;
        empty = if page.changes.is_empty() { empty + 1 } else { 0 };
        changes.extend(page.changes);
        if empty == EMPTY_PAGES_MAX {
            return Ok((changes, page.next));
        }
        cursor = Some(page.next);
    }
    unreachable!("the changes have no end");
}

/// Every change from the oldest kept.
pub(super) async fn all(store: &Store) -> Result<Vec<Change>, StoreError> {
    Ok(after(store, None).await?.0)
}

/// What a change says, apart from its time.
type Told = (Version, Option<EventMark>, Option<Timestamp>, Vec<Version>);

/// What was told of one row, in order.
pub(super) fn of(changes: &[Change], key: &ConnectionKey) -> Vec<Told> {
    let told = |change: &Change| (change.version, change.event, change.soon, change.revocations.clone());
    changes.iter().filter(|change| change.key == *key).map(told).collect()
}

async fn applies(store: &Store, key: &ConnectionKey, step: Step) -> Result<Connection, StoreError> {
    match store.apply(key, &step).await? {
        Outcome::Applied(row) => Ok(row),
        refused @ Outcome::Refused(..) => unreachable!("the case's own step is refused: {refused:?}"),
    }
}

fn connected(row: &Connection) -> Connection {
    Connection { event: Some(EventMark::Connected), ..row.clone() }
}

fn claim(by: u32, now: Timestamp) -> Step {
    Step::Claim(Claim { attempt: attempt(by), now, lease: LEASE_STRICT, awake_window: AWAKE })
}

fn commit(consumed: u32, n: u32, event: Option<EventMark>, soon: Option<Timestamp>) -> Step {
    Step::Commit(Box::new(Commit {
        consumed: version(consumed),
        version: version(n),
        access_token: sealed(n),
        refresh_token: Some(sealed(n + 1)),
        expires_at: NOW.plus(HOUR),
        lifetime: 3600,
        scope: None,
        now: NOW,
        next_refresh_at: NOW,
        soon,
        reseat: None,
        misfits: 0,
        warned_days: None,
        event,
    }))
}

pub(super) async fn nothing_is_told_of_an_empty_table(store: Store) -> Checked {
    let (changes, next) = after(&store, None).await?;
    assert_eq!(changes, []);
    assert_eq!(after(&store, Some(&next)).await?.0, []);
    Ok(())
}

pub(super) async fn each_mark_is_told_once_and_in_order(store: Store) -> Checked {
    let row = connected(&due(&key("ann"), 1));
    plant(&store, &row).await?;
    let own = row.key.clone();
    let soon = NOW.plus(seconds(9));
    applies(&store, &own, claim(1, NOW)).await?;
    applies(&store, &own, commit(1, 2, None, Some(soon))).await?;
    applies(&store, &own, claim(2, NOW)).await?;
    applies(&store, &own, commit(2, 3, Some(EventMark::Recovered), Some(soon))).await?;
    let last = applies(&store, &own, commit(3, 4, Some(EventMark::ReauthDue), None)).await?;
    let unlink = Unlink { tombstone: gone(&last, 5), expected: version(4) };
    assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
    let again = connected(&due(&own, 6));
    let link = Link { expected: Expected::Version(version(5)), ..first_link(&again) };
    assert_eq!(store.link(&link).await?, LinkOutcome::Done);
    let expected = [
        (version(1), Some(EventMark::Connected), None, vec![]),
        (version(2), None, Some(soon), vec![]),
        (version(3), Some(EventMark::Recovered), Some(soon), vec![]),
        (version(4), Some(EventMark::ReauthDue), None, vec![]),
        (version(5), Some(EventMark::Disconnected), None, vec![version(4)]),
        (version(6), Some(EventMark::Connected), None, vec![]),
    ];
    let changes = all(&store).await?;
    assert_eq!(of(&changes, &own), expected);
    assert_eq!(changes.len(), expected.len(), "and of no other row");
    Ok(())
}

pub(super) async fn everything_owed_is_told_the_oldest_first(store: Store) -> Checked {
    // Down to the order: by their numbers they would come otherwise.
    let row = Connection { revocations: vec![owed(32), owed(30), owed(31)], ..connected(&due(&key("ann"), 1)) };
    plant(&store, &row).await?;
    let own = row.key.clone();
    let claim = ClaimRevocation { revocation: version(30), attempt: attempt(1), now: NOW, lease: LEASE_REUSABLE };
    applies(&store, &own, Step::ClaimRevocation(claim)).await?;
    let done = FinishRevocation { revocation: version(30), attempt: attempt(1) };
    let last = applies(&store, &own, Step::FinishRevocation(done)).await?;
    let unlink = Unlink { tombstone: gone(&last, 5), expected: version(1) };
    assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
    let expected = [
        (version(1), Some(EventMark::Connected), None, vec![version(32), version(30), version(31)]),
        (version(5), Some(EventMark::Disconnected), None, vec![version(32), version(31), version(1)]),
    ];
    assert_eq!(of(&all(&store).await?, &own), expected);
    Ok(())
}

pub(super) async fn an_unmarked_write_tells_nothing(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    plant(&store, &row).await?;
    let own = row.key.clone();
    let seat = Seat::fast(&own, HOUR);
    applies(&store, &own, claim(1, NOW)).await?;
    applies(&store, &own, commit(1, 2, None, None)).await?;
    applies(&store, &own, Step::Seen(Seen { now: NOW, seat: Some(seat) })).await?;
    applies(&store, &own, Step::Sleep(Sleep { version: version(2), seen_at: NOW, seat: None })).await?;
    let refused = store.apply(&own, &claim(2, NOW.minus(HOUR))).await?;
    assert!(matches!(refused, Outcome::Refused(..)), "{refused:?}");
    store.end_all_sessions(&own.user, NOW).await?;
    assert_eq!(all(&store).await?, []);
    Ok(())
}

pub(super) async fn a_standing_mark_is_not_told_again(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    plant(&store, &row).await?;
    let own = row.key.clone();
    applies(&store, &own, claim(1, NOW)).await?;
    let degraded = mm_model::step::Unknown {
        version: version(1),
        attempt: attempt(1),
        next_refresh_at: NOW,
        attempts: 3,
        error: mm_model::connection::RefreshError::Unavailable,
        event: Some(EventMark::Degraded),
    };
    applies(&store, &own, Step::Unknown(degraded)).await?;
    let (to, lease) = (attempt(2), LEASE_STRICT);
    let handoff = Handoff { version: version(1), from: attempt(1), to, now: NOW, lease };
    applies(&store, &own, Step::Handoff(handoff)).await?;
    applies(&store, &own, Step::Sleep(Sleep { version: version(1), seen_at: NOW.minus(HOUR), seat: None })).await?;
    let later = NOW.plus(LEASE_STRICT).plus(seconds(1));
    let reseal = Reseal { version: version(1), access_token: sealed(8), refresh_token: None, now: later };
    applies(&store, &own, Step::Reseal(Box::new(reseal))).await?;
    assert_eq!(of(&all(&store).await?, &own), [(version(1), Some(EventMark::Degraded), None, vec![])]);
    Ok(())
}

pub(super) async fn a_mark_set_again_is_told_again(store: Store) -> Checked {
    let row = edited(&due(&key("ann"), 1), |active| active.soon = Some(NOW));
    plant(&store, &row).await?;
    let own = row.key.clone();
    for by in [1, 2] {
        applies(&store, &own, claim(by, NOW)).await?;
        let release = Release {
            version: version(1),
            attempt: attempt(by),
            next_refresh_at: NOW,
            unknown_outcomes: 0,
            attempts: 3,
            error: mm_model::connection::RefreshError::Throttled,
            event: Some(EventMark::Degraded),
        };
        applies(&store, &own, Step::Release(release)).await?;
    }
    let degraded = (version(1), Some(EventMark::Degraded), None, vec![]);
    assert_eq!(of(&all(&store).await?, &own), [(version(1), None, Some(NOW), vec![]), degraded.clone(), degraded]);
    Ok(())
}

pub(super) async fn a_cursor_goes_on_where_it_was(store: Store) -> Checked {
    let (none, start) = after(&store, None).await?;
    assert_eq!(none, []);
    let names = ["ann", "bob", "cleo"];
    let mut told = Vec::new();
    let mut cursor = start.clone();
    for (n, name) in (1..).zip(names) {
        plant(&store, &connected(&due(&key(name), n))).await?;
        let (changes, next) = after(&store, Some(&cursor)).await?;
        assert_eq!(changes.len(), 1, "only what is new");
        assert_eq!(changes[0].key, key(name));
        told.extend(changes);
        cursor = next;
    }
    assert_eq!(after(&store, Some(&start)).await?.0, told, "an old cursor is good again");
    assert_eq!(all(&store).await?, told, "and so is none");
    assert_eq!(after(&store, Some(&cursor)).await?.0, []);
    Ok(())
}

/// Rows that change in the case of many changes.
const MANY_ROWS: u32 = 40;

/// Marking writes to each of them: with [`MANY_ROWS`], more than any page holds that we know of.
const MANY_COMMITS: u32 = 30;

pub(super) async fn many_changes_lose_nothing_and_keep_their_rows_order(store: Store) -> Checked {
    let chains = (0..MANY_ROWS).map(|n| {
        let store = store.clone();
        async move {
            let own = key(&format!("person-{n}"));
            plant(&store, &due(&own, 1)).await?;
            for n in 1..=MANY_COMMITS {
                let soon = NOW.plus(seconds(u64::from(n)));
                applies(&store, &own, commit(n, n + 1, None, Some(soon))).await?;
            }
            Ok::<_, StoreError>(own)
        }
    });
    let keys = futures_util::future::try_join_all(chains).await?;
    let expected: Vec<Told> =
        (1..=MANY_COMMITS).map(|n| (version(n + 1), None, Some(NOW.plus(seconds(u64::from(n)))), vec![])).collect();
    let changes = all(&store).await?;
    for key in keys {
        assert_eq!(of(&changes, &key), expected, "{key}");
    }
    Ok(())
}
