//! Revocations that a login holds, at a provider where revoking one token ends the whole authorization.

use std::time::Duration;

use mm_engine::ports::ConnectionStore as _;
use mm_model::limits::REVOCATION_HOLD;
use mm_sandbox::{Endpoint, Fault, FaultKind, LogEntry, Only};

use crate::world::{Browser, World};

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
