//! One person's account at one provider: the row that everything else is about.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, AttemptId, ConnectionKey, Issuer, Sealed, Timestamp, Version,
    event::EventMark,
    grant::Grant,
    limits::{LATE_AFTER, NUDGE_SLACK, REVOCATION_ATTEMPTS_MAX, REVOCATIONS_MAX, TOMBSTONE_LIFETIME},
    wheel::{self, Seat, Wheel},
};

/// A connection, whatever its state. Changed only by the steps of [`crate::step`] and by login and disconnect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Whose, and where.
    pub key: ConnectionKey,
    /// The id of the present token pair; fresh at every login, commit, flag and disconnect.
    pub version: Version,
    /// The registration that issued the grant; another one never sends its tokens.
    pub issuer: Issuer,
    /// The provider's account.
    pub account: AccountId,
    /// The scope granted (RFC 6749 §3.3), space-separated; `None` where the provider does not say.
    pub scope: Option<String>,
    /// When the account was first connected.
    pub created_at: Timestamp,
    /// When the token pair or the status last changed.
    pub updated_at: Timestamp,
    /// A transition that the stream has to tell; removed by the next claim or read.
    pub event: Option<EventMark>,
    /// Refresh tokens that the worker still has to revoke; the newest last, at most [`REVOCATIONS_MAX`].
    pub revocations: Vec<Revocation>,
    /// What the connection can do.
    pub status: Status,
}

/// What a connection can do, with what it needs for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It holds tokens and is kept fresh.
    Active(Box<Active>),
    /// The provider refused the grant; the person has to log in again.
    ReauthorizationRequired {
        /// Why.
        reason: ReauthorizationReason,
        /// Since when.
        since: Timestamp,
    },
    /// A tombstone, so that nothing in flight revives the connection.
    Disconnected {
        /// Since when.
        since: Timestamp,
        /// When the row may be deleted.
        purge_at: Timestamp,
    },
}

/// An active connection's tokens, schedule and lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Active {
    /// Sealed under the family `access`.
    pub access_token: Sealed,
    /// Sealed under the family `refresh`; `None` where the provider issues none.
    pub refresh_token: Option<Sealed>,
    /// When the access token expires.
    pub expires_at: Timestamp,
    /// The access token's whole life, in seconds.
    pub lifetime: u64,
    /// The place on the wheel; `None` while asleep.
    pub seat: Option<Seat>,
    /// How often in a row the seat was far too short.
    pub misfits: u8,
    /// Claims before this are refused.
    pub next_refresh_at: Timestamp,
    /// Where no pass comes in time: when the stream nudges.
    pub soon: Option<Timestamp>,
    /// The attempt that may use the refresh token now.
    pub lease: Option<Lease>,
    /// Claims since the last known outcome. Above one after a claim: an earlier request's fate is unknown.
    pub unknown_outcomes: u32,
    /// Failed attempts since the last success.
    pub attempts: u32,
    /// What failed last.
    pub last_error: Option<RefreshError>,
    /// When the connection was last read, to the hour.
    pub seen_at: Timestamp,
    /// The grant's own clock.
    pub grant: Grant,
}

/// The right to use a connection's refresh token until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The attempt that holds it.
    pub owner: AttemptId,
    /// From then on others may claim.
    pub expires_at: Timestamp,
}

impl Lease {
    /// Whether the lease still keeps others out.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// A refresh token whose grant has to be revoked at the provider (RFC 7009).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revocation {
    /// The token pair it belonged to: the intent's id, and part of what its sealing is bound to.
    pub version: Version,
    /// The refresh token, sealed.
    pub refresh_token: Sealed,
    /// The account whose grant it is.
    pub account: AccountId,
    /// The registration that issued it.
    pub issuer: Issuer,
    /// The attempt that is revoking it now.
    pub lease: Option<Lease>,
    /// Failed attempts.
    pub attempts: u32,
}

impl Revocation {
    /// Whether the attempt under way is the last one: when it fails too, the intent is given up.
    pub const fn is_last_attempt(&self) -> bool {
        self.attempts >= REVOCATION_ATTEMPTS_MAX - 1
    }
}

/// Why a person has to log in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReauthorizationReason {
    /// The provider answered `invalid_grant`: revoked, expired or spent elsewhere.
    Refused,
    /// `invalid_grant` after an attempt whose answer never arrived: that answer was lost (holes H1, H2, H4).
    InterruptedRotation,
    /// The access token ran out and the provider issued no refresh token.
    NoRefreshToken,
}

/// The class of a failed refresh, as it is stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshError {
    /// The provider asked for patience (429).
    Throttled,
    /// The provider did not answer, or not with an OAuth answer.
    Unavailable,
    /// The provider refused our own credentials.
    Misconfigured,
    /// The connection was issued to another registration than the configured one.
    ForeignIssuer,
    /// Our own limit of calls to the provider was reached.
    BudgetExhausted,
    /// The provider is known to be down.
    CircuitOpen,
    /// Something of ours was missing before anything was sent: key service, secret, time.
    NotSent,
}

impl RefreshError {
    /// Whether it says anything about the connection: what its provider answered to it, or what was missing for it. That the
    /// provider is not called at all just now, by anybody, does not.
    pub const fn is_the_connections(self) -> bool {
        match self {
            Self::Throttled | Self::Unavailable | Self::Misconfigured | Self::ForeignIssuer | Self::NotSent => true,
            Self::BudgetExhausted | Self::CircuitOpen => false,
        }
    }
}

/// How a token looks to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Alive with enough life left.
    Fresh,
    /// Alive, but its refresh is late or it has less life than asked for. Served all the same.
    Stale,
    /// Dead.
    Expired,
}

impl Connection {
    /// The active part, if the connection is active.
    pub fn active(&self) -> Option<&Active> {
        match &self.status {
            Status::Active(active) => Some(active),
            Status::ReauthorizationRequired { .. } | Status::Disconnected { .. } => None,
        }
    }

    /// The active part for a transition.
    pub(crate) fn active_mut(&mut self) -> Option<&mut Active> {
        match &mut self.status {
            Status::Active(active) => Some(active),
            Status::ReauthorizationRequired { .. } | Status::Disconnected { .. } => None,
        }
    }

    /// Whether the account still counts as connected here: active, or waiting for the person to log in again.
    pub const fn is_connected(&self) -> bool {
        match self.status {
            Status::Active(_) | Status::ReauthorizationRequired { .. } => true,
            Status::Disconnected { .. } => false,
        }
    }

    /// Turns the connection into a tombstone under a fresh version. Its refresh token becomes an intent to revoke where
    /// `revoke` says so; intents it had are kept.
    #[must_use]
    pub fn disconnect(mut self, version: Version, now: Timestamp, revoke: bool) -> Self {
        if revoke {
            self.revocations.extend(self.owed_revocation());
            let surplus = self.revocations.len().saturating_sub(REVOCATIONS_MAX);
            self.revocations.drain(..surplus);
        }
        // By a clock that is behind the one that connected, the row would end before it began.
        let since = now.max(self.updated_at);
        self.version = version;
        self.updated_at = since;
        self.scope = None;
        self.event = self.is_connected().then_some(EventMark::Disconnected);
        self.status = Status::Disconnected { since, purge_at: since.plus(TOMBSTONE_LIFETIME) };
        self
    }

    /// The intent to revoke the refresh token that the connection holds now, if it holds one.
    pub fn owed_revocation(&self) -> Option<Revocation> {
        let refresh_token = self.active()?.refresh_token.clone()?;
        Some(Revocation {
            version: self.version,
            refresh_token,
            account: self.account.clone(),
            issuer: self.issuer.clone(),
            lease: None,
            attempts: 0,
        })
    }

    /// Checks what must hold of every row, written or read.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks a rule, so that an impossible row is reported as what it is.
    pub fn check(&self) -> Result<(), ImpossibleRow> {
        let rule = |holds: bool, field: &'static str, rule: &'static str| {
            if holds { Ok(()) } else { Err(ImpossibleRow { field, rule }) }
        };
        rule(self.created_at <= self.updated_at, "updatedAt", "not before createdAt")?;
        rule(self.revocations.len() <= REVOCATIONS_MAX, "toRevoke", "within its limit")?;
        match &self.status {
            Status::Active(active) => {
                rule(active.lifetime > 0, "lifetime", "at least one second")?;
                rule(
                    active.next_refresh_at <= active.expires_at.max(self.updated_at).plus(LAST_RETRY),
                    "nextRefreshAt",
                    "in reach of the token's life",
                )?;
                rule(
                    active.lease.is_none() || active.unknown_outcomes > 0,
                    "unknownOutcomes",
                    "counted while a lease exists",
                )?;
                rule(active.attempts > 0 || active.last_error.is_none(), "lastError", "absent without a failed attempt")
            }
            Status::ReauthorizationRequired { since, .. } => {
                rule(*since >= self.created_at, "since", "not before createdAt")
            }
            Status::Disconnected { since, purge_at } => rule(since < purge_at, "ttl", "after the disconnection"),
        }
    }
}

/// A retry may be planned this long after the token's end: outages last, and every retry is planned from its own time.
const LAST_RETRY: Duration = Duration::from_hours(9600);

/// A row that no transition can have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("impossible row: field {field} must be {rule}")]
pub struct ImpossibleRow {
    /// The attribute's name in the table.
    pub field: &'static str,
    /// What must hold.
    pub rule: &'static str,
}

impl Active {
    /// The access token's whole life.
    pub const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime)
    }

    /// When the access token was issued.
    pub const fn issued_at(&self) -> Timestamp {
        self.expires_at.minus(self.lifetime())
    }

    /// Whether somebody read the connection within `window`.
    pub fn is_awake(&self, now: Timestamp, window: Duration) -> bool {
        now.since(self.seen_at) <= window
    }

    /// Whether the connection has a seat on the slow wheel.
    pub fn is_on_slow_wheel(&self) -> bool {
        self.seat.is_some_and(|seat| seat.wheel() == Wheel::Slow)
    }

    /// Whether a lease keeps others out.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.is_some_and(|lease| lease.is_live(now))
    }

    /// The life that a caller may ask for at most: more than the margin would call every token stale before its refresh.
    pub fn min_ttl(&self, asked: Duration) -> Duration {
        asked.min(wheel::margin(self.lifetime()))
    }

    /// How the token looks to a reader who wants `min_ttl` of life.
    pub fn freshness(&self, now: Timestamp, min_ttl: Duration) -> Freshness {
        if now >= self.expires_at {
            return Freshness::Expired;
        }
        let late = now > self.refresh_expected_at().plus(LATE_AFTER);
        let short = self.expires_at.since(now) < self.min_ttl(min_ttl);
        if late || short { Freshness::Stale } else { Freshness::Fresh }
    }

    /// The end of the minute in which the refresh should have happened.
    pub fn refresh_expected_at(&self) -> Timestamp {
        match self.soon {
            Some(soon) => soon,
            None => self.next_refresh_at.plus(NUDGE_SLACK).plus(Duration::from_mins(1)),
        }
    }

    /// Seconds after which a client does well to ask again: just after the expected refresh, or soon when that is late;
    /// never beyond the token's life.
    pub fn refresh_in(&self, now: Timestamp) -> Duration {
        let left = self.expires_at.since(now);
        let expected = self.refresh_expected_at().plus(POLL_AFTER_REFRESH);
        let wait = if expected > now { expected.since(now) } else { POLL_WHEN_LATE };
        wait.min(left).max(Duration::from_secs(1))
    }
}

/// What a refresh usually takes from its nudge to its commit, rounded up.
const POLL_AFTER_REFRESH: Duration = Duration::from_secs(5);

/// How soon a client asks again while a refresh is late.
const POLL_WHEN_LATE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
