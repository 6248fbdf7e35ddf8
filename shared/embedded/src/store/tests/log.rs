use std::sync::Arc;

use mm_engine::ports::{ConnectionStore, EventSink as _, StoreError};
use mm_model::{
    Connection, Step,
    connection::RefreshError,
    event::{Change, ConnectionEvent, EventMark},
    limits::LEASE_STRICT,
    refresh::Claimed,
    step::{Seen, Sleep},
};

use super::fixture::{
    HOUR, LEASE, NOW, applied, claim, commit, connect, consent, disconnect, key, link, store, version,
};
use crate::store::{EVENTS_MAX, SqliteEvents, SqliteStore, changes};

async fn told_after(store: &SqliteStore, cursor: Option<&str>) -> Vec<Change> {
    store.changes(cursor).await.unwrap().changes
}

#[tokio::test]
async fn a_mark_is_told_once_by_the_write_that_sets_it() {
    let (_directory, store) = store();
    let connected = connect(&store, "ann", 1).await;
    let expected = Change {
        key: key("ann"),
        version: version(1),
        at: NOW,
        event: Some(EventMark::Connected),
        soon: None,
        revocations: Vec::new(),
    };
    assert_eq!(told_after(&store, None).await, [expected]);
    let first = store.changes(None).await.unwrap().next;
    // The row still bears its mark; a write that leaves it there tells nothing.
    let seen_at = connected.active().unwrap().seen_at;
    applied(&store, "ann", Step::Sleep(Sleep { version: version(1), seen_at, seat: None })).await;
    applied(&store, "ann", Step::Seen(Seen { now: NOW, seat: connected.active().unwrap().seat })).await;
    let due = NOW.plus(HOUR);
    let claimed = applied(&store, "ann", claim(1, due)).await;
    applied(&store, "ann", commit(claimed, 2, HOUR, due)).await;
    assert_eq!(told_after(&store, Some(&first)).await, []);
    let page = store.changes(Some(&first)).await.unwrap();
    assert_eq!(page.next, first);
    // Each refresh of a short token tells its instant anew.
    let claimed = applied(&store, "ann", claim(3, due.plus(HOUR))).await;
    let short = applied(&store, "ann", commit(claimed, 3, LEASE, due.plus(HOUR))).await;
    let soon = short.active().unwrap().soon;
    assert!(soon.is_some());
    let told = told_after(&store, Some(&first)).await;
    assert_eq!(told.iter().map(|change| (change.version, change.soon)).collect::<Vec<_>>(), [(version(3), soon)]);
}

#[tokio::test]
async fn a_degraded_connection_is_told_at_about_the_time_of_its_claim() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    let cursor = store.changes(None).await.unwrap().next;
    let mut at = NOW.plus(HOUR);
    for n in 0..3 {
        at = at.plus(LEASE);
        let claimed = Claimed::new(applied(&store, "ann", claim(n, at)).await).unwrap();
        applied(&store, "ann", Step::Release(claimed.release(RefreshError::Throttled, at))).await;
    }
    let told = told_after(&store, Some(&cursor)).await;
    let told: Vec<_> = told.iter().map(|change| (change.event, change.at)).collect();
    assert_eq!(told, [(Some(EventMark::Degraded), at.plus(LEASE).minus(LEASE_STRICT))]);
}

#[tokio::test]
async fn a_disconnect_tells_the_revocation_that_it_owes() {
    let (_directory, store) = store();
    let connected = connect(&store, "ann", 1).await;
    let cursor = store.changes(None).await.unwrap().next;
    disconnect(&store, &connected, 2, NOW.plus(HOUR), true).await;
    let told = told_after(&store, Some(&cursor)).await;
    let told: Vec<_> = told.iter().map(|change| (change.event, change.revocations.clone(), change.at)).collect();
    assert_eq!(told, [(Some(EventMark::Disconnected), vec![version(1)], NOW.plus(HOUR))]);
}

#[tokio::test]
async fn revocations_of_another_length_are_impossible() {
    let (_directory, store) = store();
    let connected = connect(&store, "ann", 1).await;
    disconnect(&store, &connected, 2, NOW.plus(HOUR), true).await;
    for length in [0_i64, 1, 15, 17, 31] {
        let tamper = move |unit: &mut crate::store::writer::Unit<'_>| {
            unit.sql.execute_batch("PRAGMA ignore_check_constraints = ON")?;
            Ok(unit.sql.execute("UPDATE changes SET revocations = zeroblob(?1) WHERE seq = 2", [length])?)
        };
        assert_eq!(store.writer.write("tamper", tamper).await.unwrap(), 1);
        let error = store.changes(None).await.unwrap_err();
        assert!(matches!(error, StoreError::Impossible { table: "changes", field: "revocations", .. }), "{error:?}");
    }
}

#[tokio::test]
async fn changes_come_in_pages_and_in_order() {
    let (_directory, store) = store();
    let count = u64::try_from(changes::CHANGE_PAGE_MAX).unwrap() + 5;
    for n in 0..count {
        connect(&store, &format!("user-{n}"), n).await;
    }
    let first = store.changes(None).await.unwrap();
    let second = store.changes(Some(&first.next)).await.unwrap();
    assert_eq!((first.changes.len(), second.changes.len()), (changes::CHANGE_PAGE_MAX, 5));
    let versions = first.changes.iter().chain(&second.changes).map(|change| change.version);
    assert!(versions.eq((0..count).map(version)));
    for nonsense in ["", "x", "-1"] {
        let error = store.changes(Some(nonsense)).await.unwrap_err();
        assert!(matches!(error, StoreError::Impossible { table: "changes", field: "cursor", .. }), "{error:?}");
    }
}

#[tokio::test]
async fn how_far_was_told_survives_and_never_goes_back() {
    let (directory, store) = store();
    assert_eq!(store.told().unwrap(), None);
    connect(&store, "ann", 1).await;
    connect(&store, "bob", 2).await;
    let next = store.changes(None).await.unwrap().next;
    store.set_told(&next).await.unwrap();
    store.set_told("1").await.unwrap();
    drop(store);
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.told().unwrap(), Some(next.clone()));
    assert_eq!(told_after(&store, Some(&next)).await, []);
}

#[tokio::test]
async fn pruning_spares_what_is_young_and_what_was_not_told_and_numbers_never_return() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    let ann = store.changes(None).await.unwrap().next;
    connect(&store, "bob", 2).await;
    let later = NOW.plus(changes::TOLD_KEPT_FOR);
    let versions = async || told_after(&store, None).await.into_iter().map(|change| change.version).collect::<Vec<_>>();
    store.purge(later.plus(HOUR)).await.unwrap();
    assert_eq!(versions().await, [version(1), version(2)], "nothing was told yet");
    store.set_told(&ann).await.unwrap();
    store.purge(later).await.unwrap();
    assert_eq!(versions().await, [version(1), version(2)], "not old enough by a second");
    store.purge(later.plus(HOUR)).await.unwrap();
    assert_eq!(versions().await, [version(2)]);
    let bob = store.changes(None).await.unwrap().next;
    store.set_told(&bob).await.unwrap();
    store.purge(later.plus(HOUR)).await.unwrap();
    assert_eq!(versions().await, []);
    connect(&store, "cyd", 3).await;
    assert_eq!(told_after(&store, Some(&bob)).await.len(), 1, "a cursor from before still works");
}

fn event(n: u64) -> ConnectionEvent {
    ConnectionEvent { id: format!("event-{n}"), kind: EventMark::Recovered, key: key("ann"), at: NOW }
}

#[tokio::test]
async fn events_are_kept_once_each_the_newest_first() {
    let (directory, store) = store();
    let store = Arc::new(store);
    let events = SqliteEvents::new(Arc::clone(&store));
    for n in [1, 2, 1, 3, 3] {
        events.publish(&event(n)).await.unwrap();
    }
    assert_eq!(store.recent_events(10).unwrap(), [event(3), event(2), event(1)]);
    assert_eq!(store.recent_events(1).unwrap(), [event(3)]);
    drop((events, store));
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.recent_events(u32::MAX).unwrap().len(), 3);
    store.purge(NOW.plus(HOUR * 24 * 31)).await.unwrap();
    assert_eq!(store.recent_events(10).unwrap(), []);
}

#[tokio::test]
async fn a_moved_account_tells_both_sides() {
    let (_directory, store) = store();
    let ann = connect(&store, "ann", 1).await;
    let cursor = store.changes(None).await.unwrap().next;
    let moved = Connection::establish(key("bob"), consent("account-of-ann", 2, HOUR), None, false);
    let mut link = link(&moved, mm_engine::ports::Expected::Absent);
    let tombstone = ann.clone().disconnect(version(3), NOW, false);
    link.taken_from = Some(mm_engine::ports::TakenFrom { tombstone, expected: version(1) });
    assert_eq!(store.link(&link).await.unwrap(), mm_engine::ports::LinkOutcome::Done);
    let told = told_after(&store, Some(&cursor)).await;
    let told: Vec<_> = told.iter().map(|change| (change.key.clone(), change.event)).collect();
    assert_eq!(told, [(key("ann"), Some(EventMark::Disconnected)), (key("bob"), Some(EventMark::Connected))]);
}

#[tokio::test]
async fn neither_log_grows_for_ever() {
    let (_directory, store) = store();
    let store = Arc::new(store);
    let surplus = 5;
    let fill = store.writer.write("fill both logs", move |unit| {
        let changes = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO changes (user_id, provider, version, at, event) \
             SELECT 'ann', 'spotify', zeroblob(16), ?2, 'connected' FROM n";
        unit.sql.execute(changes, [changes::CHANGES_MAX + surplus, i64::try_from(NOW.unix()).unwrap()])?;
        let events = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO events (event_id, kind, user_id, provider, at) \
             SELECT 'event-' || i, 'connected', 'ann', 'spotify', ?2 FROM n";
        // Of somebody who is here: what was told of people who are gone is deleted.
        unit.sql.execute("INSERT INTO users (user_id, created_at, ended_sessions) VALUES ('ann', 0, '[]')", [])?;
        unit.sql.execute(events, [i64::from(EVENTS_MAX) + surplus, i64::try_from(NOW.unix()).unwrap()])?;
        Ok(())
    });
    fill.await.unwrap();
    store.purge(NOW).await.unwrap();
    let oldest = store.changes(None).await.unwrap().next;
    let page = i64::try_from(changes::CHANGE_PAGE_MAX).unwrap();
    assert_eq!(oldest, (surplus + page).to_string(), "the oldest go, told or not");
    SqliteEvents::new(Arc::clone(&store)).publish(&event(0)).await.unwrap();
    let kept = store.recent_events(u32::MAX).unwrap();
    assert_eq!(kept.len(), usize::try_from(EVENTS_MAX).unwrap());
    assert_eq!((&kept[0].id, &kept[kept.len() - 1].id), (&"event-0".to_owned(), &"event-7".to_owned()));
}
