use super::*;
use crate::{
    connection::Revocation,
    limits::{LEASE_REUSABLE, REVOCATION_ATTEMPTS_MAX, REVOCATION_HOLD},
    samples::*,
};

fn claim(of: u8, by: u8) -> Step {
    Step::ClaimRevocation(ClaimRevocation {
        revocation: version(of),
        attempt: attempt(by),
        now: NOW,
        lease: LEASE_REUSABLE,
    })
}

fn finish(of: u8, by: u8) -> Step {
    Step::FinishRevocation(FinishRevocation { revocation: version(of), attempt: attempt(by) })
}

fn postpone(of: u8, by: u8) -> Step {
    Step::PostponeRevocation(PostponeRevocation { revocation: version(of), attempt: attempt(by) })
}

fn hold(by: u8) -> Step {
    Step::HoldRevocations(HoldRevocations { attempt: attempt(by), now: NOW, lease: REVOCATION_HOLD })
}

/// The same row, owing these.
fn owing(row: Connection, revocations: Vec<Revocation>) -> Connection {
    Connection { revocations, ..row }
}

/// An intent that attempt 1 is carrying out.
fn under_way(n: u8) -> Revocation {
    Revocation { lease: Some(lease(1)), ..owed(n) }
}

#[test]
fn a_tombstone_owes_what_it_held_and_its_revocation_is_claimed_then_done() {
    let row = tombstone();
    assert_eq!(row.revocations, [Revocation { refresh_token: sealed(2), ..owed(1) }]);
    let leased = Lease { owner: attempt(5), expires_at: NOW.plus(LEASE_REUSABLE) };
    let revocation = Revocation { lease: Some(leased), ..row.revocations[0].clone() };
    let expected = Connection { event: None, revocations: vec![revocation], ..row.clone() };
    makes(&claim(1, 5), &row, &expected);
    refuses(&claim(1, 5), &expected, Refusal::AlreadyMine);
    refuses(&claim(1, 6), &expected, Refusal::Leased { until: leased.expires_at });
    let done = owing(expected.clone(), Vec::new());
    makes(&finish(1, 5), &expected, &done);
    refuses(&finish(1, 5), &done, Refusal::NoSuchRevocation);
}

#[test]
fn whoever_takes_an_intent_takes_off_every_mark_that_the_stream_was_told() {
    for event in [Some(EventMark::Connected), None] {
        let row = owing(due_with(|active| active.soon = Some(NOW.plus(seconds(9)))), vec![owed(4)]);
        let row = Connection { event, ..row };
        let unmarked = Connection { event: None, ..edited(&row, |active| active.soon = None) };
        let leased = Lease { owner: attempt(7), expires_at: NOW.plus(LEASE_REUSABLE) };
        let claimed = Revocation { lease: Some(leased), ..owed(4) };
        makes(&claim(4, 7), &row, &owing(unmarked.clone(), vec![claimed]));
        makes(&hold(7), &row, &owing(unmarked, vec![held(4, 7)]));
    }
}

#[test]
fn an_intent_can_be_carried_out_whatever_became_of_the_row() {
    for row in [due(), flagged(), tombstone()] {
        let row = owing(row, vec![owed(3), owed(4)]);
        let claimed = claim(4, 1).apply(row).unwrap();
        let done = finish(4, 1).apply(claimed).unwrap();
        assert_eq!(done.revocations, [owed(3)], "the neighbour stays");
        assert_eq!(done.check(), Ok(()));
    }
}

#[test]
fn a_revocation_touches_the_refresh_lease_of_no_connection() {
    let row = owing(claimed(), vec![owed(4)]);
    let after = finish(4, 1).apply(claim(4, 1).apply(row).unwrap()).unwrap();
    assert_eq!(after.active(), claimed().active());
}

#[test]
fn a_revocation_s_lease_that_has_run_out_can_be_claimed() {
    let over = Revocation { lease: Some(Lease { owner: attempt(1), expires_at: NOW }), ..owed(4) };
    let claimed = claim(4, 5).apply(owing(tombstone(), vec![over])).unwrap();
    assert_eq!(claimed.revocations[0].lease.map(|lease| lease.owner), Some(attempt(5)));
}

#[test]
fn a_revocation_s_end_is_its_owner_s() {
    for step in [finish, postpone] {
        refuses(&step(4, 2), &owing(tombstone(), vec![under_way(4)]), Refusal::NotOwner);
        refuses(&step(4, 1), &owing(tombstone(), vec![owed(4)]), Refusal::NotOwner);
        refuses(&step(4, 1), &owing(tombstone(), vec![under_way(3)]), Refusal::NoSuchRevocation);
    }
    refuses(&claim(4, 1), &owing(tombstone(), vec![owed(3)]), Refusal::NoSuchRevocation);
}

#[test]
fn a_failed_revocation_is_tried_again_and_given_up_after_a_bounded_number_of_times() {
    let mut row = owing(tombstone(), vec![owed(4), owed(5)]);
    for tried in 1..REVOCATION_ATTEMPTS_MAX {
        row = postpone(4, 1).apply(claim(4, 1).apply(row).unwrap()).unwrap();
        assert_eq!(row.revocations[0], Revocation { attempts: tried, ..owed(4) });
    }
    row = postpone(4, 1).apply(claim(4, 1).apply(row).unwrap()).unwrap();
    assert_eq!(row.revocations, [owed(5)], "given up, and its neighbour untouched");
}

/// [`under_way`], but its attempt's time is over.
fn given_up(n: u8) -> Revocation {
    Revocation { lease: Some(Lease { owner: attempt(1), expires_at: NOW }), ..owed(n) }
}

/// An intent that attempt `by` holds since now.
fn held(n: u8, by: u8) -> Revocation {
    let lease = Lease { owner: attempt(by), expires_at: NOW.plus(REVOCATION_HOLD) };
    Revocation { lease: Some(lease), ..owed(n) }
}

#[test]
fn a_login_holds_every_intent_and_loses_none() {
    for row in [due(), flagged(), tombstone()] {
        let row = Connection { event: Some(EventMark::Connected), ..owing(row, vec![owed(4), given_up(5)]) };
        let expected = Connection { event: None, ..owing(row.clone(), vec![held(4, 7), held(5, 7)]) };
        makes(&hold(7), &row, &expected);
        refuses(&hold(7), &expected, Refusal::AlreadyMine);
        refuses(&hold(8), &expected, Refusal::Leased { until: NOW.plus(REVOCATION_HOLD) });
        refuses(&claim(4, 8), &expected, Refusal::Leased { until: NOW.plus(REVOCATION_HOLD) });
    }
}

#[test]
fn a_hold_that_was_outgrown_takes_the_new_intent_and_is_not_renewed() {
    let row = owing(tombstone(), vec![under_way(4), owed(5)]);
    makes(&hold(1), &row, &Connection { event: None, ..owing(row.clone(), vec![under_way(4), held(5, 1)]) });
}

#[test]
fn a_hold_that_is_over_keeps_nobody_out() {
    let over = Step::ClaimRevocation(ClaimRevocation {
        revocation: version(4),
        attempt: attempt(8),
        now: NOW.plus(REVOCATION_HOLD),
        lease: LEASE_REUSABLE,
    });
    assert!(over.apply(owing(tombstone(), vec![held(4, 7)])).is_ok());
}

#[test]
fn a_login_holds_what_is_free_whatever_is_under_way() {
    for (intents, expected) in [
        (vec![owed(4), under_way(5)], vec![held(4, 7), under_way(5)]),
        (vec![under_way(5), owed(4), given_up(6)], vec![under_way(5), held(4, 7), held(6, 7)]),
        (vec![held(4, 8), owed(5)], vec![held(4, 8), held(5, 7)]),
    ] {
        let row = owing(due(), intents);
        makes(&hold(7), &row, &Connection { event: None, ..owing(row.clone(), expected) });
    }
}

#[test]
fn a_login_holds_nothing_where_nothing_is_free_or_owed() {
    for intents in [vec![under_way(5)], vec![held(4, 7), under_way(5)], vec![under_way(5), held(4, 7)]] {
        refuses(&hold(7), &owing(tombstone(), intents), Refusal::Leased { until: lease(1).expires_at });
    }
    let mine_and_over = Revocation { lease: Some(Lease { owner: attempt(7), expires_at: NOW }), ..owed(4) };
    refuses(&hold(7), &owing(tombstone(), vec![mine_and_over]), Refusal::AlreadyMine);
    refuses(&hold(7), &owing(tombstone(), Vec::new()), Refusal::NoSuchRevocation);
}
