use proptest::prelude::*;

use super::*;

fn key(user: u32) -> ConnectionKey {
    ConnectionKey { user: format!("u{user}").parse().unwrap(), provider: "soundcloud".parse().unwrap() }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn usual_lifetimes_lose_least() {
    let minutes = |lifetime: u64| period_for(seconds(lifetime));
    let table = [(600, 8), (900, 13), (1800, 25), (3595, 50), (3600, 50), (7200, 105), (14_400, 225), (86_400, 1425)];
    for (lifetime, period) in table {
        assert_eq!(minutes(lifetime), period, "lifetime {lifetime} s");
    }
    assert_eq!(minutes(604_800), 8640);
    assert_eq!(minutes(10), 8, "too short for the wheel: the shortest period is the safety net");
}

#[test]
fn the_grid_ascends_and_fits_the_slow_wheel_beyond_it() {
    assert!(PERIODS.is_sorted_by(|a, b| a < b));
    assert!(PERIODS[PERIODS.len() - 1] < SLOW_PERIOD);
}

#[test]
fn margins_are_a_sixth_within_bounds() {
    let table = [(10, 5), (120, 60), (600, 90), (1800, 270), (3600, 570), (7200, 900), (604_800, 900)];
    for (lifetime, expected) in table {
        assert_eq!(margin(seconds(lifetime)), seconds(expected), "lifetime {lifetime} s");
    }
}

#[test]
fn a_seat_passes_where_it_says() {
    let seat = Seat::fast(&key(1), seconds(3600));
    let pass = seat.first_pass(Minute::new(29_000_000));
    assert!(Seat::passing(pass).any(|passing| passing == seat));
    assert_eq!(seat.first_pass(pass), pass);
    assert_eq!(seat.first_pass(pass.plus(1)), pass.plus(50));
    assert_eq!(seat.last_pass(pass.plus(49)), pass);
}

#[test]
fn a_seat_survives_its_text() {
    for seat in [Seat::fast(&key(3), seconds(3600)), Seat::slow(&key(3))] {
        assert_eq!(seat.to_string().parse(), Ok(seat));
    }
    for bad in ["", "fast-50", "fast-50-50", "fast-51-0", "slow-50-1", "fast-50-1-1", "quick-50-1", "fast--50-1"] {
        assert_eq!(bad.parse::<Seat>(), Err(InvalidSeat), "{bad}");
    }
}

#[test]
fn a_seat_is_left_only_after_three_misfits() {
    let key = key(9);
    let short = Seat::fast(&key, seconds(600));
    let now = Timestamp::from_unix(1_700_000_000);
    let mut misfits = 0;
    for _ in 0..2 {
        let plan = plan(&key, Some(short), misfits, seconds(3600), now, now.plus(seconds(3600)));
        assert_eq!(plan.reseat, None);
        misfits = plan.misfits;
    }
    let plan = plan(&key, Some(short), misfits, seconds(3600), now, now.plus(seconds(3600)));
    assert_eq!(plan.reseat, Some(Seat::fast(&key, seconds(3600))));
    assert_eq!(plan.misfits, 0);
}

#[test]
fn in_the_last_seconds_of_a_minute_the_pass_after_next_may_be_gone_already() {
    let key = key(7);
    let lifetime = seconds(600);
    let seat = Seat::fast(&key, lifetime);
    let pass = seat.first_pass(Minute::new(28_333_336));
    let planned_at = |second| {
        let now = pass.minus(2).start().plus(seconds(second));
        plan(&key, Some(seat), 0, lifetime, now, now.plus(lifetime))
    };
    let on_the_pass = planned_at(49);
    assert_eq!((on_the_pass.soon, on_the_pass.next_refresh_at), (None, pass.start().minus(NUDGE_SLACK)));
    let beside_it = planned_at(50);
    assert!(beside_it.next_refresh_at > pass.start(), "{beside_it:?}");
    assert!(beside_it.soon.is_some(), "the next pass is too late for ten minutes: {beside_it:?}");
}

#[test]
fn a_slow_seat_is_kept_and_admits_any_later_pass() {
    let key = key(4);
    let now = Timestamp::from_unix(1_700_000_000);
    let plan = plan(&key, Some(Seat::slow(&key)), 0, seconds(3600), now, now.plus(seconds(3600)));
    assert_eq!((plan.reseat, plan.soon), (None, None));
    assert!(plan.next_refresh_at < now.plus(seconds(3600)));
}

proptest! {
    #[test]
    fn every_plan_comes_before_expiry_and_after_now(
        user: u32, at in 1_600_000_000u64..1_900_000_000, lifetime in 10u64..700_000, held in 0usize..52, seated: bool,
    ) {
        let key = key(user);
        let now = Timestamp::from_unix(at);
        let expires_at = now.plus(seconds(lifetime));
        let seat = seated.then(|| Seat::with_period(&key, Wheel::Fast, PERIODS[held]));
        let plan = plan(&key, seat, 0, seconds(lifetime), now, expires_at);
        let in_force = plan.reseat.or(seat);
        prop_assert!(in_force.is_some(), "an awake connection always has a seat");
        let seat = in_force.unwrap();
        if let Some(soon) = plan.soon {
            prop_assert!(plan.next_refresh_at <= soon && soon < expires_at);
            prop_assert!(now <= plan.next_refresh_at);
            prop_assert!(soon <= now.plus(SOON_REACH), "no message is delayed for longer");
        } else {
            let pass = plan.next_refresh_at.plus(NUDGE_SLACK).minute();
            let ahead = now.plus(CLOCK_SKEW_MAX);
            prop_assert!(pass >= ahead.minute().plus(2), "its nudges are still to be sent, by a clock that is ahead too");
            prop_assert!(Seat::passing(pass).any(|passing| passing == seat));
            let left = expires_at.since(nudge_instant(&key, pass));
            prop_assert!(left + MARGIN_GIVE >= margin(seconds(lifetime)) && left >= LEFT_MIN, "left {left:?}");
        }
    }

    #[test]
    fn a_refresh_at_its_pass_finds_the_next_pass_one_period_on(user: u32, at in 1_600_000_000u64..1_900_000_000, pick in 0usize..7) {
        let lifetime = seconds([600, 900, 1800, 3595, 3600, 7200, 86_400][pick]);
        let key = key(user);
        let seat = Seat::fast(&key, lifetime);
        let pass = seat.first_pass(Timestamp::from_unix(at).minute());
        let now = nudge_instant(&key, pass).plus(seconds(2));
        let plan = plan(&key, Some(seat), 0, lifetime, now, now.plus(lifetime));
        prop_assert_eq!(plan.reseat, None);
        prop_assert_eq!(plan.soon, None);
        prop_assert_eq!(plan.next_refresh_at, pass.plus(u64::from(seat.period())).start().minus(NUDGE_SLACK));
    }
}
