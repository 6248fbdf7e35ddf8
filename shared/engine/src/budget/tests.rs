use super::*;

fn provider() -> ProviderId {
    "spotify".parse().unwrap()
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn taken(budget: &Budget, rate: f64, lane: Lane, tries: usize) -> usize {
    (0..tries).filter(|_| budget.take(&provider(), rate, lane, at(0)).is_ok()).count()
}

#[test]
fn a_minute_never_sees_more_than_the_rate_and_one_burst() {
    let budget = Budget::new(2);
    let taken = (0..60_000).filter(|millis| budget.take(&provider(), 20.0, Lane::Urgent, at(*millis)).is_ok()).count();
    assert!((600..=610).contains(&taken), "half of 20 per second for a minute, and the burst: {taken}");
}

#[test]
fn the_wheel_leaves_a_fifth_to_those_who_wait() {
    // At less than 1.25 calls a fifth less would be less than one call, and the wheel would never get any.
    for (rate, due, urgent) in
        [(10.0, 8, 2), (5.0, 4, 1), (3.0, 2, 1), (2.0, 1, 1), (1.25, 1, 0), (1.2, 1, 0), (0.5, 1, 0)]
    {
        let budget = Budget::new(1);
        let took = (taken(&budget, rate, Lane::Due, 100), taken(&budget, rate, Lane::Urgent, 100));
        assert_eq!(took, (due, urgent), "at {rate} per second");
    }
}

#[test]
fn a_rate_below_one_still_calls() {
    let budget = Budget::new(10);
    assert_eq!(budget.take(&provider(), 1.0, Lane::Due, at(0)), Ok(()));
    assert_eq!(budget.take(&provider(), 1.0, Lane::Due, at(0)), Err(Duration::from_secs(10)));
    assert_eq!(budget.take(&provider(), 1.0, Lane::Due, at(10_000)), Ok(()));
}

#[test]
fn patience_asked_for_is_given() {
    let budget = Budget::new(1);
    assert_eq!(budget.take(&provider(), 10.0, Lane::Due, at(0)), Ok(()));
    budget.close(&provider(), at(5000));
    assert_eq!(budget.take(&provider(), 10.0, Lane::Urgent, at(1000)), Err(at(4000)));
    assert_eq!(budget.take(&provider(), 10.0, Lane::Urgent, at(1000)), Err(at(4125)), "one after the other");
    assert_eq!(budget.take(&provider(), 10.0, Lane::Urgent, at(5000)), Ok(()));
}

#[test]
fn each_who_is_refused_gets_the_next_slot_and_passes_in_it() {
    for (rate, processes) in [(10.0, 1), (20.0, 2), (1.0, 1), (0.5, 4), (7.3, 3)] {
        let budget = Budget::new(processes);
        let mut slots = Vec::new();
        for _ in 0..200 {
            slots.extend(budget.take(&provider(), rate, Lane::Due, at(0)).err());
        }
        let share = rate / f64::from(processes);
        let spacing = Duration::from_secs_f64(1.0 / (0.8 * share));
        let reachable = slots.iter().filter(|slot| **slot < SLOT_MAX).count();
        assert!(slots[..reachable].windows(2).all(|pair| pair[1].abs_diff(pair[0] + spacing) < at(1)), "{slots:?}");
        for slot in &slots[..reachable] {
            assert_eq!(budget.take(&provider(), rate, Lane::Due, *slot), Ok(()), "{rate}/{processes} at {slot:?}");
        }
    }
}

#[test]
fn who_is_waited_for_does_not_queue_behind_the_wheel() {
    let budget = Budget::new(1);
    while budget.take(&provider(), 10.0, Lane::Due, at(0)).is_ok() {}
    for _ in 0..1000 {
        assert!(budget.take(&provider(), 10.0, Lane::Due, at(0)).is_err());
    }
    assert_eq!(taken(&budget, 10.0, Lane::Urgent, 2), 2);
    assert_eq!(budget.take(&provider(), 10.0, Lane::Urgent, at(0)), Err(at(100)));
}

#[test]
fn a_backlog_that_has_passed_delays_nobody() {
    let budget = Budget::new(1);
    for _ in 0..100 {
        let _slot = budget.take(&provider(), 10.0, Lane::Due, at(0));
    }
    assert_eq!((0..8).filter(|_| budget.take(&provider(), 10.0, Lane::Due, at(60_000)).is_ok()).count(), 8);
    assert_eq!(budget.take(&provider(), 10.0, Lane::Due, at(60_000)), Err(at(100)));
}

#[test]
fn no_slot_is_later_than_a_message_can_come_back_for_it() {
    let budget = Budget::new(1);
    for _ in 0..100_000 {
        if let Err(wait) = budget.take(&provider(), 10.0, Lane::Due, at(0)) {
            assert!(wait <= SLOT_MAX, "{wait:?}");
        }
    }
    let hardly_a_rate = Budget::new(u32::MAX);
    assert_eq!(hardly_a_rate.take(&provider(), f64::MIN_POSITIVE, Lane::Due, at(0)), Ok(()));
    assert_eq!(hardly_a_rate.take(&provider(), f64::MIN_POSITIVE, Lane::Due, at(0)), Err(WAIT_MAX));
}

#[test]
fn a_call_given_back_can_be_taken_again_and_fills_no_bucket_over_its_brim() {
    let budget = Budget::new(1);
    assert_eq!(taken(&budget, 10.0, Lane::Urgent, 100), 10);
    budget.give_back(&provider());
    assert_eq!(taken(&budget, 10.0, Lane::Urgent, 100), 1);
    for _ in 0..50 {
        budget.give_back(&provider());
    }
    assert_eq!(taken(&budget, 10.0, Lane::Urgent, 100), 10);
}
