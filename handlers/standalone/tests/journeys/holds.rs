//! Revocations that a login holds, at a provider where revoking one token ends the whole authorization.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mm_engine::ports::{ConnectionStore as _, Consistency};
use mm_model::{
    AttemptId, Connection, Step, Timestamp,
    connection::Lease,
    limits::{LEASE_REUSABLE, REVOCATION_HOLD},
    step::ClaimRevocation,
};
use mm_sandbox::{Endpoint, Fault, FaultKind, LogEntry, Only};

use crate::world::{Browser, Mood, Moods, MoodyStore, World};

/// Longer than a hold and the nudge after it.
const AFTER_HOLD: Duration = Duration::from_mins(3);

/// The accounts whose tokens the provider was asked to revoke, in order.
fn revoked(world: &World) -> Vec<String> {
    let log = world.sandbox.log();
    let revocations = log.entries().filter(|entry: &&LogEntry| entry.endpoint == "revoke");
    revocations.map(|entry| entry.account.clone().unwrap_or_default()).collect()
}

fn account(world: &World, name: &str) -> String {
    world.sandbox.account_id("youtube", name).unwrap()
}

/// What the rows still owe, as far as it is anything.
fn owed(world: &World) -> Vec<String> {
    let rows = world.rows();
    rows.column("connections", "to_revoke").into_iter().filter(|owed| !owed.is_empty()).map(str::to_owned).collect()
}

/// Connects and disconnects, so that the row owes a revocation that nobody was told of yet.
async fn owing(world: &World, name: &str) -> Browser {
    let browser = world.browser();
    browser.connect("youtube", name).await;
    world.settle().await;
    assert!(browser.delete("/auth/youtube").await.status.is_success());
    assert_eq!(owed(world).len(), 1);
    browser
}

#[tokio::test]
async fn a_login_that_fails_leaves_the_revocation_to_be_carried_out() {
    let mut world = World::new().await;
    let browser = owing(&world, "alice").await;
    let kind = FaultKind::Error5xxBefore { status: 503 };
    let (provider, endpoint) = ("youtube".to_owned(), Endpoint::Token);
    world.sandbox.plan(Fault { provider, endpoint, kind, times: Some(1), only: Only::Code }).unwrap();
    assert_eq!(browser.login("youtube", "alice", "").await.login_result(), "provider_unavailable");
    world.advance(REVOCATION_HOLD.saturating_sub(Duration::from_secs(10))).await;
    assert_eq!(revoked(&world), Vec::<String>::new(), "held: the login might have been at its provider yet");
    assert_eq!(owed(&world).len(), 1, "and not lost");
    world.advance(AFTER_HOLD).await;
    assert_eq!(revoked(&world), [account(&world, "alice")]);
    assert_eq!(owed(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_login_that_dies_leaves_the_revocation_to_be_carried_out() {
    let world = World::new().await;
    let browser = owing(&world, "alice").await;
    let (provider, endpoint, kind) = ("youtube".to_owned(), Endpoint::Token, FaultKind::Hang);
    world.sandbox.plan(Fault { provider, endpoint, kind, times: None, only: Only::Code }).unwrap();
    let url = browser.start_login("youtube", "").await;
    let callback = browser.consent(&url, "alice");
    // Killed while the provider says nothing.
    let never = tokio::time::timeout(Duration::from_millis(300), browser.navigate(&callback, "cross-site")).await;
    assert!(never.is_err());
    assert!(owed(&world)[0].contains("expires_at"), "held: {:?}", owed(&world));
    let mut world = world.restart().await;
    world.settle().await;
    assert_eq!(revoked(&world), Vec::<String>::new());
    world.advance(AFTER_HOLD).await;
    assert_eq!(revoked(&world), [account(&world, "alice")]);
    assert_eq!(owed(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_login_with_the_same_account_ends_what_it_held() {
    let mut world = World::new().await;
    let browser = owing(&world, "alice").await;
    // The first round brings no refresh token, because the grant is alive yet: the second finds the first one's hold, and
    // does not wait for it (the clock stands still: it would wait for ever).
    let again = browser.login("youtube", "alice", "").await.location();
    assert_eq!(owed(&world).len(), 1);
    let callback = browser.consent(again.as_str(), "alice");
    assert_eq!(browser.navigate(&callback, "cross-site").await.login_result(), "connected");
    assert_eq!(owed(&world), Vec::<String>::new(), "it would end the grant just made");
    world.advance(AFTER_HOLD).await;
    assert_eq!(revoked(&world), Vec::<String>::new());
    world.advance(Duration::from_hours(1)).await;
    assert_eq!(browser.token("youtube").await["state"], "fresh");
}

#[tokio::test]
async fn a_login_with_another_account_frees_what_it_held_at_once() {
    let mut world = World::new().await;
    let browser = owing(&world, "alice").await;
    browser.connect("youtube", "bob").await;
    assert_eq!(owed(&world).len(), 1);
    world.settle().await;
    assert_eq!(revoked(&world), [account(&world, "alice")]);
    assert_eq!(owed(&world), Vec::<String>::new());
    world.advance(Duration::from_hours(1)).await;
    assert_eq!(revoked(&world), [account(&world, "alice")], "once");
    assert_eq!(browser.token("youtube").await["state"], "fresh");
}

#[tokio::test]
async fn a_change_brings_every_revocation_that_its_row_owes() {
    let world = World::new().await;
    let browser = owing(&world, "alice").await;
    browser.connect("youtube", "bob").await;
    // As if all changes so far had been told while something else kept the revocations from being carried out.
    let told = world.backend.store.changes(None).await.unwrap().next;
    world.backend.store.set_told(&told).await.unwrap();
    assert!(browser.delete("/auth/youtube").await.status.is_success());
    world.settle().await;
    let mut accounts = [account(&world, "alice"), account(&world, "bob")];
    accounts.sort_unstable();
    let mut revoked = revoked(&world);
    revoked.sort_unstable();
    assert_eq!(revoked, accounts);
    assert_eq!(owed(&world), Vec::<String>::new());
}

/// The one connection at the provider.
async fn row(world: &World) -> Connection {
    let user = world.rows().column("connections", "user_id")[0].parse().unwrap();
    let rows = world.backend.store.person(&user, Consistency::Strong).await.unwrap();
    rows.connections.into_iter().find(|row| row.key.provider.as_str() == "youtube").unwrap()
}

async fn leases(world: &World) -> Vec<Option<Lease>> {
    row(world).await.revocations.into_iter().map(|owed| owed.lease).collect()
}

#[tokio::test]
async fn a_login_holds_what_is_free_and_waits_for_what_is_under_way() {
    let world = World::new().await;
    let browser = owing(&world, "alice").await;
    browser.connect("youtube", "bob").await;
    assert!(browser.delete("/auth/youtube").await.status.is_success());
    // Nobody was told of them, but a worker has the first in its hands, and says nothing more.
    let told = world.backend.store.changes(None).await.unwrap().next;
    world.backend.store.set_told(&told).await.unwrap();
    let owing = row(&world).await;
    let (worker, started) = (AttemptId::from_bytes([7; 16]), world.now());
    let claim = ClaimRevocation {
        revocation: owing.revocations[0].version,
        attempt: worker,
        now: started,
        lease: LEASE_REUSABLE,
    };
    world.backend.store.apply(&owing.key, &Step::ClaimRevocation(claim)).await.unwrap();
    let kind = FaultKind::Error5xxBefore { status: 503 };
    let (provider, endpoint) = ("youtube".to_owned(), Endpoint::Token);
    world.sandbox.plan(Fault { provider, endpoint, kind, times: Some(1), only: Only::Code }).unwrap();
    let answer = world.drive(Duration::from_millis(200), browser.login("youtube", "carol", "")).await;
    assert_eq!(answer.login_result(), "provider_unavailable");
    let waited = world.now().since(started);
    assert!((Duration::from_secs(10)..Duration::from_secs(12)).contains(&waited), "{waited:?}");
    let leases = leases(&world).await;
    let held = leases[1].unwrap();
    assert_eq!(leases[0].unwrap(), Lease { owner: worker, expires_at: started.plus(LEASE_REUSABLE) });
    assert_ne!(held.owner, worker);
    assert_eq!(held.expires_at, started.plus(REVOCATION_HOLD), "held before it waited, and not renewed");
    assert_eq!(revoked(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_revocation_under_way_that_fails_while_a_login_waits_is_held_too() {
    let world = World::new().await;
    let browser = owing(&world, "alice").await;
    let told = world.backend.store.changes(None).await.unwrap().next;
    world.backend.store.set_told(&told).await.unwrap();
    let owing = row(&world).await;
    let started = world.now();
    // Its lease ends while the login waits.
    let (revocation, lease) = (owing.revocations[0].version, Duration::from_secs(5));
    let claim = ClaimRevocation { revocation, attempt: AttemptId::from_bytes([7; 16]), now: started, lease };
    world.backend.store.apply(&owing.key, &Step::ClaimRevocation(claim)).await.unwrap();
    let kind = FaultKind::Error5xxBefore { status: 503 };
    let (provider, endpoint) = ("youtube".to_owned(), Endpoint::Token);
    world.sandbox.plan(Fault { provider, endpoint, kind, times: Some(1), only: Only::Code }).unwrap();
    world.drive(Duration::from_millis(200), browser.login("youtube", "alice", "")).await;
    let waited = world.now().since(started);
    assert!((lease..lease + Duration::from_secs(2)).contains(&waited), "no longer than it must: {waited:?}");
    let end: Timestamp = leases(&world).await[0].unwrap().expires_at;
    assert!(end >= started.plus(lease + REVOCATION_HOLD) && end <= world.now().plus(REVOCATION_HOLD));
}

/// A laptop that slept between claim and request would end a grant that was made in the meantime.
#[tokio::test]
async fn a_revocation_that_comes_late_after_its_claim_is_not_sent_but_postponed() {
    for (stood_still, sent) in [(Duration::from_secs(1), 1), (Duration::from_secs(2), 0), (Duration::from_hours(1), 0)]
    {
        let mut world = World::new().await;
        let _browser = owing(&world, "alice").await;
        let (clock, pending) = (Arc::clone(&world.clock), Mutex::new(true));
        let moods = Moods::new(move |step| {
            if matches!(step, Step::ClaimRevocation(_)) && std::mem::take(&mut *pending.lock().unwrap()) {
                clock.advance(stood_still);
            }
            Mood::Well
        });
        let mut wiring = world.wiring(5);
        wiring.store = Arc::new(MoodyStore { store: wiring.store, moods });
        let moody = world.process(wiring);
        world.adopt(moody);
        world.settle().await;
        assert_eq!(revoked(&world).len(), sent, "{stood_still:?}");
        world.advance(Duration::from_mins(5)).await;
        assert_eq!(revoked(&world), [account(&world, "alice")], "{stood_still:?}: once, in the end");
        assert_eq!(owed(&world), Vec::<String>::new());
    }
}

/// What it holds might be let go before its row is written, and a revocation end the grant that it has just made.
#[tokio::test]
async fn a_login_that_stood_still_while_it_held_revocations_redeems_nothing() {
    for (stood_still, result, redeemed) in
        [(Duration::from_secs(30), "connected", 2), (Duration::from_secs(41), "provider_unavailable", 1)]
    {
        let mut world = World::new().await;
        let browser = owing(&world, "alice").await;
        let (clock, pending) = (Arc::clone(&world.clock), Mutex::new(true));
        let moods = Moods::new(move |step| {
            if matches!(step, Step::HoldRevocations(_)) && std::mem::take(&mut *pending.lock().unwrap()) {
                clock.advance(stood_still);
            }
            Mood::Well
        });
        let mut wiring = world.wiring(6);
        wiring.store = Arc::new(MoodyStore { store: wiring.store, moods });
        let moody = world.process(wiring);
        world.adopt(moody);
        let answer = world.drive(Duration::from_millis(200), browser.login("youtube", "bob", "")).await;
        assert_eq!(answer.login_result(), result, "{stood_still:?}");
        assert_eq!(world.calls("youtube", "authorization_code").len(), redeemed, "{stood_still:?}");
    }
}
