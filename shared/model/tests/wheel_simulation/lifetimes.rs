//! Lifetimes of every size, and such that change: without faults no awake connection is read expired.

use crate::world::{Dice, Setup, World};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// Clocks as far apart as they may be, both ways, and at one. Scheduler, worker.
const SKEWS: [(i64, i64); 5] = [(0, 0), (10, 0), (-10, 0), (0, 10), (0, -10)];

/// The same life as before, seven times out of ten.
fn mostly(dice: &mut Dice, before: Option<u64>, fresh: fn(&mut Dice) -> u64) -> u64 {
    before.filter(|_| dice.within(0, 9) < 7).unwrap_or_else(|| fresh(dice))
}

fn expect_nobody_late(what: &str, setup: Setup, connections: usize, seconds: u64) {
    let mut dice = Dice(setup.seed);
    let logins: Vec<u64> = (0..connections).map(|_| dice.within(0, HOUR - 1)).collect();
    let (scheduler, worker, tick_late) = (setup.scheduler_ahead, setup.worker_ahead, setup.tick_late_max);
    let mut world = World::new(setup, &logins);
    world.run_for(seconds);
    let which = format!("{what}; scheduler {scheduler:+} s, worker {worker:+} s, ticks up to {tick_late} s late");
    let left = world.refreshes.iter().filter_map(|refresh| Some((refresh.left_at_commit?, refresh.lifetime)));
    let (least, of) = left.min().unwrap();
    println!("lifetimes: {which}: {} refreshes, at least {least} s of {of} s left", world.refreshes.len());
    let late = world.late();
    assert!(late.is_empty(), "{which}: {} late, among them {:?}", late.len(), late[0]);
    assert_eq!(world.dead(), [0; 0], "{which}");
    assert_eq!(world.dropped, [], "{which}");
}

/// Too short for the wheel: the stream's nudges do the work. Below 40 s the margin cannot absorb the clocks' ten seconds.
#[test]
fn from_forty_seconds_on_with_clocks_apart() {
    for (scheduler_ahead, worker_ahead) in SKEWS {
        let lifetime: fn(&mut Dice, Option<u64>) -> u64 =
            |dice, before| mostly(dice, before, |dice| dice.spread_within(40, 600));
        let setup = Setup { seed: 5, scheduler_ahead, worker_ahead, lifetime, ..Setup::default() };
        expect_nobody_late("40 s to 10 min", setup, 300, 2 * HOUR);
    }
}

#[test]
fn from_ten_seconds_on_with_one_time() {
    let lifetime: fn(&mut Dice, Option<u64>) -> u64 =
        |dice, before| mostly(dice, before, |dice| dice.spread_within(10, 60));
    expect_nobody_late("10 s to 1 min", Setup { seed: 6, latency: (1, 3), lifetime, ..Setup::default() }, 200, HOUR);
}

/// Where wheel and stream meet. Ticks on the dot: the scheduler that is ahead has just sent the minute after next.
#[test]
fn where_wheel_and_stream_meet() {
    let lifetime: fn(&mut Dice, Option<u64>) -> u64 =
        |dice, before| mostly(dice, before, |dice| dice.within(560, 1400));
    for (scheduler_ahead, worker_ahead) in SKEWS {
        let setup = Setup { seed: 5, scheduler_ahead, worker_ahead, lifetime, ..Setup::default() };
        expect_nobody_late("9 min to 23 min", setup, 2000, 4 * HOUR);
    }
    // Clocks that differ less, and an index that lags.
    let setup = Setup { seed: 9, worker_ahead: -6, lag: 4, lifetime, ..Setup::default() };
    expect_nobody_late("9 min to 23 min, index 4 s behind", setup, 2000, 4 * HOUR);
}

#[test]
fn up_to_a_week() {
    let lifetime: fn(&mut Dice, Option<u64>) -> u64 =
        |dice, before| mostly(dice, before, |dice| dice.spread_within(600, WEEK));
    for (scheduler_ahead, worker_ahead) in [(10, 0), (0, 10)] {
        let setup = Setup { seed: 8, scheduler_ahead, worker_ahead, lifetime, tick_late_max: 59, ..Setup::default() };
        expect_nobody_late("10 min to 7 d", setup, 400, 15 * DAY);
    }
}

/// Every token may be of another size than the one before it.
#[test]
fn that_change_all_the_time() {
    for (scheduler_ahead, worker_ahead) in [(10, 0), (0, 10)] {
        let setup = Setup {
            seed: 10,
            scheduler_ahead,
            worker_ahead,
            lifetime: |dice, _| dice.spread_within(40, WEEK),
            tick_late_max: 59,
            ..Setup::default()
        };
        expect_nobody_late("40 s to 7 d, changing", setup, 400, 10 * DAY);
    }
}
