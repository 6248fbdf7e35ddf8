use std::{sync::Arc, time::Duration};

use mm_engine::ports::{ConnectionStore, EventSink as _, Expected, LinkOutcome, Nudge, StateHash, Trigger};
use mm_model::{
    Connection, Seat, Step, Timestamp,
    connection::RefreshError,
    event::{ConnectionEvent, EventMark},
    limits::{AFTER_LEASE, NUDGE_SLACK, PENDING_LOGIN_LIFETIME, TOMBSTONE_LIFETIME},
    login::{Intent, PendingLogin, Person},
    step::{ClaimRevocation, FinishRevocation, Release, Sleep},
    wheel,
};

use super::fixture::{
    HOUR, LEASE, NOW, applied, attempt, claim, connect, consent, disconnect, key, link, read, store, version,
};

use crate::store::{OwedNudge, SqliteEvents};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_restart_gives_back_the_nudges_that_a_queue_in_memory_lost() {
    let (_directory, store) = store();
    let ann = connect(&store, "ann", 1).await;
    let asleep = connect(&store, "asleep", 2).await;
    let seen_at = asleep.active().unwrap().seen_at;
    applied(&store, "asleep", Step::Sleep(Sleep { version: version(2), seen_at, seat: None })).await;
    let short = Connection::establish(key("short"), consent("s", 3, SECOND * 60), None, false);
    assert_eq!(store.link(&link(&short, Expected::Absent)).await.unwrap(), LinkOutcome::Done);
    let gone = connect(&store, "gone", 4).await;
    disconnect(&store, &gone, 5, NOW, true).await;
    let gone = connect(&store, "leaving", 6).await;
    disconnect(&store, &gone, 7, NOW, true).await;
    let (revocation, lease) = (version(6), LEASE);
    let revoking = ClaimRevocation { revocation, attempt: attempt(1), now: NOW, lease };
    applied(&store, "leaving", Step::ClaimRevocation(revoking)).await;

    let next = ann.active().unwrap().next_refresh_at;
    let due = |user| Nudge { key: key(user), trigger: Trigger::Due };
    let revoke = |user, n| Nudge { key: key(user), trigger: Trigger::Revoke { revocation: version(n) } };
    let soon = short.active().unwrap().soon.unwrap();
    assert!(soon < short.active().unwrap().next_refresh_at.plus(NUDGE_SLACK));
    let always = [
        (due("short"), soon.since(NOW)),
        (revoke("gone", 4), Duration::ZERO),
        (revoke("leaving", 6), LEASE + AFTER_LEASE),
    ];
    let far = next.since(NOW);
    let lost = store.nudges_lost_by_restart(NOW, next.minus(SECOND).since(NOW)).await.unwrap();
    assert_eq!(lost, always, "due a second later than asked for");
    let lost = store.nudges_lost_by_restart(NOW, far).await.unwrap();
    let mut expected = always.to_vec();
    expected.insert(0, (due("ann"), far + NUDGE_SLACK));
    assert_eq!(lost, expected);
    // An attempt of the process before still holds a lease: a nudge before its end would be refused and end.
    let now = NOW.plus(HOUR);
    applied(&store, "ann", claim(9, now)).await;
    let lost = store.nudges_lost_by_restart(now.plus(SECOND), Duration::ZERO).await.unwrap();
    assert_eq!(lost[0], (due("ann"), NOW.plus(LEASE + AFTER_LEASE).since(NOW.plus(SECOND))));
    let after = now.plus(LEASE);
    let overdue = after.since(next.plus(NUDGE_SLACK));
    let spread = wheel::spread_instant(&key("ann"), after, overdue.min(HOUR / 6)).since(after);
    let lost = store.nudges_lost_by_restart(after, Duration::ZERO).await.unwrap();
    assert_eq!(lost[0], (due("ann"), spread));
}

#[tokio::test]
async fn a_restart_spreads_what_is_overdue_over_ten_minutes_or_as_long_as_it_is_overdue() {
    let (_directory, store) = store();
    let fill = store.writer.write("fill", |unit| {
        for n in 0..600 {
            crate::store::connections::write(unit, None, &super::fixture::row(&format!("user-{n}"), n))?;
        }
        Ok(())
    });
    fill.await.unwrap();
    // All tokens are of one second, and their passes within the last twelve minutes.
    for (away, within) in [(HOUR * 5, HOUR / 6), (HOUR, HOUR / 6)] {
        let now = NOW.plus(away);
        let lost = store.nudges_lost_by_restart(now, Duration::ZERO).await.unwrap();
        assert_eq!(lost.len(), 600);
        let minutes: Vec<_> = (0..10).map(|n| (n * SECOND * 60, (n + 1) * SECOND * 60)).collect();
        let in_minute =
            |(from, to): &(Duration, Duration)| lost.iter().filter(|(_, delay)| (from..to).contains(&delay)).count();
        assert!(lost.iter().all(|(_, delay)| *delay < within), "after {away:?}");
        let counts: Vec<_> = minutes.iter().map(in_minute).collect();
        assert!(counts[0] < 200, "no herd after {away:?}: {counts:?}");
    }
    let first = lost_within(&store, NOW.plus(HOUR * 5)).await;
    assert!(first.iter().filter(|delay| **delay >= SECOND * 300).count() > 200, "the second half has its share");
}

async fn lost_within(store: &crate::store::SqliteStore, now: Timestamp) -> Vec<Duration> {
    let lost = store.nudges_lost_by_restart(now, Duration::ZERO).await.unwrap();
    lost.into_iter().map(|(_, delay)| delay).collect()
}

#[tokio::test]
async fn a_restart_wakes_no_sleeper_but_one_that_was_being_refreshed_or_retried() {
    let (_directory, store) = store();
    for (user, n) in [("idle", 1), ("refreshing", 2), ("retrying", 3)] {
        let row = connect(&store, user, n).await;
        let seen_at = row.active().unwrap().seen_at;
        let seat = Some(Seat::slow(&key(user)));
        applied(&store, user, Step::Sleep(Sleep { version: version(n), seen_at, seat })).await;
    }
    let now = NOW.plus(HOUR * 24 * 10);
    applied(&store, "refreshing", claim(9, now)).await;
    applied(&store, "retrying", claim(8, now)).await;
    let release = Release {
        version: version(3),
        attempt: attempt(8),
        next_refresh_at: now.plus(HOUR),
        unknown_outcomes: 0,
        attempts: 1,
        error: RefreshError::Throttled,
        event: None,
    };
    applied(&store, "retrying", Step::Release(release)).await;
    // Dead or alive, a lease says that somebody was at it.
    for later in [now.plus(HOUR * 2), now.plus(LEASE / 2)] {
        let lost = store.nudges_lost_by_restart(later, HOUR * 2).await.unwrap();
        let whom: Vec<_> = lost.iter().map(|(nudge, _)| nudge.key.user.as_str()).collect();
        assert_eq!(whom, ["refreshing", "retrying"]);
    }
}

#[tokio::test]
async fn a_restart_finds_every_row_of_many_pages() {
    let (_directory, store) = store();
    let fill = store.writer.write("fill", |unit| {
        for n in 0..2_500 {
            crate::store::connections::write(unit, None, &super::fixture::row(&format!("user-{n}"), n))?;
        }
        Ok(())
    });
    fill.await.unwrap();
    let lost = store.nudges_lost_by_restart(NOW, HOUR).await.unwrap();
    assert_eq!(lost.len(), 2_500);
}

fn login() -> PendingLogin {
    PendingLogin {
        provider: "spotify".parse().unwrap(),
        person: Person::Provisional { user: "ann".parse().unwrap() },
        browser: vec![1; 32],
        code_verifier: "canary-verifier".to_owned(),
        redirect_uri: "http://127.0.0.1:8080/auth/spotify/callback".to_owned(),
        return_to: "http://127.0.0.1:8080/".to_owned(),
        intent: Intent::Replace,
        reconsent: true,
        created_at: NOW,
    }
}

#[tokio::test]
async fn a_login_under_a_used_state_is_refused_without_showing_it() {
    let (_directory, store) = store();
    let state = StateHash([7; 32]);
    store.begin_login(&state, &login()).await.unwrap();
    store.begin_login(&state, &login()).await.expect("my own write, repeated");
    let other = PendingLogin { code_verifier: "canary-other".to_owned(), ..login() };
    let error = store.begin_login(&state, &other).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("canary") && !shown.contains('7'), "{shown}");
    assert!(store.take_login(&state, NOW).await.unwrap() == Some(login()));
    assert!(store.take_login(&state, NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn a_purge_takes_what_is_past_its_time_in_as_many_batches_as_it_needs() {
    let (_directory, store) = store();
    let fill = store.writer.write("fill", |unit| {
        for n in 0..1_200_u32 {
            let mut state = [0; 32];
            state[..4].copy_from_slice(&n.to_be_bytes());
            crate::store::logins::begin(unit, &StateHash(state), &login())?;
        }
        Ok(())
    });
    fill.await.unwrap();
    let before = NOW.plus(PENDING_LOGIN_LIFETIME).minus(SECOND);
    assert_eq!(store.purge(before).await.unwrap(), 0);
    assert_eq!(store.purge(before.plus(SECOND)).await.unwrap(), 1_200);
    assert_eq!(store.purge(before.plus(SECOND)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_tombstone_stays_for_its_time_whatever_it_owes() {
    let (_directory, store) = store();
    let ann = connect(&store, "ann", 1).await;
    disconnect(&store, &ann, 2, NOW, false).await;
    let bob = connect(&store, "bob", 3).await;
    disconnect(&store, &bob, 4, NOW, true).await;
    let end = NOW.plus(TOMBSTONE_LIFETIME);
    assert_eq!(store.purge(end.minus(SECOND)).await.unwrap(), 0);
    assert!(read(&store, "bob").await.is_some());
    assert_eq!(store.purge(end).await.unwrap(), 2);
    assert!(read(&store, "ann").await.is_none());
    assert!(read(&store, "bob").await.is_none());
}

#[tokio::test]
async fn what_a_forgotten_person_owes_ends_with_the_tombstone_too() {
    let (_directory, store) = store();
    let ann = connect(&store, "ann", 1).await;
    disconnect(&store, &ann, 2, NOW, true).await;
    assert_eq!(store.forget(&key("ann").user).await.unwrap(), LinkOutcome::Done);
    let end = NOW.plus(TOMBSTONE_LIFETIME);
    assert_eq!(store.purge(end.minus(SECOND)).await.unwrap(), 0);
    assert_eq!(store.purge(end).await.unwrap(), 1);
    assert!(read(&store, "ann").await.is_none());
}

#[tokio::test]
async fn what_is_owed_is_found_whatever_the_wheel_says_of_its_row() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    let bob = connect(&store, "bob", 2).await;
    disconnect(&store, &bob, 3, NOW, true).await;
    let cyd = connect(&store, "cyd", 4).await;
    disconnect(&store, &cyd, 5, NOW, true).await;
    let claim = ClaimRevocation { revocation: version(4), attempt: attempt(1), now: NOW, lease: LEASE };
    applied(&store, "cyd", Step::ClaimRevocation(claim)).await;
    let owed = |user, n, delay| OwedNudge {
        nudge: Nudge { key: key(user), trigger: Trigger::Revoke { revocation: version(n) } },
        delay,
        attempts: 0,
    };
    let expected = [owed("bob", 2, Duration::ZERO), owed("cyd", 4, LEASE + AFTER_LEASE)];
    assert_eq!(store.revocations_owed(NOW).await.unwrap(), expected);
}

#[tokio::test]
async fn a_forgotten_person_leaves_only_what_is_owed_and_that_goes_when_it_is_paid() {
    let (_directory, store) = store();
    let ann = connect(&store, "ann", 1).await;
    assert_eq!(store.forget(&key("ann").user).await.unwrap(), LinkOutcome::Contended, "still connected");
    disconnect(&store, &ann, 2, NOW, true).await;
    assert_eq!(store.forget(&key("ann").user).await.unwrap(), LinkOutcome::Done);
    let rows = store.person(&key("ann").user, mm_engine::ports::Consistency::Strong).await.unwrap();
    assert_eq!((rows.user, rows.connections.len()), (None, 1));
    assert_eq!(store.purge(NOW).await.unwrap(), 0);
    let (revocation, attempt) = (version(1), attempt(1));
    applied(&store, "ann", Step::ClaimRevocation(ClaimRevocation { revocation, attempt, now: NOW, lease: LEASE }))
        .await;
    applied(&store, "ann", Step::FinishRevocation(FinishRevocation { revocation, attempt })).await;
    assert_eq!(store.purge(NOW).await.unwrap(), 1);
    assert!(read(&store, "ann").await.is_none());
}

async fn tell_all(store: &crate::store::SqliteStore) {
    let next = store.changes(store.told().unwrap().as_deref()).await.unwrap().next;
    store.set_told(&next).await.unwrap();
}

/// Whom the logs name: the changes kept, then the events.
async fn named(store: &crate::store::SqliteStore) -> (Vec<String>, Vec<String>) {
    let changes = store.changes(None).await.unwrap().changes;
    let changes = changes.into_iter().map(|change| change.key.user.to_string()).collect();
    let events = store.recent_events(100).unwrap().into_iter().map(|event| event.key.user.to_string()).collect();
    (changes, events)
}

#[tokio::test]
async fn a_forgotten_person_is_in_no_log_once_they_owe_nothing() {
    let (_directory, store) = store();
    let store = Arc::new(store);
    let events = SqliteEvents::new(Arc::clone(&store));
    let publish = async |user: &str, kind, n: u32| {
        let event = ConnectionEvent { id: format!("{user}-{n}"), kind, key: key(user), at: NOW };
        events.publish(&event).await.unwrap();
    };
    let (ann, cyd) = (connect(&store, "ann", 1).await, connect(&store, "cyd", 2).await);
    connect(&store, "bob", 3).await;
    tell_all(&store).await;
    for user in ["ann", "bob", "cyd"] {
        publish(user, EventMark::Connected, 1).await;
    }
    disconnect(&store, &ann, 4, NOW, false).await;
    disconnect(&store, &cyd, 5, NOW, true).await;
    for user in ["ann", "cyd"] {
        assert_eq!(store.forget(&key(user).user).await.unwrap(), LinkOutcome::Done);
    }
    let expected = (vec!["cyd", "bob", "ann", "cyd"], vec!["cyd", "bob"]);
    let (changes, kept) = named(&store).await;
    assert_eq!((changes, kept), (strings(&expected.0), strings(&expected.1)), "what is still to be told, and who owes");
    // The stream tells of the end after it.
    publish("ann", EventMark::Disconnected, 2).await;
    publish("cyd", EventMark::Disconnected, 2).await;
    store.purge(NOW).await.unwrap();
    assert_eq!(named(&store).await, (strings(&["cyd", "bob", "ann", "cyd"]), strings(&["cyd", "cyd", "bob"])));
    tell_all(&store).await;
    store.purge(NOW).await.unwrap();
    assert_eq!(named(&store).await, (strings(&["cyd", "bob", "cyd"]), strings(&["cyd", "cyd", "bob"])));
    let (revocation, attempt) = (version(2), attempt(1));
    applied(&store, "cyd", Step::ClaimRevocation(ClaimRevocation { revocation, attempt, now: NOW, lease: LEASE }))
        .await;
    applied(&store, "cyd", Step::FinishRevocation(FinishRevocation { revocation, attempt })).await;
    store.purge(NOW).await.unwrap();
    assert_eq!(named(&store).await, (strings(&["bob"]), strings(&["bob"])), "who stays is remembered");
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
