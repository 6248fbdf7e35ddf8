use std::time::Duration;

use mm_engine::ports::{ConnectionStore, Expected, LinkOutcome, Nudge, StateHash, Trigger};
use mm_model::{
    Connection, Step,
    limits::{AFTER_LEASE, NUDGE_SLACK, PENDING_LOGIN_LIFETIME, TOMBSTONE_LIFETIME},
    login::{Intent, PendingLogin, Person},
    step::{ClaimRevocation, FinishRevocation, Sleep},
};

use super::fixture::{
    HOUR, LEASE, NOW, applied, attempt, claim, connect, consent, disconnect, key, link, read, store, version,
};

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
    let lost = store.nudges_lost_by_restart(now.plus(LEASE), Duration::ZERO).await.unwrap();
    assert_eq!(lost[0], (due("ann"), Duration::ZERO));
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
async fn a_tombstone_stays_for_its_time_and_as_long_as_it_owes() {
    let (_directory, store) = store();
    let ann = connect(&store, "ann", 1).await;
    disconnect(&store, &ann, 2, NOW, false).await;
    let bob = connect(&store, "bob", 3).await;
    disconnect(&store, &bob, 4, NOW, true).await;
    let end = NOW.plus(TOMBSTONE_LIFETIME);
    assert_eq!(store.purge(end.minus(SECOND)).await.unwrap(), 0);
    assert_eq!(store.purge(end).await.unwrap(), 1);
    assert!(read(&store, "ann").await.is_none());
    assert!(read(&store, "bob").await.is_some());
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
