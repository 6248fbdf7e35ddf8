//! The pure half of a refresh: from a claimed row and the provider's answer to the step that is written.

use std::time::Duration;

use crate::{
    Connection, Sealed, Timestamp, Version,
    connection::{Active, Lease, ReauthorizationReason, RefreshError},
    event::EventMark,
    limits::{AFTER_LEASE, DEGRADED_AFTER_ATTEMPTS},
    step::{Commit, Flag, Release, Unknown},
    wheel,
};

/// A claimed connection: the row as the claim returned it, its active part at hand.
#[derive(Clone, Debug)]
pub struct Claimed {
    row: Connection,
    active: Active,
    lease: Lease,
}

/// A refreshed token pair, sealed.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The new pair's id.
    pub version: Version,
    /// Sealed under [`Self::version`].
    pub access_token: Sealed,
    /// Sealed under [`Self::version`]: the answer's, or the kept one.
    pub refresh_token: Option<Sealed>,
    /// The access token's life.
    pub lifetime: Duration,
    /// The scope, where the answer named one.
    pub scope: Option<String>,
    /// When the answer came.
    pub now: Timestamp,
}

impl Claimed {
    /// Takes the row that a claim or a hand-off returned; `None` if it is not one that an attempt can work on.
    pub fn new(row: Connection) -> Option<Self> {
        let active = row.active()?.clone();
        let lease = active.lease?;
        Some(Self { row, active, lease })
    }

    /// The row.
    pub const fn row(&self) -> &Connection {
        &self.row
    }

    /// The row's active part.
    pub const fn active(&self) -> &Active {
        &self.active
    }

    /// The lease that the attempt holds.
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// Whether an earlier request with this refresh token may have been processed without its answer reaching us.
    pub fn follows_unknown_outcome(&self) -> bool {
        self.active.unknown_outcomes > 1
    }

    /// COMMIT of a refreshed pair: where it sits on the wheel from now on, and what there is to tell.
    pub fn commit(&self, refreshed: Refreshed) -> Commit {
        let active = &self.active;
        let expires_at = refreshed.now.plus(refreshed.lifetime);
        let plan =
            wheel::plan(&self.row.key, active.seat, active.misfits, refreshed.lifetime, refreshed.now, expires_at);
        let warning = active.grant.warning_due(refreshed.now);
        let recovered = active.attempts >= DEGRADED_AFTER_ATTEMPTS;
        let event = match (recovered, warning) {
            (true, _) => Some(EventMark::Recovered),
            (false, Some(_)) => Some(EventMark::ReauthDue),
            (false, None) => None,
        };
        // Told another time when something else is told now.
        let warned_days = if recovered { active.grant.warned_days } else { warning.or(active.grant.warned_days) };
        Commit {
            consumed: self.row.version,
            version: refreshed.version,
            access_token: refreshed.access_token,
            refresh_token: refreshed.refresh_token,
            expires_at,
            lifetime: refreshed.lifetime.as_secs(),
            scope: refreshed.scope,
            now: refreshed.now,
            next_refresh_at: plan.next_refresh_at,
            soon: plan.soon,
            reseat: plan.reseat,
            misfits: plan.misfits,
            warned_days,
            event,
        }
    }

    /// RELEASE: nothing was spent; try again at `next_refresh_at`.
    ///
    /// What was held back because nobody may call has not failed: it grows no back-off and tells of no degradation. One
    /// attempt is noted all the same where there was none, for forced claims are barred until `next_refresh_at` only after an
    /// attempt: a reader is told at once when to come back instead of waiting in vain.
    pub fn release(&self, error: RefreshError, next_refresh_at: Timestamp) -> Release {
        let (attempts, event) = if error.is_the_connections() {
            (self.failed_attempts(), self.degraded())
        } else {
            (self.active.attempts.max(1), None)
        };
        Release {
            version: self.row.version,
            attempt: self.lease.owner,
            next_refresh_at,
            unknown_outcomes: self.active.unknown_outcomes.saturating_sub(1),
            attempts,
            error,
            event,
        }
    }

    /// UNKNOWN: the token may have been spent; try again after the lease, and not before `earliest`.
    pub fn unknown(&self, error: RefreshError, earliest: Timestamp) -> Unknown {
        Unknown {
            version: self.row.version,
            attempt: self.lease.owner,
            next_refresh_at: earliest.max(self.lease.expires_at.plus(AFTER_LEASE)),
            attempts: self.failed_attempts(),
            error,
            event: self.degraded(),
        }
    }

    /// FLAG: the provider refused the grant, or there is nothing to refresh it with.
    pub fn flag(&self, new_version: Version, now: Timestamp) -> Flag {
        let reason = if self.active.refresh_token.is_none() {
            ReauthorizationReason::NoRefreshToken
        } else if self.follows_unknown_outcome() {
            ReauthorizationReason::InterruptedRotation
        } else {
            ReauthorizationReason::Refused
        };
        Flag { version: self.row.version, new_version, reason, now }
    }

    /// The count of failed attempts once this one has failed.
    const fn failed_attempts(&self) -> u32 {
        self.active.attempts.saturating_add(1)
    }

    fn degraded(&self) -> Option<EventMark> {
        (self.failed_attempts() == DEGRADED_AFTER_ATTEMPTS).then_some(EventMark::Degraded)
    }
}

#[cfg(test)]
mod tests;
