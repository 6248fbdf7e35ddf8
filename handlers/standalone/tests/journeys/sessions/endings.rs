//! The ways out: one session, all of them, the person.

use std::{collections::BTreeSet, time::Duration};

use http::StatusCode;

use super::claims;
use crate::{
    people::{SESSION, accounts, allowed, open, people, user},
    world::{Browser, World},
};

const CALLS: [&str; 4] = ["/auth/connections", "/auth/tokens", "/auth/soundcloud/token", "/auth/spotify/token"];

async fn is_out(browser: &Browser, why: &str) {
    for path in CALLS {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, "no_session"), "{why}: {path}");
        assert!(answer.headers.contains_key("www-authenticate"), "{why}: {path}");
    }
    let answer = browser.post("/auth/soundcloud/refresh").await;
    assert_eq!(answer.code(), "no_session", "{why}: refresh");
    for path in ["/auth/soundcloud", "/auth/user"] {
        assert_eq!(browser.delete(path).await.code(), "no_session", "{why}: DELETE {path}");
    }
}

#[tokio::test]
async fn a_logout_ends_every_copy_of_that_session_and_no_other() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let other = world.browser();
    other.connect("soundcloud", "alice").await;
    let thief = browser.copied();
    // A copy that was renewed in the meantime is a copy all the same.
    world.sleep_through(Duration::from_hours(25));
    let renewed = browser.copied();
    renewed.get("/auth/connections").await;
    assert_ne!(renewed.cookie(SESSION), thief.cookie(SESSION));
    assert_eq!(browser.post("/auth/logout").await.status, StatusCode::NO_CONTENT);
    assert_eq!(browser.cookie(SESSION), None);
    is_out(&thief, "a copy").await;
    is_out(&renewed, "a renewed copy").await;
    assert_eq!(accounts(&other).await.len(), 1, "the other session goes on, and nothing is disconnected");
    // Past everything that is remembered about it, its copies have run out by themselves.
    let world = world.restart().await;
    is_out(&thief, "after a restart").await;
    drop(world);
}

#[tokio::test]
async fn a_logout_of_many_sessions_forgets_none_of_them() {
    let mut world = World::new().await;
    let mut ended = Vec::new();
    for _ in 0..40 {
        let browser = world.browser();
        browser.connect("soundcloud", "alice").await;
        let copy = browser.copied();
        browser.post("/auth/logout").await;
        ended.push(copy);
        world.sleep_through(Duration::from_secs(1));
    }
    for (number, copy) in ended.iter().enumerate() {
        assert_eq!(copy.get("/auth/connections").await.code(), "no_session", "session {number} is back");
    }
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
}

#[tokio::test]
async fn a_logout_everywhere_ends_all_sessions_and_the_next_one_lives() {
    let world = World::new().await;
    let browsers = [world.browser(), world.browser(), world.browser()];
    for browser in &browsers {
        browser.connect("soundcloud", "alice").await;
    }
    let thief = browsers[1].copied();
    assert_eq!(browsers[0].post("/auth/logout?everywhere=1").await.status, StatusCode::NO_CONTENT);
    for browser in browsers.iter().chain([&thief]) {
        is_out(browser, "everywhere").await;
    }
    // Within the same second.
    let next = world.browser();
    next.connect("soundcloud", "alice").await;
    assert_eq!(next.token("soundcloud").await["state"], "fresh");
    assert_eq!(next.post("/auth/logout?everywhere=1").await.status, StatusCode::NO_CONTENT);
    is_out(&next, "again").await;
    let last = world.browser();
    last.connect("soundcloud", "alice").await;
    assert_eq!(last.token("soundcloud").await["state"], "fresh");
    assert_eq!(thief.get("/auth/connections").await.code(), "no_session");
}

#[tokio::test]
async fn logging_out_twice_or_as_nobody_is_harmless() {
    let world = World::new().await;
    let browser = world.browser();
    let answer = browser.post("/auth/logout").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, "no_session"));
    browser.connect("soundcloud", "alice").await;
    let copy = browser.copied();
    assert_eq!(browser.post("/auth/logout").await.status, StatusCode::NO_CONTENT);
    // A copy whose session has ended leaves its own browser clean too.
    assert_eq!(copy.post("/auth/logout").await.status, StatusCode::NO_CONTENT);
    assert_eq!(copy.cookie(SESSION), None);
}

#[tokio::test]
async fn whoever_deletes_themselves_is_gone_and_nobody_else_is() {
    let mut world = World::new().await;
    let alice = world.browser();
    for provider in ["soundcloud", "spotify", "youtube"] {
        alice.connect(provider, "alice").await;
    }
    let copies = [alice.copied(), world.browser()];
    copies[1].connect("soundcloud", "alice").await;
    let gone = user(&alice);
    let bob = world.browser();
    bob.connect("soundcloud", "bob").await;
    bob.connect("youtube", "bob").await;
    let (bobs, bob_user) = (accounts(&bob).await, user(&bob));
    let pending = allowed(&alice, "spotify", "alice", "").await;

    assert_eq!(alice.delete("/auth/user").await.status, StatusCode::NO_CONTENT);
    let rows = world.rows();
    assert_eq!(people(&rows), BTreeSet::from([bob_user.clone()]));
    assert!(rows.column("identities", "user_id").iter().all(|user| *user == bob_user));
    // Only what still owes the provider a revocation is left, without an access token.
    let left: Vec<_> = rows.table("connections").iter().filter(|row| row["user_id"] == gone).collect();
    for row in &left {
        assert_eq!((row["provider"].as_str(), row["status"].as_str()), ("youtube", "disconnected"));
        assert_eq!((row["access_token"].as_str(), row["refresh_token"].as_str()), ("", ""));
    }
    assert_eq!(left.len(), 1);
    for copy in &copies {
        is_out(copy, "deleted").await;
    }
    assert_eq!(accounts(&bob).await, bobs, "Bob is unaffected");

    // A callback that was under way makes nobody of the old id.
    alice.set_cookie(crate::people::BINDING, &copies[0].cookie(crate::people::BINDING).unwrap());
    assert_eq!(open(&alice, &pending).await.login_result(), "connected");
    assert_ne!(user(&alice), gone);
    alice.delete("/auth/user").await;

    world.settle().await;
    let living: Vec<_> = world.sandbox.grants().into_iter().filter(|grant| grant.ended.is_none()).collect();
    let youtube: Vec<&str> =
        living.iter().filter(|grant| grant.provider == "youtube").map(|grant| grant.account.as_str()).collect();
    assert_eq!(youtube, [world.sandbox.account_id("youtube", "bob").unwrap()], "Alice's grant was revoked, Bob's not");
    world.advance(Duration::from_mins(20)).await;
    mm_engine::ports::ConnectionStore::purge(&*world.backend.store, world.now()).await.unwrap();
    let rows = world.rows();
    assert!(!rows.column("connections", "user_id").contains(&gone.as_str()), "{:?}", rows.connections());
    assert_eq!(bob.token("youtube").await["state"], "fresh");

    // And the same account is a new person.
    let again = world.browser();
    again.connect("soundcloud", "alice").await;
    assert_ne!(user(&again), gone);
    assert_eq!(accounts(&again).await.len(), 1);
    for copy in &copies {
        is_out(copy, "after the account came back").await;
    }
}

#[tokio::test]
async fn a_renewal_cannot_outlive_a_logout() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let thief = browser.copied();
    world.sleep_through(Duration::from_hours(25));
    browser.post("/auth/logout").await;
    // The ended copy is old enough to be renewed, and is not.
    let answer = thief.get("/auth/connections").await;
    assert_eq!(answer.code(), "no_session");
    assert!(!answer.headers.contains_key("set-cookie"));
    assert_eq!(claims(&thief)["iat"], crate::world::START.unix());
}
