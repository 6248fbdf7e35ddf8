//! Refreshing one connection: claim, own everything, send, commit. Two conditional writes, no read.

mod gate;

use std::time::Duration;

use mm_model::{
    AttemptId, Connection, ConnectionKey, ProviderId, RefreshToken, Refusal, Seat, Timestamp, Version, backoff,
    connection::{ReauthorizationReason, RefreshError},
    limits::CLOCK_SKEW_MAX,
    refresh::{Claimed, Refreshed},
    step::{Claim, Commit, Flag, ForcedClaim, Sleep, Step},
};
use mm_oauth::{Misconfiguration, Rotation, TokenAnswer, UnavailableCause, Verdict};

pub(crate) use crate::causes::chain;
use crate::{
    Engine, EngineError, Invocation, Offer,
    answer::Kept,
    cipher::{CipherError, Sealer},
    ports::{Lane, LaneMessage, NUDGE_DELAY_MAX, Nudge, Outcome, StoreError, Trigger},
};

/// How long a connection of another registration is left alone: until an operator may have put it right.
const FOREIGN_ISSUER_WAIT: Duration = Duration::from_hours(1);

/// By which way an attempt came to its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a nudge from the wheel, a retry or a short life.
    Due,
    /// By a nudge from a reader who waits.
    Urgent,
    /// By the ordered lane: every rescue that there can be has been applied.
    Lane {
        /// Whether a reader waits for it.
        urgent: bool,
    },
}

impl Way {
    const fn lane(self) -> Lane {
        match self {
            Self::Due | Self::Lane { urgent: false } => Lane::Due,
            Self::Urgent | Self::Lane { urgent: true } => Lane::Urgent,
        }
    }
}

/// What an attempt needs to be sent and stored, all of it in hand before anything is sent.
struct Prepared {
    refresh_token: RefreshToken,
    sealer: Sealer,
}

impl Engine {
    /// Follows a nudge. `Ok` means that the message has done its work, whatever came of it.
    ///
    /// # Errors
    ///
    /// The message is to be delivered again.
    pub async fn on_nudge(&self, nudge: &Nudge, invocation: Invocation) -> Result<(), EngineError> {
        match nudge.trigger {
            Trigger::Revoke { revocation } => self.revoke(&nudge.key, revocation).await,
            Trigger::Due => self.refresh(&nudge.key, None, invocation).await,
            Trigger::Forced { version } => self.refresh(&nudge.key, Some(version), invocation).await,
        }
    }

    /// Refreshes what is due, or the token pair that a reader has `seen` dead.
    async fn refresh(
        &self,
        key: &ConnectionKey,
        seen: Option<Version>,
        invocation: Invocation,
    ) -> Result<(), EngineError> {
        let Some(offer) = self.offers.get(&key.provider) else {
            // Not configured here (any more): never sent, never flagged.
            tracing::debug!(connection = %key, "refresh.nudge: the provider is not on offer");
            return Ok(());
        };
        let (attempt, now, lease) = (self.new_attempt(), self.clock.now(), offer.lease());
        let (step, way) = match seen {
            Some(version) => (Step::ForcedClaim(ForcedClaim { attempt, now, lease, version }), Way::Urgent),
            None => (Step::Claim(Claim { attempt, now, lease, awake_window: self.awake_window }), Way::Due),
        };
        let worked = self.claim(offer, key, &step, attempt, way, invocation).await;
        self.outlast_lease(key, Trigger::Due, now.plus(lease), worked).await
    }

    async fn claim(
        &self,
        offer: &Offer,
        key: &ConnectionKey,
        step: &Step,
        attempt: AttemptId,
        way: Way,
        invocation: Invocation,
    ) -> Result<(), EngineError> {
        match self.write(key, step).await? {
            Outcome::Applied(row) | Outcome::Refused(Refusal::AlreadyMine, Some(row)) => {
                self.attempt_on(offer, row, attempt, way, invocation).await
            }
            Outcome::Refused(Refusal::Asleep, Some(row)) => self.put_to_sleep(offer, &row).await,
            Outcome::Refused(refusal, _) => {
                tracing::debug!(connection = %key, ?refusal, "refresh.nudge: nothing to do");
                Ok(())
            }
        }
    }

    /// One attempt on the row that a claim or a hand-off returned.
    pub(crate) async fn attempt_on(
        &self,
        offer: &Offer,
        row: Connection,
        attempt: AttemptId,
        way: Way,
        invocation: Invocation,
    ) -> Result<(), EngineError> {
        let key = row.key.clone();
        let Some(claimed) = Claimed::new(row) else {
            tracing::error!(connection = %key, "refresh.claim: impossible row: claimed, but not active or without a lease");
            return Ok(());
        };
        self.attempt(offer, claimed, attempt, way, invocation).await
    }

    /// Takes a connection that nobody reads off the fast wheel; onto the slow one where an unused grant would die.
    async fn put_to_sleep(&self, offer: &Offer, row: &Connection) -> Result<(), EngineError> {
        let Some(active) = row.active() else { return Ok(()) };
        let keeps_alive = offer.provider.idle_refresh_lifetime.is_some() && active.refresh_token.is_some();
        let seat = keeps_alive.then(|| Seat::slow(&row.key));
        let sleep = Sleep { version: row.version, seen_at: active.seen_at, seat };
        self.write(&row.key, &Step::Sleep(sleep)).await?;
        tracing::info!(connection = %row.key, keeps_alive, "connection.sleep");
        Ok(())
    }

    /// One attempt that holds the lease: refresh, or say why not and when again.
    async fn attempt(
        &self,
        offer: &Offer,
        claimed: Claimed,
        attempt: AttemptId,
        way: Way,
        invocation: Invocation,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let row = claimed.row();
        if row.issuer != *offer.issuer() {
            tracing::warn!(connection = %row.key, "refresh.attempt: the grant was issued to another registration");
            return self.release(&claimed, RefreshError::ForeignIssuer, now.plus(FOREIGN_ISSUER_WAIT)).await;
        }
        if claimed.active().refresh_token.is_none() {
            return self.without_refresh_token(&claimed, now).await;
        }
        let behind_rescues = matches!(way, Way::Lane { .. });
        if spends(offer) && !behind_rescues && claimed.follows_unknown_outcome() {
            // TAKEOVER: an answer of the earlier attempt may stand on the lane. Go behind it.
            let urgent = way.lane() == Lane::Urgent;
            let retry = LaneMessage::Retry { key: row.key.clone(), version: row.version, from: attempt, urgent };
            tracing::info!(connection = %row.key, "refresh.takeover: the retry goes by the lane");
            return Ok(self.queue.put_on_lane(&retry).await?);
        }
        let prepared = match self.prepare(&claimed).await {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!(connection = %row.key, error = %chain(&error), "refresh.attempt: not sent");
                return self.release(&claimed, RefreshError::NotSent, now.plus(self.back_off(&claimed))).await;
            }
        };
        // Before the gate, for a probe that is taken and then not sent bars everybody.
        if !self.has_time_to_send(offer, &claimed, invocation) {
            return self.release(&claimed, RefreshError::NotSent, self.clock.now()).await;
        }
        if let Some(wait) = self.gate(offer, attempt, way, &claimed).await {
            return self.release(&claimed, wait.error, wait.until).await;
        }
        // Once more, for the gate may have had to ask the table.
        if !self.has_time_to_send(offer, &claimed, invocation) {
            return self.release(&claimed, RefreshError::NotSent, self.clock.now()).await;
        }
        let now = self.clock.now();
        let verdict = self
            .client
            .refresh_with(&offer.provider, &offer.registration, &*self.secrets, &prepared.refresh_token, now)
            .await;
        self.settle(offer, &claimed, prepared, verdict, invocation).await
    }

    /// A connection without a refresh token is normal: its life is one access token's.
    async fn without_refresh_token(&self, claimed: &Claimed, now: Timestamp) -> Result<(), EngineError> {
        let expires_at = claimed.active().expires_at;
        if now < expires_at {
            return self.release(claimed, RefreshError::NotSent, expires_at).await;
        }
        self.flag(&claimed.row().key, claimed.flag(self.new_version(), now)).await
    }

    async fn prepare(&self, claimed: &Claimed) -> Result<Prepared, CipherError> {
        let row = claimed.row();
        let sealed = claimed.active().refresh_token.as_ref().ok_or(CipherError::Sealing)?;
        let refresh_token = self.cipher.open_refresh_token(&row.key, row.version, sealed).await?;
        let sealer = self.cipher.sealer().await?;
        Ok(Prepared { refresh_token, sealer })
    }

    /// From the verdict to the write. Between the provider's answer and the first durable write there is no key service, no
    /// secret, no new connection and no panic.
    async fn settle(
        &self,
        offer: &Offer,
        claimed: &Claimed,
        prepared: Prepared,
        verdict: Verdict,
        invocation: Invocation,
    ) -> Result<(), EngineError> {
        let provider = &offer.provider.id;
        let (class, detail) = (verdict.class(), verdict.detail());
        let now = self.clock.now();
        let later = now.plus(self.back_off(claimed));
        let asked = |wait: Option<Duration>| wait.map_or(later, |wait| later.max(now.plus(wait)));
        let settled = match verdict {
            Verdict::Refreshed(answer) => {
                let commit = self.seal(claimed, &prepared, answer)?;
                let kept = self.store_answer(&claimed.row().key, commit, invocation).await;
                self.provider_answered(provider).await;
                kept.and_then(|kept| message_ends(kept, offer))
            }
            Verdict::Refused { .. } => {
                self.provider_answered(provider).await;
                let flag = claimed.flag(self.new_version(), now);
                self.flag(&claimed.row().key, flag).await
            }
            Verdict::Misconfigured { error } => {
                // Nobody is logged out for a mistake of ours.
                if was_sent(error) {
                    self.provider_answered(provider).await;
                }
                tracing::error!(%provider, detail, "refresh.misconfigured: the provider refuses this registration");
                self.release(claimed, RefreshError::Misconfigured, later).await
            }
            Verdict::Throttled { retry_after } => {
                self.provider_answered(provider).await;
                // Who does not say for how long wants to be left alone all the same.
                self.budget.close(provider, self.clock.elapsed() + retry_after.unwrap_or(backoff::FIRST));
                self.release(claimed, RefreshError::Throttled, asked(retry_after)).await
            }
            Verdict::Unavailable { cause, may_have_been_processed, retry_after } => {
                let error = self.hear_silence(provider, cause).await;
                // A token that survives its use is not lost with an answer: nothing to wait for, nothing to go behind.
                if may_have_been_processed && spends(offer) {
                    self.outcome_unknown(claimed, asked(retry_after)).await
                } else {
                    self.release(claimed, error, asked(retry_after)).await
                }
            }
        };
        tracing::info!(connection = %claimed.row().key, class, detail, "refresh.verdict");
        settled
    }

    /// Tells the circuit what it may conclude from a call that brought nothing: it counts the provider's silence only.
    async fn hear_silence(&self, provider: &ProviderId, cause: UnavailableCause) -> RefreshError {
        match cause {
            // Ours, and nothing was sent. Was it the probe, another one follows it after its time.
            UnavailableCause::Secrets => return RefreshError::NotSent,
            // The authorization server itself spoke.
            UnavailableCause::UnrecognisedError => self.provider_answered(provider).await,
            UnavailableCause::Connect
            | UnavailableCause::Timeout
            | UnavailableCause::Interrupted
            | UnavailableCause::ServerError
            | UnavailableCause::Redirected
            | UnavailableCause::NoToken
            | UnavailableCause::Malformed
            | UnavailableCause::UnknownTokenType
            | UnavailableCause::TooLarge
            | UnavailableCause::UnexpectedStatus => self.provider_failed(provider).await,
        }
        RefreshError::Unavailable
    }

    fn seal(&self, claimed: &Claimed, prepared: &Prepared, answer: TokenAnswer) -> Result<Commit, CipherError> {
        let key = &claimed.row().key;
        let version = self.new_version();
        // Absent means kept (RFC 6749 §6), and the kept one is sealed anew: its version is part of what it is bound to.
        let refresh_token = answer.refresh_token.as_ref().unwrap_or(&prepared.refresh_token);
        Ok(claimed.commit(Refreshed {
            version,
            access_token: prepared.sealer.access_token(key, version, &answer.access_token)?,
            refresh_token: Some(prepared.sealer.refresh_token(key, version, refresh_token)?),
            lifetime: answer.expires_in,
            scope: answer.scope,
            now: self.clock.now(),
        }))
    }

    async fn flag(&self, key: &ConnectionKey, flag: Flag) -> Result<(), EngineError> {
        match self.write(key, &Step::Flag(flag)).await? {
            Outcome::Applied(_) | Outcome::Refused(Refusal::AlreadyMine, _) => match flag.reason {
                ReauthorizationReason::InterruptedRotation => {
                    tracing::error!(connection = %key, "refresh.lost_answer: an earlier answer never came, and its token is spent");
                }
                ReauthorizationReason::Refused | ReauthorizationReason::NoRefreshToken => {
                    tracing::warn!(connection = %key, reason = ?flag.reason, "connection.reauthorization_required");
                }
            },
            Outcome::Refused(refusal, _) => {
                tracing::info!(connection = %key, ?refusal, "refresh.flag: somebody newer won");
            }
        }
        Ok(())
    }

    /// RELEASE, with the message that comes back for it sent first.
    async fn release(&self, claimed: &Claimed, error: RefreshError, until: Timestamp) -> Result<(), EngineError> {
        let release = claimed.release(error, until);
        self.retry_at(&claimed.row().key, until).await;
        self.write(&claimed.row().key, &Step::Release(release)).await?;
        Ok(())
    }

    /// UNKNOWN, with the message that comes back for it sent first.
    async fn outcome_unknown(&self, claimed: &Claimed, earliest: Timestamp) -> Result<(), EngineError> {
        let unknown = claimed.unknown(RefreshError::Unavailable, earliest);
        self.retry_at(&claimed.row().key, unknown.next_refresh_at).await;
        self.write(&claimed.row().key, &Step::Unknown(unknown)).await?;
        Ok(())
    }

    /// One nudge for the retry, late enough for every clock. Should it be lost, or the wait be longer than a message can
    /// be delayed, the wheel's next turn finds the connection.
    async fn retry_at(&self, key: &ConnectionKey, at: Timestamp) {
        let delay = (at.since(self.clock.now()) + CLOCK_SKEW_MAX).min(NUDGE_DELAY_MAX);
        let nudge = Nudge { key: key.clone(), trigger: Trigger::Due };
        if let Err(error) = self.queue.nudge(Lane::Due, vec![(nudge, delay)]).await {
            tracing::warn!(connection = %key, error = %chain(&error), "refresh.retry: left to the wheel");
        }
    }

    fn back_off(&self, claimed: &Claimed) -> Duration {
        backoff::wait(claimed.active().attempts, self.rng.dice())
    }
}

/// Whether a refresh token is spent by its use.
fn spends(offer: &Offer) -> bool {
    offer.provider.rotation == Rotation::Strict
}

/// Whether a call to a misconfigured provider reached it, so that its circuit has heard from it.
const fn was_sent(error: Misconfiguration) -> bool {
    match error {
        Misconfiguration::NoSecret | Misconfiguration::ForbiddenEndpoint => false,
        Misconfiguration::InvalidClient
        | Misconfiguration::UnauthorizedClient
        | Misconfiguration::UnsupportedGrantType
        | Misconfiguration::InvalidRequest
        | Misconfiguration::InvalidScope => true,
    }
}

/// Whether the message that brought an answer has done its work. With the answer in the log only, it has where the token was
/// spent: delivered again it would send that token again, and the provider would end the grant that the replay command can
/// still save. The wheel's next turn leaves the operator until then.
fn message_ends(kept: Kept, offer: &Offer) -> Result<(), EngineError> {
    match kept {
        Kept::Safe => Ok(()),
        Kept::LoggedOnly if spends(offer) => Ok(()),
        Kept::LoggedOnly => {
            let source = "neither table nor lane took the answer in time".into();
            Err(StoreError::Unavailable { doing: "commit", source }.into())
        }
    }
}

#[cfg(test)]
mod tests;
