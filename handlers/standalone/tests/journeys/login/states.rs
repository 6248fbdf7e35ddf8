//! `state`: once, in time, in the browser and at the provider that it was made for (RFC 6749 §10.12, RFC 9700 §4.4, §4.7).

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use http::StatusCode;

use super::{Before, fails, parameter, pending, sent_back, with_query};
use crate::{
    people::{BINDING, allowed, open},
    world::{Setup, World},
};

#[tokio::test]
async fn every_login_has_a_state_and_a_challenge_of_its_own() {
    let world = World::new().await;
    let browser = world.browser();
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let url: url::Url = browser.start_login("soundcloud", "").await.parse().unwrap();
        let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        assert_eq!((value("response_type").as_str(), value("code_challenge_method").as_str()), ("code", "S256"));
        assert_eq!(value("redirect_uri"), "http://127.0.0.1:8080/auth/soundcloud/callback");
        // 256 bits each, in base64url.
        assert_eq!((value("state").len(), value("code_challenge").len()), (43, 43));
        assert!(seen.insert(value("state")) && seen.insert(value("code_challenge")));
        let verifiers = world.rows();
        for verifier in verifiers.column("pending_logins", "code_verifier") {
            assert!(
                verifier.len() >= 43 && !url.as_str().contains(verifier),
                "the verifier is for the token request only"
            );
        }
    }
}

#[tokio::test]
async fn attack_callback_without_a_state_or_with_a_made_up_one() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let code = parameter(&callback, "code");
    for query in [
        String::new(),
        format!("?code={code}"),
        format!("?code={code}&state="),
        format!("?code={code}&state={}", "A".repeat(43)),
        format!("?code={code}&state={}", parameter(&callback, "state").to_lowercase()),
        "?error=access_denied".to_owned(),
    ] {
        let path = format!("/auth/soundcloud/callback{query}");
        fails(&world, &browser, &path, "login_expired", &query).await;
        assert_eq!(pending(&world), 1, "{query}: the true login still waits");
    }
    assert_eq!(open(&browser, &callback).await.login_result(), "connected");
}

#[tokio::test]
async fn attack_state_used_again() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    assert_eq!(open(&browser, &callback).await.login_result(), "connected");
    let token = browser.token("soundcloud").await;
    for why in ["reload", "back"] {
        fails(&world, &browser, &callback, "login_expired", why).await;
    }
    // With another code too: the state is what is over.
    let other = allowed(&browser, "soundcloud", "alice", "").await;
    let mixed = with_query(&callback, |pairs| pairs[0].1 = parameter(&other, "code"));
    fails(&world, &browser, &mixed, "login_expired", "another code").await;
    assert_eq!(browser.token("soundcloud").await["token_id"], token["token_id"]);
    assert_eq!(world.calls("soundcloud", "authorization_code").len(), 1);
}

#[tokio::test]
async fn a_state_is_good_for_ten_minutes_and_not_for_one_second_more() {
    let mut world = World::new().await;
    let browser = world.browser();
    // The sandbox's codes live a minute, so the consent is given late.
    let late = browser.start_login("soundcloud", "").await;
    world.sleep_through(Duration::from_secs(599));
    assert_eq!(open(&browser, &browser.consent(&late, "alice")).await.login_result(), "connected");
    let too_late = browser.start_login("spotify", "").await;
    world.sleep_through(Duration::from_mins(10));
    let callback = browser.consent(&too_late, "alice");
    fails(&world, &browser, &callback, "login_expired", "600 s").await;
    assert_eq!(pending(&world), 0, "looked at and gone");
}

#[tokio::test]
async fn a_login_survives_a_restart_of_the_server() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let world = world.restart().await;
    assert_eq!(open(&browser, &callback).await.login_result(), "connected");
    drop(world);
}

#[tokio::test]
async fn attack_fifty_callbacks_with_one_state_make_one_exchange() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let tabs: Vec<_> = (0..50).map(|_| browser.copied()).collect();
    let answers = join_all(tabs.iter().map(|tab| open(tab, &callback))).await;
    let mut results: Vec<String> = answers.iter().map(crate::world::Answer::login_result).collect();
    results.sort_unstable();
    let mut expected = vec!["connected".to_owned()];
    expected.extend(std::iter::repeat_n("login_expired".to_owned(), 49));
    assert_eq!(results, expected);
    assert_eq!(world.calls("soundcloud", "authorization_code").len(), 1);
    let sessions = tabs.iter().filter(|tab| tab.cookie(crate::people::SESSION).is_some());
    assert_eq!(sessions.count(), 1);
    assert_eq!(world.rows().table("connections").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn attack_fifty_callbacks_on_several_threads_make_one_exchange() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "spotify", "alice", "").await;
    let tasks = (0..50).map(|_| {
        let (tab, callback) = (browser.copied(), callback.clone());
        tokio::spawn(async move { open(&tab, &callback).await.login_result() })
    });
    let results: Vec<String> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|result| *result == "connected").count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| *result == "login_expired").count(), 49, "{results:?}");
    assert_eq!(world.calls("spotify", "authorization_code").len(), 1);
}

#[tokio::test]
async fn attack_mix_up_of_providers() {
    let world = World::new().await;
    let browser = world.browser();
    // A state and code of SoundCloud at Spotify's callback: Spotify must not be told SoundCloud's code.
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let moved = callback.replace("/soundcloud/", "/spotify/");
    fails(&world, &browser, &moved, "login_expired", "mix-up").await;
    assert_eq!(pending(&world), 0, "the state is consumed");
    fails(&world, &browser, &callback, "login_expired", "and gone at its own callback").await;
}

#[tokio::test]
async fn attack_issuer_of_another_server() {
    let world = World::new().await;
    let browser = world.browser();
    for iss in ["https://evil.test", "https://accounts.google.com/", "HTTPS://accounts.google.com"] {
        let callback = allowed(&browser, "youtube", "alice", "").await;
        let named = with_query(&callback, |pairs| pairs.push(("iss".to_owned(), iss.to_owned())));
        fails(&world, &browser, &named, "provider_refused", iss).await;
        assert_eq!(pending(&world), 0, "{iss}: the state is consumed");
    }
    // A parameter without a value is one that was not sent (RFC 6749 §3.1).
    for iss in ["https://accounts.google.com", ""] {
        let callback = allowed(&browser, "youtube", "alice", "").await;
        let named = with_query(&callback, |pairs| pairs.push(("iss".to_owned(), iss.to_owned())));
        assert_eq!(open(&browser, &named).await.login_result(), "connected", "{iss}");
    }
}

#[tokio::test]
async fn a_provider_that_promises_its_issuer_must_name_it() {
    let setup =
        Setup { edit: |offer| offer.provider.issuer_required = offer.provider.issuer.is_some(), ..Setup::default() };
    let world = World::with(setup).await;
    let browser = world.browser();
    let callback = allowed(&browser, "youtube", "alice", "").await;
    fails(&world, &browser, &callback, "provider_refused", "no iss").await;
}

#[tokio::test]
async fn attack_login_of_another_browser() {
    let world = World::new().await;
    let attacker = world.browser();
    let victim = world.browser();
    victim.connect("spotify", "victim").await;
    let stranger = world.browser();
    for (who, browser) in [("a victim who is logged in", &victim), ("a browser without cookies", &stranger)] {
        // The attacker allows with their own account and makes somebody else's browser open the callback.
        let callback = allowed(&attacker, "soundcloud", "attacker", "").await;
        fails(&world, browser, &callback, "login_other_browser", who).await;
        fails(&world, &attacker, &callback, "login_expired", "the state is consumed").await;
    }
    for planted in ["", "A", &"A".repeat(43), &"A".repeat(44), "\"\"", "%00"] {
        let browser = world.browser();
        let callback = allowed(&attacker, "soundcloud", "attacker", "").await;
        browser.set_cookie(BINDING, planted);
        fails(&world, &browser, &callback, "login_other_browser", planted).await;
    }
    assert_eq!(victim.get("/auth/soundcloud/token").await.code(), "not_connected");
}

/// A binding that is not ours is replaced at the next login and never taken over.
#[tokio::test]
async fn a_garbled_binding_is_replaced() {
    let world = World::new().await;
    let browser = world.browser();
    browser.set_cookie(BINDING, "not-one-of-ours");
    browser.connect("soundcloud", "alice").await;
    assert_eq!(browser.cookie(BINDING).unwrap().len(), 43);
}

#[tokio::test]
async fn a_failed_login_returns_to_where_it_began() {
    let world = World::new().await;
    let browser = world.browser();
    let url = browser.start_login("soundcloud", "?return_to=%2Flibrary%3Ftab%3D2%23top").await;
    let denied = world.sandbox.deny(&url, "alice").unwrap();
    let before = Before::of(&world, &browser);
    let answer = browser.navigate(&format!("{}?{}", denied.path(), denied.query().unwrap()), "cross-site").await;
    assert_eq!(
        answer.location().as_str(),
        "http://127.0.0.1:8080/library?tab=2&mm_result=error&mm_provider=soundcloud&mm_code=access_denied#top"
    );
    before.stands(&world, &browser, "denied");
}

#[tokio::test]
async fn a_callback_of_a_provider_that_is_not_on_offer_is_sent_back() {
    let world = World::with(Setup { withheld: &["spotify"], ..Setup::default() }).await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    for provider in ["spotify", "nosuch"] {
        let before = Before::of(&world, &browser);
        let answer = open(&browser, &callback.replace("soundcloud", provider)).await;
        sent_back(&answer, provider, "not_configured", provider);
        before.stands(&world, &browser, provider);
    }
    let answer = open(&browser, &callback.replace("soundcloud", "No%20Provider")).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "unknown_provider"));
    assert_eq!(open(&browser, &callback).await.login_result(), "connected", "the state was not touched");
}

/// Rule 23: the token request repeats the redirect URI of this login, or is not sent.
#[tokio::test]
async fn a_login_that_began_under_another_redirect_uri_is_over() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let table = rusqlite::Connection::open(world.data_dir().join("multimusic.db")).unwrap();
    let moved = "UPDATE pending_logins SET redirect_uri = 'https://before.example/auth/soundcloud/callback'";
    assert_eq!(table.execute(moved, []).unwrap(), 1);
    drop(table);
    fails(&world, &browser, &callback, "login_expired", "another redirect URI").await;
    assert_eq!(pending(&world), 0, "consumed");
}
