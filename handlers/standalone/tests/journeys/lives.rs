//! Tokens of every life, lives that change, and tokens that cannot be renewed.

use std::time::Duration;

use http::StatusCode;
use mm_model::{Timestamp, event::EventMark};
use mm_sandbox::{BehaviourPatch, Mode};

use crate::world::{Browser, Setup, World};

const HOUR: Duration = Duration::from_hours(1);

/// Reads without waiting: alive, and alive at the provider too.
async fn reads_a_living_token(world: &World, browser: &Browser) {
    let answer = browser.get("/auth/soundcloud/token?wait=0").await;
    assert_eq!(answer.status, StatusCode::OK, "{} {}", world.now(), answer.text);
    let token = answer.json();
    assert!(token["expires_in"].as_u64().unwrap() >= 1, "{token}");
    assert!(world.api_takes("soundcloud", &token), "{token}");
}

/// Reads every `step` for `span`.
async fn is_never_read_expired(world: &mut World, browser: &Browser, span: Duration, step: Duration) {
    let end = world.now().plus(span);
    while world.now() < end {
        reads_a_living_token(world, browser).await;
        world.advance_by_steps(step, step).await;
    }
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
}

async fn connected(lifetime: u64) -> (World, Browser) {
    let world = World::with(Setup { token_lifetime: Some(lifetime), ..Setup::default() }).await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    (world, browser)
}

#[tokio::test]
async fn tokens_of_ten_seconds_to_fifteen_minutes_are_never_read_expired() {
    for (lifetime, turns) in [(10, 20), (30, 15), (60, 15), (120, 12), (300, 12), (599, 12), (600, 12), (900, 12)] {
        let (mut world, browser) = connected(lifetime).await;
        let step = Duration::from_secs((lifetime / 60).max(1));
        is_never_read_expired(&mut world, &browser, Duration::from_secs(lifetime * turns), step).await;
        let refreshes = u64::try_from(world.calls("soundcloud", "refresh_token").len()).unwrap();
        assert!((turns - 1..=3 * turns).contains(&refreshes), "{lifetime} s: {refreshes} refreshes in {turns} lives");
    }
}

#[tokio::test]
async fn tokens_of_four_hours_are_never_read_expired() {
    let (mut world, browser) = connected(4 * 3600).await;
    is_never_read_expired(&mut world, &browser, 30 * HOUR, Duration::from_mins(1)).await;
    let refreshes = world.calls("soundcloud", "refresh_token").len();
    assert!((7..=9).contains(&refreshes), "{refreshes}");
}

#[tokio::test]
async fn tokens_of_seven_days_are_never_read_expired() {
    let (mut world, browser) = connected(7 * 24 * 3600).await;
    for turn in 1..=4 {
        let due = browser.connection("soundcloud").await["next_refresh_at"].as_u64().unwrap();
        // Somebody reads now and then.
        while world.now().plus(20 * HOUR) < Timestamp::from_unix(due) {
            world.skip_to(world.now().plus(18 * HOUR)).await;
            reads_a_living_token(&world, &browser).await;
        }
        world.skip_to(Timestamp::from_unix(due).minus(HOUR)).await;
        world.advance_by_steps(2 * HOUR, Duration::from_mins(1)).await;
        reads_a_living_token(&world, &browser).await;
        assert_eq!(world.calls("soundcloud", "refresh_token").len(), turn);
    }
}

#[tokio::test]
async fn lifetimes_that_change_after_the_first_token_are_never_read_expired() {
    for (first, then) in [(3600, 10), (10, 3600), (3600, 600), (900, 60), (60, 900), (3600, 14_400), (14_400, 3600)] {
        let (mut world, browser) = connected(first).await;
        reads_a_living_token(&world, &browser).await;
        world.adjust("soundcloud", BehaviourPatch { access_lifetime_s: Some(then), ..BehaviourPatch::default() });
        // To the change by steps that suit the first life, beyond it by steps that suit both.
        while world.calls("soundcloud", "refresh_token").is_empty() {
            is_never_read_expired(&mut world, &browser, Duration::from_secs(5), Duration::from_secs(5)).await;
        }
        let step = Duration::from_secs((then / 60).clamp(1, 30));
        is_never_read_expired(&mut world, &browser, Duration::from_secs(8 * then), step).await;
    }
}

#[tokio::test]
async fn a_lifetime_that_changes_all_the_time_is_never_read_expired() {
    let (mut world, browser) = connected(3600).await;
    for lifetime in [60, 3600, 20, 900, 605, 7200, 15, 300, 3600] {
        world.adjust("soundcloud", BehaviourPatch { access_lifetime_s: Some(lifetime), ..BehaviourPatch::default() });
        let before = world.calls("soundcloud", "refresh_token").len();
        while world.calls("soundcloud", "refresh_token").len() == before {
            is_never_read_expired(&mut world, &browser, Duration::from_secs(5), Duration::from_secs(5)).await;
        }
    }
}

async fn status_and_reason(browser: &Browser) -> String {
    let connection = browser.connection("soundcloud").await;
    format!("{} {}", connection["status"].as_str().unwrap(), connection["reason"].as_str().unwrap_or_default())
}

async fn without_refresh_tokens(lifetime: u64) {
    let mut world = World::with(Setup {
        token_lifetime: Some(lifetime),
        edit: |offer| offer.provider.refresh_tokens = false,
        ..Setup::default()
    })
    .await;
    world.adjust("soundcloud", BehaviourPatch::mode(Mode::NoRefreshToken));
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let expires_at = browser.token("soundcloud").await["expires_at"].as_u64().unwrap();
    let last = Timestamp::from_unix(expires_at).minus(Duration::from_secs(1));
    let step = Duration::from_secs((lifetime / 60).max(1));
    while world.now() < last {
        reads_a_living_token(&world, &browser).await;
        world.advance_by_steps(step.min(last.since(world.now())), step).await;
    }
    reads_a_living_token(&world, &browser).await;
    world.advance_by_steps(Duration::from_secs(1), step).await;
    let answer = browser.get("/auth/soundcloud/token").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, "reauthorization_required"));
    assert!(answer.json()["login_url"].as_str().unwrap().contains("/auth/soundcloud/login"), "{}", answer.text);
    let ended = "reauthorization_required no_refresh_token";
    assert_eq!(status_and_reason(&browser).await, ended, "the overview says the same at once");
    world.settle().await;
    assert_eq!(world.rows().column("connections", "status"), ["reauthorization_required"], "and soon the row");
    assert_eq!(status_and_reason(&browser).await, ended);
    world.advance_by_steps(HOUR, Duration::from_secs(30)).await;
    assert!(world.calls("soundcloud", "refresh_token").is_empty(), "there is nothing to call with");
    let mut events: Vec<EventMark> =
        world.backend.store.recent_events(100).unwrap().iter().map(|event| event.kind).collect();
    events.reverse();
    assert_eq!(events, [EventMark::Connected, EventMark::ReauthRequired]);

    browser.connect("soundcloud", "alice").await;
    reads_a_living_token(&world, &browser).await;
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_served_to_its_end_and_then_the_person_is_asked() {
    for lifetime in [60, 600, 3600, 14_400] {
        without_refresh_tokens(lifetime).await;
    }
}
