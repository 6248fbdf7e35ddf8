//! Logins and callbacks that no person asked for: hidden in pages, fetched by scripts, loaded ahead of time.

use http::Method;

use super::{ask, is_problem};
use crate::{
    login::{Before, pending},
    people::{BINDING, allowed, open},
    world::World,
};

type Headers<'a> = &'a [(&'a str, &'a str)];

/// What a browser sends that was not navigated, or not by a person.
const HIDDEN: [(&str, Headers); 14] = [
    ("a script's fetch", &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("sec-fetch-site", "same-origin")]),
    (
        "a script's no-cors fetch",
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "empty"), ("sec-fetch-site", "cross-site")],
    ),
    ("an image", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), ("sec-fetch-site", "cross-site")]),
    (
        "a script element",
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script"), ("sec-fetch-site", "cross-site")],
    ),
    ("a frame", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), ("sec-fetch-site", "cross-site")]),
    ("an object", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object"), ("sec-fetch-site", "same-origin")]),
    (
        "a prefetch",
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", "none"),
            ("sec-purpose", "prefetch"),
        ],
    ),
    (
        "a prerender",
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", "none"),
            ("sec-purpose", "prefetch;prerender"),
        ],
    ),
    (
        "an older prefetch",
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", "none"),
            ("purpose", "prefetch"),
        ],
    ),
    ("a worker", &[("sec-fetch-mode", "same-origin"), ("sec-fetch-dest", "worker"), ("sec-fetch-site", "same-origin")]),
    (
        "doubled metadata",
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
    ),
    ("no metadata, a script's accept", &[("accept", "*/*")]),
    ("no metadata, a frontend's call", &[("accept", "text/html"), ("x-multimusic-client", "1")]),
    ("nothing at all", &[]),
];

#[tokio::test]
async fn attack_callback_that_is_no_navigation() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let binding = format!("{BINDING}={}", browser.cookie(BINDING).unwrap());
    for (why, headers) in HIDDEN {
        let mut headers = headers.to_vec();
        headers.push(("cookie", &binding));
        let before = Before::of(&world, &browser);
        let answer = ask(&world, Method::GET, &callback, &headers).await;
        is_problem(&answer, 400, "not_a_navigation", why);
        assert!(!answer.headers.contains_key("set-cookie"), "{why}");
        before.stands(&world, &browser, why);
        assert_eq!(pending(&world), 1, "{why}: the login still waits");
    }
    assert_eq!(open(&browser, &callback).await.login_result(), "connected");
}

#[tokio::test]
async fn attack_login_that_is_no_navigation() {
    let world = World::new().await;
    for (why, headers) in HIDDEN {
        let answer = ask(&world, Method::GET, "/auth/soundcloud/login", headers).await;
        is_problem(&answer, 400, "not_a_navigation", why);
        assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("location"), "{why}");
        assert_eq!(pending(&world), 0, "{why}");
    }
}

#[tokio::test]
async fn attack_login_from_another_site() {
    let world = World::new().await;
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    for (why, more) in [
        ("a link elsewhere", &[("sec-fetch-site", "cross-site"), ("referer", "https://evil.test/page")][..]),
        ("a link elsewhere that hides", &[("sec-fetch-site", "cross-site")]),
        ("a form elsewhere", &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")]),
        ("a form in a sandboxed frame", &[("sec-fetch-site", "cross-site"), ("origin", "null")]),
        ("a sibling's page", &[("sec-fetch-site", "same-site"), ("referer", "http://127.0.0.1:9999/")]),
        ("a sibling's page, by its origin", &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:9999")]),
        ("a look-alike", &[("sec-fetch-site", "cross-site"), ("referer", "http://127.0.0.1:8080.evil.test/")]),
        (
            "a look-alike with a user",
            &[("sec-fetch-site", "cross-site"), ("referer", "http://127.0.0.1:8080@evil.test/")],
        ),
        ("two sites", &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]),
        (
            "two referrers",
            &[
                ("sec-fetch-site", "same-site"),
                ("referer", "http://127.0.0.1:8080/"),
                ("referer", "https://evil.test/"),
            ],
        ),
        ("an unknown word", &[("sec-fetch-site", "trusted")]),
    ] {
        let headers = [&navigation[..], more].concat();
        let answer = ask(&world, Method::GET, "/auth/soundcloud/login", &headers).await;
        is_problem(&answer, 403, "origin_not_allowed", why);
        assert!(!answer.headers.contains_key("set-cookie"), "{why}");
        assert_eq!(pending(&world), 0, "{why}");
    }
    for (why, more) in [
        ("the address bar", &[("sec-fetch-site", "none")][..]),
        ("our page", &[("sec-fetch-site", "same-origin"), ("referer", "http://127.0.0.1:8080/")]),
        ("our page that hides", &[("sec-fetch-site", "same-origin")]),
    ] {
        let headers = [&navigation[..], more].concat();
        let answer = ask(&world, Method::GET, "/auth/soundcloud/login", &headers).await;
        assert_eq!(answer.status.as_u16(), 303, "{why}: {}", answer.text);
        assert!(answer.headers["location"].to_str().unwrap().starts_with(world.sandbox.base_url().as_str()), "{why}");
        super::is_dressed(&answer, why);
    }
    assert_eq!(pending(&world), 3);
}

#[tokio::test]
async fn an_old_browser_can_log_in() {
    let world = World::new().await;
    let started = ask(&world, Method::GET, "/auth/soundcloud/login", &[("accept", "text/html,*/*;q=0.8")]).await;
    assert_eq!(started.status.as_u16(), 303, "{}", started.text);
    let callback = world.sandbox.consent(started.location().as_str(), "alice").unwrap();
    let cookie = started.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let path = format!("{}?{}", callback.path(), callback.query().unwrap());
    let done = ask(&world, Method::GET, &path, &[("accept", "text/html"), ("cookie", &cookie)]).await;
    assert_eq!(done.login_result(), "connected");
}
