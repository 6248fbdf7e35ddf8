//! Each step against the refresh protocol: what it changes and nothing else, every reason to refuse it, and what
//! becomes of it when it comes twice.

use super::*;

mod claims;
mod outcomes;
mod presence;
mod properties;
mod revocations;

/// Asserts that the step makes exactly this of the row, and that the outcome is a possible row.
#[track_caller]
fn makes(step: &Step, row: &Connection, expected: &Connection) {
    assert_eq!(row.check(), Ok(()), "the sample");
    assert_eq!(step.apply(row.clone()).as_ref(), Ok(expected));
    assert_eq!(expected.check(), Ok(()), "the outcome");
}

/// Asserts that the step is refused for this reason, also when it is told from the old row alone.
#[track_caller]
fn refuses(step: &Step, row: &Connection, reason: Refusal) {
    assert_eq!(step.apply(row.clone()), Err(reason));
    assert_eq!(step.refusal(Some(row)), reason);
}

#[test]
fn an_absent_row_refuses_as_missing() {
    let seen = Step::Seen(Seen { now: crate::samples::NOW, seat: None });
    assert_eq!(seen.refusal(None), Refusal::Missing);
}

#[test]
fn an_old_row_that_admits_the_step_had_changed_in_between() {
    let seen = Step::Seen(Seen { now: crate::samples::NOW, seat: None });
    assert_eq!(seen.refusal(Some(&crate::samples::due())), Refusal::Raced);
}
