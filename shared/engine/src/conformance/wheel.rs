//! The sparse index: exactly the connections that sit in a seat, sooner or later, page by page.

use std::collections::BTreeSet;

use mm_model::{
    Connection, ConnectionKey, Seat, Step, Timestamp,
    connection::ReauthorizationReason,
    limits::LEASE_STRICT,
    step::{Claim, Commit, Flag, Seen, Sleep},
};

use super::samples::{
    AWAKE, Checked, HOUR, NOW, Store, account, at, attempt, due, edited, first_link, flagged, gone, key, plant, sealed,
    version,
};
use crate::ports::{LinkOutcome, Outcome, StoreError, Unlink};

/// Looks at the index until it has caught up; an index that has not by then is broken, not slow.
const LOOKS_MAX: u32 = 200;

/// Pages of one seat at most: a store that hands out cursors for ever fails rather than hangs.
const PAGES_MAX: usize = 10_000;

/// Connections in the case of many pages: more than a page of either engine holds, were every row as large as it may be.
const CROWD: u32 = 1200;

/// Links at once while the crowd gathers.
const LINKS_AT_ONCE: usize = 64;

/// Every key in a seat, page by page, each once.
async fn sitting(store: &Store, seat: Seat) -> Result<BTreeSet<ConnectionKey>, StoreError> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let page = store.seated(seat, cursor.as_deref()).await?;
        keys.extend(page.keys);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(cursor, None, "the seat has an end");
    let each: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(each.len(), keys.len(), "each key once");
    Ok(each)
}

/// Asserts that the index comes to hold exactly these.
async fn comes_to_hold(store: &Store, seat: Seat, expected: &[&ConnectionKey]) -> Checked {
    let expected = expected.iter().map(|key| (*key).clone()).collect();
    settles(store, seat, &expected, |_| true).await
}

/// Asserts that of `among` the index comes to hold exactly `expected`.
pub(super) async fn comes_to_hold_among(
    store: &Store,
    seat: Seat,
    among: &BTreeSet<ConnectionKey>,
    expected: &BTreeSet<ConnectionKey>,
) -> Checked {
    settles(store, seat, expected, |key| among.contains(key)).await
}

async fn settles(
    store: &Store,
    seat: Seat,
    expected: &BTreeSet<ConnectionKey>,
    counts: impl Fn(&ConnectionKey) -> bool,
) -> Checked {
    let mut sat = BTreeSet::new();
    for _ in 0..LOOKS_MAX {
        sat = sitting(store, seat).await?;
        sat.retain(&counts);
        if sat == *expected {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(sat, *expected, "seat {seat}");
    Ok(())
}

async fn applies(store: &Store, key: &ConnectionKey, step: Step) -> Checked {
    let outcome = store.apply(key, &step).await?;
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
    Ok(())
}

fn seated(row: &Connection, seat: Option<Seat>) -> Connection {
    edited(row, |active| active.seat = seat)
}

/// A seat that is nobody's by hash: `slot` of the 50-minute period.
fn seat(slot: u32) -> Seat {
    let parsed = format!("fast-50-{slot}").parse();
    let Ok(seat) = parsed else { unreachable!("{slot} is a slot of 50") };
    seat
}

pub(super) async fn only_who_sits_there_is_found(store: Store) -> Checked {
    let (ann, bob, other) = (key("ann"), at("bob", "spotify"), key("other"));
    plant(&store, &seated(&due(&ann, 1), Some(seat(7)))).await?;
    plant(&store, &seated(&due(&bob, 2), Some(seat(7)))).await?;
    plant(&store, &seated(&due(&other, 3), Some(seat(8)))).await?;
    plant(&store, &seated(&due(&key("asleep"), 4), None)).await?;
    plant(&store, &flagged(&due(&key("flagged"), 5), 6)).await?;
    plant(&store, &gone(&due(&key("gone"), 7), 8)).await?;
    comes_to_hold(&store, seat(7), &[&ann, &bob]).await?;
    comes_to_hold(&store, seat(8), &[&other]).await?;
    comes_to_hold(&store, seat(9), &[]).await?;
    for left in ["flagged", "gone"] {
        comes_to_hold(&store, Seat::fast(&key(left), HOUR), &[]).await?;
    }
    Ok(())
}

fn commit(consumed: u32, n: u32, reseat: Option<Seat>) -> Step {
    Step::Commit(Box::new(Commit {
        consumed: version(consumed),
        version: version(n),
        access_token: sealed(n),
        refresh_token: Some(sealed(n + 1)),
        expires_at: NOW.plus(HOUR),
        lifetime: 3600,
        scope: None,
        now: NOW,
        next_refresh_at: NOW.plus(HOUR / 2),
        soon: None,
        reseat,
        misfits: 0,
        warned_days: None,
        event: None,
    }))
}

pub(super) async fn a_seat_follows_every_step(store: Store) -> Checked {
    let own = key("ann");
    plant(&store, &seated(&due(&own, 1), Some(seat(7)))).await?;
    let claim = Claim { attempt: attempt(1), now: NOW, lease: LEASE_STRICT, awake_window: AWAKE };
    applies(&store, &own, Step::Claim(claim)).await?;
    applies(&store, &own, commit(1, 2, None)).await?;
    comes_to_hold(&store, seat(7), &[&own]).await?;

    applies(&store, &own, commit(2, 3, Some(seat(8)))).await?;
    comes_to_hold(&store, seat(7), &[]).await?;
    comes_to_hold(&store, seat(8), &[&own]).await?;

    let seen_at = NOW.minus(HOUR);
    let sleep = |seen_at: Timestamp, seat| Step::Sleep(Sleep { version: version(3), seen_at, seat });
    applies(&store, &own, sleep(seen_at, None)).await?;
    comes_to_hold(&store, seat(8), &[]).await?;

    applies(&store, &own, sleep(seen_at, Some(Seat::slow(&own)))).await?;
    comes_to_hold(&store, Seat::slow(&own), &[&own]).await?;

    applies(&store, &own, Step::Seen(Seen { now: NOW, seat: Some(seat(9)) })).await?;
    comes_to_hold(&store, Seat::slow(&own), &[]).await?;
    comes_to_hold(&store, seat(9), &[&own]).await?;

    let refused = store.apply(&own, &sleep(seen_at, None)).await?;
    assert!(matches!(refused, Outcome::Refused(..)), "{refused:?}");
    comes_to_hold(&store, seat(9), &[&own]).await?;

    let reason = ReauthorizationReason::Refused;
    applies(&store, &own, Step::Flag(Flag { version: version(3), new_version: version(4), reason, now: NOW })).await?;
    comes_to_hold(&store, seat(9), &[]).await
}

pub(super) async fn a_disconnect_leaves_its_seat(store: Store) -> Checked {
    let row = seated(&due(&key("ann"), 1), Some(seat(7)));
    plant(&store, &row).await?;
    comes_to_hold(&store, seat(7), &[&row.key]).await?;
    let unlink = Unlink { tombstone: gone(&row, 2), expected: version(1) };
    assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
    comes_to_hold(&store, seat(7), &[]).await
}

pub(super) async fn a_crowd_is_read_page_by_page(store: Store) -> Checked {
    use futures_util::{StreamExt as _, TryStreamExt as _, stream};

    let rows = (0..CROWD).map(|n| {
        let row = Connection { account: account(&format!("account {n}")), ..due(&key(&format!("person-{n}")), n) };
        seated(&row, Some(seat(7)))
    });
    let keys: Vec<_> = rows.clone().map(|row| row.key).collect();
    let links = rows.map(|row| {
        let store = store.clone();
        async move { store.link(&first_link(&row)).await }
    });
    stream::iter(links)
        .buffer_unordered(LINKS_AT_ONCE)
        .try_for_each(|outcome| async move {
            assert_eq!(outcome, LinkOutcome::Done);
            Ok(())
        })
        .await?;
    comes_to_hold(&store, seat(7), &keys.iter().collect::<Vec<_>>()).await
}

pub(super) async fn an_empty_wheel_passes(store: Store) -> Checked {
    for seat in Seat::passing(NOW.minute()) {
        let page = store.seated(seat, None).await?;
        assert_eq!((page.keys.len(), page.next), (0, None), "seat {seat}");
    }
    Ok(())
}
