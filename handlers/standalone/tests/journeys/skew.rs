//! Machines whose clocks disagree by as much as the protocol forgives.

use std::{sync::Arc, time::Duration};

use mm_engine::ports::{Clock as _, Lane};
use mm_model::{Timestamp, limits::NUDGE_SLACK};
use mm_standalone::{Backend, pump};

use crate::world::{SkewedClock, World};

/// Another process whose clock is `ahead` seconds ahead of the world's.
fn process(world: &World, seed: u64, ahead: i64) -> (Backend, Arc<SkewedClock>) {
    let clock = Arc::new(SkewedClock { clock: Arc::clone(&world.clock), ahead });
    let mut wiring = world.wiring(seed);
    wiring.clock = Arc::clone(&clock) as _;
    (world.process(wiring), clock)
}

/// A day in which scheduler, worker and reader have clocks of their own.
async fn a_day(scheduler: i64, worker: i64, reader: i64) {
    let name = format!("scheduler {scheduler:+}, worker {worker:+}, reader {reader:+}");
    let mut world = World::new().await;
    let (reading, _) = process(&world, 31, reader);
    let (working, _) = process(&world, 32, worker);
    let (scheduling, schedulers_clock) = process(&world, 33, scheduler);
    world.adopt(reading);
    let mut people = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        let browser = world.browser();
        browser.connect("soundcloud", name).await;
        people.push(browser);
    }
    let end = world.now().plus(Duration::from_hours(24));
    let mut ticked = None;
    let mut planned: Vec<Timestamp> = Vec::new();
    while world.now() < end {
        let minute = schedulers_clock.now().minute();
        if ticked != Some(minute) {
            pump::schedule_turn(&scheduling).await.unwrap().unwrap();
            ticked = Some(minute);
        }
        for lane in [Lane::Urgent, Lane::Due] {
            while pump::nudge_turn(&working, lane).await > 0 {}
        }
        pump::lane_turn(&working).await;
        if world.now().unix() % 300 == 0 {
            for browser in &people {
                let token = browser.token("soundcloud").await;
                assert_eq!(token["state"], "fresh", "{name}: {token}");
                assert!(world.api_takes("soundcloud", &token), "{name}");
                let due = browser.connection("soundcloud").await["next_refresh_at"].as_u64().unwrap();
                if !planned.contains(&Timestamp::from_unix(due)) {
                    planned.push(Timestamp::from_unix(due));
                }
            }
        }
        world.clock.advance(Duration::from_secs(10));
    }
    // Each refresh came in the minute for which it was planned: its first nudge was not dropped.
    let calls = world.calls("soundcloud", "refresh_token");
    for call in &calls {
        let at = Timestamp::from_unix(call.at);
        let in_time = |due: &Timestamp| {
            let pass = due.plus(NUDGE_SLACK);
            at >= pass.minus(Duration::from_secs(20)) && at <= pass.plus(Duration::from_secs(80))
        };
        assert!(planned.iter().any(in_time), "{name}: {call:?}");
    }
    let told = calls.len();
    assert!((4 * 27..=4 * 31).contains(&told), "{name}: {told} refreshes of four connections in a day");
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new(), "{name}");
}

#[tokio::test]
async fn clocks_ten_seconds_apart_drop_no_nudge() {
    for (scheduler, worker, reader) in [(10, 0, 0), (0, 10, 0), (0, -10, -10)] {
        a_day(scheduler, worker, reader).await;
    }
}

#[tokio::test]
async fn nor_do_clocks_that_are_wrong_by_ten_seconds_in_opposite_directions() {
    for (scheduler, worker, reader) in [(10, -10, 10), (-10, 10, -10)] {
        a_day(scheduler, worker, reader).await;
    }
}
