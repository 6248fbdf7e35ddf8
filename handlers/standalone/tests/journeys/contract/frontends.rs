//! Where the frontend lives: siblings of one site, another port of one host.

use http::Method;

use super::split;
use crate::{
    attacks::{ask, is_dressed_for, is_problem},
    people::open,
    world::{Setup, World},
};

#[tokio::test]
async fn a_login_returns_to_the_first_frontend_unless_it_names_another() {
    let world = split().await;
    for (query, expected) in [
        ("", "https://app.example.com/home?mm_result=connected&mm_provider=soundcloud"),
        ("?return_to=/library", "https://app.example.com/library?mm_result=connected&mm_provider=soundcloud"),
        (
            "?return_to=https%3A%2F%2Fbeta.example.com%2Fx%3Fy%3D1",
            "https://beta.example.com/x?y=1&mm_result=connected&mm_provider=soundcloud",
        ),
        (
            "?return_to=https%3A%2F%2Fapp.example.com",
            "https://app.example.com/?mm_result=connected&mm_provider=soundcloud",
        ),
        // The back end's routes are at another origin: there a page may be called so.
        ("?return_to=/auth/done", "https://app.example.com/auth/done?mm_result=connected&mm_provider=soundcloud"),
    ] {
        let browser = world.browser();
        let url = browser.start_login("soundcloud", query).await;
        let callback = browser.consent(&url, "alice");
        let answer = open(&browser, &callback).await;
        assert_eq!(answer.location().as_str(), expected);
        is_dressed_for(&answer, query, true);
    }
    // A callback whose login is unknown goes to the default too.
    let lost = open(&world.browser(), "/auth/soundcloud/callback?state=x&code=y").await;
    assert_eq!(
        lost.location().as_str(),
        "https://app.example.com/home?mm_result=error&mm_provider=soundcloud&mm_code=login_expired"
    );
}

#[tokio::test]
async fn the_redirect_uri_is_the_servers_whatever_host_was_asked() {
    let world = split().await;
    for host in ["evil.test", "app.example.com", "127.0.0.1"] {
        let headers = [
            ("x-multimusic-client", "1"),
            ("host", host),
            ("x-forwarded-host", host),
            ("forwarded", "host=evil.test;proto=http"),
            ("x-forwarded-proto", "http"),
            ("origin", "https://app.example.com"),
        ];
        let answer = ask(&world, Method::POST, "/auth/soundcloud/login", &headers).await;
        let url: url::Url = answer.json()["authorization_url"].as_str().unwrap().parse().unwrap();
        let redirect = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        assert_eq!(redirect, "https://auth.example.com/auth/soundcloud/callback");
    }
}

#[tokio::test]
async fn https_is_promised_where_it_is_and_on_errors_too() {
    let world = split().await;
    let plain = World::new().await;
    for path in ["/health", "/nothing", "/auth/tokens", "/auth/soundcloud/callback", "/auth/user"] {
        is_dressed_for(&ask(&world, Method::GET, path, &[]).await, path, true);
        is_dressed_for(&ask(&plain, Method::GET, path, &[]).await, path, false);
    }
}

#[tokio::test]
async fn a_navigation_from_a_sibling_frontend_starts_a_login() {
    let world = split().await;
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "same-site")];
    for (referrer, status) in [
        ("https://app.example.com/home", 303),
        ("https://beta.example.com/", 303),
        ("https://evil.example.com/", 403),
        ("https://app.example.com.evil.test/", 403),
    ] {
        let headers = [&navigation[..], &[("referer", referrer)]].concat();
        let answer = ask(&world, Method::GET, "/auth/soundcloud/login", &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{referrer}");
        if status == 403 {
            is_problem(&answer, 403, "origin_not_allowed", referrer);
        }
    }
}

/// Layout (c): another port of the same loopback host.
#[tokio::test]
async fn a_frontend_on_another_port_reads_with_credentials() {
    let world = World::with(Setup { frontends: &["http://127.0.0.1:5173"], ..Setup::default() }).await;
    let browser = world.browser();
    let answer = browser.login("soundcloud", "alice", "").await;
    assert_eq!(answer.location().as_str(), "http://127.0.0.1:5173/?mm_result=connected&mm_provider=soundcloud");
    let cookie = format!("{}={}", crate::people::SESSION, browser.cookie(crate::people::SESSION).unwrap());
    let headers = [("x-multimusic-client", "1"), ("cookie", cookie.as_str()), ("origin", "http://127.0.0.1:5173")];
    let answer = ask(&world, Method::GET, "/auth/soundcloud/token", &headers).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.headers["access-control-allow-origin"], "http://127.0.0.1:5173");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    let problem = ask(&world, Method::GET, "/auth/spotify/token", &headers).await;
    assert_eq!(problem.json()["login_url"], "http://127.0.0.1:8080/auth/spotify/login");
}
