//! Load: flat whatever the sign-ups did, and not a refresh too many.

use std::{collections::HashSet, time::Duration};

use mm_model::wheel;

use crate::world::{Dice, START, Setup, World};

const CONNECTIONS: u64 = 20_000;

const DAY: u64 = 24 * 3600;

/// Minutes after which everybody has gone round once.
const SETTLED: usize = 120;

/// What the first pass after a login may take of the margin.
const FIRST_PASS_GIVE: i64 = 90;

fn about_an_hour(dice: &mut Dice, _: Option<u64>) -> u64 {
    dice.within(3595, 3600)
}

/// A number of hundredths as text.
fn hundredths(number: u64) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}

#[test]
fn a_second_full_of_sign_ups_leaves_no_trace() {
    let mut dice = Dice(7);
    let logins: Vec<u64> = (0..CONNECTIONS).map(|who| if who % 2 == 0 { 30 } else { dice.within(0, 3599) }).collect();
    let mut world = World::new(Setup { lifetime: about_an_hour, lag: 1, ..Setup::default() }, &logins);
    world.run_for(DAY);
    assert_eq!(world.late().len(), 0, "late: {:?}", world.late().first());
    assert_eq!(world.dead(), [0; 0]);
    assert_eq!(world.seats_written, CONNECTIONS, "a refresh writes no index");

    let mut minutes = vec![0_u64; usize::try_from(DAY / 60).unwrap() + 1];
    for refresh in &world.refreshes {
        minutes[usize::try_from((refresh.at - START) / 60).unwrap()] += 1;
    }
    let settled = &minutes[SETTLED..usize::try_from(DAY / 60).unwrap()];
    let (sum, count) = (settled.iter().sum::<u64>(), u64::try_from(settled.len()).unwrap());
    let peak = *minutes.iter().max().unwrap();
    let peak_in_hundredths = (peak * count * 100).div_ceil(sum);
    println!(
        "load: 20,000 one-hour tokens, half of them issued in one second, one day: {} refreshes, {} a minute on average, \
         {peak} in the peak minute = {} x the mean",
        world.refreshes.len(),
        sum / count,
        hundredths(peak_in_hundredths),
    );
    assert!(peak_in_hundredths <= 120, "the peak minute is {} x the mean", hundredths(peak_in_hundredths));

    // 3597.5 s on average.
    let per_lifetime_in_hundredths = (sum * 7195 * 100).div_ceil(2 * count * 60 * CONNECTIONS);
    println!("load: {} refreshes per lifetime", hundredths(per_lifetime_in_hundredths));
    assert!(per_lifetime_in_hundredths <= 121, "{} refreshes per lifetime", hundredths(per_lifetime_in_hundredths));

    let margin = wheel::margin(Duration::from_secs(3595)).as_secs().cast_signed();
    let mut seen = HashSet::new();
    let (first, later): (Vec<_>, Vec<_>) = world.refreshes.iter().partition(|refresh| seen.insert(refresh.who));
    let least =
        |refreshes: &[crate::world::Refresh]| refreshes.iter().map(|refresh| refresh.left_at_claim).min().unwrap();
    let (first, later) = (least(&first), least(&later));
    println!(
        "load: least life left at a refresh {first} s after a login, {later} s from then on; the margin is {margin} s"
    );
    assert!(first >= margin - FIRST_PASS_GIVE, "{first} s left at a first refresh");
    assert!(later >= margin, "{later} s left at a later one");
}
