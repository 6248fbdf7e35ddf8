//! Limits per client address (the firewall's on AWS).

use std::{net::IpAddr, time::Duration};

use axum::body::Body;
use http::{Method, Request};
use mm_web::rate_limit::Peer;

use crate::{
    attacks::is_problem,
    people::{allowed, open},
    world::{Answer, Setup, World},
};

async fn limited(proxies: &'static str) -> World {
    World::with(Setup { limits: Some(proxies), ..Setup::default() }).await
}

/// A request from this address, forwarded for these.
async fn from(world: &World, peer: &str, forwarded: Option<&str>, method: Method, path: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("x-multimusic-client", "1");
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer(peer.parse::<IpAddr>().unwrap()));
    Answer::read(world.send(request).await).await
}

fn must_wait(answer: &Answer, seconds: u64, why: &str) {
    is_problem(answer, 429, "too_many_requests", why);
    assert_eq!(answer.headers["retry-after"], seconds.to_string(), "{why}");
    assert_eq!(answer.json()["retry_after"], seconds, "{why}");
    assert!(!answer.headers.contains_key("set-cookie"), "{why}");
}

#[tokio::test]
async fn ten_logins_a_minute() {
    let mut world = limited("").await;
    let login = "/auth/soundcloud/login";
    for _ in 0..10 {
        assert_eq!(from(&world, "203.0.113.1", None, Method::POST, login).await.status.as_u16(), 200);
        world.sleep_through(Duration::from_secs(2));
    }
    must_wait(&from(&world, "203.0.113.1", None, Method::POST, login).await, 40, "the eleventh");
    let elsewhere = "/auth/spotify/login";
    must_wait(&from(&world, "203.0.113.1", None, Method::GET, elsewhere).await, 40, "another provider, by navigation");
    assert_eq!(from(&world, "203.0.113.2", None, Method::POST, login).await.status.as_u16(), 200, "somebody else");
    assert_eq!(world.rows().table("pending_logins").len(), 11, "whoever must wait begins nothing");
    world.sleep_through(Duration::from_secs(40));
    assert_eq!(from(&world, "203.0.113.1", None, Method::POST, login).await.status.as_u16(), 200);
    must_wait(&from(&world, "203.0.113.1", None, Method::POST, login).await, 2, "one at a time now");
}

#[tokio::test]
async fn a_hundred_calls_in_five_minutes() {
    let mut world = limited("").await;
    for call in 0..100 {
        let path = ["/auth/tokens", "/auth/connections", "/auth/soundcloud/token", "/auth/nosuch/token"][call % 4];
        assert_ne!(from(&world, "203.0.113.1", None, Method::GET, path).await.status.as_u16(), 429, "{call}");
    }
    must_wait(&from(&world, "203.0.113.1", None, Method::GET, "/auth/tokens").await, 300, "one more");
    must_wait(&from(&world, "203.0.113.1", None, Method::DELETE, "/auth/user").await, 300, "of any method");
    must_wait(&from(&world, "::ffff:203.0.113.1", None, Method::GET, "/auth/tokens").await, 300, "the same in IPv6");
    assert_eq!(from(&world, "203.0.113.1", None, Method::GET, "/health").await.status.as_u16(), 200, "health is free");
    world.sleep_through(Duration::from_mins(5));
    assert_eq!(from(&world, "203.0.113.1", None, Method::GET, "/auth/tokens").await.status.as_u16(), 401);
}

#[tokio::test]
async fn callbacks_are_exempt_and_logins_under_way_can_be_finished() {
    let world = limited("").await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    for _ in 0..99 {
        browser.get("/auth/tokens").await;
    }
    must_wait(&browser.get("/auth/tokens").await, 300, "the limit is reached");
    for _ in 0..200 {
        let lost = open(&world.browser(), "/auth/soundcloud/callback?state=x&code=y").await;
        assert_eq!(lost.login_result(), "login_expired");
    }
    assert_eq!(open(&browser, &callback).await.login_result(), "connected");
}

#[tokio::test]
async fn a_whole_subnet_of_ipv6_is_one_client() {
    let world = limited("").await;
    for host in 0..10 {
        let peer = format!("2001:db8:0:1::{host}");
        assert_eq!(from(&world, &peer, None, Method::POST, "/auth/soundcloud/login").await.status.as_u16(), 200);
    }
    let login = "/auth/soundcloud/login";
    must_wait(&from(&world, "2001:db8:0:1:ffff::1", None, Method::POST, login).await, 60, "the same /64");
    assert_eq!(from(&world, "2001:db8:0:2::1", None, Method::POST, login).await.status.as_u16(), 200);
}

#[tokio::test]
async fn attack_forwarded_addresses_of_ones_own_making() {
    let world = limited("").await;
    let login = "/auth/soundcloud/login";
    for n in 0..10 {
        let forged = format!("198.51.100.{n}");
        assert_eq!(from(&world, "203.0.113.1", Some(&forged), Method::POST, login).await.status.as_u16(), 200);
    }
    must_wait(&from(&world, "203.0.113.1", Some("198.51.100.99"), Method::POST, login).await, 60, "nobody is trusted");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_rightmost_foreign_address_counts() {
    let world = limited("10.0.0.0/8").await;
    let login = "/auth/soundcloud/login";
    for n in 0..10 {
        // The client writes something else at the left each time.
        let forwarded = format!("198.51.100.{n}, 203.0.113.1, 10.0.0.2");
        assert_eq!(from(&world, "10.0.0.1", Some(&forwarded), Method::POST, login).await.status.as_u16(), 200);
    }
    must_wait(&from(&world, "10.0.0.1", Some("203.0.113.1"), Method::POST, login).await, 60, "the same client");
    assert_eq!(from(&world, "10.0.0.1", Some("203.0.113.2"), Method::POST, login).await.status.as_u16(), 200);
    // Whoever reaches the server past the proxy is believed nothing.
    for n in 0..10 {
        let forged = format!("203.0.113.{}", 100 + n);
        assert_eq!(from(&world, "192.0.2.1", Some(&forged), Method::POST, login).await.status.as_u16(), 200);
    }
    must_wait(&from(&world, "192.0.2.1", Some("203.0.113.200"), Method::POST, login).await, 60, "past the proxy");
}

#[tokio::test]
async fn a_frontend_can_read_that_it_must_wait_and_preflights_are_free() {
    let world =
        World::with(Setup { limits: Some(""), frontends: &["http://127.0.0.1:5173"], ..Setup::default() }).await;
    let origin = ("origin", "http://127.0.0.1:5173");
    for _ in 0..150 {
        let preflight = [origin, ("access-control-request-method", "POST")];
        let answer = crate::attacks::ask(&world, Method::OPTIONS, "/auth/soundcloud/login", &preflight).await;
        assert_eq!(answer.status.as_u16(), 204);
    }
    let call = [origin, ("x-multimusic-client", "1")];
    for _ in 0..10 {
        let answer = crate::attacks::ask(&world, Method::POST, "/auth/soundcloud/login", &call).await;
        assert_eq!(answer.status.as_u16(), 200);
    }
    let answer = crate::attacks::ask(&world, Method::POST, "/auth/soundcloud/login", &call).await;
    must_wait(&answer, 60, "by CORS");
    assert_eq!(answer.headers["access-control-allow-origin"], "http://127.0.0.1:5173");
    assert_eq!(answer.headers["access-control-expose-headers"], "Retry-After");
}
