//! What each thing costs, in reads, writes, key unwraps and provider calls.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::StatusCode;
use mm_embedded::store::IoCounts;
use mm_engine::ports::{ConnectionStore as _, Expected, Lane, Link, LinkOutcome, Nudge, Trigger};
use mm_model::{Connection, ConnectionKey, Issuer, Sealed, Seat, User, Version, login::Consent};
use mm_standalone::pump;

use crate::world::{CountingKeys, START, World};

/// The connections, in the order in which they were made.
fn keys(world: &World) -> Vec<ConnectionKey> {
    let mut events = world.backend.store.recent_events(100).unwrap();
    events.reverse();
    events.into_iter().map(|event| event.key).collect()
}

#[tokio::test]
async fn a_fetch_costs_one_read() {
    let mut world = World::new().await;
    let mut wiring = world.wiring(51);
    let keys = Arc::new(CountingKeys::new(wiring.keys));
    wiring.keys = Arc::clone(&keys) as _;
    let backend = world.process(wiring);
    world.adopt(backend);
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(30));
    browser.token("soundcloud").await;

    let (before, unwraps) = (world.backend.store.io(), keys.unwraps());
    assert!(unwraps > 0, "the keys were unwrapped once, or this test counts nothing");
    for n in 1..=20 {
        assert_eq!(browser.get("/auth/soundcloud/token").await.status, StatusCode::OK);
        let io = world.backend.store.io().since(before);
        assert_eq!(io, IoCounts { reads: n, ..IoCounts::default() }, "one query per fetch and nothing else");
    }
    let before = world.backend.store.io();
    assert_eq!(browser.get("/auth/tokens").await.status, StatusCode::OK);
    assert!(
        world.backend.store.io().since(before).reads <= 2,
        "one query for all, and one to be sure of what is missing"
    );
    assert_eq!(keys.unwraps(), unwraps, "no call of the key service");
    assert!(world.calls("soundcloud", "refresh_token").is_empty());
}

#[tokio::test]
async fn a_fetch_an_hour_later_costs_one_write_more_and_once() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.advance_by_steps(Duration::from_mins(61), Duration::from_secs(30)).await;
    let before = world.backend.store.io();
    browser.token("soundcloud").await;
    assert_eq!(world.backend.store.io().since(before).writes, 1, "that it was seen");
    assert_eq!(world.backend.store.io().since(before).index_writes, 0);
    browser.token("soundcloud").await;
    assert_eq!(world.backend.store.io().since(before).writes, 1);
}

#[tokio::test]
async fn a_refresh_costs_two_writes_and_no_read() {
    let mut world = World::new().await;
    let people = ["alice", "bob", "carol"].map(|name| (world.browser(), name));
    for (browser, name) in &people {
        browser.connect("soundcloud", name).await;
    }
    world.settle().await;
    world.sleep_through(Duration::from_mins(55));
    for (n, key) in keys(&world).into_iter().enumerate() {
        let nudge = Nudge { key, trigger: Trigger::Due };
        world.backend.queue.nudges.nudge(Lane::Due, &[(nudge, Duration::ZERO)]).unwrap();
        let before = world.backend.store.io();
        assert_eq!(pump::nudge_turn(&world.backend, Lane::Due).await, 1);
        let io = world.backend.store.io().since(before);
        // Whoever comes first reads what holds for a while and for everybody: the provider's circuit (10 s) and the branch
        // keys of both families (minutes).
        let reads = if n == 0 { 3 } else { 0 };
        assert_eq!((io.writes, io.index_writes, io.refused, io.reads), (2, 0, 0, reads), "claim and commit: {n}");
        assert_eq!(world.calls("soundcloud", "refresh_token").len(), n + 1, "one call");
    }
    world.settle().await;
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), people.len());
}

#[tokio::test]
async fn a_nudge_too_many_costs_one_refused_write() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.settle().await;
    let nudge = Nudge { key: keys(&world).remove(0), trigger: Trigger::Due };
    world.backend.queue.nudges.nudge(Lane::Due, &[(nudge, Duration::ZERO)]).unwrap();
    let before = world.backend.store.io();
    world.settle().await;
    let io = world.backend.store.io().since(before);
    assert_eq!((io.writes, io.refused), (0, 1), "not due");
    assert!(world.calls("soundcloud", "refresh_token").is_empty());
}

/// A row as a login writes it, for a person whose connection sits where `wanted` says.
fn row(n: u32, wanted: impl Fn(Seat) -> bool) -> Link {
    let lifetime = Duration::from_hours(1);
    let key = (0..100_000_u32)
        .map(|m| ConnectionKey { user: format!("u{n}x{m}").parse().unwrap(), provider: "soundcloud".parse().unwrap() })
        .find(|key| wanted(Seat::fast(key, lifetime)))
        .unwrap();
    let mut version = [0; 16];
    version[..4].copy_from_slice(&n.to_be_bytes());
    let consent = Consent {
        issuer: "https://secure.soundcloud.com multimusic-dev".parse::<Issuer>().unwrap(),
        account: format!("soundcloud:users:{n}").parse().unwrap(),
        version: Version::from_bytes(version),
        access_token: Sealed::from_bytes(vec![1; 64]),
        refresh_token: Some(Sealed::from_bytes(vec![2; 64])),
        lifetime: lifetime.as_secs(),
        expires_at: START.plus(lifetime),
        scope: None,
        grant_lifetime: None,
        now: START,
    };
    let user = User::new(key.user.clone(), START);
    let connection = Connection::establish(key, consent, None, false);
    Link { connection, expected: Expected::Absent, user, released: None, taken_from: None }
}

/// A world with ten connections that pass in a given minute and `others` that do not: what that minute's tick costs.
async fn cost_of_a_tick(others: u32) -> (IoCounts, mm_engine::TickReport) {
    let world = World::new().await;
    let target = START.minute().plus(11);
    let passes = |seat: Seat| seat.first_pass(target) == target;
    let rows = (0..10).map(|n| row(n, passes)).chain((10..10 + others).map(|n| row(n, |seat| !passes(seat))));
    let links: Vec<Link> = rows.collect();
    for outcome in join_all(links.iter().map(|link| world.backend.store.link(link))).await {
        assert_eq!(outcome.unwrap(), LinkOutcome::Done);
    }
    world.clock.advance(Duration::from_mins(10));
    world.backend.store.advance_tick(START.minute().plus(10)).await.unwrap();
    let before = world.backend.store.io();
    let report = pump::schedule_turn(&world.backend).await.unwrap().unwrap();
    (world.backend.store.io().since(before), report)
}

#[tokio::test]
async fn a_tick_costs_what_is_due_and_not_what_there_is() {
    let (few, report) = cost_of_a_tick(0).await;
    assert_eq!((report.minutes, report.nudged), (1, 10));
    let (many, same) = cost_of_a_tick(990).await;
    assert_eq!(same, report);
    assert_eq!(few, many);
}
