//! Random walks: any steps, stale and fresh, in any order and by skewed clocks, from any row.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{limits::LEASE_STRICT, samples::*};

/// One random move: what is done, by whom, how long after the last one, and whether it names an outdated version.
#[derive(Clone, Debug)]
struct Move {
    kind: u8,
    by: u8,
    pause: u64,
    outdated: bool,
    short: bool,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0u8..14, 1u8..5, 0u64..4000, prop::bool::weighted(0.2), any::<bool>())
        .prop_map(|(kind, by, pause, outdated, short)| Move { kind, by, pause, outdated, short });
    prop::collection::vec(one, 1..60)
}

fn rows() -> impl Strategy<Value = Connection> {
    let asleep = due_with(|active| (active.seat, active.seen_at) = (None, NOW.minus(HOUR * 100)));
    let slow = due_with(|active| (active.seat, active.seen_at) = (Some(Seat::slow(&key())), NOW.minus(HOUR * 100)));
    let no_refresh_token = due_with(|active| active.refresh_token = None);
    let owing = Connection { revocations: vec![owed(4), owed(5)], ..due() };
    prop::sample::select(vec![due(), claimed(), asleep, slow, no_refresh_token, owing, flagged(), tombstone()])
}

/// A walk's memory: the row, the versions it has had, and the next unused one.
struct Walk {
    row: Connection,
    past: Vec<Version>,
    fresh: u8,
    now: Timestamp,
}

impl Walk {
    fn new(row: Connection) -> Self {
        Self { past: vec![row.version], row, fresh: 100, now: NOW }
    }

    fn fresh(&mut self) -> Version {
        self.fresh += 1;
        version(self.fresh)
    }

    fn step(&mut self, made: &Move) -> Step {
        self.now = self.now.plus(seconds(made.pause));
        let (now, by, lease) = (self.now, attempt(made.by), LEASE_STRICT);
        let named = if made.outdated { self.past[0] } else { self.row.version };
        let seat = made.short.then(|| Seat::fast(&key(), HOUR));
        let revocation = self.row.revocations.first().map_or(version(4), |owed| owed.version);
        let error = RefreshError::Unavailable;
        match made.kind {
            0 => Step::Claim(Claim { attempt: by, now, lease, awake_window: HOUR * 24 }),
            1 => Step::ForcedClaim(ForcedClaim { attempt: by, now, lease, version: named }),
            2 => self.commit(named, made.short),
            3 => Step::Release(Release {
                version: named,
                attempt: by,
                next_refresh_at: now.plus(seconds(60)),
                unknown_outcomes: self.row.active().map_or(0, |active| active.unknown_outcomes.saturating_sub(1)),
                attempts: self.failed_attempts(),
                error,
                event: None,
            }),
            4 => Step::Unknown(Unknown {
                version: named,
                attempt: by,
                next_refresh_at: now.plus(lease),
                attempts: self.failed_attempts(),
                error,
                event: made.short.then_some(EventMark::Degraded),
            }),
            5 => Step::Handoff(Handoff { version: named, from: by, to: attempt(made.by + 50), now, lease }),
            6 => Step::Flag(Flag {
                version: named,
                new_version: self.fresh(),
                reason: ReauthorizationReason::Refused,
                now,
            }),
            7 => Step::Seen(Seen { now, seat }),
            8 => Step::Sleep(Sleep {
                version: named,
                seen_at: self.row.active().map_or(now, |active| active.seen_at),
                seat: made.short.then(|| Seat::slow(&key())),
            }),
            9 => Step::Reseal(Box::new(Reseal {
                version: named,
                access_token: sealed(made.by),
                refresh_token: self.row.active().and_then(|active| active.refresh_token.clone()),
                now,
            })),
            10 => Step::ClaimRevocation(ClaimRevocation { revocation, attempt: by, now, lease }),
            11 => Step::FinishRevocation(FinishRevocation { revocation, attempt: by }),
            12 => Step::PostponeRevocation(PostponeRevocation { revocation, attempt: by }),
            _ => Step::HoldRevocations(HoldRevocations { attempt: by, now, lease }),
        }
    }

    fn failed_attempts(&self) -> u32 {
        self.row.active().map_or(1, |active| active.attempts + 1)
    }

    fn commit(&mut self, consumed: Version, short: bool) -> Step {
        let life = if short { seconds(300) } else { HOUR };
        Step::Commit(Box::new(Commit {
            consumed,
            version: self.fresh(),
            access_token: sealed(21),
            refresh_token: Some(sealed(22)),
            expires_at: self.now.plus(life),
            lifetime: life.as_secs(),
            scope: None,
            now: self.now,
            next_refresh_at: self.now.plus(life / 2),
            soon: short.then(|| self.now.plus(life / 2)),
            reseat: short.then(|| Seat::fast(&key(), life)),
            misfits: 0,
            warned_days: None,
            event: None,
        }))
    }
}

/// What a step that is applied to its own outcome may answer: that it is done, or the same outcome again.
fn harmless(step: &Step, once: &Connection) -> Result<(), TestCaseError> {
    let again = step.apply(once.clone());
    match step {
        Step::Claim(_)
        | Step::ForcedClaim(_)
        | Step::Commit(_)
        | Step::Handoff(_)
        | Step::Flag(_)
        | Step::ClaimRevocation(_)
        | Step::HoldRevocations(_) => prop_assert_eq!(again, Err(Refusal::AlreadyMine)),
        Step::Release(_) => prop_assert_eq!(again, Err(Refusal::NotOwner)),
        Step::FinishRevocation(_) => prop_assert_eq!(again, Err(Refusal::NoSuchRevocation)),
        Step::PostponeRevocation(_) => {
            prop_assert!(matches!(again, Err(Refusal::NotOwner | Refusal::NoSuchRevocation)), "{:?}", again);
        }
        Step::Unknown(_) | Step::Seen(_) | Step::Sleep(_) | Step::Reseal(_) => {
            prop_assert_eq!(again.as_ref(), Ok(once));
        }
    }
    Ok(())
}

/// What must hold between a row and what a step made of it.
fn lawful(step: &Step, before: &Connection, after: &Connection, now: Timestamp) -> Result<(), TestCaseError> {
    prop_assert_eq!(after.check(), Ok(()), "after {:?}", step);
    prop_assert_eq!(&after.key, &before.key);
    prop_assert_eq!((&after.account, &after.issuer), (&before.account, &before.issuer));
    prop_assert_eq!(after.created_at, before.created_at);
    prop_assert!(after.updated_at >= before.updated_at);
    prop_assert!(before.active().is_some() || after.active().is_none(), "{:?} revived a dead row", step);
    prop_assert!(before.is_connected() == after.is_connected(), "only a disconnect makes a tombstone");
    let (Some(old), Some(new)) = (before.active(), after.active()) else { return Ok(()) };
    if old.is_leased(now) && matches!(step, Step::Claim(_) | Step::ForcedClaim(_) | Step::Reseal(_)) {
        prop_assert!(false, "{:?} passed a live lease", step);
    }
    if old.seat != new.seat {
        prop_assert!(matches!(step, Step::Commit(_) | Step::Seen(_) | Step::Sleep(_)), "{:?} wrote the index", step);
    }
    if before.version == after.version && !matches!(step, Step::Reseal(_)) {
        prop_assert_eq!((&old.access_token, &old.refresh_token), (&new.access_token, &new.refresh_token));
    }
    if matches!(step, Step::HoldRevocations(_)) {
        let ids = |row: &Connection| row.revocations.iter().map(|owed| owed.version).collect::<Vec<_>>();
        prop_assert_eq!(ids(before), ids(after), "a hold loses no intent");
    }
    let unmarks = matches!(
        step,
        Step::Claim(_) | Step::ForcedClaim(_) | Step::Seen(_) | Step::ClaimRevocation(_) | Step::HoldRevocations(_)
    );
    if unmarks {
        prop_assert_eq!((after.event, new.soon), (None, None), "the marks are off");
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_walk_keeps_the_law(row in rows(), moves in moves()) {
        let mut walk = Walk::new(row);
        let mut had = HashSet::from([walk.row.version]);
        for made in &moves {
            let step = walk.step(made);
            let before = walk.row.clone();
            let Ok(after) = step.apply(before.clone()) else { continue };
            lawful(&step, &before, &after, walk.now)?;
            harmless(&step, &after)?;
            if after.version != before.version {
                prop_assert!(had.insert(after.version), "a version came back");
                walk.past.push(after.version);
            }
            walk.row = after;
        }
    }

    #[test]
    fn any_refusal_is_told_alike_from_the_old_row(row in rows(), moves in moves()) {
        let mut walk = Walk::new(row);
        for made in &moves {
            let step = walk.step(made);
            match step.apply(walk.row.clone()) {
                Ok(after) => walk.row = after,
                Err(refusal) => {
                    prop_assert_eq!(step.refusal(Some(&walk.row)), refusal);
                    prop_assert!(!matches!(refusal, Refusal::Raced | Refusal::Missing));
                }
            }
        }
    }

    #[test]
    fn an_outdated_version_changes_nothing_that_matters(row in rows(), moves in moves()) {
        let mut walk = Walk::new(Connection { version: version(60), ..row });
        walk.past = vec![version(59)];
        for made in &moves {
            let made = Move { outdated: true, ..made.clone() };
            let step = walk.step(&made);
            let names_one = matches!(
                step,
                Step::ForcedClaim(_) | Step::Commit(_) | Step::Release(_) | Step::Unknown(_) | Step::Handoff(_)
                    | Step::Flag(_) | Step::Sleep(_) | Step::Reseal(_)
            );
            if names_one {
                let refusal = step.apply(walk.row.clone());
                prop_assert!(matches!(refusal, Err(Refusal::Superseded | Refusal::NotActive)), "{:?}", refusal);
            }
        }
    }
}
