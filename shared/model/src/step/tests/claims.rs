use super::*;
use crate::{limits::LEASE_STRICT, samples::*};

const WINDOW: Duration = Duration::from_hours(24);

fn claim(n: u8) -> Step {
    Step::Claim(Claim { attempt: attempt(n), now: NOW, lease: LEASE_STRICT, awake_window: WINDOW })
}

fn forced(n: u8, seen: u8) -> Step {
    Step::ForcedClaim(ForcedClaim { attempt: attempt(n), now: NOW, lease: LEASE_STRICT, version: version(seen) })
}

fn handoff(from: u8, to: u8) -> Step {
    Step::Handoff(Handoff { version: version(1), from: attempt(from), to: attempt(to), now: NOW, lease: LEASE_STRICT })
}

/// What a claim by attempt 5 has to make of `row`: no field but these.
fn leased_by_5(row: &Connection) -> Connection {
    let mut expected = edited(row, |active| {
        active.lease = Some(Lease { owner: attempt(5), expires_at: NOW.plus(LEASE_STRICT) });
        active.unknown_outcomes += 1;
        active.soon = None;
    });
    expected.event = None;
    expected
}

#[test]
fn a_claim_leases_counts_and_takes_the_marks_off() {
    let mut row = due_with(|active| active.soon = Some(NOW));
    row.event = Some(EventMark::Connected);
    makes(&claim(5), &row, &leased_by_5(&row));
}

#[test]
fn a_claim_counts_on_after_an_unknown_outcome() {
    let row = due_with(|active| {
        active.unknown_outcomes = 2;
        active.attempts = 2;
        active.last_error = Some(RefreshError::Unavailable);
    });
    makes(&claim(5), &row, &leased_by_5(&row));
}

#[test]
fn a_claim_takes_a_lease_that_has_run_out() {
    let over = Lease { owner: attempt(1), expires_at: NOW };
    let row = edited(&claimed(), |active| active.lease = Some(over));
    makes(&claim(5), &row, &leased_by_5(&row));
}

#[test]
fn a_claim_is_admitted_to_the_last_second_of_the_window_and_always_on_the_slow_wheel() {
    let last = due_with(|active| active.seen_at = NOW.minus(WINDOW));
    makes(&claim(5), &last, &leased_by_5(&last));
    let slow = due_with(|active| {
        active.seen_at = NOW.minus(WINDOW * 30);
        active.seat = Some(Seat::slow(&key()));
    });
    makes(&claim(5), &slow, &leased_by_5(&slow));
}

#[test]
fn a_claim_is_refused() {
    let until = NOW.plus(seconds(1));
    let live = Lease { owner: attempt(1), expires_at: until };
    let mine = Lease { owner: attempt(5), expires_at: until };
    let asleep = |seat| due_with(|active| (active.seen_at, active.seat) = (NOW.minus(WINDOW + seconds(1)), seat));
    let table = [
        ("reauthorization required", flagged(), Refusal::NotActive),
        ("disconnected", tombstone(), Refusal::NotActive),
        ("leased", edited(&claimed(), |active| active.lease = Some(live)), Refusal::Leased { until }),
        ("my own write", edited(&claimed(), |active| active.lease = Some(mine)), Refusal::AlreadyMine),
        ("early", due_with(|active| active.next_refresh_at = until), Refusal::NotDue { until }),
        ("asleep", asleep(Some(Seat::fast(&key(), HOUR))), Refusal::Asleep),
        ("asleep without a seat", asleep(None), Refusal::Asleep),
    ];
    for (why, row, reason) in table {
        assert_eq!(row.check(), Ok(()), "{why}");
        refuses(&claim(5), &row, reason);
    }
}

#[test]
fn a_claim_recognises_itself_whatever_else_would_refuse_it() {
    let row = due_with(|active| active.next_refresh_at = NOW.plus(HOUR));
    let row = edited(&row, |active| (active.lease, active.unknown_outcomes) = (Some(lease(5)), 1));
    refuses(&claim(5), &row, Refusal::AlreadyMine);
}

#[test]
fn a_forced_claim_asks_neither_the_schedule_nor_the_window() {
    let row = due_with(|active| {
        active.next_refresh_at = NOW.plus(HOUR);
        active.seen_at = NOW.minus(WINDOW * 2);
        active.soon = Some(NOW);
    });
    makes(&forced(5, 1), &row, &leased_by_5(&row));
}

#[test]
fn a_forced_claim_honours_the_back_off() {
    let failed = |next| {
        due_with(|active| {
            (active.attempts, active.last_error) = (1, Some(RefreshError::Throttled));
            active.next_refresh_at = next;
        })
    };
    let until = NOW.plus(seconds(1));
    refuses(&forced(5, 1), &failed(until), Refusal::NotDue { until });
    makes(&forced(5, 1), &failed(NOW), &leased_by_5(&failed(NOW)));
}

#[test]
fn a_forced_claim_is_refused() {
    let until = lease(1).expires_at;
    let mine = edited(&claimed(), |active| active.lease = Some(lease(5)));
    let table = [
        ("a newer pair", forced(5, 2), due(), Refusal::Superseded),
        ("reauthorization required", forced(5, 9), flagged(), Refusal::NotActive),
        ("disconnected", forced(5, 9), tombstone(), Refusal::NotActive),
        ("leased", forced(5, 1), claimed(), Refusal::Leased { until }),
        ("my own write", forced(5, 1), mine, Refusal::AlreadyMine),
    ];
    for (why, step, row, reason) in table {
        assert_eq!(row.check(), Ok(()), "{why}");
        refuses(&step, &row, reason);
    }
}

#[test]
fn a_hand_off_changes_the_lease_alone() {
    let mut row = claimed();
    row.event = Some(EventMark::Degraded);
    let expected = edited(&row, |active| {
        active.lease = Some(Lease { owner: attempt(2), expires_at: NOW.plus(LEASE_STRICT) });
    });
    makes(&handoff(1, 2), &row, &expected);
    refuses(&handoff(1, 2), &expected, Refusal::AlreadyMine);
}

#[test]
fn a_hand_off_takes_over_a_lease_that_has_run_out_if_it_is_still_the_givers() {
    let over = edited(&claimed(), |active| {
        active.lease = Some(Lease { owner: attempt(1), expires_at: NOW.minus(HOUR) });
    });
    let expected = edited(&over, |active| {
        active.lease = Some(Lease { owner: attempt(2), expires_at: NOW.plus(LEASE_STRICT) });
    });
    makes(&handoff(1, 2), &over, &expected);
}

#[test]
fn a_hand_off_is_refused() {
    let newer = Connection { version: version(2), ..claimed() };
    let table = [
        ("another owner", handoff(3, 2), claimed(), Refusal::NotOwner),
        ("no lease", handoff(1, 2), due(), Refusal::NotOwner),
        ("a newer pair", handoff(1, 2), newer, Refusal::Superseded),
        ("reauthorization required", handoff(1, 2), flagged(), Refusal::NotActive),
        ("disconnected", handoff(1, 2), tombstone(), Refusal::NotActive),
    ];
    for (why, step, row, reason) in table {
        assert_eq!(row.check(), Ok(()), "{why}");
        refuses(&step, &row, reason);
    }
}
