//! Refreshing one connection: claim, own everything, send, commit. Two conditional writes, no read.

use std::time::Duration;

use mm_model::{
    AttemptId, Connection, ConnectionKey, RefreshToken, Refusal, Seat, Timestamp, backoff,
    connection::RefreshError,
    limits::{CLOCK_SKEW_MAX, COMMIT_RESERVE, PROVIDER_TIMEOUT},
    refresh::{Claimed, Refreshed},
    step::{Claim, Commit, Flag, ForcedClaim, Sleep, Step},
};
use mm_oauth::{Revokes, Rotation, TokenAnswer, Verdict};

use crate::{
    Engine, EngineError, Invocation, Offer,
    cipher::{CipherError, Sealer},
    ports::{Lane, LaneMessage, NUDGE_DELAY_MAX, Nudge, Outcome, StoreError, Trigger},
};

/// A commit that is not acknowledged within this goes on the lane as well.
const COMMIT_PATIENCE: Duration = Duration::from_millis(300);

/// The wait before a refused commit is tried again, doubled each time up to [`COMMIT_RETRY_MAX`].
const COMMIT_RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest wait between two tries of a commit.
const COMMIT_RETRY_MAX: Duration = Duration::from_secs(2);

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
    Lane,
}

impl Way {
    const fn lane(self) -> Lane {
        match self {
            Self::Due | Self::Lane => Lane::Due,
            Self::Urgent => Lane::Urgent,
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
            Trigger::Due | Trigger::Forced { .. } => self.refresh(nudge, invocation).await,
        }
    }

    async fn refresh(&self, nudge: &Nudge, invocation: Invocation) -> Result<(), EngineError> {
        let key = &nudge.key;
        let Some(offer) = self.offers.get(&key.provider) else {
            // Not configured here (any more): never sent, never flagged.
            tracing::debug!(connection = %key, "refresh.nudge: the provider is not on offer");
            return Ok(());
        };
        let (attempt, now, lease) = (self.new_attempt(), self.clock.now(), offer.lease());
        let (step, way) = match nudge.trigger {
            Trigger::Forced { version } => {
                (Step::ForcedClaim(ForcedClaim { attempt, now, lease, version }), Way::Urgent)
            }
            Trigger::Due | Trigger::Revoke { .. } => {
                (Step::Claim(Claim { attempt, now, lease, awake_window: self.awake_window }), Way::Due)
            }
        };
        match self.write(key, &step).await? {
            Outcome::Applied(row) | Outcome::Refused(Refusal::AlreadyMine, Some(row)) => match Claimed::new(row) {
                Some(claimed) => self.attempt(offer, claimed, attempt, way, invocation).await,
                None => Ok(()),
            },
            Outcome::Refused(Refusal::Asleep, Some(row)) => self.put_to_sleep(offer, &row).await,
            Outcome::Refused(refusal, _) => {
                tracing::debug!(connection = %key, ?refusal, "refresh.nudge: nothing to do");
                Ok(())
            }
        }
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
    pub(crate) async fn attempt(
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
        let spends = offer.provider.rotation == Rotation::Strict;
        if spends && way != Way::Lane && claimed.follows_unknown_outcome() {
            // TAKEOVER: an answer of the earlier attempt may stand on the lane. Go behind it.
            let retry = LaneMessage::Retry { key: row.key.clone(), version: row.version, from: attempt };
            tracing::info!(connection = %row.key, "refresh.takeover: the retry goes by the lane");
            return Ok(self.queue.put_on_lane(&retry).await?);
        }
        if let Some(wait) = self.gate(offer, attempt, way, &claimed).await? {
            return self.release(&claimed, wait.error, wait.until).await;
        }
        let prepared = match self.prepare(&claimed).await {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!(connection = %row.key, error = %chain(&error), "refresh.attempt: not sent");
                return self.release(&claimed, RefreshError::NotSent, now.plus(self.back_off(&claimed))).await;
            }
        };
        if self.remaining(invocation) < PROVIDER_TIMEOUT + COMMIT_RESERVE {
            tracing::warn!(connection = %row.key, "refresh.attempt: not sent, the invocation ends too soon");
            return self.release(&claimed, RefreshError::NotSent, now).await;
        }
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

    /// Circuit and budget: whether the call may be made, and if not, until when not.
    async fn gate(
        &self,
        offer: &Offer,
        attempt: AttemptId,
        way: Way,
        claimed: &Claimed,
    ) -> Result<Option<Wait>, EngineError> {
        let provider = &offer.provider.id;
        // Spread: what was held back together does not come back together.
        let spread = self.back_off(claimed);
        if let Err(until) = self.pass_circuit(provider, attempt).await? {
            return Ok(Some(Wait { error: RefreshError::CircuitOpen, until: until.plus(spread) }));
        }
        let taken = self.budget.take(provider, offer.provider.requests_per_second, way.lane(), self.clock.elapsed());
        Ok(taken
            .err()
            .map(|wait| Wait { error: RefreshError::BudgetExhausted, until: self.clock.now().plus(wait + spread) }))
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
                self.store_answer(&claimed.row().key, commit, invocation).await?;
                self.provider_answered(provider).await;
                Ok(())
            }
            Verdict::Refused { .. } => {
                self.provider_answered(provider).await;
                let flag = claimed.flag(self.new_version(), now);
                self.flag(&claimed.row().key, flag).await
            }
            Verdict::Misconfigured { .. } => {
                // Nobody is logged out for a mistake of ours.
                self.provider_answered(provider).await;
                tracing::error!(%provider, detail, "refresh.misconfigured: the provider refuses this registration");
                self.release(claimed, RefreshError::Misconfigured, later).await
            }
            Verdict::Throttled { retry_after } => {
                self.provider_answered(provider).await;
                if let Some(wait) = retry_after {
                    self.budget.close(provider, self.clock.elapsed() + wait);
                }
                self.release(claimed, RefreshError::Throttled, asked(retry_after)).await
            }
            Verdict::Unavailable { may_have_been_processed: false, retry_after, .. } => {
                self.provider_failed(provider).await;
                self.release(claimed, RefreshError::Unavailable, asked(retry_after)).await
            }
            Verdict::Unavailable { may_have_been_processed: true, retry_after, .. } => {
                self.provider_failed(provider).await;
                self.outcome_unknown(claimed, asked(retry_after)).await
            }
        };
        tracing::info!(connection = %claimed.row().key, class, detail, "refresh.verdict");
        settled
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

    /// Makes an answer durable: in the table, or after [`COMMIT_PATIENCE`] on the lane too, and if both fail to the end of the
    /// invocation, in one sealed log line that the replay command reads.
    async fn store_answer(
        &self,
        key: &ConnectionKey,
        commit: Commit,
        invocation: Invocation,
    ) -> Result<(), EngineError> {
        let step = Step::Commit(Box::new(commit.clone()));
        let rescue = LaneMessage::Rescue { key: key.clone(), commit: Box::new(commit) };
        let mut rescued = false;
        let mut pause = COMMIT_RETRY_FIRST;
        loop {
            let mut write = self.store.apply(key, &step);
            let written = tokio::select! {
                biased;
                written = &mut write => written,
                () = self.clock.sleep_real(COMMIT_PATIENCE), if !rescued => {
                    rescued = self.rescue(&rescue).await;
                    write.await
                }
            };
            let error = match written {
                // The row changed between the write and the look at it: not an answer yet, and never a reason to drop one.
                Ok(Outcome::Refused(Refusal::Raced, _)) => raced(),
                Ok(outcome) => return self.committed(key, &rescue, outcome).await,
                Err(error) => error,
            };
            rescued = rescued || self.rescue(&rescue).await;
            if self.remaining(invocation) < pause {
                return give_up(key, &rescue, rescued, error);
            }
            self.clock.sleep_real(pause).await;
            pause = (pause * 2).min(COMMIT_RETRY_MAX);
        }
    }

    async fn rescue(&self, rescue: &LaneMessage) -> bool {
        match self.queue.put_on_lane(rescue).await {
            Ok(()) => {
                tracing::warn!(connection = %rescue.key(), "refresh.rescue: the answer is on the lane");
                true
            }
            Err(error) => {
                tracing::error!(connection = %rescue.key(), error = %chain(&error), "refresh.rescue: the lane refused it");
                false
            }
        }
    }

    /// What the table said to a commit, by whichever way it came.
    pub(crate) async fn committed(
        &self,
        key: &ConnectionKey,
        rescue: &LaneMessage,
        outcome: Outcome,
    ) -> Result<(), EngineError> {
        match outcome {
            Outcome::Applied(_) | Outcome::Refused(Refusal::AlreadyMine, _) => Ok(()),
            Outcome::Refused(refusal, old) => {
                tracing::info!(connection = %key, ?refusal, "refresh.commit: superseded, the answer is dropped");
                let gone = old.as_ref().is_none_or(|row| !row.is_connected());
                match rescue {
                    LaneMessage::Rescue { commit, .. } if gone => self.revoke_orphan(key, commit).await,
                    LaneMessage::Rescue { .. } | LaneMessage::Retry { .. } => Ok(()),
                }
            }
        }
    }

    /// The connection went while its refresh was under way: the pair that came back belongs to nobody. Where revoking one
    /// token ends the whole authorization, the disconnect's own intent has seen to it, and a newer login may be alive.
    async fn revoke_orphan(&self, key: &ConnectionKey, commit: &Commit) -> Result<(), EngineError> {
        let Some(offer) = self.offers.get(&key.provider).filter(|offer| offer.provider.revokes == Revokes::Token)
        else {
            return Ok(());
        };
        let Some(sealed) = &commit.refresh_token else { return Ok(()) };
        let token = self.cipher.open_refresh_token(key, commit.version, sealed).await?;
        let outcome = self
            .client
            .revoke_with(&offer.provider, &offer.registration, &*self.secrets, &token, self.clock.now())
            .await;
        tracing::info!(connection = %key, ?outcome, "refresh.orphan: a late answer for a gone connection was revoked");
        Ok(())
    }

    pub(crate) async fn flag(&self, key: &ConnectionKey, flag: Flag) -> Result<(), EngineError> {
        match self.write(key, &Step::Flag(flag)).await? {
            Outcome::Applied(_) => {
                tracing::warn!(connection = %key, reason = ?flag.reason, "connection.reauthorization_required");
            }
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

    pub(crate) fn back_off(&self, claimed: &Claimed) -> Duration {
        backoff::wait(claimed.active().attempts, self.rng.dice())
    }
}

fn raced() -> StoreError {
    StoreError::Unavailable { doing: "commit", source: "the row kept changing".into() }
}

/// The end of an invocation in which the table took nothing.
fn give_up(key: &ConnectionKey, rescue: &LaneMessage, rescued: bool, error: StoreError) -> Result<(), EngineError> {
    if rescued {
        return Ok(());
    }
    // Sealed through and through: the log holds ciphertext that only the worker's keys open.
    let sealed = serde_json::to_string(rescue).unwrap_or_default();
    tracing::error!(connection = %key, sealed, "refresh.unsaved: store and lane both refused this answer; replay it");
    Err(error.into())
}

/// Why a call may not be made, and until when.
struct Wait {
    error: RefreshError,
    until: Timestamp,
}

/// An error with its causes, for a log line. No error of this workspace carries a secret.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
