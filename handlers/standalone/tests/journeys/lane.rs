//! A table that fails, and processes that die: every answer received is kept, and no token is sent twice.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use mm_embedded::queue::QueueSettings;
use mm_engine::{
    ports::{ConnectionStore as _, Consistency, Lane, LaneMessage, RefreshQueue as _, Rng},
    testing::SeededRng,
};
use mm_model::{AttemptId, Step, Timestamp, limits::LEASE_STRICT, step::ForcedClaim};
use mm_standalone::pump;
use serde_json::Value;
use tokio::sync::watch;

use crate::world::{Browser, Mood, Moods, MoodyStore, Setup, World};

const STEP: Duration = Duration::from_secs(15);

/// Puts a table of moods, good ones at first, under the world's engine.
fn moody(world: &mut World, seed: u64) -> Moods {
    let moods = Moods::new(|_| Mood::Well);
    let mut wiring = world.wiring(seed);
    wiring.store = Arc::new(MoodyStore { store: wiring.store, moods: moods.clone() });
    let backend = world.process(wiring);
    world.adopt(backend);
    moods
}

fn commits(mood: Mood) -> impl FnMut(&Step) -> Mood + Send + 'static {
    move |step| if matches!(step, Step::Commit(_)) { mood } else { Mood::Well }
}

fn claims(mood: Mood) -> impl FnMut(&Step) -> Mood + Send + 'static {
    move |step| if matches!(step, Step::Claim(_)) { mood } else { Mood::Well }
}

/// A connection at a strict provider, ten seconds before the minute of its pass; the token that it holds.
async fn about_to_be_refreshed() -> (World, Browser, Value) {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let due = browser.connection("soundcloud").await["next_refresh_at"].as_u64().unwrap();
    world.advance_by_steps(Timestamp::from_unix(due).plus(Duration::from_secs(20)).since(world.now()), STEP).await;
    assert!(world.calls("soundcloud", "refresh_token").is_empty());
    let token = browser.token("soundcloud").await;
    (world, browser, token)
}

fn refreshes(world: &World) -> usize {
    world.calls("soundcloud", "refresh_token").len()
}

/// The connection holds what the provider answered last, and lives on.
async fn nothing_is_lost(mut world: World, browser: &Browser) {
    assert_eq!(world.backend.queue.lane.depth(), 0);
    for _ in 0..3 {
        let token = browser.token("soundcloud").await;
        assert_eq!(token["state"], "fresh", "{token}");
        assert!(world.api_takes("soundcloud", &token));
        world.advance_by_steps(Duration::from_mins(50), STEP).await;
    }
    chain_is_whole(&world);
}

/// Each refresh presented what the one before had brought.
fn chain_is_whole(world: &World) {
    let mut issued = world.calls("soundcloud", "authorization_code")[0].issued.clone();
    for call in world.calls("soundcloud", "refresh_token") {
        assert_eq!(call.presented, issued, "{call:?}");
        issued = call.issued;
    }
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
}

/// Kills the process as soon as a write of its table stalls.
async fn killed_where_it_stalls(world: World, moods: &Moods) -> World {
    tokio::select! {
        () = world.settle() => panic!("nothing stalled"),
        () = world.until("a write stalls", |_| moods.stalled() > 0) => {}
    }
    world.restart().await
}

#[tokio::test]
async fn an_answer_that_the_table_refuses_is_applied_later_from_the_lane() {
    let (mut world, browser, old) = about_to_be_refreshed().await;
    let moods = moody(&mut world, 11);
    moods.set(commits(Mood::Refuses));
    world.advance_through_waits(Duration::from_mins(5), STEP).await;
    assert_eq!((refreshes(&world), world.backend.queue.lane.depth()), (1, 1));
    assert_eq!(browser.token("soundcloud").await["token_id"], old["token_id"], "the old one is served meanwhile");
    moods.set(|_| Mood::Well);
    world.advance_through_waits(Duration::from_secs(10), STEP).await;
    assert_ne!(browser.token("soundcloud").await["token_id"], old["token_id"]);
    assert_eq!(refreshes(&world), 1);
    nothing_is_lost(world, &browser).await;
}

#[tokio::test]
async fn a_crash_between_rescue_and_table_loses_nothing() {
    let (mut world, browser, old) = about_to_be_refreshed().await;
    moody(&mut world, 12).set(commits(Mood::Refuses));
    world.advance_through_waits(Duration::from_mins(2), STEP).await;
    assert_eq!((refreshes(&world), world.backend.queue.lane.depth()), (1, 1));
    let world = world.restart().await;
    assert_eq!(world.backend.queue.lane.depth(), 1, "the journal kept it");
    world.settle().await;
    assert_ne!(browser.token("soundcloud").await["token_id"], old["token_id"]);
    assert_eq!(refreshes(&world), 1);
    nothing_is_lost(world, &browser).await;
}

#[tokio::test]
async fn an_answer_whose_write_hangs_is_on_the_lane_before_the_process_dies() {
    let (mut world, browser, old) = about_to_be_refreshed().await;
    let moods = moody(&mut world, 13);
    moods.set(commits(Mood::StallsBefore));
    world.clock.advance(Duration::from_mins(1));
    let patience = async {
        world.until("the commit hangs", |_| moods.stalled() > 0).await;
        world.clock.advance(Duration::from_millis(300));
        world.until("the answer is on the lane", |world| world.backend.queue.lane.depth() == 1).await;
    };
    tokio::select! {
        () = world.settle() => panic!("nothing hung"),
        () = patience => {}
    }
    let world = world.restart().await;
    world.settle().await;
    assert_ne!(browser.token("soundcloud").await["token_id"], old["token_id"]);
    assert_eq!(refreshes(&world), 1);
    nothing_is_lost(world, &browser).await;
}

#[tokio::test]
async fn a_crash_with_the_answer_in_memory_loses_that_one_and_says_so() {
    let (mut world, browser, _) = about_to_be_refreshed().await;
    let moods = moody(&mut world, 14);
    moods.set(commits(Mood::StallsBefore));
    world.clock.advance(Duration::from_mins(1));
    let mut world = killed_where_it_stalls(world, &moods).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh", "nothing shows yet");
    world.advance_by_steps(Duration::from_mins(5), STEP).await;
    let connection = browser.connection("soundcloud").await;
    assert_eq!(
        (&connection["status"], &connection["reason"]),
        (&"reauthorization_required".into(), &"interrupted_rotation".into())
    );
    let spent = world.calls("soundcloud", "authorization_code")[0].issued.clone().unwrap();
    assert_eq!(world.sandbox.log().tokens_sent_twice(), [spent], "hole H2: that token and no other, once");
}

#[tokio::test]
async fn after_a_crash_before_anything_was_sent_the_next_attempt_goes_by_the_lane() {
    let (mut world, browser, old) = about_to_be_refreshed().await;
    let moods = moody(&mut world, 15);
    moods.set(claims(Mood::Stalls));
    world.clock.advance(Duration::from_mins(1));
    let mut world = killed_where_it_stalls(world, &moods).await;
    world.advance_by_steps(Duration::from_secs(110), STEP).await;
    assert_eq!((refreshes(&world), world.backend.queue.lane.depth()), (0, 0), "the lease of the dead one holds");

    for _ in 0..4 {
        world.clock.advance(STEP);
        pump::nudge_turn(&world.backend, Lane::Due).await;
    }
    assert_eq!((refreshes(&world), world.backend.queue.lane.depth()), (0, 1), "not sent, but put behind any rescue");
    assert_eq!(pump::lane_turn(&world.backend).await, 1);
    assert_eq!((refreshes(&world), world.backend.queue.lane.depth()), (1, 0));
    assert_ne!(browser.token("soundcloud").await["token_id"], old["token_id"]);
    nothing_is_lost(world, &browser).await;
}

#[tokio::test]
async fn a_crash_of_the_lanes_consumer_after_its_handoff_costs_one_lease_and_no_token() {
    let (mut world, browser, _) = about_to_be_refreshed().await;
    let moods = moody(&mut world, 16);
    moods.set(claims(Mood::Stalls));
    world.clock.advance(Duration::from_mins(1));
    let mut world = killed_where_it_stalls(world, &moods).await;
    let moods = moody(&mut world, 17);
    moods.set(|step| if matches!(step, Step::Handoff(_)) { Mood::Stalls } else { Mood::Well });
    world.clock.advance(Duration::from_secs(150));
    let mut world = killed_where_it_stalls(world, &moods).await;
    assert_eq!(refreshes(&world), 0);
    world.advance_by_steps(Duration::from_mins(6), STEP).await;
    assert_eq!(refreshes(&world), 1);
    nothing_is_lost(world, &browser).await;
}

#[tokio::test]
async fn a_retry_waits_behind_the_rescue_and_finds_its_work_done() {
    let (mut world, browser, old) = about_to_be_refreshed().await;
    let moods = moody(&mut world, 18);
    moods.set(commits(Mood::Refuses));
    world.advance_through_waits(Duration::from_mins(4), STEP).await;
    assert_eq!((refreshes(&world), world.backend.queue.lane.depth()), (1, 1));
    // The lease is over, and a tab has seen a 401.
    let path = format!("/auth/soundcloud/refresh?seen={}", old["token_id"].as_str().unwrap());
    let reader = tokio::spawn({
        let browser = browser.clone();
        async move { browser.post(&path).await }
    });
    world.advance_through_waits(Duration::from_mins(1), STEP).await;
    assert_eq!((refreshes(&world), world.backend.queue.lane.depth()), (1, 2), "the retry stands behind");
    let answer = reader.await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    moods.set(|_| Mood::Well);
    world.advance_through_waits(Duration::from_secs(10), STEP).await;
    assert_ne!(browser.token("soundcloud").await["token_id"], old["token_id"]);
    assert_eq!(refreshes(&world), 1, "the retry found the row past its pair");
    nothing_is_lost(world, &browser).await;
}

#[tokio::test]
async fn writes_whose_answers_are_lost_are_known_again() {
    let (mut world, browser, _) = about_to_be_refreshed().await;
    let moods = moody(&mut world, 19);
    let mut writes = 0_u32;
    moods.set(move |_| {
        writes += 1;
        if writes % 2 == 1 { Mood::LosesTheAnswer } else { Mood::Well }
    });
    world.advance_through_waits(Duration::from_hours(4), STEP).await;
    assert!(refreshes(&world) >= 4);
    moods.set(|_| Mood::Well);
    nothing_is_lost(world, &browser).await;
}

#[tokio::test]
async fn a_table_that_fails_at_random_every_message_twice_and_restarts_lose_no_token() {
    let queue = QueueSettings { deliver_twice: true, ..QueueSettings::default() };
    let mut world = World::with(Setup { queue, ..Setup::default() }).await;
    let mut people = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        let browser = world.browser();
        browser.connect("soundcloud", name).await;
        people.push(browser);
    }
    for round in 0..4 {
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(0xbad + round));
        moody(&mut world, 20 + round).set(move |_| match rng.dice() % 10 {
            0..3 => Mood::Refuses,
            3..5 => Mood::LosesTheAnswer,
            _ => Mood::Well,
        });
        for _ in 0..6 {
            world.advance_through_waits(Duration::from_mins(20), STEP).await;
            for browser in &people {
                let answer = world.drive(Duration::from_millis(50), browser.get("/auth/soundcloud/token")).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            }
        }
        world = world.restart().await;
    }
    world.advance_by_steps(Duration::from_mins(20), STEP).await;
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
    for browser in &people {
        let token = browser.token("soundcloud").await;
        assert_eq!(token["state"], "fresh");
        assert!(world.api_takes("soundcloud", &token));
    }
}

/// One connection's work never ends here; the lane is not one queue for all of them.
#[tokio::test]
async fn a_connection_that_takes_long_on_the_lane_holds_up_no_other() {
    let mut world = World::new().await;
    for account in ["alice", "bob"] {
        world.browser().connect("soundcloud", account).await;
    }
    world.settle().await;
    let mut first = true;
    let moods = moody(&mut world, 13);
    moods.set(move |step| match step {
        Step::Handoff(_) if std::mem::take(&mut first) => Mood::Stalls,
        _ => Mood::Well,
    });
    let mut retries = Vec::new();
    for (n, user) in (1..).zip(world.rows().column("connections", "user_id")) {
        let rows = world.backend.store.person(&user.parse().unwrap(), Consistency::Strong).await.unwrap();
        let (key, version, from) = (rows.connections[0].key.clone(), rows.connections[0].version, attempt(n));
        let claim = ForcedClaim { attempt: from, now: world.now(), lease: LEASE_STRICT, version };
        world.backend.store.apply(&key, &Step::ForcedClaim(claim)).await.unwrap();
        retries.push(LaneMessage::Retry { key, version, from, urgent: false });
    }
    let (_running, stop) = watch::channel(false);
    let pumps = tokio::spawn(pump::run(Arc::new(world.backend.clone()), stop));
    let queue = Arc::clone(&world.backend.queue);
    queue.put_on_lane(&retries[0]).await.unwrap();
    world.until("the first is at work", |_| moods.stalled() == 1).await;
    queue.put_on_lane(&retries[1]).await.unwrap();
    world.until("the second is done", |world| refreshes(world) == 1).await;
    pumps.abort();
}

fn attempt(n: u8) -> AttemptId {
    AttemptId::from_bytes([n; 16])
}
