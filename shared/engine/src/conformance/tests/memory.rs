//! The table of plain values behind a lock: a store for the suite's own test, with a flaw if one is asked for.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use mm_model::{
    Circuit, Connection, ConnectionKey, Minute, ProviderId, Seat, Step, Version,
    connection::{Lease, Status},
    login::PendingLogin,
};

use super::Flaw;
use crate::{
    conformance::table::Table,
    ports::{Expected, Family, Link, LinkOutcome, Outcome, WrappedKey},
};

mod port;

/// Entries of a page: few, so that every case pages.
const PAGE: usize = 7;

/// How often a racer with a flaw lets others go first.
const HOLE_YIELDS_MAX: u32 = 10_000;

pub(crate) struct MemoryStore {
    flaw: Option<Flaw>,
    state: Mutex<State>,
    /// Racers that have come so far.
    in_the_hole: AtomicU32,
}

#[derive(Default)]
struct State {
    table: Table,
    logins: BTreeMap<[u8; 32], PendingLogin>,
    tick: Option<Minute>,
    circuits: BTreeMap<ProviderId, Circuit>,
    keys: BTreeMap<Family, Vec<WrappedKey>>,
    first_seats: BTreeMap<ConnectionKey, Seat>,
}

impl MemoryStore {
    /// An empty store without a flaw.
    pub(crate) fn sound() -> Self {
        Self::new(None)
    }

    pub(super) fn new(flaw: Option<Flaw>) -> Self {
        Self { flaw, state: Mutex::default(), in_the_hole: AtomicU32::new(0) }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits between a read and its write until another racer has read too. Who comes alone goes on after a while.
    async fn hole(&self, flaw: Flaw) {
        if !self.has(flaw) {
            return;
        }
        self.in_the_hole.fetch_add(1, Ordering::SeqCst);
        for _ in 0..HOLE_YIELDS_MAX {
            if self.in_the_hole.load(Ordering::SeqCst) > 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
        self.in_the_hole.fetch_sub(1, Ordering::SeqCst);
    }

    /// The row as a flawed condition sees it: what would make the step fail is out of its sight.
    fn blinded(&self, row: &Connection, step: &Step) -> Connection {
        let mut seen = row.clone();
        let version = match step {
            Step::Commit(commit) => commit.consumed,
            Step::Flag(flag) => flag.version,
            _ => row.version,
        };
        let Status::Active(active) = &mut seen.status else { return seen };
        match (self.flaw, step) {
            (Some(Flaw::ClaimIgnoresTheLease), Step::Claim(_) | Step::ForcedClaim(_))
            | (Some(Flaw::ResealIgnoresTheLease), Step::Reseal(_)) => active.lease = None,
            (Some(Flaw::ClaimForgetsItself), Step::Claim(claim)) => {
                active.lease = active.lease.filter(|lease| lease.owner != claim.attempt);
            }
            (Some(Flaw::ClaimIgnoresTheSchedule), Step::Claim(claim)) => active.next_refresh_at = claim.now,
            (Some(Flaw::ClaimWakesSleepers), Step::Claim(claim)) => active.seen_at = claim.now,
            (Some(Flaw::ForcedClaimIgnoresTheBackOff), Step::ForcedClaim(_)) => active.attempts = 0,
            (Some(Flaw::CommitIsUnconditional), Step::Commit(_)) | (Some(Flaw::FlagIsUnconditional), Step::Flag(_)) => {
                seen.version = version;
            }
            (Some(Flaw::CommitWantsTheLease), Step::Commit(_)) if active.lease.is_none() => {
                seen.version = Version::from_bytes([0; 16]);
            }
            (Some(Flaw::ReleaseIgnoresTheOwner), Step::Release(release)) => {
                active.lease.iter_mut().for_each(|lease| lease.owner = release.attempt);
            }
            (Some(Flaw::SleepIgnoresReads), Step::Sleep(sleep)) => active.seen_at = sleep.seen_at,
            _ => {}
        }
        seen
    }

    /// What a flawed update writes instead.
    fn spoiled(&self, old: &Connection, new: Connection, step: &Step) -> Connection {
        let mut row = new;
        match (self.flaw, step, &mut row.status) {
            (Some(Flaw::UnknownEndsTheLease), Step::Unknown(_), Status::Active(active)) => active.lease = None,
            // A first write comes out right; a repeated one counts again.
            (Some(Flaw::UnknownCountsItself), Step::Unknown(unknown), Status::Active(active)) => {
                let before = old.active().map_or(0, |active| active.attempts);
                active.attempts = unknown.attempts.max(before + 1);
            }
            (Some(Flaw::FlagKeepsTheTokens), Step::Flag(_), status) => *status = old.status.clone(),
            (Some(Flaw::RevocationKeepsTheMark), Step::ClaimRevocation(_), Status::Active(active))
            | (Some(Flaw::HoldKeepsTheMark), Step::HoldRevocations(_), Status::Active(active)) => {
                active.soon = old.active().and_then(|active| active.soon);
            }
            (Some(Flaw::HoldTakesTheFirstOnly), Step::HoldRevocations(_), _) => {
                let rest = old.revocations.iter().skip(1).cloned();
                row.revocations.truncate(1);
                row.revocations.extend(rest);
            }
            (Some(Flaw::HoldLosesWhatItHolds), Step::HoldRevocations(_), _) => row.revocations.clear(),
            (Some(Flaw::HoldRenewsItself), Step::HoldRevocations(hold), _) => {
                let leases = row.revocations.iter_mut().filter_map(|owed| owed.lease.as_mut());
                let end = hold.now.plus(hold.lease);
                leases.filter(|lease| lease.owner == hold.attempt).for_each(|lease| lease.expires_at = end);
            }
            _ => {}
        }
        row
    }

    fn step(&self, key: &ConnectionKey, step: &Step) -> Outcome {
        let mut state = self.state();
        let old = state.table.person(&key.user).connection(&key.provider).cloned();
        let Some(old) = old else {
            if let (Step::Seen(_), true) = (step, self.has(Flaw::RefusedStepMakesARow)) {
                let row = crate::conformance::samples::due(key, 1);
                state.table.put(&row);
            }
            return state.table.apply(key, step);
        };
        let revives = self.has(Flaw::CommitRevivesTheDead) && matches!(step, Step::Commit(_)) && old.active().is_none();
        let lease_blind = match step {
            Step::ClaimRevocation(_) => self.has(Flaw::RevocationIgnoresTheLease),
            Step::HoldRevocations(_) => self.has(Flaw::HoldIgnoresTheLeases),
            _ => false,
        };
        let mut seen = self.blinded(&old, step);
        if revives {
            seen = crate::conformance::samples::due(key, 1);
        }
        if lease_blind {
            seen.revocations.iter_mut().for_each(|owed| owed.lease = None);
        }
        if let (Step::HoldRevocations(hold), true) = (step, self.has(Flaw::HoldWantsThemAll)) {
            let foreign = |lease: &Lease| lease.owner != hold.attempt && lease.is_live(hold.now);
            let lease = seen.revocations.iter().filter_map(|owed| owed.lease).find(foreign);
            seen.revocations.iter_mut().for_each(|owed| owed.lease = lease.or(owed.lease));
        }
        match step.apply(seen) {
            Ok(new) => {
                let row = self.spoiled(&old, new, step);
                let told = state.table.put(&row);
                self.tell(&mut state.table, &old, &row, told);
                Outcome::Applied(row)
            }
            Err(refusal) => Outcome::Refused(refusal, Some(old).filter(|_| !self.has(Flaw::RefusalHidesTheRow))),
        }
    }

    /// What a flawed stream tells of a write besides what it should.
    fn tell(&self, table: &mut Table, old: &Connection, row: &Connection, told: bool) {
        let marked = row.event.is_some() || row.active().is_some_and(|active| active.soon.is_some());
        let again = self.has(Flaw::ChangesAreToldTwice) && told
            || self.has(Flaw::StandingMarksAreToldAgain) && marked && !told
            || self.has(Flaw::UnmarkedWritesAreTold) && !marked && old != row;
        if again {
            table.tell(row);
        }
    }

    fn link_now(&self, link: &Link) -> LinkOutcome {
        let mut state = self.state();
        let key = &link.connection.key;
        let mut link = link.clone();
        let old = state.table.person(&key.user).connection(&key.provider).map(|row| row.version);
        if self.has(Flaw::LinkIgnoresTheExpected) {
            link.expected = old.map_or(Expected::Absent, Expected::Version);
        }
        if self.has(Flaw::LinkOverwritesItself) && old == Some(link.connection.version) {
            state.table.put(&link.connection);
        }
        if self.has(Flaw::LinkIgnoresTheIdentity) {
            state.table.free(&key.provider, &link.connection.account);
        }
        if self.has(Flaw::LinkKeepsTheReleased) {
            link.released = None;
        }
        if let (Some(taken), true) = (&mut link.taken_from, self.has(Flaw::MoveIgnoresTheOtherSide)) {
            let other = state.table.person(&taken.tombstone.key.user).connection(&key.provider).cloned();
            taken.expected = other.map_or(taken.expected, |row| row.version);
        }
        let outcome = state.table.link(&link);
        let half = self.has(Flaw::LinkWritesHalf) && outcome == LinkOutcome::Contended;
        if half || self.has(Flaw::LinkOverwritesThePerson) {
            state.table.set_user(link.user);
        }
        outcome
    }
}
