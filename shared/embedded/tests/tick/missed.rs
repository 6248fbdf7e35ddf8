//! Ticks that are missed, late, doubled, or that fail in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mm_engine::{TickReport, ports::ConnectionStore as _};
use mm_model::{ConnectionKey, Minute, Timestamp, wheel};

use crate::{
    faulty::{Call, Failure},
    world::World,
};

/// Over how long missed minutes are made up for at most.
const SPREAD_MAX: Duration = Duration::from_mins(10);

/// Periods 8, 25, 50, 105 and 1425 minutes.
const LIFETIMES: [u64; 5] = [600, 1800, 3600, 7200, 86_400];

fn people(count: usize) -> impl Iterator<Item = u64> {
    LIFETIMES.into_iter().cycle().take(count)
}

fn keys(sent: &[(ConnectionKey, Timestamp)]) -> Vec<ConnectionKey> {
    sent.iter().map(|(key, _)| key.clone()).collect()
}

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

/// Everybody in the minute at their second.
fn on_time(passing: BTreeMap<ConnectionKey, Minute>) -> Vec<(ConnectionKey, Timestamp)> {
    passing.into_iter().map(|(key, pass)| (key.clone(), wheel::nudge_instant(&key, pass))).collect()
}

#[tokio::test]
async fn each_minute_nudges_its_own_at_their_seconds_however_late_its_tick_is() {
    let world = World::with(people(200)).await;
    let mut visits = BTreeMap::<ConnectionKey, u64>::new();
    for minute in 0..110 {
        let begins = world.now().minute();
        // 0 to 59 s late, in no order.
        let late = minute * 37 % 60;
        world.clock.advance(Duration::from_secs(late));
        let (report, sent) = world.tick().await;
        let next = begins.plus(1);
        assert_eq!(sent, on_time(world.passing(next, next)), "minute {minute}");
        assert_eq!((report.minutes, report.nudged), (1, u64::try_from(sent.len()).unwrap()));
        for key in keys(&sent) {
            *visits.entry(key).or_default() += 1;
        }
        world.clock.advance_to(next.start());
    }
    for (key, seat) in &world.seats {
        let turns = 110 / u64::from(seat.period());
        let came = visits.get(key).copied().unwrap_or_default();
        assert!((turns..=turns + 1).contains(&came), "{key} in {seat} was visited {came} times");
    }
}

#[tokio::test]
async fn a_tick_that_comes_again_does_nothing() {
    let world = World::with(people(100)).await;
    for _ in 0..10 {
        let (first, sent) = world.tick().await;
        assert_eq!(first.minutes, 1);
        world.clock.advance(Duration::from_secs(30));
        let again = world.tick().await;
        assert_eq!(again, (TickReport::default(), Vec::new()), "after {} nudges", sent.len());
        world.clock.advance(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn two_ticks_at_once_nudge_the_same_at_the_same_seconds() {
    let world = World::with(people(100)).await;
    for _ in 0..10 {
        let (one, other) = tokio::join!(world.engine.tick(), world.engine.tick());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.minutes + other.minutes >= 1);
        let next = world.now().minute().plus(1);
        let sent: BTreeSet<_> = world.take_sent().into_iter().collect();
        let expected: BTreeSet<_> = on_time(world.passing(next, next)).into_iter().collect();
        assert_eq!(sent, expected);
        assert_eq!(world.store.tick().await.unwrap(), Some(next));
        world.clock.advance(minutes(1));
    }
}

#[tokio::test]
async fn missed_minutes_are_made_up_for_once_a_seat_and_spread() {
    let world = World::with(people(400)).await;
    for missed in [1, 5, 30, 500] {
        world.tick().await;
        let first = world.now().minute().plus(2);
        world.clock.advance(minutes(missed + 1) + Duration::from_secs(20));
        let (now, target) = (world.now(), world.now().minute().plus(1));
        let (report, sent) = world.tick().await;
        let passing = world.passing(first, target);
        assert_eq!(keys(&sent), passing.keys().cloned().collect::<Vec<_>>(), "{missed} missed: each of them once");
        assert_eq!((report.minutes, report.nudged), (missed + 1, u64::try_from(sent.len()).unwrap()));
        let over = minutes(missed).min(SPREAD_MAX);
        let mut made_up_for = vec![0_usize; 10];
        for (key, at) in &sent {
            if passing[key] == target {
                assert_eq!(*at, wheel::nudge_instant(key, target), "{missed} missed: {key} is on time");
            } else {
                assert!(*at >= now && *at < now.plus(over), "{missed} missed: {key} in {at}, now is {now}");
                let tenth = at.since(now).as_secs() * 10 / over.as_secs();
                made_up_for[usize::try_from(tenth).unwrap()] += 1;
            }
        }
        let sum: usize = made_up_for.iter().sum();
        // Where there are enough of them to see it, no tenth of the time has twice its share.
        assert!(sum < 200 || made_up_for.iter().all(|tenth| *tenth < sum / 5), "{missed} missed: {made_up_for:?}");
        assert_eq!(world.store.tick().await.unwrap(), Some(target));
        world.clock.advance_to(target.start());
    }
}

/// Who was first to be late is first to be nudged, and nobody waits twice for the same gap.
#[tokio::test]
async fn a_short_gap_goes_by_once_more_in_its_order() {
    let world = World::with((0..500).map(|_| 3600)).await;
    for missed in [1, 5, 10] {
        world.tick().await;
        let first = world.now().minute().plus(2);
        world.clock.advance(minutes(missed + 1) + Duration::from_secs(20));
        let behind = world.now().since(first.start());
        let target = world.now().minute().plus(1);
        let (_, sent) = world.tick().await;
        let mut expected = on_time(world.passing(first, target));
        for (_, at) in &mut expected {
            if at.minute() != target {
                *at = at.plus(behind);
            }
        }
        assert_eq!(sent, expected, "{missed} missed");
        assert!(behind <= minutes(missed));
        world.clock.advance_to(target.start());
    }
}

#[tokio::test]
async fn a_tick_that_fails_anywhere_is_made_up_for_by_the_next_one() {
    let failures = [
        (Call::ReadTick, Failure::Refused),
        (Call::ReadSeat, Failure::Refused),
        (Call::Send, Failure::Refused),
        (Call::Send, Failure::AnswerLost),
        (Call::AdvanceTick, Failure::Refused),
        (Call::AdvanceTick, Failure::AnswerLost),
    ];
    let world = World::with(people(200)).await;
    for (call, failure) in failures {
        for nth in [1, 2, 7, 30] {
            world.faults.call_off();
            world.tick().await;
            let first = world.now().minute().plus(2);
            world.clock.advance(minutes(4));
            world.faults.fail(call, nth, failure);
            let failed = world.engine.tick().await.is_err();
            let came = !world.faults.call_off();
            assert_eq!(failed, came, "{call:?} {nth}: a failure is told");
            let noted = world.store.tick().await.unwrap().unwrap();
            let done = !failed || (call, failure) == (Call::AdvanceTick, Failure::AnswerLost);
            let target = world.now().minute().plus(1);
            let before = first.minus(1);
            assert_eq!(noted, if done { target } else { before }, "{call:?} {nth}: noted only after all was sent");
            world.clock.advance(minutes(1));
            world.engine.tick().await.unwrap();
            let target = world.now().minute().plus(1);
            assert_eq!(world.store.tick().await.unwrap(), Some(target));
            let nudged: BTreeSet<_> = keys(&world.take_sent()).into_iter().collect();
            let expected: BTreeSet<_> = world.passing(first, target).into_keys().collect();
            assert_eq!(nudged, expected, "{call:?} {nth}: nobody is forgotten, nobody else nudged");
            world.clock.advance(minutes(1));
        }
    }
}

/// A long catch-up notes its progress: what was done before the failure is not done again.
#[tokio::test]
async fn a_long_catch_up_goes_on_from_its_last_hour() {
    let world = World::with(people(200)).await;
    world.tick().await;
    let first = world.now().minute().plus(2);
    world.clock.advance(minutes(150));
    world.faults.fail(Call::AdvanceTick, 3, Failure::Refused);
    assert!(world.engine.tick().await.is_err());
    assert!(!world.faults.call_off(), "it came");
    assert_eq!(world.store.tick().await.unwrap(), Some(first.plus(119)), "two hours are noted");
    let before = world.take_sent();
    world.clock.advance(minutes(1));
    let (report, after) = world.tick().await;
    assert_eq!(report.minutes, 31);
    let target = world.now().minute().plus(1);
    assert_eq!(keys(&after), world.passing(first.plus(120), target).into_keys().collect::<Vec<_>>());
    let nudged: BTreeSet<_> = keys(&before).into_iter().chain(keys(&after)).collect();
    assert_eq!(nudged, world.passing(first, target).into_keys().collect::<BTreeSet<_>>(), "nobody is forgotten");
}

/// A clock that was a day ahead once must not stop the wheel for that day; one a little ahead is another process's.
#[tokio::test]
async fn a_minute_noted_by_a_clock_that_was_wrong_does_not_stop_the_wheel() {
    let world = World::with(people(200)).await;
    let next = world.now().minute().plus(1);
    world.store.advance_tick(next.plus(2)).await.unwrap();
    assert_eq!(world.tick().await, (TickReport::default(), Vec::new()), "done by somebody who is ahead");
    let wrong = next.plus(24 * 60);
    world.store.advance_tick(wrong).await.unwrap();
    for minute in 0..60 {
        let next = world.now().minute().plus(1);
        let (report, sent) = world.tick().await;
        assert_eq!(sent, on_time(world.passing(next, next)), "minute {minute}");
        assert_eq!(report.minutes, 1);
        world.clock.advance(minutes(1));
    }
    world.clock.advance_to(wrong.start());
    let (report, sent) = world.tick().await;
    assert_eq!(sent, on_time(world.passing(wrong.plus(1), wrong.plus(1))), "and all is as it was");
    assert_eq!((report.minutes, world.store.tick().await.unwrap()), (1, Some(wrong.plus(1))));
}
