//! Every step against a row of the table: applied or refused with its reason, and the row that comes back.

use mm_model::{
    Connection, Refusal, Seat, Step,
    connection::{ReauthorizationReason, RefreshError},
    event::EventMark,
    limits::{LEASE_STRICT, REVOCATION_HOLD},
    step::{Claim, Commit, Flag, ForcedClaim, Handoff, HoldRevocations, Release, Reseal, Seen, Sleep, Unknown},
};

use super::samples::{
    AWAKE, Checked, HOUR, NOW, Store, account, attempt, claimed, due, edited, flagged, gone, key, lease, owed, plant,
    sealed, seconds, strong, version,
};
use crate::ports::Outcome;

mod revocations;

pub(super) use revocations::{hold, revocation};

/// What the table of a case says about one step and one row.
struct Line {
    why: &'static str,
    row: Connection,
    step: Step,
    refused: Option<Refusal>,
}

fn applied(why: &'static str, row: Connection, step: Step) -> Line {
    Line { why, row, step, refused: None }
}

fn refused(why: &'static str, row: Connection, step: Step, reason: Refusal) -> Line {
    Line { why, row, step, refused: Some(reason) }
}

/// Runs the table, each row under a person of its own: outcome, row that comes back, row that is there afterwards.
async fn holds(store: &Store, table: Vec<Line>) -> Checked {
    for (n, Line { why, row, step, refused }) in table.into_iter().enumerate() {
        let own = key(&format!("person-{n}"));
        let row = Connection { key: own.clone(), account: account(&format!("account {n}")), ..row };
        plant(store, &row).await?;
        let model = step.apply(row.clone());
        assert_eq!(model.as_ref().err(), refused.as_ref(), "{why}: the rule itself");
        let (outcome, after) = match model {
            Ok(after) => (Outcome::Applied(after.clone()), after),
            Err(reason) => (Outcome::Refused(reason, Some(row.clone())), row),
        };
        assert_eq!(store.apply(&own, &step).await?, outcome, "{why}");
        assert_eq!(strong(store, &own).await?, Some(after), "{why}: the row afterwards");
    }
    Ok(())
}

fn active() -> Connection {
    due(&key("sample"), 1)
}

fn with_event(row: Connection, event: EventMark) -> Connection {
    Connection { event: Some(event), ..row }
}

fn live(n: u32) -> Connection {
    claimed(&active(), n)
}

fn over(n: u32) -> Connection {
    edited(&live(n), |active| active.lease.iter_mut().for_each(|lease| lease.expires_at = NOW))
}

fn flagged_row() -> Connection {
    flagged(&active(), 9)
}

fn tombstone() -> Connection {
    gone(&active(), 9)
}

pub(super) async fn claim(store: Store) -> Checked {
    let claim = Step::Claim(Claim { attempt: attempt(5), now: NOW, lease: LEASE_STRICT, awake_window: AWAKE });
    let soon = edited(&active(), |active| active.soon = Some(NOW.plus(seconds(9))));
    let early = edited(&active(), |active| active.next_refresh_at = NOW.plus(seconds(1)));
    let asleep = edited(&active(), |active| active.seen_at = NOW.minus(AWAKE + seconds(1)));
    let seatless = edited(&asleep, |active| active.seat = None);
    let slow = edited(&asleep, |active| active.seat = Some(Seat::slow(&key("sample"))));
    let late = edited(&active(), |active| active.unknown_outcomes = 7);
    let until = lease(1).expires_at;
    let table = vec![
        applied("due", active(), claim.clone()),
        applied("marked", with_event(soon, EventMark::Connected), claim.clone()),
        applied("after unknown outcomes", late, claim.clone()),
        applied("the lease is over", over(1), claim.clone()),
        applied("asleep on the slow wheel", slow, claim.clone()),
        refused("leased", live(1), claim.clone(), Refusal::Leased { until }),
        refused("my own write", live(5), claim.clone(), Refusal::AlreadyMine),
        refused("my own write, its lease over", over(5), claim.clone(), Refusal::AlreadyMine),
        refused("early", early, claim.clone(), Refusal::NotDue { until: NOW.plus(seconds(1)) }),
        refused("asleep", asleep, claim.clone(), Refusal::Asleep),
        refused("asleep without a seat", seatless, claim.clone(), Refusal::Asleep),
        refused("reauthorization required", flagged_row(), claim.clone(), Refusal::NotActive),
        refused("disconnected", tombstone(), claim, Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn forced_claim(store: Store) -> Checked {
    let forced =
        |n| Step::ForcedClaim(ForcedClaim { attempt: attempt(5), now: NOW, lease: LEASE_STRICT, version: version(n) });
    let early_and_asleep = edited(&active(), |active| {
        active.next_refresh_at = NOW.plus(HOUR);
        active.seen_at = NOW.minus(AWAKE * 2);
        active.soon = Some(NOW.plus(seconds(9)));
    });
    let failed = edited(&active(), |active| {
        (active.attempts, active.last_error) = (1, Some(RefreshError::Throttled));
        active.next_refresh_at = NOW.plus(seconds(1));
    });
    let failed_and_due = edited(&failed, |active| active.next_refresh_at = NOW);
    let table = vec![
        applied("neither due nor awake", with_event(early_and_asleep, EventMark::Connected), forced(1)),
        applied("the back-off is over", failed_and_due, forced(1)),
        applied("the lease is over", over(1), forced(1)),
        refused("the back-off", failed, forced(1), Refusal::NotDue { until: NOW.plus(seconds(1)) }),
        refused("a newer pair", active(), forced(2), Refusal::Superseded),
        refused("leased", live(1), forced(1), Refusal::Leased { until: lease(1).expires_at }),
        refused("my own write", live(5), forced(1), Refusal::AlreadyMine),
        refused("reauthorization required", flagged_row(), forced(9), Refusal::NotActive),
        refused("disconnected", tombstone(), forced(9), Refusal::NotActive),
    ];
    holds(&store, table).await
}

fn sample_commit() -> Commit {
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
        reseat: None,
        misfits: 2,
        warned_days: Some(14),
        event: Some(EventMark::ReauthDue),
    }
}

pub(super) async fn commit(store: Store) -> Checked {
    let step = |commit: Commit| Step::Commit(Box::new(commit));
    let plain = || step(sample_commit());
    let troubled = edited(&live(1), |active| {
        (active.attempts, active.last_error, active.unknown_outcomes) = (4, Some(RefreshError::Unavailable), 3);
        active.soon = Some(NOW.plus(seconds(9)));
    });
    let asleep = edited(&live(1), |active| active.seat = None);
    let bare = Commit { refresh_token: None, warned_days: None, event: None, ..sample_commit() };
    let short = Commit {
        soon: Some(NOW.plus(seconds(60))),
        scope: Some("read".to_owned()),
        reseat: Some(Seat::fast(&key("sample"), seconds(120))),
        ..sample_commit()
    };
    let newer = Connection { version: version(3), ..live(1) };
    let mine = Connection { version: version(2), ..active() };
    let young = Connection { updated_at: NOW.plus(seconds(7)), ..live(1) };
    let table = vec![
        applied("by the lease's owner", troubled, plain()),
        applied("without a lease", active(), plain()),
        applied("under another's lease", live(7), plain()),
        applied("asleep: it wakes nobody", asleep, plain()),
        applied("no refresh token, nothing to tell", live(1), step(bare)),
        applied("short, of another scope, to another seat", live(1), step(short)),
        applied("by a slow clock", young, plain()),
        refused("a newer pair", newer, plain(), Refusal::Superseded),
        refused("my own write", mine, plain(), Refusal::AlreadyMine),
        refused("reauthorization required", flagged_row(), plain(), Refusal::NotActive),
        refused("disconnected", tombstone(), plain(), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn release(store: Store) -> Checked {
    let release = |of, by| {
        Step::Release(Release {
            version: version(of),
            attempt: attempt(by),
            next_refresh_at: NOW.plus(HOUR),
            unknown_outcomes: 2,
            attempts: 3,
            error: RefreshError::BudgetExhausted,
            event: Some(EventMark::Degraded),
        })
    };
    let third = edited(&live(1), |active| {
        (active.unknown_outcomes, active.attempts, active.last_error) = (3, 2, Some(RefreshError::Misconfigured));
    });
    let newer = Connection { version: version(3), ..live(1) };
    let table = vec![
        applied("by the owner", third, release(1, 1)),
        applied("by the owner, too late", over(1), release(1, 1)),
        refused("by another", live(1), release(1, 2), Refusal::NotOwner),
        refused("without a lease", active(), release(1, 1), Refusal::NotOwner),
        refused("a newer pair", newer, release(1, 1), Refusal::Superseded),
        refused("reauthorization required", flagged_row(), release(9, 1), Refusal::NotActive),
        refused("disconnected", tombstone(), release(9, 1), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn unknown(store: Store) -> Checked {
    let unknown = |of, by| {
        Step::Unknown(Unknown {
            version: version(of),
            attempt: attempt(by),
            next_refresh_at: NOW.plus(HOUR),
            attempts: 3,
            error: RefreshError::Unavailable,
            event: None,
        })
    };
    let noted = edited(&live(1), |active| {
        (active.attempts, active.last_error) = (3, Some(RefreshError::Unavailable));
        active.next_refresh_at = NOW.plus(HOUR);
    });
    let newer = Connection { version: version(3), ..live(1) };
    let table = vec![
        applied("by the owner", with_event(live(1), EventMark::Degraded), unknown(1, 1)),
        applied("again, its answer lost: counted once", noted, unknown(1, 1)),
        applied("by the owner, too late", over(1), unknown(1, 1)),
        refused("by another", live(1), unknown(1, 2), Refusal::NotOwner),
        refused("without a lease", active(), unknown(1, 1), Refusal::NotOwner),
        refused("a newer pair", newer, unknown(1, 1), Refusal::Superseded),
        refused("reauthorization required", flagged_row(), unknown(9, 1), Refusal::NotActive),
        refused("disconnected", tombstone(), unknown(9, 1), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn handoff(store: Store) -> Checked {
    let handoff = |of, from, to| {
        Step::Handoff(Handoff {
            version: version(of),
            from: attempt(from),
            to: attempt(to),
            now: NOW,
            lease: LEASE_STRICT,
        })
    };
    let newer = Connection { version: version(3), ..live(1) };
    let table = vec![
        applied("from the owner", with_event(live(1), EventMark::Degraded), handoff(1, 1, 2)),
        applied("from the owner, the lease over", over(1), handoff(1, 1, 2)),
        refused("my own write", live(2), handoff(1, 1, 2), Refusal::AlreadyMine),
        refused("another owner", live(3), handoff(1, 1, 2), Refusal::NotOwner),
        refused("no lease", active(), handoff(1, 1, 2), Refusal::NotOwner),
        refused("a newer pair", newer, handoff(1, 1, 2), Refusal::Superseded),
        refused("reauthorization required", flagged_row(), handoff(9, 1, 2), Refusal::NotActive),
        refused("disconnected", tombstone(), handoff(9, 1, 2), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn flag(store: Store) -> Checked {
    let flag = |of, reason| Step::Flag(Flag { version: version(of), new_version: version(8), reason, now: NOW });
    let refusal = ReauthorizationReason::Refused;
    let newer = Connection { version: version(3), ..live(1) };
    let owing = Connection { revocations: vec![owed(31)], ..live(1) };
    let mine = flagged(&active(), 8);
    let table = vec![
        applied("refused", owing, flag(1, refusal)),
        applied("an interrupted rotation", live(1), flag(1, ReauthorizationReason::InterruptedRotation)),
        applied("without a lease", active(), flag(1, ReauthorizationReason::NoRefreshToken)),
        refused("a newer pair", newer, flag(1, refusal), Refusal::Superseded),
        refused("my own write", mine, flag(1, refusal), Refusal::AlreadyMine),
        refused("reauthorization required", flagged_row(), flag(9, refusal), Refusal::NotActive),
        refused("disconnected", tombstone(), flag(9, refusal), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn seen(store: Store) -> Checked {
    let seen = |seat| Step::Seen(Seen { now: NOW, seat });
    let fresh = Some(Seat::fast(&key("sample"), HOUR));
    let marked = edited(&live(1), |active| active.soon = Some(NOW.plus(seconds(9))));
    let asleep = edited(&active(), |active| active.seat = None);
    let slow = edited(&active(), |active| active.seat = Some(Seat::slow(&key("sample"))));
    let ahead = edited(&active(), |active| active.seen_at = NOW.plus(seconds(5)));
    let table = vec![
        applied("awake", with_event(marked, EventMark::Recovered), seen(None)),
        applied("asleep", asleep, seen(fresh)),
        applied("on the slow wheel", slow, seen(fresh)),
        applied("by a slow clock", ahead, seen(None)),
        refused("reauthorization required", flagged_row(), seen(fresh), Refusal::NotActive),
        refused("disconnected", tombstone(), seen(None), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn sleep(store: Store) -> Checked {
    let sleep = |of, seat| Step::Sleep(Sleep { version: version(of), seen_at: NOW.minus(HOUR), seat });
    let slow = Some(Seat::slow(&key("sample")));
    let read = edited(&active(), |active| active.seen_at = NOW);
    let newer = Connection { version: version(3), ..active() };
    let table = vec![
        applied("off the wheel", with_event(live(1), EventMark::Connected), sleep(1, None)),
        applied("onto the slow wheel", active(), sleep(1, slow)),
        refused("it was read since", read, sleep(1, None), Refusal::SeenSince),
        refused("a newer pair", newer, sleep(1, slow), Refusal::Superseded),
        refused("reauthorization required", flagged_row(), sleep(9, None), Refusal::NotActive),
        refused("disconnected", tombstone(), sleep(9, None), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn reseal(store: Store) -> Checked {
    let reseal = |of, refresh_token| {
        Step::Reseal(Box::new(Reseal { version: version(of), access_token: sealed(31), refresh_token, now: NOW }))
    };
    let both = Some(sealed(32));
    let newer = Connection { version: version(3), ..active() };
    let table = vec![
        applied("both tokens", active(), reseal(1, both.clone())),
        applied("no refresh token", edited(&active(), |active| active.refresh_token = None), reseal(1, None)),
        applied("the lease is over", over(1), reseal(1, both.clone())),
        refused("leased", live(1), reseal(1, both.clone()), Refusal::Leased { until: lease(1).expires_at }),
        refused("a newer pair", newer, reseal(1, both.clone()), Refusal::Superseded),
        refused("reauthorization required", flagged_row(), reseal(9, both.clone()), Refusal::NotActive),
        refused("disconnected", tombstone(), reseal(9, both), Refusal::NotActive),
    ];
    holds(&store, table).await
}

pub(super) async fn an_absent_row(store: Store) -> Checked {
    let steps = [
        Step::Claim(Claim { attempt: attempt(5), now: NOW, lease: LEASE_STRICT, awake_window: AWAKE }),
        Step::Commit(Box::new(sample_commit())),
        Step::Seen(Seen { now: NOW, seat: Some(Seat::fast(&key("nobody"), HOUR)) }),
        Step::HoldRevocations(HoldRevocations { attempt: attempt(5), now: NOW, lease: REVOCATION_HOLD }),
    ];
    for step in steps {
        let outcome = store.apply(&key("nobody"), &step).await?;
        assert_eq!(outcome, Outcome::Refused(Refusal::Missing, None));
        assert_eq!(strong(&store, &key("nobody")).await?, None, "a refused step makes no row");
    }
    Ok(())
}
