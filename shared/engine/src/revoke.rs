//! Revoking a grant at its provider (RFC 7009), after it is gone here.

use std::time::Duration;

use mm_model::Refusal;
use mm_model::{
    AttemptId, ConnectionKey, Timestamp, Version, backoff,
    connection::Revocation,
    limits::{CLOCK_SKEW_MAX, LEASE_REUSABLE, PROVIDER_TIMEOUT},
    step::{ClaimRevocation, FinishRevocation, PostponeRevocation, Step},
};
use mm_oauth::{RevocationOutcome, Revokes};

use crate::{
    Engine, EngineError, Offer,
    ports::{Lane, NUDGE_DELAY_MAX, Nudge, Outcome, Trigger},
    refresh::chain,
};

/// How long after its claim a revocation may still be sent. A process that stood still in between, on a laptop that slept,
/// would otherwise end a grant that a login made in the meantime. Claim, owner and key are some milliseconds.
const SENT_WITHIN: Duration = Duration::from_secs(2);

/// How long after its claim a revocation can end anything: a login that waits this long has outwaited it.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(SENT_WITHIN.as_secs() + PROVIDER_TIMEOUT.as_secs());

const _: () = assert!(
    ANSWERED_WITHIN.as_secs() + CLOCK_SKEW_MAX.as_secs() < LEASE_REUSABLE.as_secs(),
    "a revocation's lease must outlive its request"
);

/// When a revocation was claimed, by the clock that shows a sleep and by the one that nobody corrects.
#[derive(Clone, Copy)]
struct ClaimedAt {
    now: Timestamp,
    elapsed: Duration,
}

impl Engine {
    pub(crate) async fn revoke(&self, key: &ConnectionKey, revocation: Version) -> Result<(), EngineError> {
        // A registration that is not ours (any more) revokes nothing, and its tokens are never sent under another one. The
        // intent is kept until it is offered again or the tombstone's time is over.
        let Some(offer) = self.offers.get(&key.provider) else { return Ok(()) };
        let attempt = self.new_attempt();
        // Before the write, whose answer may be long on its way: whoever meets the lease counts from then at the latest.
        let claimed = ClaimedAt { now: self.clock.now(), elapsed: self.clock.elapsed() };
        let worked = self.carry_out(offer, key, revocation, attempt, claimed).await;
        let lease_end = claimed.now.plus(LEASE_REUSABLE);
        self.outlast_lease(key, Trigger::Revoke { revocation }, lease_end, worked).await
    }

    async fn carry_out(
        &self,
        offer: &Offer,
        key: &ConnectionKey,
        revocation: Version,
        attempt: AttemptId,
        claimed: ClaimedAt,
    ) -> Result<(), EngineError> {
        let claim = ClaimRevocation { revocation, attempt, now: claimed.now, lease: LEASE_REUSABLE };
        let owed = match self.write(key, &Step::ClaimRevocation(claim)).await? {
            Outcome::Applied(row) | Outcome::Refused(Refusal::AlreadyMine, Some(row)) => {
                row.revocations.into_iter().find(|owed| owed.version == revocation)
            }
            Outcome::Refused(refusal, _) => {
                tracing::debug!(connection = %key, ?refusal, "revoke.nudge: nothing to do");
                None
            }
        };
        let Some(owed) = owed else { return Ok(()) };
        match self.send_revocation(offer, key, &owed, claimed).await? {
            Done::Finished => self.finish(key, revocation, attempt).await,
            Done::Again(wait) => self.postpone(key, &owed, attempt, wait).await,
            Done::NotOurs => {
                tracing::debug!(connection = %key, "revoke.kept: another registration's, not sent");
                Ok(())
            }
        }
    }

    async fn send_revocation(
        &self,
        offer: &Offer,
        key: &ConnectionKey,
        owed: &Revocation,
        claimed: ClaimedAt,
    ) -> Result<Done, EngineError> {
        if offer.provider.revokes == Revokes::None {
            return Ok(Done::Finished);
        }
        if owed.issuer != *offer.issuer() {
            return Ok(Done::NotOurs);
        }
        // Revoking would end a grant that is alive again: the same account is connected, here or under another person.
        let ends_grant = offer.provider.revokes == Revokes::Grant;
        if ends_grant && self.store.owner(&key.provider, &owed.account).await?.is_some() {
            tracing::info!(connection = %key, "revoke.spared: the account is connected again");
            return Ok(Done::Finished);
        }
        let token = match self.cipher.open_refresh_token(key, owed.version, &owed.refresh_token).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(connection = %key, error = %chain(&error), "revoke.attempt: not sent");
                return Ok(Done::Again(None));
            }
        };
        let now = self.clock.now();
        let waited = now.since(claimed.now).max(self.clock.elapsed().saturating_sub(claimed.elapsed));
        if waited >= SENT_WITHIN {
            tracing::warn!(connection = %key, waited_ms = waited.as_millis(), "revoke.attempt: too late after its claim, not sent");
            return Ok(Done::Again(None));
        }
        let outcome = self.client.revoke_with(&offer.provider, &offer.registration, &*self.secrets, &token, now).await;
        tracing::info!(connection = %key, ?outcome, "revoke.verdict");
        Ok(match outcome {
            RevocationOutcome::Revoked | RevocationOutcome::Refused { .. } => Done::Finished,
            RevocationOutcome::Retry { after } => Done::Again(after),
        })
    }

    async fn finish(&self, key: &ConnectionKey, revocation: Version, attempt: AttemptId) -> Result<(), EngineError> {
        self.write(key, &Step::FinishRevocation(FinishRevocation { revocation, attempt })).await?;
        Ok(())
    }

    async fn postpone(
        &self,
        key: &ConnectionKey,
        owed: &Revocation,
        attempt: AttemptId,
        wait: Option<Duration>,
    ) -> Result<(), EngineError> {
        if owed.is_last_attempt() {
            tracing::error!(connection = %key, "revoke.given_up: the provider did not take the revocation");
        } else {
            let delay = backoff::wait(owed.attempts, self.rng.dice()).max(wait.unwrap_or_default());
            let nudge = Nudge { key: key.clone(), trigger: Trigger::Revoke { revocation: owed.version } };
            self.queue.nudge(Lane::Due, vec![(nudge, delay.min(NUDGE_DELAY_MAX))]).await?;
        }
        let step = PostponeRevocation { revocation: owed.version, attempt };
        self.write(key, &Step::PostponeRevocation(step)).await?;
        Ok(())
    }
}

enum Done {
    Finished,
    Again(Option<Duration>),
    /// Nothing was sent, and nothing is counted: the intent stays under a lease that runs out by itself.
    NotOurs,
}
