//! One computer, two people: the second never becomes the first, however the first left.

use std::{collections::BTreeSet, time::Duration};

use http::StatusCode;

use super::{BINDING, SESSION, accounts, allowed, open, people, user};
use crate::world::{Browser, World};

/// Past the longest life of an unused session.
const AFTER_THE_SESSION: Duration = Duration::from_hours(31 * 24);

/// Alice used this browser; then somebody did `leave`.
async fn alice_was_here(world: &World) -> (Browser, String) {
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    browser.connect("spotify", "alice").await;
    let alice = user(&browser);
    (browser, alice)
}

fn account(world: &World, provider: &str, name: &str) -> String {
    format!("{provider} {}", world.sandbox.account_id(provider, name).unwrap())
}

/// Bob logs in with accounts of his own and is somebody else, with nothing of Alice's; Alice, elsewhere, still has hers and
/// nothing of Bob's.
async fn bob_is_somebody_else(world: &World, browser: &Browser, alice: &str) {
    browser.connect("soundcloud", "bob").await;
    browser.connect("youtube", "bob").await;
    assert_ne!(user(browser), alice, "Bob has become Alice");
    let bobs = BTreeSet::from([account(world, "soundcloud", "bob"), account(world, "youtube", "bob")]);
    assert_eq!(accounts(browser).await, bobs);
    assert_eq!(browser.get("/auth/spotify/token").await.code(), "not_connected", "Alice's Spotify is not Bob's");

    let elsewhere = world.browser();
    elsewhere.connect("soundcloud", "alice").await;
    assert_eq!(user(&elsewhere), alice, "Alice is still Alice");
    let hers = BTreeSet::from([account(world, "soundcloud", "alice"), account(world, "spotify", "alice")]);
    assert_eq!(accounts(&elsewhere).await, hers);
    assert_eq!(people(&world.rows()), BTreeSet::from([alice.to_owned(), user(browser)]));
}

#[tokio::test]
async fn on_a_shared_computer_another_person_never_inherits_the_first_ones_identity() {
    let world = World::new().await;
    let (browser, alice) = alice_was_here(&world).await;
    assert_eq!(browser.post("/auth/logout").await.status, StatusCode::NO_CONTENT);
    assert_eq!((browser.cookie(SESSION), browser.cookie(BINDING)), (None, None));
    bob_is_somebody_else(&world, &browser, &alice).await;
}

#[tokio::test]
async fn nor_after_a_logout_that_left_the_binding() {
    let world = World::new().await;
    let (browser, alice) = alice_was_here(&world).await;
    let binding = browser.cookie(BINDING).unwrap();
    browser.post("/auth/logout").await;
    browser.set_cookie(BINDING, &binding);
    bob_is_somebody_else(&world, &browser, &alice).await;
}

#[tokio::test]
async fn nor_when_only_the_session_cookie_was_deleted() {
    let world = World::new().await;
    let (browser, alice) = alice_was_here(&world).await;
    browser.forget_cookie(SESSION);
    assert!(browser.cookie(BINDING).is_some());
    bob_is_somebody_else(&world, &browser, &alice).await;
}

#[tokio::test]
async fn nor_when_the_session_has_run_out_in_the_browser() {
    let mut world = World::new().await;
    let (browser, alice) = alice_was_here(&world).await;
    // Both cookies are still there, as in a browser whose clock stands: the session counts for nothing any more.
    world.sleep_through(AFTER_THE_SESSION);
    assert_eq!(browser.get("/auth/connections").await.code(), "no_session");
    bob_is_somebody_else(&world, &browser, &alice).await;
}

#[tokio::test]
async fn nor_when_the_session_was_ended_from_another_computer() {
    let world = World::new().await;
    let (browser, alice) = alice_was_here(&world).await;
    browser.copied().post("/auth/logout?everywhere=1").await;
    assert!(browser.cookie(SESSION).is_some() && browser.cookie(BINDING).is_some(), "this browser heard nothing");
    bob_is_somebody_else(&world, &browser, &alice).await;
}

#[tokio::test]
async fn nor_when_the_first_left_a_tab_at_the_consent_page_and_logged_out() {
    let world = World::new().await;
    let browser = world.browser();
    // Three tabs before the first login. Two of them stay open at the providers.
    let soundcloud = browser.start_login("soundcloud", "").await;
    let spotify = browser.start_login("spotify", "").await;
    let youtube = browser.start_login("youtube", "").await;
    assert_eq!(open(&browser, &browser.consent(&soundcloud, "alice")).await.login_result(), "connected");
    let alice = user(&browser);
    let binding = browser.cookie(BINDING).unwrap();
    browser.post("/auth/logout").await;
    // Bob finds a tab and allows with his own account: another browser, as far as the product can see.
    let callback = browser.consent(&spotify, "bob");
    assert_eq!(open(&browser, &callback).await.login_result(), "login_other_browser");
    // Even with the binding still there, it is not Alice whom he becomes.
    browser.set_cookie(BINDING, &binding);
    assert_eq!(open(&browser, &browser.consent(&youtube, "bob")).await.login_result(), "connected");
    assert_ne!(user(&browser), alice);
    assert_eq!(accounts(&browser).await, BTreeSet::from([account(&world, "youtube", "bob")]));
}

#[tokio::test]
async fn nor_when_the_first_left_a_tab_of_their_session_at_the_consent_page() {
    let world = World::new().await;
    for leave in ["logout", "deleted session", "session ended elsewhere"] {
        let browser = world.browser();
        browser.connect("soundcloud", "alice").await;
        let alice = user(&browser);
        let tab = browser.start_login("spotify", "").await;
        let binding = browser.cookie(BINDING).unwrap();
        match leave {
            "logout" => drop(browser.post("/auth/logout").await),
            "deleted session" => browser.forget_cookie(SESSION),
            _ => drop(browser.copied().post("/auth/logout?everywhere=1").await),
        }
        browser.set_cookie(BINDING, &binding);
        let answer = open(&browser, &browser.consent(&tab, "bob")).await;
        assert_eq!(answer.login_result(), "connected", "{leave}");
        assert_ne!(user(&browser), alice, "{leave}");
        assert_eq!(accounts(&browser).await, BTreeSet::from([account(&world, "spotify", "bob")]), "{leave}");
        browser.delete("/auth/user").await;
    }
}

#[tokio::test]
async fn nor_when_the_second_is_signed_in_where_the_first_left_a_tab() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let tab = browser.start_login("spotify", "").await;
    let binding = browser.cookie(BINDING).unwrap();
    browser.post("/auth/logout").await;
    browser.set_cookie(BINDING, &binding);
    browser.connect("youtube", "bob").await;
    let before = world.rows();
    let answer = open(&browser, &browser.consent(&tab, "alice")).await;
    assert_eq!(answer.login_result(), "login_expired", "the login was Alice's, the session is Bob's");
    assert_eq!(world.rows().written(), before.written());
    assert_eq!(world.calls("spotify", "authorization_code").len(), 0, "no code was redeemed");
}

/// Alice replaces her account by another one, and the old account's owner comes later: they are not Alice.
#[tokio::test]
async fn nor_when_the_first_gave_up_an_account_whose_owner_comes_later() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("spotify", "family").await;
    browser.connect("soundcloud", "alice").await;
    let alice = user(&browser);
    assert_eq!(browser.login("spotify", "alice", "?replace=1").await.login_result(), "connected");
    let family = world.browser();
    family.connect("spotify", "family").await;
    assert_ne!(user(&family), alice);
    assert_eq!(accounts(&family).await, BTreeSet::from([account(&world, "spotify", "family")]));
    let hers = BTreeSet::from([account(&world, "soundcloud", "alice"), account(&world, "spotify", "alice")]);
    assert_eq!(accounts(&browser).await, hers);
}

#[tokio::test]
async fn nor_when_the_first_disconnected_an_account_whose_owner_comes_later() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("spotify", "family").await;
    browser.connect("soundcloud", "alice").await;
    let alice = user(&browser);
    browser.delete("/auth/spotify").await;
    let family = world.browser();
    family.connect("spotify", "family").await;
    assert_ne!(user(&family), alice);
    assert_eq!(accounts(&family).await, BTreeSet::from([account(&world, "spotify", "family")]));
}

#[tokio::test]
async fn nor_after_the_first_deleted_themselves() {
    let mut world = World::new().await;
    let (browser, _) = alice_was_here(&world).await;
    let old = browser.copied();
    world.advance(Duration::from_mins(1)).await;
    assert_eq!(browser.delete("/auth/user").await.status, StatusCode::NO_CONTENT);
    assert_eq!(people(&world.rows()), BTreeSet::new());
    // A copy of the browser, whose cookies nobody cleared, logs in: its provisional id may be that of Alice again.
    let bob = old.copied();
    bob.forget_cookie(SESSION);
    bob.connect("spotify", "bob").await;
    // Alice's own session stays dead whatever id the new person has.
    assert_eq!(old.get("/auth/connections").await.code(), "no_session", "a deleted person's session is alive again");
    assert_eq!(old.get("/auth/spotify/token").await.code(), "no_session");
}

#[tokio::test]
async fn a_first_login_that_is_finished_by_somebody_with_a_session_is_theirs() {
    let world = World::new().await;
    let browser = world.browser();
    let tab = browser.start_login("spotify", "").await;
    browser.connect("soundcloud", "bob").await;
    let bob = user(&browser);
    let callback = allowed(&browser, "youtube", "bob", "").await;
    assert_eq!(open(&browser, &callback).await.login_result(), "connected");
    assert_eq!(open(&browser, &browser.consent(&tab, "bob")).await.login_result(), "connected");
    assert_eq!(user(&browser), bob);
    assert_eq!(people(&world.rows()), BTreeSet::from([bob]));
}

/// Two tabs, and only the session cookie is gone: the second tab cannot tell a stranger from a sibling whose session is
/// still on its way, but that is over in half a minute.
#[tokio::test]
async fn nor_by_a_sibling_tab_once_the_session_must_have_arrived() {
    let mut world = World::new().await;
    let browser = world.browser();
    let [soundcloud, spotify, youtube] = [
        browser.start_login("soundcloud", "").await,
        browser.start_login("spotify", "").await,
        browser.start_login("youtube", "").await,
    ];
    assert_eq!(open(&browser, &browser.consent(&soundcloud, "alice")).await.login_result(), "connected");
    let alice = user(&browser);
    browser.forget_cookie(SESSION);
    world.sleep_through(Duration::from_secs(30));
    let late = browser.copied();
    assert_eq!(open(&late, &late.consent(&spotify, "alice")).await.login_result(), "connected");
    assert_eq!(user(&late), alice, "30 s: still a sibling");
    world.sleep_through(Duration::from_secs(1));
    assert_eq!(open(&browser, &browser.consent(&youtube, "bob")).await.login_result(), "connected");
    assert_ne!(user(&browser), alice, "31 s: somebody else");
    assert_eq!(accounts(&browser).await, BTreeSet::from([account(&world, "youtube", "bob")]));
}

/// Somebody carried the binding away before the first login and waits at the provider until it is over.
#[tokio::test]
async fn attack_binding_carried_away_to_join_a_person_later() {
    let mut world = World::new().await;
    let victim = world.browser();
    let attacker = world.browser();
    victim.start_login("spotify", "").await;
    attacker.set_cookie(BINDING, &victim.cookie(BINDING).unwrap());
    let waiting = attacker.start_login("soundcloud", "").await;
    victim.connect("spotify", "victim").await;
    world.sleep_through(Duration::from_secs(31));
    assert_eq!(open(&attacker, &attacker.consent(&waiting, "attacker")).await.login_result(), "connected");
    assert_ne!(user(&attacker), user(&victim));
    assert_eq!(attacker.get("/auth/spotify/token").await.code(), "not_connected");
}
