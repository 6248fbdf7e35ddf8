//! What follows from a change of a row: an event told, a short life nudged, a revocation sent on its way.

use std::time::Duration;

use mm_model::{Version, event::Change, limits::CLOCK_SKEW_MAX, wheel::SOON_REACH};

use crate::{
    Engine, EngineError,
    ports::{Lane, NUDGE_DELAY_MAX, Nudge, Trigger},
};

// A nudge that had to be sent earlier than asked would be refused, and gone.
const _: () = assert!(SOON_REACH.as_secs() + CLOCK_SKEW_MAX.as_secs() <= NUDGE_DELAY_MAX.as_secs());

impl Engine {
    /// Follows one change. Delivered again, it does the same again: events carry an id, nudges are looked at.
    ///
    /// # Errors
    ///
    /// The change is to be delivered again.
    pub async fn on_change(&self, change: &Change) -> Result<(), EngineError> {
        let nudge = |trigger| Nudge { key: change.key.clone(), trigger };
        let revoke = |revocation: &Version| (nudge(Trigger::Revoke { revocation: *revocation }), Duration::ZERO);
        let revocations: Vec<_> = change.revocations.iter().map(revoke).collect();
        if !revocations.is_empty() {
            self.queue.nudge(Lane::Urgent, revocations).await?;
        }
        if let Some(soon) = change.soon {
            let delay = soon.since(self.clock.now()).min(NUDGE_DELAY_MAX);
            self.queue.nudge(Lane::Due, vec![(nudge(Trigger::Due), delay)]).await?;
        }
        if let Some(event) = change.connection_event() {
            self.events.publish(&event).await?;
        }
        Ok(())
    }
}
