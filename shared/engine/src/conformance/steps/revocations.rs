//! The steps of a revocation, whatever became of the row that owes it.

use mm_model::{
    Connection, Refusal, Step,
    connection::Revocation,
    event::EventMark,
    limits::{LEASE_REUSABLE, REVOCATION_ATTEMPTS_MAX, REVOCATION_HOLD},
    step::{ClaimRevocation, FinishRevocation, HoldRevocations, PostponeRevocation},
};

use super::{active, applied, flagged_row, holds, live, refused, tombstone, with_event};
use crate::conformance::samples::{Checked, NOW, Store, attempt, edited, lease, owed, seconds, version};

fn owing(row: Connection, revocations: Vec<Revocation>) -> Connection {
    Connection { revocations, ..row }
}

/// Active, its life too short for the wheel.
fn short() -> Connection {
    edited(&active(), |active| active.soon = Some(NOW.plus(seconds(9))))
}

/// [`short`], and just connected.
fn marked() -> Connection {
    with_event(short(), EventMark::Connected)
}

pub(in crate::conformance) async fn revocation(store: Store) -> Checked {
    let claim = |of, by| {
        let lease = LEASE_REUSABLE;
        Step::ClaimRevocation(ClaimRevocation { revocation: version(of), attempt: attempt(by), now: NOW, lease })
    };
    let finish = |by| Step::FinishRevocation(FinishRevocation { revocation: version(31), attempt: attempt(by) });
    let postpone = |by| Step::PostponeRevocation(PostponeRevocation { revocation: version(31), attempt: attempt(by) });
    let held = |n, by| Revocation { lease: Some(lease(by)), ..owed(n) };
    let mut stale = held(31, 1);
    stale.lease.iter_mut().for_each(|lease| lease.expires_at = NOW);
    let last = Revocation { attempts: REVOCATION_ATTEMPTS_MAX - 1, ..held(31, 1) };
    let two = || owing(live(1), vec![owed(30), held(31, 1)]);
    let until = lease(1).expires_at;
    let table = vec![
        applied("a tombstone's", tombstone(), claim(1, 5)),
        applied("an active row's", owing(active(), vec![owed(31), owed(32)]), claim(32, 5)),
        applied("an active row's, and its marks go", owing(marked(), vec![owed(31), owed(32)]), claim(32, 5)),
        applied("a short one's, and its mark goes", owing(short(), vec![owed(31)]), claim(31, 5)),
        applied("a flagged row's", owing(flagged_row(), vec![owed(31)]), claim(31, 5)),
        applied("the lease is over", owing(tombstone(), vec![stale.clone()]), claim(31, 5)),
        refused("leased", two(), claim(31, 5), Refusal::Leased { until }),
        refused("my own write", two(), claim(31, 1), Refusal::AlreadyMine),
        refused("another intent", two(), claim(33, 5), Refusal::NoSuchRevocation),
        applied("done", two(), finish(1)),
        refused("done by another", two(), finish(2), Refusal::NotOwner),
        refused("done without a lease", owing(active(), vec![owed(31)]), finish(1), Refusal::NotOwner),
        refused("done twice", active(), finish(1), Refusal::NoSuchRevocation),
        applied("failed", two(), postpone(1)),
        applied("failed for the last time", owing(tombstone(), vec![owed(30), last]), postpone(1)),
        refused("failed by another", two(), postpone(2), Refusal::NotOwner),
        refused("failed, and gone", active(), postpone(1), Refusal::NoSuchRevocation),
    ];
    holds(&store, table).await
}

pub(in crate::conformance) async fn hold(store: Store) -> Checked {
    let hold = |by| Step::HoldRevocations(HoldRevocations { attempt: attempt(by), now: NOW, lease: REVOCATION_HOLD });
    let leased = |n, by| Revocation { lease: Some(lease(by)), ..owed(n) };
    let mut stale = leased(31, 1);
    stale.lease.iter_mut().for_each(|lease| lease.expires_at = NOW);
    let mine = || vec![leased(30, 5), leased(31, 5)];
    let taken = Refusal::Leased { until: lease(1).expires_at };
    let table = vec![
        applied("a tombstone's, and the mark goes", tombstone(), hold(5)),
        applied("an active row's, its own lease untouched", owing(live(1), vec![owed(30), owed(31)]), hold(5)),
        applied("an active row's, and its marks go", owing(marked(), vec![owed(30), owed(31)]), hold(5)),
        applied("a short one's, and its mark goes", owing(short(), vec![owed(31)]), hold(5)),
        applied("a flagged row's", owing(flagged_row(), vec![owed(31)]), hold(5)),
        applied("another's lease is over", owing(tombstone(), vec![owed(30), stale]), hold(5)),
        applied("a new intent beside what is held", owing(tombstone(), vec![leased(30, 5), owed(31)]), hold(5)),
        applied("the last is under way", owing(active(), vec![owed(30), leased(31, 1)]), hold(5)),
        applied("the first is under way", owing(marked(), vec![leased(30, 1), owed(31)]), hold(5)),
        applied(
            "one is under way, one is mine",
            owing(active(), vec![leased(30, 1), leased(31, 5), owed(32)]),
            hold(5),
        ),
        refused("all that is left is under way", owing(active(), vec![leased(30, 5), leased(31, 1)]), hold(5), taken),
        refused("all are under way", owing(marked(), vec![leased(30, 1), leased(31, 1)]), hold(5), taken),
        refused("my own write", owing(active(), mine()), hold(5), Refusal::AlreadyMine),
        refused("another login's", owing(tombstone(), mine()), hold(6), taken),
        refused("nothing to hold", active(), hold(5), Refusal::NoSuchRevocation),
    ];
    holds(&store, table).await
}
