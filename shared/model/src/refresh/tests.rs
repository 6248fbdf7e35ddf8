use proptest::prelude::*;

use super::*;
use crate::{
    limits::LEASE_STRICT,
    samples::*,
    step::{Claim, ForcedClaim, Refusal, Step},
    wheel::Seat,
};

fn refreshed(lifetime: Duration) -> Refreshed {
    Refreshed {
        version: version(2),
        access_token: sealed(21),
        refresh_token: Some(sealed(22)),
        lifetime,
        scope: Some("read".to_owned()),
        now: NOW,
    }
}

fn at(row: Connection) -> Claimed {
    Claimed::new(row).unwrap()
}

#[test]
fn only_a_leased_active_row_can_be_worked_on() {
    assert_eq!(at(claimed()).lease(), lease(1));
    assert_eq!(at(claimed()).row(), &claimed());
    for row in [due(), flagged(), tombstone()] {
        assert!(Claimed::new(row).is_none());
    }
}

#[test]
fn a_commit_carries_the_answer_and_its_place_on_the_wheel() {
    let commit = at(claimed()).commit(refreshed(HOUR));
    let plan = wheel::plan(&key(), Some(Seat::fast(&key(), HOUR)), 0, HOUR, NOW, NOW.plus(HOUR));
    let expected = Commit {
        consumed: version(1),
        version: version(2),
        access_token: sealed(21),
        refresh_token: Some(sealed(22)),
        expires_at: NOW.plus(HOUR),
        lifetime: 3600,
        scope: Some("read".to_owned()),
        now: NOW,
        next_refresh_at: plan.next_refresh_at,
        soon: None,
        reseat: None,
        misfits: 0,
        warned_days: None,
        event: None,
    };
    assert_eq!(commit, expected);
}

#[test]
fn a_short_answer_is_marked_and_seated_on_the_shortest_period() {
    let commit = at(claimed()).commit(refreshed(seconds(120)));
    assert_eq!(commit.soon, Some(NOW.plus(seconds(60))));
    assert_eq!(commit.reseat, Some(Seat::fast(&key(), seconds(120))));
}

#[test]
fn a_degraded_connection_is_told_to_have_recovered() {
    for (attempts, event) in [(0, None), (2, None), (3, Some(EventMark::Recovered)), (9, Some(EventMark::Recovered))] {
        let row = edited(&claimed(), |active| active.attempts = attempts);
        assert_eq!(at(row).commit(refreshed(HOUR)).event, event, "{attempts} attempts");
    }
}

#[test]
fn the_end_of_the_grant_is_told_and_noted_unless_something_else_is_told() {
    let ending = edited(&claimed(), |active| active.grant.expires_at = Some(NOW.plus(HOUR * 24 * 10)));
    let commit = at(ending.clone()).commit(refreshed(HOUR));
    assert_eq!((commit.event, commit.warned_days), (Some(EventMark::ReauthDue), Some(14)));

    let told = edited(&ending, |active| active.grant.warned_days = Some(14));
    let commit = at(told).commit(refreshed(HOUR));
    assert_eq!((commit.event, commit.warned_days), (None, Some(14)), "once");

    let degraded = edited(&ending, |active| active.attempts = 3);
    let commit = at(degraded).commit(refreshed(HOUR));
    assert_eq!((commit.event, commit.warned_days), (Some(EventMark::Recovered), None), "the warning comes next time");
}

#[test]
fn a_release_gives_back_exactly_what_the_claim_counted() {
    for before in [0, 1, 5] {
        let row = due_with(|active| active.unknown_outcomes = before);
        let claim = Claim { attempt: attempt(1), now: NOW, lease: LEASE_STRICT, awake_window: HOUR * 24 };
        let claimed = at(Step::Claim(claim).apply(row).unwrap());
        let release = claimed.release(RefreshError::BudgetExhausted, NOW.plus(HOUR));
        let expected = Release {
            version: version(1),
            attempt: attempt(1),
            next_refresh_at: NOW.plus(HOUR),
            unknown_outcomes: before,
            attempts: 1,
            error: RefreshError::BudgetExhausted,
            event: None,
        };
        assert_eq!(release, expected);
    }
}

#[test]
fn an_unknown_outcome_is_retried_after_the_lease_and_after_the_back_off() {
    let after_lease = lease(1).expires_at.plus(AFTER_LEASE);
    let claimed = at(claimed());
    assert_eq!(claimed.unknown(RefreshError::Unavailable, NOW).next_refresh_at, after_lease);
    let later = after_lease.plus(HOUR);
    assert_eq!(claimed.unknown(RefreshError::Unavailable, later).next_refresh_at, later);
    assert_eq!(claimed.unknown(RefreshError::Unavailable, later).attempt, attempt(1));
}

#[test]
fn the_third_failure_in_a_row_is_told_and_no_other() {
    for (attempts, event) in [(0, None), (1, None), (2, Some(EventMark::Degraded)), (3, None), (8, None)] {
        let claimed = at(edited(&claimed(), |active| active.attempts = attempts));
        assert_eq!(claimed.release(RefreshError::Throttled, NOW).event, event, "{attempts} attempts");
        assert_eq!(claimed.unknown(RefreshError::Unavailable, NOW).event, event, "{attempts} attempts");
    }
}

#[test]
fn what_was_held_back_has_not_failed_but_bars_forced_claims() {
    for error in [RefreshError::CircuitOpen, RefreshError::BudgetExhausted] {
        for (attempts, noted) in [(0, 1), (1, 1), (2, 2), (3, 3), (8, 8)] {
            let row = edited(&claimed(), |active| active.attempts = attempts);
            let until = NOW.plus(seconds(60));
            let release = at(row.clone()).release(error, until);
            assert_eq!((release.attempts, release.event), (noted, None), "{error:?} after {attempts} attempts");
            let held_back = Step::Release(release).apply(row).unwrap();
            assert_eq!(held_back.check(), Ok(()));
            let claim = ForcedClaim { attempt: attempt(9), now: NOW, lease: LEASE_STRICT, version: version(1) };
            assert_eq!(Step::ForcedClaim(claim).apply(held_back), Err(Refusal::NotDue { until }));
        }
    }
}

#[test]
fn a_degradation_is_not_missed_though_each_unknown_outcome_is_written_twice() {
    let mut row = due();
    let mut told = Vec::new();
    let mut now = NOW;
    for n in 1..=5 {
        let claim = Claim { attempt: attempt(n), now, lease: LEASE_STRICT, awake_window: HOUR * 24 };
        let claimed = at(Step::Claim(claim).apply(row).unwrap());
        let unknown = Step::Unknown(claimed.unknown(RefreshError::Unavailable, now));
        let once = unknown.apply(claimed.row().clone()).unwrap();
        row = unknown.apply(once.clone()).unwrap();
        assert_eq!(row, once, "a lost answer's repetition counts nothing");
        assert_eq!(row.active().unwrap().attempts, u32::from(n));
        told.push(row.event);
        now = row.active().unwrap().next_refresh_at;
    }
    assert_eq!(told, [None, None, Some(EventMark::Degraded), None, None]);
}

#[test]
fn a_flag_says_why() {
    let lost = edited(&claimed(), |active| active.unknown_outcomes = 2);
    let none = edited(&claimed(), |active| active.refresh_token = None);
    let none_and_unknown = edited(&lost, |active| active.refresh_token = None);
    let table = [
        (claimed(), ReauthorizationReason::Refused),
        (lost, ReauthorizationReason::InterruptedRotation),
        (none, ReauthorizationReason::NoRefreshToken),
        (none_and_unknown, ReauthorizationReason::NoRefreshToken),
    ];
    for (row, reason) in table {
        let flag = at(row).flag(version(8), NOW);
        assert_eq!(flag, Flag { version: version(1), new_version: version(8), reason, now: NOW });
    }
}

#[test]
fn one_claim_follows_nothing_unknown_and_two_do() {
    assert!(!at(claimed()).follows_unknown_outcome());
    assert!(at(edited(&claimed(), |active| active.unknown_outcomes = 2)).follows_unknown_outcome());
}

proptest! {
    #[test]
    fn whatever_comes_of_an_attempt_is_a_possible_row_and_ends_the_attempt_s_claim(
        lifetime in 1u64..700_000, attempts in 0u32..20, unknown in 1u32..9, late in 0u64..100_000, outcome in 0u8..4,
    ) {
        let row = edited(&claimed(), |active| {
            (active.attempts, active.unknown_outcomes) = (attempts, unknown);
            active.last_error = (attempts > 0).then_some(RefreshError::Unavailable);
        });
        let now = NOW.plus(seconds(late));
        let claimed = at(row.clone());
        let step = match outcome {
            0 => Step::Commit(Box::new(claimed.commit(Refreshed { now, ..refreshed(seconds(lifetime)) }))),
            1 => Step::Release(claimed.release(RefreshError::Throttled, now.plus(seconds(60)))),
            2 => Step::Unknown(claimed.unknown(RefreshError::Unavailable, now.plus(seconds(60)))),
            _ => Step::Flag(claimed.flag(version(8), now)),
        };
        let after = step.apply(row).unwrap();
        prop_assert_eq!(after.check(), Ok(()));
        let Some(active) = after.active() else { return Ok(()) };
        prop_assert!(active.seat.is_some());
        match outcome {
            0 => prop_assert_eq!((active.lease, active.unknown_outcomes, active.attempts), (None, 0, 0)),
            1 => prop_assert_eq!((active.lease, active.unknown_outcomes), (None, unknown - 1)),
            _ => {
                prop_assert_eq!((active.lease, active.unknown_outcomes), (Some(lease(1)), unknown));
                prop_assert!(active.next_refresh_at > lease(1).expires_at);
            }
        }
    }
}
