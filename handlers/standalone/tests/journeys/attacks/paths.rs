//! Paths and methods that there are not.

use http::Method;

use super::{ask, is_dressed, is_problem};
use crate::{
    login::{Before, pending},
    people::{SESSION, allowed, open},
    world::World,
};

#[tokio::test]
async fn attack_provider_names() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let before = world.rows();
    for name in [
        "nosuch",
        "SoundCloud",
        "soundcloud%20",
        "soundcloud%00",
        "%ff",
        "%c0%af",
        "..%2fsoundcloud",
        "soundcloud%2f..",
        "soundcloud;x=1",
        "soundcloud%0d%0aset-cookie:canary=1",
        "canary",
        "%3Cscript%3Ecanary",
        "%F0%9F%8E%B5",
        "-",
        "*",
        "platform%23soundcloud",
        "%23user",
        "{provider}",
        "$where",
    ] {
        for (method, rest) in
            [(Method::POST, "/login"), (Method::GET, "/token"), (Method::POST, "/refresh"), (Method::DELETE, "")]
        {
            let path = format!("/auth/{name}{rest}");
            let answer = browser.call(method.clone(), &path).await;
            // A slug that no catalogue has can still be disconnected: a connection outlives its provider's credentials.
            let code = if method == Method::DELETE && answer.code() == "not_connected" {
                "not_connected"
            } else {
                "unknown_provider"
            };
            let why = format!("{method} {path}");
            assert_eq!(answer.status.as_u16(), 404, "{why}: {}", answer.text);
            let document = answer.json();
            assert_eq!(document["code"], code, "{why}");
            is_dressed(&answer, &why);
            assert!(!answer.headers.contains_key("location"), "{why}");
        }
        let login = browser.navigate(&format!("/auth/{name}/login"), "none").await;
        is_problem_of(&login, &format!("GET login {name}"));
    }
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn a_provider_without_a_name_is_none() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    is_problem(&browser.get("/auth//token").await, 404, "unknown_provider", "no name");
}

fn is_problem_of(answer: &crate::world::Answer, why: &str) {
    is_problem(answer, 404, "unknown_provider", why);
}

#[tokio::test]
async fn attack_long_provider_name() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    for length in [65, 1_000, 60_000] {
        let answer = browser.get(&format!("/auth/{}/token", "a".repeat(length))).await;
        is_problem(&answer, 404, "unknown_provider", &length.to_string());
        assert!(answer.text.len() < 1_000);
    }
}

#[tokio::test]
async fn paths_that_there_are_not() {
    let world = World::new().await;
    for path in [
        "/",
        "/auth",
        "/auth/",
        "/auth/soundcloud/",
        "/auth/soundcloud/token/",
        "//auth/tokens",
        "/AUTH/tokens",
        "/auth/tokens/x",
        "/auth/soundcloud/callback/x",
        "/%61uth/tokens",
        "/.env",
        "/multimusic.db",
        "/auth/..%2f..%2fetc/passwd",
        "/metrics",
        "/dev/info",
        "/_sandbox/log",
        "/canary?canary=canary",
        "/health/",
        "/problems/no-session",
    ] {
        let answer = ask(&world, Method::GET, path, &[("x-multimusic-client", "1")]).await;
        is_problem(&answer, 404, "not_found", path);
    }
}

/// Each route with the methods that it has.
const ROUTES: [(&str, &[Method]); 10] = [
    ("/auth/soundcloud/login", &[Method::POST, Method::GET]),
    ("/auth/soundcloud/callback", &[Method::GET]),
    ("/auth/soundcloud/token", &[Method::GET, Method::HEAD]),
    ("/auth/soundcloud/refresh", &[Method::POST]),
    ("/auth/soundcloud", &[Method::DELETE]),
    ("/auth/tokens", &[Method::GET, Method::HEAD]),
    ("/auth/connections", &[Method::GET, Method::HEAD]),
    ("/auth/user", &[Method::DELETE]),
    ("/auth/logout", &[Method::POST]),
    ("/health", &[Method::GET, Method::HEAD]),
];

#[tokio::test]
async fn methods_that_a_route_has_not() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let cookie = format!("{SESSION}={}", browser.cookie(SESSION).unwrap());
    let headers = [("x-multimusic-client", "1"), ("cookie", cookie.as_str()), ("accept", "text/html")];
    let before = world.rows();
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
        Method::from_bytes(b"PROPFIND").unwrap(),
        Method::from_bytes(b"get").unwrap(),
    ];
    for (path, allowed) in ROUTES {
        for method in methods.iter().filter(|method| !allowed.contains(method)) {
            let answer = ask(&world, method.clone(), path, &headers).await;
            let why = format!("{method} {path}");
            assert_eq!(answer.status.as_u16(), 405, "{why}: {}", answer.text);
            is_dressed(&answer, &why);
            if method != Method::HEAD {
                is_problem(&answer, 405, "method_not_allowed", &why);
            }
            let allow = answer.headers["allow"].to_str().unwrap();
            for method in allowed {
                assert!(allow.split(',').any(|word| word.trim() == method.as_str()), "{why}: {allow}");
            }
        }
    }
    assert_eq!(world.rows(), before, "none of them changed anything");
}

/// HEAD promises to change nothing (RFC 9110 §9.2.1): it starts no login and finishes none.
#[tokio::test]
async fn a_head_request_starts_no_login_and_takes_none() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let binding = format!("{}={}", crate::people::BINDING, browser.cookie(crate::people::BINDING).unwrap());
    for path in [callback.as_str(), "/auth/spotify/login"] {
        let before = Before::of(&world, &browser);
        for headers in [
            &[("accept", "text/html"), ("cookie", binding.as_str())][..],
            &[
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
                ("sec-fetch-site", "none"),
                ("cookie", &binding),
            ],
        ] {
            let answer = ask(&world, Method::HEAD, path, headers).await;
            assert_eq!(answer.status.as_u16(), 405, "{path}");
            assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("location"), "{path}");
        }
        before.stands(&world, &browser, path);
        assert_eq!(pending(&world), 1, "{path}");
    }
    assert_eq!(open(&browser, &callback).await.login_result(), "connected");
}

#[tokio::test]
async fn a_head_request_to_a_read_has_the_headers_and_no_body() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    for path in ["/auth/soundcloud/token", "/auth/tokens", "/auth/connections", "/health"] {
        let answer = browser.call(Method::HEAD, path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""), "{path}");
        is_dressed(&answer, path);
    }
}
