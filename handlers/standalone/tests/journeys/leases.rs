//! Attempts that fail after their claim, are held back, or fail for reasons that are not the provider's.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mm_engine::ports::{ConnectionStore as _, Lane};
use mm_model::{Circuit, ProviderId, Step, Timestamp, limits::LEASE_STRICT};
use mm_oauth::{ClientSecrets, SecretPair, SecretsError};
use mm_sandbox::{Fault, FaultKind, Only, RetryAfter};

use crate::world::{Browser, Mood, Moods, MoodyStore, World};

const STEP: Duration = Duration::from_secs(5);

/// A table of moods, good ones at first, under the world's engine.
fn moody(world: &mut World, seed: u64) -> Moods {
    let moods = Moods::new(|_| Mood::Well);
    let mut wiring = world.wiring(seed);
    wiring.store = Arc::new(MoodyStore { store: wiring.store, moods: moods.clone() });
    let backend = world.process(wiring);
    world.adopt(backend);
    moods
}

/// The first `times` writes of one kind have that mood, all others are well.
fn first(times: u32, mood: Mood, kind: fn(&Step) -> bool) -> impl FnMut(&Step) -> Mood + Send + 'static {
    let mut left = times;
    move |step| {
        if left > 0 && kind(step) {
            left -= 1;
            return mood;
        }
        Mood::Well
    }
}

/// A connection half a minute before its pass.
async fn about_to_be_refreshed(world: &mut World, provider: &str) -> Browser {
    let browser = world.browser();
    browser.connect(provider, "alice").await;
    let due = browser.connection(provider).await["next_refresh_at"].as_u64().unwrap();
    world.advance_by_steps(Timestamp::from_unix(due).since(world.now()), Duration::from_secs(15)).await;
    assert!(world.calls(provider, "refresh_token").is_empty());
    browser
}

/// Lets time pass until the provider has had `calls` refreshes; how long that took.
async fn until_refreshes(world: &mut World, provider: &str, calls: usize, patience: Duration) -> Duration {
    let start = world.now();
    while world.calls(provider, "refresh_token").len() < calls {
        let waited = world.now().since(start);
        assert!(waited < patience, "no refresh in {waited:?}");
        world.advance_through_waits(STEP, STEP).await;
    }
    world.now().since(start)
}

#[tokio::test]
async fn a_claim_whose_answers_are_all_lost_costs_its_lease_and_no_turn_of_the_wheel() {
    let mut world = World::new().await;
    let browser = about_to_be_refreshed(&mut world, "soundcloud").await;
    moody(&mut world, 61).set(first(3, Mood::LosesTheAnswer, |step| matches!(step, Step::Claim(_))));
    until_refreshes(&mut world, "soundcloud", 1, Duration::from_mins(2) + LEASE_STRICT).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
}

#[tokio::test]
async fn an_attempt_that_cannot_give_its_lease_back_comes_again_after_it() {
    let mut world = World::new().await;
    let browser = about_to_be_refreshed(&mut world, "soundcloud").await;
    let throttle = FaultKind::Throttle { retry_after: RetryAfter::Absent, html: false };
    world.sandbox.plan(Fault::token("soundcloud", throttle).only(Only::Refresh).times(1)).unwrap();
    moody(&mut world, 62).set(first(3, Mood::Refuses, |step| matches!(step, Step::Release(_))));
    until_refreshes(&mut world, "soundcloud", 2, Duration::from_mins(2) + LEASE_STRICT).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
}

#[tokio::test]
async fn a_revocation_whose_claim_s_answers_are_all_lost_is_carried_out_all_the_same() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("youtube", "alice").await;
    world.settle().await;
    moody(&mut world, 63).set(first(3, Mood::LosesTheAnswer, |step| matches!(step, Step::ClaimRevocation(_))));
    browser.delete("/auth/youtube").await;
    world.advance_through_waits(Duration::from_mins(2), STEP).await;
    assert!(world.sandbox.grants().iter().all(|grant| grant.ended.is_some()), "{:?}", world.sandbox.grants());
}

#[tokio::test]
async fn a_table_that_is_away_for_an_hour_breeds_no_messages() {
    let mut world = World::new().await;
    let browser = about_to_be_refreshed(&mut world, "soundcloud").await;
    let moods = moody(&mut world, 64);
    moods.set(|_| Mood::Refuses);
    let mut most = 0;
    for _ in 0..60 {
        world.advance_through_waits(Duration::from_mins(1), STEP).await;
        let figures = world.backend.queue.nudges.figures(Lane::Due);
        most = most.max(figures.waiting + figures.in_flight);
    }
    assert!(most <= 20, "one for each lease that may stand, each delivered a few times: {most}");
    moods.set(|_| Mood::Well);
    until_refreshes(&mut world, "soundcloud", 1, Duration::from_mins(3)).await;
    world.settle().await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
}

#[tokio::test]
async fn a_rescue_whose_row_keeps_changing_stays_on_the_lane() {
    let mut world = World::new().await;
    let browser = about_to_be_refreshed(&mut world, "soundcloud").await;
    let old = browser.token("soundcloud").await;
    let moods = moody(&mut world, 65);
    moods.set(|step| if matches!(step, Step::Commit(_)) { Mood::Races } else { Mood::Well });
    world.advance_through_waits(Duration::from_mins(3), STEP).await;
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), 1);
    assert_eq!(world.backend.queue.lane.depth(), 1, "nobody said that the answer is superseded");
    moods.set(|_| Mood::Well);
    world.advance_through_waits(Duration::from_secs(30), STEP).await;
    let new = browser.token("soundcloud").await;
    assert_ne!(new["token_id"], old["token_id"]);
    assert!(world.api_takes("soundcloud", &new));
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
}

#[tokio::test]
async fn where_the_refresh_token_survives_its_use_a_lost_answer_costs_seconds_and_no_lease() {
    let mut world = World::new().await;
    let browser = about_to_be_refreshed(&mut world, "youtube").await;
    world.sandbox.plan(Fault::token("youtube", FaultKind::ResetAfter).only(Only::Refresh).times(1)).unwrap();
    until_refreshes(&mut world, "youtube", 1, Duration::from_mins(3)).await;
    let took = until_refreshes(&mut world, "youtube", 2, Duration::from_mins(3)).await;
    assert!(took <= Duration::from_secs(20), "{took:?}");
    assert_eq!(browser.token("youtube").await["state"], "fresh");
    assert_eq!(browser.connection("youtube").await["status"], "active");
}

/// A secret store that is away.
struct NoSecrets;

#[async_trait]
impl ClientSecrets for NoSecrets {
    async fn current(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        self.reload(provider).await
    }

    async fn reload(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        Err(SecretsError::Unavailable { provider: provider.clone(), source: "away, for a test".into() })
    }
}

#[tokio::test]
async fn a_secret_store_that_is_away_opens_no_providers_circuit() {
    let mut world = World::new().await;
    let mut people = Vec::new();
    for n in 0..8 {
        let browser = world.browser();
        browser.connect("soundcloud", &format!("person{n}")).await;
        people.push(browser);
    }
    let mut wiring = world.wiring(66);
    wiring.secrets = Arc::new(NoSecrets);
    let backend = world.process(wiring);
    world.adopt(backend);
    world.advance_by_steps(Duration::from_mins(55), Duration::from_secs(15)).await;
    assert!(world.calls("soundcloud", "refresh_token").is_empty());
    for browser in &people {
        let connection = browser.connection("soundcloud").await;
        assert_eq!((&connection["status"], &connection["last_error"]), (&"active".into(), &"not_sent".into()));
    }
    let circuit = world.backend.store.circuit(&"soundcloud".parse().unwrap()).await.unwrap();
    assert_eq!(circuit, Circuit::Closed, "the provider was asked nothing, so it was not silent");
}
