//! Cookies that come twice, planted beside the true ones, or without end.

use http::Method;

use super::{ask, is_problem};
use crate::{
    login::{Before, pending},
    people::{BINDING, SESSION, allowed},
    world::World,
};

const CALL: (&str, &str) = ("x-multimusic-client", "1");

#[tokio::test]
async fn attack_session_cookie_planted_beside_the_true_one() {
    let world = World::new().await;
    let victim = world.browser();
    victim.connect("soundcloud", "victim").await;
    let attacker = world.browser();
    attacker.connect("soundcloud", "attacker").await;
    let (true_one, planted) = (victim.cookie(SESSION).unwrap(), attacker.cookie(SESSION).unwrap());
    let before = world.rows();
    for (first, second) in [(&true_one, &planted), (&planted, &true_one), (&true_one, &true_one)] {
        let in_one = format!("{SESSION}={first}; {SESSION}={second}");
        let (a, b) = (format!("{SESSION}={first}"), format!("{SESSION}={second}"));
        for headers in [&[CALL, ("cookie", in_one.as_str())][..], &[CALL, ("cookie", &a), ("cookie", &b)]] {
            for (method, path) in [
                (Method::GET, "/auth/connections"),
                (Method::GET, "/auth/soundcloud/token"),
                (Method::POST, "/auth/spotify/login"),
                (Method::POST, "/auth/logout"),
                (Method::DELETE, "/auth/user"),
            ] {
                is_problem(&ask(&world, method, path, headers).await, 400, "bad_request", path);
            }
        }
    }
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn attack_binding_planted_beside_the_true_one() {
    let world = World::new().await;
    let attacker = world.browser();
    let victim = world.browser();
    victim.start_login("spotify", "").await;
    let callback = allowed(&attacker, "soundcloud", "attacker", "").await;
    let cookies =
        format!("{BINDING}={}; {BINDING}={}", victim.cookie(BINDING).unwrap(), attacker.cookie(BINDING).unwrap());
    let before = Before::of(&world, &victim);
    let navigation = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "cross-site"),
        ("cookie", &*cookies),
    ];
    is_problem(&ask(&world, Method::GET, &callback, &navigation).await, 400, "bad_request", "two bindings");
    before.stands(&world, &victim, "two bindings");
    assert_eq!(pending(&world), 2);
}

#[tokio::test]
async fn names_that_only_look_like_ours_are_other_cookies() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let token = browser.cookie(SESSION).unwrap();
    for name in [
        "mm_session",
        "__host-mm_session",
        "__HOST-MM_SESSION",
        "__Secure-mm_session",
        "__Host-mm_sessionx",
        "x__Host-mm_session",
        "__Host-mm_session ",
        " x __Host-mm_session",
    ] {
        let cookie = format!("{name}={token}");
        let answer = ask(&world, Method::GET, "/auth/connections", &[CALL, ("cookie", &cookie)]).await;
        if name.trim() != SESSION {
            is_problem(&answer, 401, "no_session", name);
        }
    }
    // And do not hinder ours.
    let crowd = format!("a; =b; {SESSION}x=1; theme=\"dark; mode\"; {SESSION}={token}; ;;; other=%ff");
    let answer = ask(&world, Method::GET, "/auth/connections", &[CALL, ("cookie", &crowd)]).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
}

#[tokio::test]
async fn attack_cookies_without_end() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let cookie = format!("junk={}; {SESSION}={}", "canary".repeat(3_000), browser.cookie(SESSION).unwrap());
    let answer = ask(&world, Method::GET, "/auth/connections", &[CALL, ("cookie", &cookie)]).await;
    is_problem(&answer, 431, "headers_too_large", "18 kB of cookies");
}

/// A cookie's value that is no text is no session; it breaks nothing.
#[tokio::test]
async fn attack_cookie_that_is_no_text() {
    let world = World::new().await;
    let mut value = format!("{SESSION}=").into_bytes();
    value.extend([0xff, 0xfe, 0x80]);
    let request = http::Request::get("/auth/connections")
        .header("x-multimusic-client", "1")
        .header("cookie", http::HeaderValue::from_bytes(&value).unwrap())
        .body(axum::body::Body::empty());
    let answer = crate::world::Answer::read(world.send(request.unwrap()).await).await;
    is_problem(&answer, 401, "no_session", "bytes");
}
