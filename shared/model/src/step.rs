//! Every conditional write of the refresh protocol, as a pure transition of the row.
//!
//! A [`Step`] is what a store is asked to do to one row, all or nothing: [`Step::apply`] says what comes of it. The
//! embedded store runs exactly this function inside a transaction; a store with expressions of its own (DynamoDB) writes
//! the same condition in its own words, and the conformance suite holds the two together. When a condition fails, the
//! same function explains why from the old row, so that "somebody was faster" and "my own earlier write had been applied"
//! are never confused.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, Connection, Sealed, Timestamp, Version,
    connection::{Active, Lease, ReauthorizationReason, RefreshError, Status},
    event::EventMark,
    wheel::Seat,
};

mod revocation;

pub use revocation::{ClaimRevocation, FinishRevocation, HoldRevocations, PostponeRevocation};

/// One conditional write to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take the right to refresh because the wheel says so.
    Claim(Claim),
    /// Take the right to refresh because a reader found the token dead.
    ForcedClaim(ForcedClaim),
    /// Store a refreshed token pair.
    Commit(Box<Commit>),
    /// Give the right back: nothing was spent.
    Release(Release),
    /// Note that the attempt's outcome is not known; the lease stays.
    Unknown(Unknown),
    /// Pass a lease to the consumer of the ordered lane.
    Handoff(Handoff),
    /// Note that the provider refused the grant.
    Flag(Flag),
    /// Note that the connection was read; wakes it.
    Seen(Seen),
    /// Take a connection that nobody reads off the fast wheel.
    Sleep(Sleep),
    /// Store the same tokens under a newer key.
    Reseal(Box<Reseal>),
    /// Take the right to revoke a token at the provider.
    ClaimRevocation(ClaimRevocation),
    /// Note that a token is revoked, or cannot be.
    FinishRevocation(FinishRevocation),
    /// Note that revoking failed and is to be tried again.
    PostponeRevocation(PostponeRevocation),
    /// Hold unsent revocations back: they would end the grant that a login is about to make.
    HoldRevocations(HoldRevocations),
}

/// Why a step was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no such row.
    Missing,
    /// The same step had been applied before: an answer was lost on its way. Go on as if it had just succeeded.
    AlreadyMine,
    /// The connection is not active.
    NotActive,
    /// The token pair is another one by now.
    Superseded,
    /// Another attempt holds the lease until then.
    Leased {
        /// The lease's end.
        until: Timestamp,
    },
    /// The refresh is not due before then.
    NotDue {
        /// The row's `nextRefreshAt`.
        until: Timestamp,
    },
    /// Nobody reads the connection.
    Asleep,
    /// The lease is another attempt's.
    NotOwner,
    /// The connection was read since.
    SeenSince,
    /// That revocation is not on the row (any more).
    NoSuchRevocation,
    /// The old row would have admitted the step: it changed between the write and the look. Try again.
    Raced,
}

/// CLAIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The new owner.
    pub attempt: AttemptId,
    /// The claimer's clock.
    pub now: Timestamp,
    /// Length of the lease.
    pub lease: Duration,
    /// How recently the connection must have been read.
    pub awake_window: Duration,
}

/// Forced CLAIM: whatever the schedule says, as long as the token pair is still the one the reader saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedClaim {
    /// The new owner.
    pub attempt: AttemptId,
    /// The claimer's clock.
    pub now: Timestamp,
    /// Length of the lease.
    pub lease: Duration,
    /// The token pair that the reader found dead.
    pub version: Version,
}

/// COMMIT, and RESCUE when it comes by the lane: carried whole, so that whoever finds it can apply it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The token pair whose refresh token was spent.
    pub consumed: Version,
    /// The new pair's id.
    pub version: Version,
    /// The new access token.
    pub access_token: Sealed,
    /// The new refresh token, or the kept one sealed under the new version.
    pub refresh_token: Option<Sealed>,
    /// When the access token expires.
    pub expires_at: Timestamp,
    /// The access token's life in seconds.
    pub lifetime: u64,
    /// The scope, where the answer named one; absent means unchanged (RFC 6749 §5.1).
    pub scope: Option<String>,
    /// When the answer came.
    pub now: Timestamp,
    /// Claims before this are refused.
    pub next_refresh_at: Timestamp,
    /// Set where no pass comes in time.
    pub soon: Option<Timestamp>,
    /// The seat to write; absent leaves the index alone.
    pub reseat: Option<Seat>,
    /// How often in a row the seat was far too short.
    pub misfits: u8,
    /// The last warning of the grant's end.
    pub warned_days: Option<u8>,
    /// A transition to tell.
    pub event: Option<EventMark>,
}

/// RELEASE: the provider processed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The token pair that was claimed.
    pub version: Version,
    /// The lease's owner.
    pub attempt: AttemptId,
    /// When to try again.
    pub next_refresh_at: Timestamp,
    /// The count of unknown outcomes before the claim.
    pub unknown_outcomes: u32,
    /// The count of failed attempts from now on, this one among them.
    pub attempts: u32,
    /// What happened.
    pub error: RefreshError,
    /// A transition to tell.
    pub event: Option<EventMark>,
}

/// UNKNOWN: the provider may have processed the request. Lease and count of unknown outcomes stay, so nothing keeps a
/// repeated write out: it carries the count of attempts instead of counting, and writes the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The token pair that was claimed.
    pub version: Version,
    /// The lease's owner.
    pub attempt: AttemptId,
    /// When to try again; after the lease.
    pub next_refresh_at: Timestamp,
    /// The count of failed attempts from now on, this one among them.
    pub attempts: u32,
    /// What happened.
    pub error: RefreshError,
    /// A transition to tell.
    pub event: Option<EventMark>,
}

/// HANDOFF: the lane's consumer takes over from the attempt that put the retry there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The token pair to be retried.
    pub version: Version,
    /// The owner that handed over.
    pub from: AttemptId,
    /// The new owner.
    pub to: AttemptId,
    /// The consumer's clock.
    pub now: Timestamp,
    /// Length of the lease.
    pub lease: Duration,
}

/// FLAG: the grant is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The token pair that the provider refused.
    pub version: Version,
    /// A fresh id for the row without tokens.
    pub new_version: Version,
    /// Why.
    pub reason: ReauthorizationReason,
    /// When.
    pub now: Timestamp,
}

/// SEEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was read.
    pub now: Timestamp,
    /// The seat to have from now on: a read always sends one, which wakes who sleeps and moves nobody else. Absent leaves it.
    pub seat: Option<Seat>,
}

/// SLEEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// The token pair on the row that was found asleep.
    pub version: Version,
    /// When that row was last seen.
    pub seen_at: Timestamp,
    /// A seat on the slow wheel, or none.
    pub seat: Option<Seat>,
}

/// RESEAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reseal {
    /// The token pair.
    pub version: Version,
    /// The same access token under a newer key.
    pub access_token: Sealed,
    /// The same refresh token under a newer key.
    pub refresh_token: Option<Sealed>,
    /// The clock, for the lease.
    pub now: Timestamp,
}

impl Step {
    /// Applies the step to the row, if its condition holds.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] says which part of the condition failed; the row is unchanged.
    pub fn apply(&self, row: Connection) -> Result<Connection, Refusal> {
        match self {
            Self::Claim(claim) => claim.apply(row),
            Self::ForcedClaim(claim) => claim.apply(row),
            Self::Commit(commit) => commit.apply(row),
            Self::Release(release) => release.apply(row),
            Self::Unknown(unknown) => unknown.apply(row),
            Self::Handoff(handoff) => handoff.apply(row),
            Self::Flag(flag) => flag.apply(row),
            Self::Seen(seen) => seen.apply(row),
            Self::Sleep(sleep) => sleep.apply(row),
            Self::Reseal(reseal) => reseal.apply(row),
            Self::ClaimRevocation(claim) => claim.apply(row),
            Self::FinishRevocation(finish) => finish.apply(row),
            Self::PostponeRevocation(postpone) => postpone.apply(row),
            Self::HoldRevocations(hold) => hold.apply(row),
        }
    }

    /// Why the step was refused, told from the row that a failed conditional write returned.
    pub fn refusal(&self, old: Option<&Connection>) -> Refusal {
        match old {
            None => Refusal::Missing,
            Some(old) => self.apply(old.clone()).err().unwrap_or(Refusal::Raced),
        }
    }
}

/// The active part at the version given, or why there is none.
fn active_at(row: &mut Connection, version: Version) -> Result<&mut Active, Refusal> {
    let same = row.version == version;
    let active = row.active_mut().ok_or(Refusal::NotActive)?;
    if same { Ok(active) } else { Err(Refusal::Superseded) }
}

/// The active part at the version given, leased by the attempt given.
fn owned(row: &mut Connection, version: Version, attempt: AttemptId) -> Result<&mut Active, Refusal> {
    let active = active_at(row, version)?;
    let mine = active.lease.is_some_and(|lease| lease.owner == attempt);
    if mine { Ok(active) } else { Err(Refusal::NotOwner) }
}

/// Refuses while a lease is live: with [`Refusal::AlreadyMine`] where it is the attempt's own.
fn unleased(active: &Active, attempt: AttemptId, now: Timestamp) -> Result<(), Refusal> {
    match active.lease {
        Some(lease) if lease.owner == attempt => Err(Refusal::AlreadyMine),
        Some(lease) if lease.is_live(now) => Err(Refusal::Leased { until: lease.expires_at }),
        _ => Ok(()),
    }
}

/// What both claims do once admitted.
fn lease_out(active: &mut Active, attempt: AttemptId, now: Timestamp, lease: Duration) {
    active.lease = Some(Lease { owner: attempt, expires_at: now.plus(lease) });
    active.unknown_outcomes = active.unknown_outcomes.saturating_add(1);
    active.soon = None;
}

impl Claim {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = row.active_mut().ok_or(Refusal::NotActive)?;
        unleased(active, self.attempt, self.now)?;
        if active.next_refresh_at > self.now {
            return Err(Refusal::NotDue { until: active.next_refresh_at });
        }
        if !(active.is_awake(self.now, self.awake_window) || active.is_on_slow_wheel()) {
            return Err(Refusal::Asleep);
        }
        lease_out(active, self.attempt, self.now, self.lease);
        row.event = None;
        Ok(row)
    }
}

impl ForcedClaim {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = active_at(&mut row, self.version)?;
        unleased(active, self.attempt, self.now)?;
        // Without this a dead provider would be asked by every reader of every dead token.
        if active.attempts > 0 && active.next_refresh_at > self.now {
            return Err(Refusal::NotDue { until: active.next_refresh_at });
        }
        lease_out(active, self.attempt, self.now, self.lease);
        row.event = None;
        Ok(row)
    }
}

impl Commit {
    /// No lease term: a late holder's answer may be the only living token, and the version it consumed says whether it is.
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        if row.version == self.version {
            return Err(Refusal::AlreadyMine);
        }
        let active = active_at(&mut row, self.consumed)?;
        active.access_token = self.access_token.clone();
        active.refresh_token.clone_from(&self.refresh_token);
        active.expires_at = self.expires_at;
        active.lifetime = self.lifetime;
        active.next_refresh_at = self.next_refresh_at;
        active.soon = self.soon;
        active.misfits = self.misfits;
        active.seat = self.reseat.or(active.seat);
        active.grant.warned_days = self.warned_days;
        active.lease = None;
        active.unknown_outcomes = 0;
        active.attempts = 0;
        active.last_error = None;
        row.version = self.version;
        row.updated_at = self.now.max(row.updated_at);
        row.event = self.event;
        row.scope = self.scope.clone().or(row.scope);
        Ok(row)
    }
}

impl Release {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = owned(&mut row, self.version, self.attempt)?;
        active.next_refresh_at = self.next_refresh_at;
        active.unknown_outcomes = self.unknown_outcomes;
        active.attempts = self.attempts;
        active.last_error = Some(self.error);
        active.lease = None;
        row.event = self.event;
        Ok(row)
    }
}

impl Unknown {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = owned(&mut row, self.version, self.attempt)?;
        active.next_refresh_at = self.next_refresh_at;
        active.attempts = self.attempts;
        active.last_error = Some(self.error);
        row.event = self.event;
        Ok(row)
    }
}

impl Handoff {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = active_at(&mut row, self.version)?;
        match active.lease {
            Some(lease) if lease.owner == self.to => Err(Refusal::AlreadyMine),
            Some(lease) if lease.owner == self.from => {
                active.lease = Some(Lease { owner: self.to, expires_at: self.now.plus(self.lease) });
                Ok(row)
            }
            _ => Err(Refusal::NotOwner),
        }
    }
}

impl Flag {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        if row.version == self.new_version {
            return Err(Refusal::AlreadyMine);
        }
        active_at(&mut row, self.version)?;
        row.version = self.new_version;
        row.updated_at = self.now.max(row.updated_at);
        row.event = Some(EventMark::ReauthRequired);
        row.status = Status::ReauthorizationRequired { reason: self.reason, since: row.updated_at };
        Ok(row)
    }
}

impl Seen {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = row.active_mut().ok_or(Refusal::NotActive)?;
        active.seen_at = self.now.max(active.seen_at);
        active.seat = self.seat.or(active.seat);
        active.soon = None;
        row.event = None;
        Ok(row)
    }
}

impl Sleep {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = active_at(&mut row, self.version)?;
        if active.seen_at != self.seen_at {
            return Err(Refusal::SeenSince);
        }
        active.seat = self.seat;
        Ok(row)
    }
}

impl Reseal {
    fn apply(&self, mut row: Connection) -> Result<Connection, Refusal> {
        let active = active_at(&mut row, self.version)?;
        if let Some(lease) = active.lease.filter(|lease| lease.is_live(self.now)) {
            return Err(Refusal::Leased { until: lease.expires_at });
        }
        active.access_token = self.access_token.clone();
        active.refresh_token.clone_from(&self.refresh_token);
        Ok(row)
    }
}

#[cfg(test)]
mod tests;
