//! Many readers at once, and readers who insist.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http::StatusCode;
use mm_embedded::queue::QueueSettings;
use mm_engine::ports::Clock as _;
use mm_model::Step;
use serde_json::Value;

use crate::world::{Answer, Browser, Mood, Moods, MoodyStore, Setup, World};

/// How much time passes at each turn while readers wait.
const PACE: Duration = Duration::from_millis(50);

const CROWD: usize = 64;

async fn crowd(world: &World, calls: impl Iterator<Item = impl Future<Output = Answer>>) -> Vec<Answer> {
    world.drive(PACE, join_all(calls)).await
}

/// The one token that every answer holds.
fn the_token(answers: &[Answer]) -> Value {
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let ids: BTreeSet<String> = answers.iter().map(|answer| answer.json()["token_id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "everybody gets the same pair");
    answers[0].json()
}

async fn with_an_expired_token(setup: Setup) -> (World, Browser, Value) {
    let mut world = World::with(setup).await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.settle().await;
    let first = browser.token("soundcloud").await;
    world.sleep_through(Duration::from_mins(61));
    (world, browser, first)
}

#[tokio::test]
async fn sixty_four_concurrent_readers_of_one_expired_token_make_one_provider_call_and_all_get_the_token() {
    for deliver_twice in [false, true] {
        let queue = QueueSettings { deliver_twice, ..QueueSettings::default() };
        let (world, browser, first) = with_an_expired_token(Setup { queue, ..Setup::default() }).await;
        let answers = crowd(&world, (0..CROWD).map(|_| browser.get("/auth/soundcloud/token"))).await;
        let token = the_token(&answers);
        assert_ne!(token["token_id"], first["token_id"]);
        assert!(world.api_takes("soundcloud", &token), "what the readers got works");
        let calls = world.calls("soundcloud", "refresh_token");
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert_eq!(calls[0].presented, world.calls("soundcloud", "authorization_code")[0].issued);
    }
}

#[tokio::test]
async fn sixty_four_tabs_with_the_same_401_make_one_provider_call() {
    for deliver_twice in [false, true] {
        let queue = QueueSettings { deliver_twice, ..QueueSettings::default() };
        let world = World::with(Setup { queue, ..Setup::default() }).await;
        let browser = world.browser();
        browser.connect("soundcloud", "alice").await;
        world.settle().await;
        let dead = browser.token("soundcloud").await["token_id"].as_str().unwrap().to_owned();
        let path = format!("/auth/soundcloud/refresh?seen={dead}");
        let answers = crowd(&world, (0..CROWD).map(|_| browser.post(&path))).await;
        let token = the_token(&answers);
        assert_ne!(token["token_id"], dead.as_str());
        assert!(world.api_takes("soundcloud", &token));
        assert_eq!(world.calls("soundcloud", "refresh_token").len(), 1);

        let late = browser.post(&path).await;
        assert_eq!(
            the_token(&[late])["token_id"],
            token["token_id"],
            "a tab that wakes later needs no call and no wait"
        );
        assert_eq!(world.calls("soundcloud", "refresh_token").len(), 1);
    }
}

#[tokio::test]
async fn readers_of_an_expired_token_and_tabs_with_a_401_together_make_one_provider_call() {
    let (world, browser, first) = with_an_expired_token(Setup::default()).await;
    let path = format!("/auth/soundcloud/refresh?seen={}", first["token_id"].as_str().unwrap());
    let calls = (0..CROWD).map(|n| {
        let (browser, path) = (browser.clone(), path.clone());
        async move { if n % 2 == 0 { browser.get("/auth/soundcloud/token").await } else { browser.post(&path).await } }
    });
    let answers = crowd(&world, calls).await;
    the_token(&answers);
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), 1);
}

#[tokio::test]
async fn forcing_is_limited_to_twenty_a_minute_and_person() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let other = world.browser();
    other.connect("soundcloud", "bob").await;
    world.settle().await;
    let mut seen = browser.token("soundcloud").await["token_id"].as_str().unwrap().to_owned();
    for n in 1..=20 {
        let answer = world.drive(PACE, browser.post(&format!("/auth/soundcloud/refresh?seen={seen}"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{n}: {}", answer.text);
        seen = answer.json()["token_id"].as_str().unwrap().to_owned();
        assert_eq!(world.calls("soundcloud", "refresh_token").len(), n, "each named another pair");
    }
    assert_eq!(world.now().minute(), crate::world::START.minute(), "all of it within one minute");
    let refused = world.drive(PACE, browser.post(&format!("/auth/soundcloud/refresh?seen={seen}"))).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let minute_ends_in = world.now().minute().plus(1).start().since(world.now());
    assert_eq!(wait, minute_ends_in.as_secs(), "until the minute is over");
    assert_eq!(browser.token("soundcloud").await["token_id"], seen.as_str(), "the living token is served all the same");
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), 20);

    let neighbour = other.token("soundcloud").await["token_id"].as_str().unwrap().to_owned();
    let answer = world.drive(PACE, other.post(&format!("/auth/soundcloud/refresh?seen={neighbour}"))).await;
    assert_eq!(answer.status, StatusCode::OK, "somebody else's limit is their own: {}", answer.text);

    world.clock.advance(Duration::from_secs(wait));
    let answer = world.drive(PACE, browser.post(&format!("/auth/soundcloud/refresh?seen={seen}"))).await;
    assert_eq!(answer.status, StatusCode::OK, "after Retry-After it is taken: {}", answer.text);
    assert_ne!(answer.json()["token_id"], seen.as_str());
}

#[tokio::test]
async fn without_a_name_a_pair_younger_than_ten_seconds_is_answered() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.settle().await;
    let first = browser.token("soundcloud").await;
    world.clock.advance(Duration::from_secs(9));
    let again = browser.post("/auth/soundcloud/refresh").await;
    assert_eq!(the_token(&[again])["token_id"], first["token_id"]);
    assert!(world.calls("soundcloud", "refresh_token").is_empty());
    world.clock.advance(Duration::from_secs(1));
    let answers = crowd(&world, (0..8).map(|_| browser.post("/auth/soundcloud/refresh"))).await;
    assert_ne!(the_token(&answers)["token_id"], first["token_id"]);
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), 1);
}

/// The note that a token was read is no business of its reader's: one try, and a moment.
#[tokio::test]
async fn a_read_of_a_living_token_is_not_delayed_by_a_table_that_takes_no_notes() {
    for mood in [Mood::Refuses, Mood::LosesTheAnswer, Mood::Stalls, Mood::StallsBefore] {
        let mut world = World::new().await;
        let browser = world.browser();
        browser.connect("soundcloud", "alice").await;
        world.advance(Duration::from_mins(70)).await;
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let moods = Moods::new(move |step| {
            if !matches!(step, Step::Seen(_)) {
                return Mood::Well;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            mood
        });
        let mut wiring = world.wiring(5);
        wiring.store = Arc::new(MoodyStore { store: wiring.store, moods });
        let moody = world.process(wiring);
        world.adopt(moody);
        let before = world.clock.elapsed();
        let answer = world.drive(Duration::from_millis(10), browser.get("/auth/soundcloud/token")).await;
        assert_eq!(answer.status, StatusCode::OK, "{mood:?}: {}", answer.text);
        let waited = world.clock.elapsed().saturating_sub(before);
        assert!(waited <= Duration::from_millis(50), "{mood:?}: {waited:?}");
        assert_eq!(tries.load(Ordering::SeqCst), 1, "{mood:?}");
    }
}
