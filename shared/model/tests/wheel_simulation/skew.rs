//! Clocks that differ between the scheduler and the worker: no nudge that a connection counts on is refused as too early.

use crate::world::{Dice, Errand, Setup, World};

const HOUR: u64 = 3600;

fn usual(dice: &mut Dice, before: Option<u64>) -> u64 {
    const USUAL: [u64; 7] = [60, 300, 600, 900, 1800, 3600, 7200];
    before.unwrap_or_else(|| USUAL[usize::try_from(dice.within(0, 6)).unwrap()])
}

fn twelve_hours(scheduler_ahead: i64, worker_ahead: i64) -> World {
    let mut dice = Dice(11);
    let logins: Vec<u64> = (0..150).map(|_| dice.within(0, HOUR - 1)).collect();
    let setup = Setup { scheduler_ahead, worker_ahead, tick_late_max: 59, lifetime: usual, ..Setup::default() };
    let mut world = World::new(setup, &logins);
    world.run_for(12 * HOUR);
    world
}

#[test]
fn ten_seconds_drop_no_nudge() {
    for (scheduler, worker) in [(0, 0), (0, -10), (0, 10), (10, 0), (-10, 0), (5, -5), (-5, 5)] {
        let world = twelve_hours(scheduler, worker);
        println!(
            "skew: scheduler {scheduler:+} s, worker {worker:+} s: {} nudges counted on, {} dropped",
            world.expected,
            world.dropped.len()
        );
        assert_eq!(world.dropped, [], "scheduler {scheduler:+} s, worker {worker:+} s");
        assert_eq!(world.late().len(), 0, "late: {:?}", world.late().first());
        assert!(world.expected > 10_000, "only {} nudges were counted on", world.expected);
    }
}

/// The slack of 30 s is what keeps them: past it, drops are seen.
#[test]
fn forty_seconds_are_more_than_the_slack_absorbs() {
    let world = twelve_hours(0, -40);
    println!("skew: worker -40 s: {} nudges counted on, {} dropped", world.expected, world.dropped.len());
    let of_the_wheel = world.dropped.iter().filter(|dropped| matches!(dropped.errand, Errand::Pass(_))).count();
    assert!(of_the_wheel > 0 && of_the_wheel < world.dropped.len(), "{of_the_wheel} passes, the others by the stream");
}
