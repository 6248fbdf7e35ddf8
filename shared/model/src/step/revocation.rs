//! The steps of a revocation (RFC 7009). An intent lives on the row of the connection it came from, whatever becomes of
//! that row, and has a lease of its own.

use std::time::Duration;

use super::Refusal;
use crate::{
    AttemptId, Connection, Timestamp, Version,
    connection::{Lease, Revocation},
};

/// REVOKE claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimRevocation {
    /// Which intent.
    pub revocation: Version,
    /// The new owner.
    pub attempt: AttemptId,
    /// The claimer's clock.
    pub now: Timestamp,
    /// Length of the lease.
    pub lease: Duration,
}

/// REVOKE done: the intent is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishRevocation {
    /// Which intent.
    pub revocation: Version,
    /// The lease's owner.
    pub attempt: AttemptId,
}

/// REVOKE failed: the lease ends and the attempt counts; the last one removes the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostponeRevocation {
    /// Which intent.
    pub revocation: Version,
    /// The lease's owner.
    pub attempt: AttemptId,
}

/// Leases every free intent to a login, so that none is carried out while a grant is made that it would end, whatever
/// becomes of those that are under way: they are the login's to wait for. Nothing is withdrawn: a login may fail, and then
/// all have to be carried out all the same. A hold is not renewed; it ends when its nudge was told that it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldRevocations {
    /// The new owner of what is free.
    pub attempt: AttemptId,
    /// The login's clock.
    pub now: Timestamp,
    /// Length of the leases.
    pub lease: Duration,
}

fn find(row: &mut Connection, revocation: Version) -> Result<&mut Revocation, Refusal> {
    row.revocations.iter_mut().find(|owed| owed.version == revocation).ok_or(Refusal::NoSuchRevocation)
}

fn owned(row: &mut Connection, revocation: Version, attempt: AttemptId) -> Result<&mut Revocation, Refusal> {
    let owed = find(row, revocation)?;
    let mine = owed.lease.is_some_and(|lease| lease.owner == attempt);
    if mine { Ok(owed) } else { Err(Refusal::NotOwner) }
}

/// Takes off what the stream was told, all of it: a filter that looks at the rows written must not match this write too.
fn unmark(row: &mut Connection) {
    row.event = None;
    if let Some(active) = row.active_mut() {
        active.soon = None;
    }
}

impl ClaimRevocation {
    pub(super) fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let owed = find(&mut row, self.revocation)?;
        match owed.lease {
            Some(lease) if lease.owner == self.attempt => return Err(Refusal::AlreadyMine),
            Some(lease) if lease.is_live(self.now) => return Err(Refusal::Leased { until: lease.expires_at }),
            _ => owed.lease = Some(Lease { owner: self.attempt, expires_at: self.now.plus(self.lease) }),
        }
        unmark(&mut row);
        Ok(row)
    }
}

impl FinishRevocation {
    pub(super) fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        owned(&mut row, self.revocation, self.attempt)?;
        row.revocations.retain(|owed| owed.version != self.revocation);
        Ok(row)
    }
}

impl PostponeRevocation {
    pub(super) fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let owed = owned(&mut row, self.revocation, self.attempt)?;
        let last = owed.is_last_attempt();
        owed.lease = None;
        owed.attempts = owed.attempts.saturating_add(1);
        if last {
            row.revocations.retain(|owed| owed.version != self.revocation);
        }
        Ok(row)
    }
}

impl HoldRevocations {
    pub(super) fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        if row.revocations.is_empty() {
            return Err(Refusal::NoSuchRevocation);
        }
        let mine = |lease: &Lease| lease.owner == self.attempt;
        let keeps_out = |lease: &Lease| mine(lease) || lease.is_live(self.now);
        let free = |owed: &&mut Revocation| !owed.lease.as_ref().is_some_and(keeps_out);
        let lease = Lease { owner: self.attempt, expires_at: self.now.plus(self.lease) };
        let held = row.revocations.iter_mut().filter(free).map(|owed| owed.lease = Some(lease)).count();
        if held == 0 {
            let foreign = row.revocations.iter().filter_map(|owed| owed.lease).find(|lease| !mine(lease));
            return Err(foreign.map_or(Refusal::AlreadyMine, |lease| Refusal::Leased { until: lease.expires_at }));
        }
        unmark(&mut row);
        Ok(row)
    }
}
