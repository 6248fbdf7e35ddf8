//! The row that a login writes.

use super::*;
use crate::connection::Revocation;

fn consent(name: &str) -> Consent {
    Consent {
        issuer: issuer(),
        account: account(name),
        version: version(5),
        access_token: sealed(51),
        refresh_token: Some(sealed(52)),
        lifetime: 3600,
        expires_at: NOW.plus(HOUR),
        scope: Some("read write".to_owned()),
        grant_lifetime: Some(HOUR * 24 * 180),
        now: NOW,
    }
}

/// Establishes over `previous`, asserting that the row is a possible one.
#[track_caller]
fn established(consent: Consent, previous: Option<&Connection>, revoke_previous: bool) -> Connection {
    let row = Connection::establish(key(), consent, previous, revoke_previous);
    assert_eq!(row.check(), Ok(()));
    row
}

#[test]
fn a_first_login_writes_the_whole_row() {
    let row = established(consent("first"), None, true);
    let plan = wheel::plan(&key(), None, 0, HOUR, NOW, NOW.plus(HOUR));
    let active = Active {
        access_token: sealed(51),
        refresh_token: Some(sealed(52)),
        expires_at: NOW.plus(HOUR),
        lifetime: 3600,
        seat: Some(Seat::fast(&key(), HOUR)),
        misfits: 0,
        next_refresh_at: plan.next_refresh_at,
        soon: plan.soon,
        lease: None,
        unknown_outcomes: 0,
        attempts: 0,
        last_error: None,
        seen_at: NOW,
        grant: Grant::new(NOW, Some(HOUR * 24 * 180)),
    };
    let expected = Connection {
        key: key(),
        version: version(5),
        issuer: issuer(),
        account: account("first"),
        scope: Some("read write".to_owned()),
        created_at: NOW,
        updated_at: NOW,
        event: Some(EventMark::Connected),
        revocations: Vec::new(),
        status: Status::Active(Box::new(active)),
    };
    assert_eq!(row, expected);
}

#[test]
fn logging_in_again_keeps_the_seat_and_the_age_and_ends_all_trouble() {
    let seat = Seat::fast(&key(), seconds(2800));
    let previous = edited(&claimed(), |active| {
        (active.seat, active.attempts, active.unknown_outcomes) = (Some(seat), 5, 3);
    });
    let row = established(consent("first"), Some(&previous), true);
    let active = row.active().unwrap();
    assert_eq!(active.seat, Some(seat), "the index is left alone");
    assert_eq!((active.lease, active.attempts, active.unknown_outcomes), (None, 0, 0));
    assert_eq!(row.created_at, previous.created_at);
    assert_eq!(row.revocations, [], "the same account's grant is not revoked");
}

#[test]
fn logging_in_wakes_whoever_sleeps() {
    for seat in [None, Some(Seat::slow(&key()))] {
        let previous = due_with(|active| (active.seat, active.seen_at) = (seat, NOW.minus(HOUR * 100)));
        let row = established(consent("first"), Some(&previous), true);
        let active = row.active().unwrap();
        assert_eq!((active.seat, active.seen_at), (Some(Seat::fast(&key(), HOUR)), NOW));
    }
}

#[test]
fn logging_in_after_a_refusal_keeps_the_age_and_after_a_disconnect_does_not() {
    assert_eq!(established(consent("first"), Some(&flagged()), true).created_at, flagged().created_at);
    assert_eq!(established(consent("first"), Some(&tombstone()), true).created_at, NOW);
}

#[test]
fn what_the_row_owed_is_carried_over() {
    for previous in [due(), flagged(), tombstone()] {
        let previous = Connection { revocations: vec![owed(3), owed(4)], ..previous };
        assert_eq!(established(consent("first"), Some(&previous), false).revocations, [owed(3), owed(4)]);
    }
}

#[test]
fn a_replaced_account_s_grant_is_owed_its_revocation() {
    let previous = Connection { revocations: vec![owed(3)], ..due() };
    let row = established(consent("second"), Some(&previous), true);
    let replaced = Revocation { refresh_token: sealed(2), ..owed(1) };
    assert_eq!(row.revocations, [owed(3), replaced], "the newest last");
    assert_eq!(row.account, account("second"));
    assert_eq!(established(consent("second"), Some(&previous), false).revocations, [owed(3)]);
}

#[test]
fn a_replaced_account_that_holds_no_refresh_token_owes_nothing() {
    for previous in [due_with(|active| active.refresh_token = None), flagged()] {
        assert_eq!(established(consent("second"), Some(&previous), true).revocations, []);
    }
}

#[test]
fn past_the_limit_the_oldest_intent_is_forgotten() {
    let revocations = (10..).take(REVOCATIONS_MAX).map(owed).collect();
    let previous = Connection { revocations, ..due() };
    let row = established(consent("second"), Some(&previous), true);
    let versions: Vec<_> = row.revocations.iter().map(|owed| owed.version).collect();
    assert_eq!(versions, [version(11), version(12), version(13), version(1)]);
}

#[test]
fn without_a_refresh_token_the_pass_after_the_end_finds_it() {
    for lifetime in [300, 3600] {
        let expires_at = NOW.plus(seconds(lifetime));
        let row = established(Consent { refresh_token: None, lifetime, expires_at, ..consent("first") }, None, true);
        let active = row.active().unwrap();
        assert_eq!((active.next_refresh_at, active.soon), (expires_at, None));
        assert!(active.seat.is_some(), "somebody has to find it");
    }
}

#[test]
fn a_life_too_short_for_the_wheel_is_marked() {
    let expires_at = NOW.plus(seconds(120));
    let row = established(Consent { lifetime: 120, expires_at, ..consent("first") }, None, true);
    let active = row.active().unwrap();
    assert_eq!(active.soon, Some(expires_at.minus(seconds(60))));
    assert!(active.seat.is_some(), "the safety net");
}

#[test]
fn a_login_by_a_slow_clock_is_still_a_possible_row() {
    let previous = Connection { created_at: NOW.plus(seconds(9)), updated_at: NOW.plus(seconds(9)), ..due() };
    assert_eq!(established(consent("first"), Some(&previous), true).created_at, NOW);
}

#[test]
fn where_a_revocation_ends_the_grant_the_account_s_own_go_and_the_others_are_free() {
    let held = |n, name| Revocation { account: account(name), lease: Some(lease(1)), attempts: 2, ..owed(n) };
    let previous =
        Connection { revocations: vec![held(3, "first"), held(4, "other"), held(6, "first")], ..tombstone() };
    let row = established(consent("first"), Some(&previous), true);
    assert_eq!(row.revocations, previous.revocations, "carried over as they were");
    let spared = row.clone().sparing_its_grant();
    let free = Revocation { lease: None, ..held(4, "other") };
    assert_eq!(spared, Connection { revocations: vec![free], ..row });
    assert_eq!(spared.check(), Ok(()));
}

#[test]
fn a_replaced_account_s_own_revocation_is_not_spared() {
    let row = established(consent("second"), Some(&due()), true).sparing_its_grant();
    assert_eq!(row.revocations, [Revocation { refresh_token: sealed(2), ..owed(1) }]);
}

#[test]
fn a_login_leaves_a_flag_s_reason_behind() {
    let Status::ReauthorizationRequired { reason, .. } = flagged().status else { panic!("the sample is flagged") };
    assert_eq!(reason, ReauthorizationReason::Refused);
    assert!(established(consent("first"), Some(&flagged()), true).active().is_some());
}
