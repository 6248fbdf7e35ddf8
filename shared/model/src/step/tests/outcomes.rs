use super::*;
use crate::samples::*;

fn commit(reseat: Option<Seat>) -> Commit {
    Commit {
        consumed: version(1),
        version: version(2),
        access_token: sealed(21),
        refresh_token: Some(sealed(22)),
        expires_at: NOW.plus(HOUR * 2),
        lifetime: 7200,
        scope: None,
        now: NOW,
        next_refresh_at: NOW.plus(HOUR),
        soon: None,
        reseat,
        misfits: 1,
        warned_days: Some(14),
        event: Some(EventMark::ReauthDue),
    }
}

fn step(commit: Commit) -> Step {
    Step::Commit(Box::new(commit))
}

fn release(version: Version, attempt: AttemptId) -> Step {
    Step::Release(Release {
        version,
        attempt,
        next_refresh_at: NOW.plus(HOUR),
        unknown_outcomes: 3,
        attempts: 7,
        error: RefreshError::Throttled,
        event: Some(EventMark::Degraded),
    })
}

fn unknown(version: Version, attempt: AttemptId) -> Step {
    Step::Unknown(Unknown {
        version,
        attempt,
        next_refresh_at: NOW.plus(HOUR),
        attempts: 7,
        error: RefreshError::Unavailable,
        event: None,
    })
}

/// What [`commit`] has to make of `row` apart from the seat.
fn refreshed(row: &Connection) -> Connection {
    let mut expected = edited(row, |active| {
        active.access_token = sealed(21);
        active.refresh_token = Some(sealed(22));
        active.expires_at = NOW.plus(HOUR * 2);
        active.lifetime = 7200;
        active.next_refresh_at = NOW.plus(HOUR);
        active.soon = None;
        active.misfits = 1;
        active.grant.warned_days = Some(14);
        active.lease = None;
        active.unknown_outcomes = 0;
        active.attempts = 0;
        active.last_error = None;
    });
    expected.version = version(2);
    expected.updated_at = NOW;
    expected.event = Some(EventMark::ReauthDue);
    expected
}

fn troubled() -> Connection {
    edited(&claimed(), |active| {
        (active.attempts, active.last_error, active.unknown_outcomes) = (4, Some(RefreshError::Unavailable), 3);
    })
}

#[test]
fn a_commit_replaces_the_pair_ends_the_trouble_and_leaves_the_seat() {
    makes(&step(commit(None)), &troubled(), &refreshed(&troubled()));
}

#[test]
fn a_commit_moves_the_seat_only_when_told() {
    let elsewhere = Seat::fast(&key(), HOUR * 24);
    let expected = edited(&refreshed(&claimed()), |active| active.seat = Some(elsewhere));
    makes(&step(commit(Some(elsewhere))), &claimed(), &expected);
}

#[test]
fn a_commit_wakes_nobody() {
    for seat in [None, Some(Seat::slow(&key()))] {
        let row = edited(&claimed(), |active| active.seat = seat);
        makes(&step(commit(None)), &row, &refreshed(&row));
    }
}

#[test]
fn a_commit_asks_for_no_lease() {
    let other = edited(&claimed(), |active| active.lease = Some(lease(7)));
    for row in [due(), claimed(), other] {
        makes(&step(commit(None)), &row, &refreshed(&row));
    }
}

#[test]
fn a_commit_keeps_the_scope_that_the_answer_does_not_name_and_what_the_row_still_owes() {
    let row = Connection { revocations: vec![owed(4)], ..claimed() };
    makes(&step(commit(None)), &row, &refreshed(&row));
    let named = Commit { scope: Some("read write".to_owned()), ..commit(None) };
    let expected = Connection { scope: Some("read write".to_owned()), ..refreshed(&row) };
    makes(&step(named), &row, &expected);
}

#[test]
fn a_commit_by_a_slow_clock_does_not_turn_back_the_row_s_time() {
    let row = Connection { updated_at: NOW.plus(seconds(7)), ..claimed() };
    let expected = Connection { updated_at: NOW.plus(seconds(7)), ..refreshed(&row) };
    makes(&step(commit(None)), &row, &expected);
}

#[test]
fn a_commit_is_refused() {
    let newer = Connection { version: version(3), ..claimed() };
    let consumed_by_flag = Connection { version: version(1), ..flagged() };
    let table = [
        ("my own write", refreshed(&claimed()), Refusal::AlreadyMine),
        ("a newer pair", newer, Refusal::Superseded),
        ("reauthorization required", flagged(), Refusal::NotActive),
        ("not active at the very version", consumed_by_flag, Refusal::NotActive),
        ("disconnected", tombstone(), Refusal::NotActive),
    ];
    for (why, row, reason) in table {
        assert_eq!(row.check(), Ok(()), "{why}");
        refuses(&step(commit(None)), &row, reason);
    }
}

#[test]
fn a_release_restores_the_count_and_ends_the_lease() {
    let mut expected = edited(&troubled(), |active| {
        active.next_refresh_at = NOW.plus(HOUR);
        active.unknown_outcomes = 3;
        active.attempts = 7;
        active.last_error = Some(RefreshError::Throttled);
        active.lease = None;
    });
    expected.event = Some(EventMark::Degraded);
    makes(&release(version(1), attempt(1)), &troubled(), &expected);
    refuses(&release(version(1), attempt(1)), &expected, Refusal::NotOwner);
}

#[test]
fn an_unknown_outcome_keeps_lease_and_count_and_may_be_written_again() {
    let expected = edited(&troubled(), |active| {
        active.next_refresh_at = NOW.plus(HOUR);
        active.attempts = 7;
        active.last_error = Some(RefreshError::Unavailable);
    });
    makes(&unknown(version(1), attempt(1)), &troubled(), &expected);
    makes(&unknown(version(1), attempt(1)), &expected, &expected);
}

#[test]
fn release_and_unknown_are_refused() {
    let newer = Connection { version: version(2), ..claimed() };
    for step in [release, unknown] {
        let table = [
            ("another attempt's lease", step(version(1), attempt(2)), claimed(), Refusal::NotOwner),
            ("no lease", step(version(1), attempt(1)), due(), Refusal::NotOwner),
            ("a newer pair", step(version(1), attempt(1)), newer.clone(), Refusal::Superseded),
            ("reauthorization required", step(version(9), attempt(1)), flagged(), Refusal::NotActive),
            ("disconnected", step(version(9), attempt(1)), tombstone(), Refusal::NotActive),
        ];
        for (why, step, row, reason) in table {
            assert_eq!(row.check(), Ok(()), "{why}");
            refuses(&step, &row, reason);
        }
    }
}

#[test]
fn the_owner_of_a_lease_that_has_run_out_may_still_say_what_happened() {
    let over = edited(&claimed(), |active| {
        active.lease = Some(Lease { owner: attempt(1), expires_at: NOW.minus(HOUR) });
    });
    assert!(release(version(1), attempt(1)).apply(over.clone()).is_ok());
    assert!(unknown(version(1), attempt(1)).apply(over).is_ok());
}

fn flag(of: u8) -> Step {
    Step::Flag(Flag {
        version: version(of),
        new_version: version(8),
        reason: ReauthorizationReason::InterruptedRotation,
        now: NOW,
    })
}

#[test]
fn a_flag_removes_tokens_lease_and_seat_under_a_fresh_version() {
    let row = Connection { revocations: vec![owed(4)], ..claimed() };
    let expected = Connection {
        version: version(8),
        updated_at: NOW,
        event: Some(EventMark::ReauthRequired),
        status: Status::ReauthorizationRequired { reason: ReauthorizationReason::InterruptedRotation, since: NOW },
        ..row.clone()
    };
    makes(&flag(1), &row, &expected);
    refuses(&flag(1), &expected, Refusal::AlreadyMine);
}

#[test]
fn a_flag_names_the_version_that_was_sent() {
    let newer = Connection { version: version(2), ..due() };
    refuses(&flag(1), &newer, Refusal::Superseded);
    refuses(&flag(9), &flagged(), Refusal::NotActive);
    refuses(&flag(9), &tombstone(), Refusal::NotActive);
}

#[test]
fn a_flag_by_a_slow_clock_is_still_a_possible_row() {
    let row = Connection { created_at: NOW.plus(seconds(9)), updated_at: NOW.plus(seconds(9)), ..claimed() };
    assert_eq!(flag(1).apply(row).unwrap().check(), Ok(()));
}
