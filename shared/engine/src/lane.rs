//! The ordered lane of one connection: rescued answers, and behind them retries whose first outcome is unknown.

use mm_model::{
    AttemptId, ConnectionKey, Refusal, Version,
    step::{Handoff, Step},
};

use crate::{
    Engine, EngineError, Invocation,
    ports::{LaneMessage, Outcome, Trigger},
    refresh::Way,
};

impl Engine {
    /// Follows a message of the lane. `Ok` means that it may be deleted.
    ///
    /// # Errors
    ///
    /// It stays, and everything behind it on the same connection's lane with it: the retry behind a rescue that could not be
    /// applied would spend a token that was spent already.
    pub async fn on_lane(&self, message: &LaneMessage, invocation: Invocation) -> Result<(), EngineError> {
        match message {
            LaneMessage::Rescue { key, commit } => {
                let outcome = self.write(key, &Step::Commit(commit.clone())).await?;
                self.committed(key, message, outcome).await
            }
            LaneMessage::Retry { key, version, from, urgent } => {
                self.retry(key, *version, *from, Way::Lane { urgent: *urgent }, invocation).await
            }
        }
    }

    async fn retry(
        &self,
        key: &ConnectionKey,
        version: Version,
        from: AttemptId,
        way: Way,
        invocation: Invocation,
    ) -> Result<(), EngineError> {
        let Some(offer) = self.offers.get(&key.provider) else { return Ok(()) };
        let to = self.new_attempt();
        let handoff = Handoff { version, from, to, now: self.clock.now(), lease: offer.lease() };
        match self.write(key, &Step::Handoff(handoff)).await? {
            Outcome::Applied(row) | Outcome::Refused(Refusal::AlreadyMine, Some(row)) => {
                self.attempt_on(offer, row, to, way, invocation).await
            }
            Outcome::Refused(refusal, old) => {
                tracing::debug!(connection = %key, ?refusal, "refresh.handoff: refused");
                let waiting = old.filter(|row| row.version == version).and_then(|row| row.active()?.lease);
                match waiting {
                    // Still at this version, under somebody's lease, which may be this message's own from a delivery that
                    // failed: come back when that is over.
                    Some(lease) => Ok(self.nudge_after_lease(key, Trigger::Due, lease.expires_at).await?),
                    None => Ok(()),
                }
            }
        }
    }
}
