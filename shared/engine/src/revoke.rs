//! Revoking a grant at its provider (RFC 7009), after it is gone here.

use std::time::Duration;

use mm_model::Refusal;
use mm_model::{
    AttemptId, ConnectionKey, Version, backoff,
    connection::Revocation,
    limits::{LEASE_REUSABLE, REVOCATION_ATTEMPTS_MAX},
    step::{ClaimRevocation, FinishRevocation, PostponeRevocation, Step},
};
use mm_oauth::{RevocationOutcome, Revokes};

use crate::{
    Engine, EngineError, Offer,
    ports::{Lane, NUDGE_DELAY_MAX, Nudge, Outcome, Trigger},
    refresh::chain,
};

impl Engine {
    pub(crate) async fn revoke(&self, key: &ConnectionKey, revocation: Version) -> Result<(), EngineError> {
        let Some(offer) = self.offers.get(&key.provider) else { return Ok(()) };
        let attempt = self.new_attempt();
        let claim = ClaimRevocation { revocation, attempt, now: self.clock.now(), lease: LEASE_REUSABLE };
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
        match self.send_revocation(offer, key, &owed).await? {
            Done::Finished => self.finish(key, revocation, attempt).await,
            Done::Again(wait) => self.postpone(key, &owed, attempt, wait).await,
        }
    }

    async fn send_revocation(
        &self,
        offer: &Offer,
        key: &ConnectionKey,
        owed: &Revocation,
    ) -> Result<Done, EngineError> {
        // Another registration's token is never sent, and nothing can be done about it here.
        if offer.provider.revokes == Revokes::None || owed.issuer != *offer.issuer() {
            return Ok(Done::Finished);
        }
        // Revoking would end a grant that is alive again: the same account is connected, here or under another person.
        let ends_grant = offer.provider.revokes == Revokes::Grant;
        if ends_grant && self.store.owner(&key.provider, &owed.account).await?.is_some() {
            tracing::info!(connection = %key, "revoke.withdrawn: the account is connected again");
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
        if owed.attempts + 1 < REVOCATION_ATTEMPTS_MAX {
            let delay = backoff::wait(owed.attempts, self.rng.dice()).max(wait.unwrap_or_default());
            let nudge = Nudge { key: key.clone(), trigger: Trigger::Revoke { revocation: owed.version } };
            self.queue.nudge(Lane::Due, vec![(nudge, delay.min(NUDGE_DELAY_MAX))]).await?;
        } else {
            tracing::error!(connection = %key, "revoke.given_up: the provider did not take the revocation");
        }
        let step = PostponeRevocation { revocation: owed.version, attempt };
        self.write(key, &Step::PostponeRevocation(step)).await?;
        Ok(())
    }
}

enum Done {
    Finished,
    Again(Option<Duration>),
}
