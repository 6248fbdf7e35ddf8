use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Router, body::Body, middleware, routing::get};
use http::{StatusCode, header::RETRY_AFTER};
use proptest::prelude::*;
use tower::ServiceExt as _;

use super::*;

const START: u64 = 1_800_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(START + seconds)
}

fn v4(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

fn rule(limit: u32, window_s: u64) -> Rule {
    Rule {
        name: "test",
        method: None,
        path: "/**",
        except: None,
        limit: NonZeroU32::new(limit).unwrap(),
        window: Duration::from_secs(window_s),
    }
}

fn limiter(rules: impl Into<Vec<Rule>>) -> RateLimiter {
    RateLimiter::new(rules, [9; 16])
}

fn get_at(limiter: &RateLimiter, address: IpAddr, seconds: u64) -> Result<(), u64> {
    limiter.check(&Method::GET, "/x", address, at(seconds)).map_err(|limited| limited.retry_after.as_secs())
}

#[test]
fn the_eleventh_login_in_a_minute_waits_exactly_until_the_first_is_a_minute_old() {
    let limiter = limiter(Rule::standard());
    let login = |seconds| limiter.check(&Method::POST, "/auth/spotify/login", v4(1), at(seconds));
    for second in 0..10 {
        assert_eq!(login(second), Ok(()));
    }
    let limited = Limited { rule: "login", retry_after: Duration::from_secs(15) };
    assert_eq!(login(45), Err(limited));
    assert_eq!(login(59).unwrap_err().retry_after, Duration::from_secs(1));
    assert_eq!(login(60), Ok(()));
    assert!(login(60).is_err());
    assert_eq!(limiter.check(&Method::POST, "/auth/spotify/login", v4(2), at(60)), Ok(()));
}

#[test]
fn one_address_makes_a_hundred_calls_in_five_minutes_and_callbacks_do_not_count() {
    let limiter = limiter(Rule::standard());
    let call = |path: &str| limiter.check(&Method::GET, path, v4(1), at(0));
    for _ in 0..300 {
        assert_eq!(call("/auth/spotify/callback"), Ok(()));
        assert_eq!(call("/health"), Ok(()));
    }
    for _ in 0..100 {
        assert_eq!(call("/auth/tokens"), Ok(()));
    }
    let limited = Limited { rule: "auth", retry_after: Duration::from_mins(5) };
    assert_eq!(call("/auth/spotify/token"), Err(limited));
    assert_eq!(call("/auth/spotify/callback"), Ok(()));
}

#[test]
fn a_head_or_odd_method_is_counted_as_well() {
    let limiter = limiter(Rule::standard());
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::TRACE] {
        for _ in 0..2 {
            assert!(limiter.check(&method, "/auth/spotify/login", v4(1), at(0)).is_ok());
        }
    }
    assert!(limiter.check(&Method::HEAD, "/auth/spotify/login", v4(1), at(0)).is_err());
}

#[test]
fn paths_are_matched_by_segment() {
    for (pattern, path, expected) in [
        ("/auth/*/login", "/auth/spotify/login", true),
        ("/auth/*/login", "/auth/%73potify/login", true),
        ("/auth/*/login", "/auth//login", false),
        ("/auth/*/login", "/auth/spotify/login/", false),
        ("/auth/*/login", "/auth/a/b/login", false),
        ("/auth/*/login", "/auth/spotify/logins", false),
        ("/auth/**", "/auth/x/y/z", true),
        ("/auth/**", "/auth/", true),
        ("/auth/**", "/authx", false),
        ("/auth/tokens", "/auth/tokens", true),
        ("/**", "/", true),
    ] {
        assert_eq!(path_matches(pattern, path), expected, "{pattern} {path}");
    }
}

#[test]
fn what_is_refused_is_counted_nowhere() {
    let limiter = limiter([rule(1, 10), rule(3, 100)]);
    assert_eq!(get_at(&limiter, v4(1), 0), Ok(()));
    for _ in 0..50 {
        assert_eq!(get_at(&limiter, v4(1), 1), Err(9));
    }
    assert_eq!(get_at(&limiter, v4(1), 10), Ok(()));
    assert_eq!(get_at(&limiter, v4(1), 20), Ok(()));
    // Three of three: the wait is that of the longer window.
    assert_eq!(get_at(&limiter, v4(1), 25), Err(75));
}

#[test]
fn attack_addresses_of_one_ipv6_subscriber() {
    let limiter = limiter([rule(2, 60)]);
    let address = |text: &str| text.parse().unwrap();
    assert_eq!(get_at(&limiter, address("2001:db8:1:2::1"), 0), Ok(()));
    assert_eq!(get_at(&limiter, address("2001:db8:1:2:ffff::2"), 0), Ok(()));
    assert!(get_at(&limiter, address("2001:db8:1:2:abcd:1:2:3"), 0).is_err());
    assert_eq!(get_at(&limiter, address("2001:db8:1:3::1"), 0), Ok(()));
    assert_eq!(get_at(&limiter, address("::ffff:192.0.2.1"), 0), Ok(()));
    assert_eq!(get_at(&limiter, address("192.0.2.1"), 0), Ok(()));
    assert!(get_at(&limiter, address("::ffff:192.0.2.1"), 0).is_err());
}

/// A full table, filled by the addresses 0..max at second 0.
fn full(max: u32, limit: u32) -> RateLimiter {
    let mut limiter = limiter([rule(limit, 60)]);
    limiter.entries_max = max as usize;
    for number in 0..max {
        assert_eq!(get_at(&limiter, v4(number), 0), Ok(()));
    }
    limiter
}

#[test]
fn attack_filling_the_table_does_not_wash_a_count_away() {
    let limiter = full(64, 1);
    for number in 1_000..3_000 {
        let _ = get_at(&limiter, v4(number), 1);
    }
    for number in 0..64 {
        assert_eq!(get_at(&limiter, v4(number), 2), Err(58), "{number}");
    }
}

#[test]
fn attack_filling_the_table_locks_nobody_out() {
    let limiter = full(64, 5);
    for number in 0..64 {
        assert_eq!(get_at(&limiter, v4(number), 1), Ok(()), "who has an entry keeps it");
    }
    for number in 1_000..1_500 {
        assert_eq!(get_at(&limiter, v4(number), 1), Ok(()), "a newcomer counts in its lane");
    }
}

#[test]
fn attack_many_addresses_are_bounded_together() {
    let max = 64;
    let limiter = full(max, 1);
    let admitted = (1_000..41_000).filter(|number| get_at(&limiter, v4(*number), 1).is_ok()).count();
    let bound = usize::try_from(SHARED_LANES).unwrap() * SHARED_FACTOR as usize;
    assert_eq!(admitted, bound);
    let table = limiter.table.lock().unwrap();
    assert!(table.logs.len() <= max as usize + usize::try_from(SHARED_LANES).unwrap());
}

#[test]
fn a_full_table_empties_itself_as_windows_end() {
    let limiter = full(64, 1);
    assert_eq!(get_at(&limiter, v4(1_000), 60), Ok(()));
    let table = limiter.table.lock().unwrap();
    assert_eq!(table.addresses, 1);
    assert!(table.logs.contains_key(&(0, Holder::Address(v4(1_000)))));
}

#[test]
fn a_clock_set_back_locks_nobody_out() {
    let limiter = limiter([rule(1, 60)]);
    assert_eq!(get_at(&limiter, v4(1), 86_400), Ok(()));
    assert_eq!(get_at(&limiter, v4(1), 0), Ok(()));
    // A small step back keeps the count.
    assert!(get_at(&limiter, v4(1), 10).is_err());
}

fn server(clock: &Arc<AtomicU64>) -> Router {
    let clock = Arc::clone(clock);
    let state = Throttle {
        limiter: limiter([rule(1, 60)]),
        proxies: "10.0.0.0/8".parse().unwrap(),
        now: Box::new(move || at(clock.load(Ordering::Relaxed))),
    };
    Router::new().route("/x", get(|| async {})).layer(middleware::from_fn_with_state(Arc::new(state), throttle))
}

async fn send(router: &Router, peer: Option<&str>, forwarded: &str) -> Response {
    let mut request = http::Request::get("/x").header("x-forwarded-for", forwarded).body(Body::empty()).unwrap();
    if let Some(peer) = peer {
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
    }
    router.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn the_middleware_counts_the_client_and_not_the_proxy() {
    let clock = Arc::new(AtomicU64::new(0));
    let router = server(&clock);
    let status = async |peer, forwarded| send(&router, Some(peer), forwarded).await.status();
    assert_eq!(status("10.0.0.1", "203.0.113.1").await, StatusCode::OK);
    assert_eq!(status("10.0.0.2", "203.0.113.2").await, StatusCode::OK);
    let limited = send(&router, Some("10.0.0.2"), "203.0.113.1").await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(limited.headers()[RETRY_AFTER], "60");
    clock.store(60, Ordering::Relaxed);
    assert_eq!(status("10.0.0.1", "203.0.113.1").await, StatusCode::OK);
}

#[tokio::test]
async fn a_request_without_a_peer_is_a_fault_and_not_free() {
    let router = server(&Arc::default());
    let response = send(&router, None, "203.0.113.1").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

proptest! {
    /// In no window of any length's start does an address get more than its limit, and a refused one that waits as told
    /// is let through.
    #[test]
    fn no_window_holds_more_than_the_limit(steps in prop::collection::vec(0_u64..7, 1..200)) {
        let limiter = limiter([rule(5, 20)]);
        let mut now = 0;
        let mut passed: Vec<u64> = Vec::new();
        for step in steps {
            now += step;
            match get_at(&limiter, v4(1), now) {
                Ok(()) => passed.push(now),
                Err(wait) => {
                    prop_assert!((1..=20).contains(&wait));
                    let kept = passed.iter().filter(|at| **at + 20 > now + wait).count();
                    prop_assert!(kept < 5);
                }
            }
        }
        for start in &passed {
            let within = passed.iter().filter(|at| (*start..*start + 20).contains(*at)).count();
            prop_assert!(within <= 5, "{passed:?}");
        }
    }
}
