//! Providers that are ill: nobody is logged out, nobody storms, everybody recovers.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use http::StatusCode;
use mm_model::{Timestamp, circuit::OPEN_FOR_MAX};
use mm_sandbox::{Fault, FaultKind, LogEntry, Only, RetryAfter};

use crate::world::{Browser, World};

const STEP: Duration = Duration::from_secs(15);

const HOUR: Duration = Duration::from_hours(1);

/// Calls that the catalogue lets the product make in one second, and so in one instant of these tests.
const BURST_MAX: usize = 20;

async fn crowd(world: &World, provider: &str, people: usize) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for n in 0..people {
        let browser = world.browser();
        browser.connect(provider, &format!("person{n}")).await;
        browsers.push(browser);
    }
    world.settle().await;
    browsers
}

fn strike(world: &World, provider: &str, kind: FaultKind) {
    world.sandbox.plan(Fault::token(provider, kind).only(Only::Refresh)).unwrap();
}

async fn nobody_is_logged_out(people: &[Browser], provider: &str) {
    for browser in people {
        assert_eq!(browser.connection(provider).await["status"], "active");
    }
}

async fn everybody_is_well(world: &World, people: &[Browser], provider: &str) {
    for browser in people {
        let connection = browser.connection(provider).await;
        assert_eq!((&connection["status"], &connection["attempts"]), (&"active".into(), &0.into()), "{connection}");
        let token = browser.token(provider).await;
        assert_eq!(token["state"], "fresh", "{token}");
        assert!(world.api_takes(provider, &token));
    }
}

/// How many calls there were at each instant.
fn instants(calls: &[LogEntry]) -> BTreeMap<u64, usize> {
    let mut instants = BTreeMap::new();
    for call in calls {
        *instants.entry(call.at).or_default() += 1;
    }
    instants
}

/// Fifty people live through an hour in which the provider answers every refresh with `kind`.
async fn incident(provider: &str, kind: FaultKind) -> Vec<LogEntry> {
    let mut world = World::new().await;
    let people = crowd(&world, provider, 50).await;
    world.advance_by_steps(Duration::from_mins(30), STEP).await;
    let healthy = world.calls(provider, "refresh_token").len();
    strike(&world, provider, kind);
    world.advance_by_steps(HOUR, STEP).await;
    nobody_is_logged_out(&people, provider).await;
    let ill = world.calls(provider, "refresh_token").split_off(healthy);
    assert!(!ill.is_empty(), "{kind:?}: it struck");
    world.sandbox.clear_faults(None);
    world.advance_by_steps(Duration::from_mins(20), STEP).await;
    everybody_is_well(&world, &people, provider).await;
    let calls = world.calls(provider, "refresh_token");
    let most = instants(&calls).into_values().max();
    assert!(most <= Some(BURST_MAX), "{kind:?}: within the provider's budget, also when it is back: {most:?}");
    ill
}

#[tokio::test]
async fn a_provider_incident_flags_nobody() {
    let ill = incident("soundcloud", FaultKind::Html403).await;
    // Once the circuit opens for its longest: one probe each time, whoever it is that would call.
    let probes: Vec<u64> = ill.iter().map(|call| call.at).filter(|at| *at > ill[0].at + 900).collect();
    assert!(probes.windows(2).all(|pair| pair[1] >= pair[0] + OPEN_FOR_MAX.as_secs()), "{probes:?}");
}

#[tokio::test]
async fn neither_does_one_of_server_errors() {
    for status in [500, 503] {
        incident("soundcloud", FaultKind::Error5xxBefore { status }).await;
    }
}

#[tokio::test]
async fn nor_one_of_empty_or_odd_answers() {
    for kind in [FaultKind::Empty202, FaultKind::ErrorBody200, FaultKind::ResetBefore] {
        incident("soundcloud", kind).await;
    }
}

#[tokio::test]
async fn nor_one_of_spoilt_answers_where_refresh_tokens_stay() {
    for kind in [
        FaultKind::Malformed,
        FaultKind::MissingAccessToken,
        FaultKind::Empty200,
        FaultKind::ResetMidAnswer,
        FaultKind::Error5xxAfter { status: 502 },
    ] {
        incident("youtube", kind).await;
    }
}

#[tokio::test]
async fn nor_one_of_too_many_requests_and_the_patience_asked_for_is_given() {
    for html in [false, true] {
        incident("soundcloud", FaultKind::Throttle { retry_after: RetryAfter::Absent, html }).await;
    }
    for retry_after in [RetryAfter::Seconds(200), RetryAfter::Date(200)] {
        let ill = incident("soundcloud", FaultKind::Throttle { retry_after, html: false }).await;
        let instants: Vec<u64> = instants(&ill).into_keys().collect();
        assert!(instants.windows(2).all(|pair| pair[1] >= pair[0] + 200), "{retry_after:?}: {instants:?}");
    }
}

#[tokio::test]
async fn the_provider_down_for_an_hour() {
    let mut world = World::new().await;
    let people = crowd(&world, "soundcloud", 20).await;
    let expires_at = people[0].token("soundcloud").await["expires_at"].as_u64().unwrap();
    let expires_at = Timestamp::from_unix(expires_at);
    strike(&world, "soundcloud", FaultKind::Error5xxBefore { status: 503 });

    let last = expires_at.minus(Duration::from_secs(1));
    world.advance_by_steps(last.since(world.now()), STEP).await;
    for browser in &people {
        let last = browser.token("soundcloud").await;
        assert_eq!((&last["state"], &last["expires_in"]), (&"stale".into(), &1.into()), "served to its last second");
        assert!(world.api_takes("soundcloud", &last));
    }
    world.advance_by_steps(Duration::from_secs(1), STEP).await;
    let before = world.calls("soundcloud", "refresh_token").len();
    for _ in 0..60 {
        world.advance_by_steps(Duration::from_secs(10), STEP).await;
        let reads = join_all(people.iter().map(|browser| browser.get("/auth/soundcloud/token")));
        for answer in world.drive(Duration::from_millis(100), reads).await {
            assert_eq!((answer.status, answer.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "refresh_pending"));
            let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=900).contains(&wait), "{wait}");
        }
    }
    let calls = world.calls("soundcloud", "refresh_token").len() - before;
    assert!((1..=5).contains(&calls), "1,200 reads in ten minutes make no storm: {calls} calls");
    nobody_is_logged_out(&people, "soundcloud").await;

    world.sandbox.clear_faults(None);
    world.advance_by_steps(Duration::from_mins(20), STEP).await;
    everybody_is_well(&world, &people, "soundcloud").await;
    let most = instants(&world.calls("soundcloud", "refresh_token")).into_values().max();
    assert!(most <= Some(BURST_MAX), "{most:?}");
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
}

/// Two people, one of whose answers is spoilt after the provider acted; each as `/auth/connections` shows it after three hours.
async fn one_answer_lost(provider: &str, kind: FaultKind) -> (World, Vec<serde_json::Value>) {
    let mut world = World::new().await;
    let people = crowd(&world, provider, 2).await;
    world.sandbox.plan(Fault::token(provider, kind).only(Only::Refresh).times(1)).unwrap();
    world.advance_by_steps(3 * HOUR, STEP).await;
    let mut connections = Vec::new();
    for browser in &people {
        connections.push(browser.connection(provider).await);
    }
    (world, connections)
}

const SPOILT: [FaultKind; 6] = [
    FaultKind::ResetAfter,
    FaultKind::ResetMidAnswer,
    FaultKind::Error5xxAfter { status: 500 },
    FaultKind::Malformed,
    FaultKind::Empty200,
    FaultKind::MissingAccessToken,
];

#[tokio::test]
async fn an_answer_lost_at_a_strict_provider_costs_one_connection_and_says_why() {
    for kind in SPOILT {
        let (world, connections) = one_answer_lost("soundcloud", kind).await;
        let struck = world.calls("soundcloud", "refresh_token").into_iter().find(|call| call.fault.is_some()).unwrap();
        let twice = world.sandbox.log().tokens_sent_twice();
        assert_eq!(twice, [struck.presented.clone().unwrap()], "{kind:?}: the one whose answer was lost, once");
        let (lost, kept): (Vec<_>, Vec<_>) =
            connections.iter().partition(|connection| connection["account_id"] == struck.account.as_deref().unwrap());
        assert_eq!(lost[0]["status"], "reauthorization_required", "{kind:?}");
        assert_eq!(lost[0]["reason"], "interrupted_rotation", "{kind:?}");
        assert_eq!((kept.len(), &kept[0]["status"], &kept[0]["state"]), (1, &"active".into(), &"fresh".into()));
        let mut dead = world.calls("soundcloud", "refresh_token").into_iter().filter(|call| call.grant == struck.grant);
        assert_eq!(
            dead.next_back().unwrap().presented,
            struck.presented,
            "{kind:?}: a dead grant is never tried again"
        );
    }
}

#[tokio::test]
async fn an_answer_lost_where_refresh_tokens_stay_costs_nothing() {
    for kind in SPOILT {
        let (world, connections) = one_answer_lost("youtube", kind).await;
        assert!(world.calls("youtube", "refresh_token").iter().any(|call| call.fault.is_some()), "{kind:?}: it struck");
        for connection in connections {
            assert_eq!((&connection["status"], &connection["state"]), (&"active".into(), &"fresh".into()), "{kind:?}");
        }
    }
}
