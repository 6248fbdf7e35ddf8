//! How long a session lives, and the cookies that carry it.

use std::time::Duration;

use http::{StatusCode, header::SET_COOKIE};

use super::claims;
use crate::{
    people::{BINDING, SESSION, allowed, open},
    world::{Answer, World},
};

const DAY: Duration = Duration::from_hours(24);

/// The cookies that an answer sets: name and attributes, values left out.
fn cookies(answer: &Answer) -> Vec<String> {
    let flags = |line: &http::HeaderValue| {
        let line = line.to_str().unwrap().to_owned();
        let (pair, attributes) = line.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        format!("{name}={};{attributes}", if value.is_empty() { "" } else { "…" })
    };
    answer.headers.get_all(SET_COOKIE).iter().map(flags).collect()
}

#[tokio::test]
async fn cookies_have_exactly_these_flags() {
    let world = World::new().await;
    let browser = world.browser();
    let started = browser.post("/auth/soundcloud/login").await;
    insta::assert_snapshot!(cookies(&started).join("\n"), @"__Host-mm_browser=…; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=3600");
    let navigated = browser.navigate("/auth/soundcloud/login", "same-origin").await;
    assert_eq!(cookies(&navigated), cookies(&started));
    let callback = browser.consent(navigated.location().as_str(), "alice");
    let connected = open(&browser, &callback).await;
    insta::assert_snapshot!(cookies(&connected).join("\n"), @"__Host-mm_session=…; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=2592000");
    let read = browser.get("/auth/tokens").await;
    assert_eq!(cookies(&read), [] as [String; 0], "a read sets no cookie");
    let left = browser.post("/auth/logout").await;
    insta::assert_snapshot!(cookies(&left).join("\n"), @r"
    __Host-mm_session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0
    __Host-mm_browser=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0
    ");
    browser.connect("soundcloud", "alice").await;
    let deleted = browser.delete("/auth/user").await;
    assert_eq!(cookies(&deleted), cookies(&left));
}

#[tokio::test]
async fn a_session_over_a_day_old_is_renewed_and_keeps_its_id() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let first = claims(&browser);
    world.sleep_through(DAY);
    assert_eq!(cookies(&browser.get("/auth/connections").await), [] as [String; 0], "a day old to the second: not yet");
    world.sleep_through(Duration::from_secs(1));
    let renewed = browser.get("/auth/connections").await;
    assert_eq!(cookies(&renewed), ["__Host-mm_session=…; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=2592000"]);
    let second = claims(&browser);
    assert_eq!(
        (&second["sid"], &second["sub"], &second["auth_time"]),
        (&first["sid"], &first["sub"], &first["auth_time"])
    );
    assert_eq!(second["iat"].as_u64().unwrap(), first["iat"].as_u64().unwrap() + 86_401);
    assert_eq!(second["exp"].as_u64().unwrap(), first["exp"].as_u64().unwrap() + 86_401);
    assert_eq!(cookies(&browser.get("/auth/connections").await), [] as [String; 0], "once a day is enough");
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends_after_thirty_days() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.sleep_through(29 * DAY + Duration::from_secs(86_399));
    assert_eq!(browser.copied().get("/auth/connections").await.status, StatusCode::OK);
    // The leeway for other servers' clocks, and then no more.
    world.sleep_through(Duration::from_secs(30));
    assert_eq!(browser.copied().get("/auth/connections").await.status, StatusCode::OK);
    world.sleep_through(Duration::from_secs(1));
    let answer = browser.copied().get("/auth/connections").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, "no_session"));
}

#[tokio::test]
async fn a_session_that_is_used_every_week_ends_after_a_hundred_and_eighty_days() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let sid = claims(&browser)["sid"].clone();
    let thief = browser.copied();
    for week in 0..25 {
        world.sleep_through(7 * DAY);
        for copy in [&browser, &thief] {
            let answer = copy.get("/auth/connections").await;
            assert_eq!(answer.status, StatusCode::OK, "week {week}");
            assert_eq!(claims(copy)["sid"], sid);
        }
    }
    // Day 175. The last renewals reach to day 180 and not beyond.
    world.sleep_through(4 * DAY);
    assert_eq!(browser.get("/auth/connections").await.status, StatusCode::OK);
    let end = crate::world::START.plus(180 * DAY).unix();
    assert_eq!(claims(&browser)["exp"], end);
    world.sleep_through(DAY + Duration::from_secs(31));
    for copy in [&browser, &thief] {
        assert_eq!(copy.get("/auth/connections").await.code(), "no_session");
        assert_eq!(copy.get("/auth/tokens").await.code(), "no_session");
    }
    browser.connect("soundcloud", "alice").await;
    assert_ne!(claims(&browser)["sid"], sid);
    assert_eq!(thief.get("/auth/connections").await.code(), "no_session", "the old copy stays dead");
}

#[tokio::test]
async fn attack_session_planted_before_a_login_does_not_become_the_victims() {
    let world = World::new().await;
    let attacker = world.browser();
    attacker.connect("soundcloud", "attacker").await;
    let planted = attacker.cookie(SESSION).unwrap();
    let sid = claims(&attacker)["sid"].clone();
    // The attacker's session has ended, and a victim's browser was made to carry it.
    attacker.copied().post("/auth/logout").await;
    let victim = world.browser();
    victim.set_cookie(SESSION, &planted);
    victim.connect("spotify", "victim").await;
    assert_ne!(claims(&victim)["sid"], sid, "a login makes a session of its own");
    assert_ne!(victim.cookie(SESSION).unwrap(), planted);
    attacker.set_cookie(SESSION, &planted);
    assert_eq!(attacker.get("/auth/connections").await.code(), "no_session");
}

#[tokio::test]
async fn attack_binding_planted_before_a_login_opens_nothing_of_the_victims() {
    let world = World::new().await;
    let attacker = world.browser();
    attacker.start_login("soundcloud", "").await;
    let victim = world.browser();
    victim.set_cookie(BINDING, &attacker.cookie(BINDING).unwrap());
    let callback = allowed(&victim, "spotify", "victim", "").await;
    assert_eq!(open(&victim, &callback).await.login_result(), "connected");
    // The same binding, a login begun before the victim came: it would be the victim's sibling tab. The attacker has no
    // session, and a login of theirs from now on is another person's.
    attacker.connect("soundcloud", "attacker").await;
    assert_ne!(claims(&attacker)["sub"], claims(&victim)["sub"]);
    assert_eq!(attacker.get("/auth/spotify/token").await.code(), "not_connected");
}
