//! The five cases of a callback, and what the person asked for beforehand.

use std::{collections::BTreeSet, time::Duration};

use http::StatusCode;
use mm_sandbox::{Endpoint, Fault, FaultKind, Only};

use super::{SESSION, accounts, allowed, open, people, user};
use crate::{
    sessions::claims,
    world::{Browser, World},
};

fn account(world: &World, provider: &str, name: &str) -> String {
    format!("{provider} {}", world.sandbox.account_id(provider, name).unwrap())
}

fn identity(world: &World, provider: &str, name: &str, user: &str) -> String {
    format!("{} {user}", account(world, provider, name))
}

async fn somebody(world: &World, provider: &str, name: &str) -> (Browser, String) {
    let browser = world.browser();
    browser.connect(provider, name).await;
    let user = user(&browser);
    (browser, user)
}

#[tokio::test]
async fn case_a_a_new_account_at_a_provider_not_connected_is_linked() {
    let world = World::new().await;
    let (browser, alice) = somebody(&world, "soundcloud", "alice").await;
    let session = browser.cookie(SESSION);
    let answer = browser.login("spotify", "alice", "").await;
    assert_eq!(answer.login_result(), "connected");
    assert_eq!(browser.cookie(SESSION), session, "whoever is signed in keeps their session");
    let both = BTreeSet::from([account(&world, "soundcloud", "alice"), account(&world, "spotify", "alice")]);
    assert_eq!(accounts(&browser).await, both);
    assert_eq!(people(&world.rows()), BTreeSet::from([alice]));
}

#[tokio::test]
async fn case_b_the_same_account_is_logged_in_again() {
    let mut world = World::new().await;
    let (browser, alice) = somebody(&world, "soundcloud", "alice").await;
    let before = browser.token("soundcloud").await;
    world.advance(Duration::from_secs(20)).await;
    assert_eq!(browser.login("soundcloud", "alice", "").await.login_result(), "connected");
    let after = browser.token("soundcloud").await;
    assert_ne!(before["token_id"], after["token_id"]);
    assert_ne!(before["access_token"], after["access_token"]);
    assert_eq!(world.rows().identities(), [identity(&world, "soundcloud", "alice", &alice)]);
    assert_eq!(world.rows().table("connections").len(), 1);
}

#[tokio::test]
async fn case_c_another_account_at_a_connected_provider_is_a_mismatch() {
    let world = World::new().await;
    let (browser, _) = somebody(&world, "soundcloud", "alice").await;
    let token = browser.token("soundcloud").await;
    for query in ["", "?on_conflict=switch", "?on_conflict=move"] {
        let before = world.rows();
        let answer = browser.login("soundcloud", "mallory", query).await;
        assert_eq!(answer.login_result(), "account_mismatch", "{query}");
        assert_eq!(world.rows().written(), before.written(), "{query}");
    }
    assert_eq!(browser.token("soundcloud").await["token_id"], token["token_id"]);
    // A stranger with that account is still a stranger.
    let (mallory, _) = somebody(&world, "soundcloud", "mallory").await;
    assert_eq!(accounts(&mallory).await, BTreeSet::from([account(&world, "soundcloud", "mallory")]));
}

#[tokio::test]
async fn case_c_with_replace_the_new_account_takes_the_place_and_the_old_identity_is_gone() {
    let world = World::new().await;
    let (browser, alice) = somebody(&world, "youtube", "old").await;
    let old_grant = world.sandbox.grants();
    assert_eq!(browser.login("youtube", "new", "?replace=1").await.login_result(), "connected");
    assert_eq!(accounts(&browser).await, BTreeSet::from([account(&world, "youtube", "new")]));
    assert_eq!(world.rows().identities(), [identity(&world, "youtube", "new", &alice)]);
    // The old grant is ended at the provider, the new one lives.
    world.settle().await;
    let living: Vec<String> =
        world.sandbox.grants().into_iter().filter(|grant| grant.ended.is_none()).map(|grant| grant.account).collect();
    assert_eq!(living, [world.sandbox.account_id("youtube", "new").unwrap()], "old: {old_grant:?}");
    assert_eq!(browser.token("youtube").await["state"], "fresh");
}

#[tokio::test]
async fn replace_does_not_take_an_account_from_somebody_else() {
    let world = World::new().await;
    let (alice, _) = somebody(&world, "spotify", "alice").await;
    let (bob, _) = somebody(&world, "spotify", "bob").await;
    let before = world.rows();
    assert_eq!(alice.login("spotify", "bob", "?replace=1").await.login_result(), "account_in_use");
    assert_eq!(world.rows().written(), before.written());
    assert_eq!(bob.token("spotify").await["state"], "fresh");
}

#[tokio::test]
async fn case_d_an_account_of_somebody_signs_in_as_them() {
    let world = World::new().await;
    let (first, alice) = somebody(&world, "soundcloud", "alice").await;
    first.connect("spotify", "alice").await;
    let second = world.browser();
    second.connect("spotify", "alice").await;
    assert_eq!(user(&second), alice);
    let both = BTreeSet::from([account(&world, "soundcloud", "alice"), account(&world, "spotify", "alice")]);
    assert_eq!(accounts(&second).await, both);
    assert_ne!(claims(&first)["sid"], claims(&second)["sid"], "each login is a session of its own");
    assert_eq!(accounts(&first).await, both, "the first session goes on");
    assert_eq!(people(&world.rows()), BTreeSet::from([alice]));
}

#[tokio::test]
async fn case_e_an_account_of_somebody_else_is_in_use() {
    let world = World::new().await;
    let (alice, _) = somebody(&world, "soundcloud", "alice").await;
    let (bob, bobs) = somebody(&world, "spotify", "bob").await;
    let token = alice.token("soundcloud").await;
    for query in ["", "?replace=1"] {
        let before = world.rows();
        let session = bob.cookie(SESSION);
        let answer = bob.login("soundcloud", "alice", query).await;
        assert_eq!(answer.login_result(), "account_in_use", "{query}");
        assert_eq!(world.rows().written(), before.written(), "{query}");
        assert_eq!(bob.cookie(SESSION), session, "{query}");
    }
    assert_eq!(user(&bob), bobs);
    assert_eq!(bob.get("/auth/soundcloud/token").await.code(), "not_connected");
    assert_eq!(alice.token("soundcloud").await["token_id"], token["token_id"]);
}

#[tokio::test]
async fn case_e_with_switch_the_session_becomes_the_owners_and_the_old_one_ends() {
    let world = World::new().await;
    let (_, alice) = somebody(&world, "soundcloud", "alice").await;
    let (browser, bob) = somebody(&world, "spotify", "bob").await;
    let stolen = browser.copied();
    let old_sid = claims(&browser)["sid"].clone();
    let answer = browser.login("soundcloud", "alice", "?on_conflict=switch").await;
    assert_eq!(answer.login_result(), "connected");
    assert_eq!(user(&browser), alice);
    assert_ne!(claims(&browser)["sid"], old_sid, "the session's id changes with its person");
    assert_eq!(accounts(&browser).await, BTreeSet::from([account(&world, "soundcloud", "alice")]));
    assert_eq!(stolen.get("/auth/connections").await.code(), "no_session", "every copy of Bob's session has ended");
    let mut expected = [identity(&world, "soundcloud", "alice", &alice), identity(&world, "spotify", "bob", &bob)];
    expected.sort();
    assert_eq!(world.rows().identities(), expected, "nothing has moved");
    let bob_again = world.browser();
    bob_again.connect("spotify", "bob").await;
    assert_eq!(user(&bob_again), bob);
}

#[tokio::test]
async fn case_e_with_move_the_connection_moves_and_the_old_owner_keeps_the_rest() {
    let mut world = World::new().await;
    let (alice_browser, alice) = somebody(&world, "soundcloud", "alice").await;
    alice_browser.connect("youtube", "alice").await;
    let (browser, bob) = somebody(&world, "spotify", "bob").await;
    let session = browser.cookie(SESSION);
    let answer = browser.login("soundcloud", "alice", "?on_conflict=move").await;
    assert_eq!(answer.login_result(), "connected");
    assert_eq!(browser.cookie(SESSION), session, "Bob stays Bob");
    assert_eq!(user(&browser), bob);
    let bobs = BTreeSet::from([account(&world, "soundcloud", "alice"), account(&world, "spotify", "bob")]);
    assert_eq!(accounts(&browser).await, bobs);
    assert_eq!(accounts(&alice_browser).await, BTreeSet::from([account(&world, "youtube", "alice")]));
    assert_eq!(alice_browser.get("/auth/soundcloud/token").await.code(), "not_connected");
    let mut expected = [
        identity(&world, "soundcloud", "alice", &bob),
        identity(&world, "spotify", "bob", &bob),
        identity(&world, "youtube", "alice", &alice),
    ];
    expected.sort();
    assert_eq!(world.rows().identities(), expected);
    let tombstone = format!("{alice} {} disconnected", account(&world, "soundcloud", "alice"));
    assert!(world.rows().connections().contains(&tombstone), "{:?}", world.rows().connections());
    // It is Bob who is kept fresh, and the account now signs in as Bob.
    world.advance(Duration::from_hours(2)).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    assert!(world.sandbox.log().tokens_sent_twice().is_empty());
    let elsewhere = world.browser();
    elsewhere.connect("soundcloud", "alice").await;
    assert_eq!(user(&elsewhere), bob);
}

#[tokio::test]
async fn a_move_into_an_occupied_place_is_a_mismatch() {
    let world = World::new().await;
    let (alice, _) = somebody(&world, "soundcloud", "alice").await;
    let (bob, _) = somebody(&world, "soundcloud", "bob").await;
    let before = world.rows();
    assert_eq!(bob.login("soundcloud", "alice", "?on_conflict=move").await.login_result(), "account_mismatch");
    assert_eq!(world.rows().written(), before.written());
    assert_eq!(alice.token("soundcloud").await["state"], "fresh");
}

#[tokio::test]
async fn a_login_begun_by_one_person_and_ended_by_another_is_over() {
    let world = World::new().await;
    let (browser, _) = somebody(&world, "soundcloud", "alice").await;
    let tab = allowed(&browser, "spotify", "alice", "").await;
    // Somebody switches the browser's session in the meantime.
    let (_, bob) = somebody(&world, "youtube", "bob").await;
    assert_eq!(browser.login("youtube", "bob", "?on_conflict=switch").await.login_result(), "connected");
    let before = world.rows();
    assert_eq!(open(&browser, &tab).await.login_result(), "login_expired");
    assert_eq!(world.rows().written(), before.written());
    assert_eq!(world.calls("spotify", "authorization_code").len(), 0, "the code was not redeemed");
    assert_eq!(user(&browser), bob);
}

/// The person deletes themselves while a callback of theirs waits for the provider: nothing of them comes back.
#[tokio::test]
async fn a_login_that_outlives_its_person_revives_nobody() {
    let world = World::new().await;
    let (browser, alice) = somebody(&world, "soundcloud", "alice").await;
    let session = browser.copied();
    let callback = allowed(&browser, "youtube", "alice", "").await;
    let fault = Fault {
        provider: "youtube".to_owned(),
        endpoint: Endpoint::Token,
        only: Only::Code,
        times: Some(1),
        kind: FaultKind::Slow { ms: 300 },
    };
    world.sandbox.plan(fault).unwrap();
    let leave = async {
        while world.calls("youtube", "authorization_code").is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(session.copied().delete("/auth/user").await.status, StatusCode::NO_CONTENT);
    };
    let (answer, ()) = futures_util::future::join(open(&browser, &callback), leave).await;
    assert_eq!(answer.login_result(), "login_expired");
    assert_eq!(people(&world.rows()), BTreeSet::new(), "{alice} is back");
    assert_eq!(world.rows().identities(), [] as [String; 0]);
    assert_eq!(session.get("/auth/connections").await.code(), "no_session");
}

#[tokio::test]
async fn a_reauthorization_with_another_account_is_a_mismatch_too() {
    let mut world = World::new().await;
    let (browser, alice) = somebody(&world, "soundcloud", "alice").await;
    world.sandbox.revoke_account("soundcloud", "alice");
    world.advance(Duration::from_hours(1)).await;
    let answer = browser.get("/auth/soundcloud/token").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, "reauthorization_required"));
    let before = world.rows();
    assert_eq!(browser.login("soundcloud", "mallory", "").await.login_result(), "account_mismatch");
    assert_eq!(world.rows().written(), before.written());
    assert_eq!(browser.login("soundcloud", "alice", "").await.login_result(), "connected");
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    assert_eq!(world.rows().identities(), [identity(&world, "soundcloud", "alice", &alice)]);
}
