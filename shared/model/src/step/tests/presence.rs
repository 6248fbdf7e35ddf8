use super::*;
use crate::samples::*;

fn seen(seat: Option<Seat>) -> Step {
    Step::Seen(Seen { now: NOW, seat })
}

fn sleep(of: u8, seen_at: Timestamp, seat: Option<Seat>) -> Step {
    Step::Sleep(Sleep { version: version(of), seen_at, seat })
}

fn reseal(of: u8) -> Step {
    Step::Reseal(Box::new(Reseal {
        version: version(of),
        access_token: sealed(31),
        refresh_token: Some(sealed(32)),
        now: NOW,
    }))
}

#[test]
fn a_read_notes_its_time_and_takes_the_marks_off() {
    let mut row = edited(&claimed(), |active| active.soon = Some(NOW));
    row.event = Some(EventMark::Recovered);
    let mut expected = edited(&row, |active| (active.seen_at, active.soon) = (NOW, None));
    expected.event = None;
    makes(&seen(None), &row, &expected);
}

#[test]
fn a_read_wakes_a_sleeper_into_the_seat_it_brings() {
    let fresh = Seat::fast(&key(), HOUR);
    for seat in [None, Some(Seat::slow(&key()))] {
        let asleep = due_with(|active| (active.seat, active.seen_at) = (seat, NOW.minus(HOUR * 48)));
        let expected = edited(&asleep, |active| (active.seat, active.seen_at) = (Some(fresh), NOW));
        makes(&seen(Some(fresh)), &asleep, &expected);
    }
}

#[test]
fn a_read_by_a_slow_clock_does_not_turn_back_the_time_of_the_last_read() {
    let row = due_with(|active| active.seen_at = NOW.plus(seconds(5)));
    makes(&seen(None), &row, &row);
}

#[test]
fn a_read_of_what_is_not_active_is_refused() {
    refuses(&seen(None), &flagged(), Refusal::NotActive);
    refuses(&seen(Some(Seat::fast(&key(), HOUR))), &tombstone(), Refusal::NotActive);
}

#[test]
fn sleep_takes_the_seat_and_nothing_else() {
    let mut row = claimed();
    row.event = Some(EventMark::Connected);
    for seat in [None, Some(Seat::slow(&key()))] {
        let expected = edited(&row, |active| active.seat = seat);
        makes(&sleep(1, NOW.minus(HOUR), seat), &row, &expected);
        makes(&sleep(1, NOW.minus(HOUR), seat), &expected, &expected);
    }
}

#[test]
fn sleep_is_refused_once_the_connection_was_read() {
    let seen_at = NOW.minus(HOUR);
    let read = seen(None).apply(due()).unwrap();
    refuses(&sleep(1, seen_at, None), &read, Refusal::SeenSince);
}

#[test]
fn sleep_is_refused() {
    let seen_at = NOW.minus(HOUR);
    let newer = Connection { version: version(2), ..due() };
    refuses(&sleep(1, seen_at, None), &newer, Refusal::Superseded);
    refuses(&sleep(9, seen_at, None), &flagged(), Refusal::NotActive);
    refuses(&sleep(9, seen_at, None), &tombstone(), Refusal::NotActive);
}

#[test]
fn a_reseal_changes_the_ciphertexts_alone() {
    let over = edited(&claimed(), |active| active.lease = Some(Lease { owner: attempt(1), expires_at: NOW }));
    for row in [due(), over] {
        let expected = edited(&row, |active| {
            (active.access_token, active.refresh_token) = (sealed(31), Some(sealed(32)));
        });
        makes(&reseal(1), &row, &expected);
        makes(&reseal(1), &expected, &expected);
    }
}

#[test]
fn a_reseal_waits_for_a_refresh_under_way() {
    refuses(&reseal(1), &claimed(), Refusal::Leased { until: lease(1).expires_at });
}

#[test]
fn a_reseal_is_refused() {
    let newer = Connection { version: version(2), ..due() };
    refuses(&reseal(1), &newer, Refusal::Superseded);
    refuses(&reseal(9), &flagged(), Refusal::NotActive);
    refuses(&reseal(9), &tombstone(), Refusal::NotActive);
}
