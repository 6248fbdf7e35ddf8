//! What follows from changes of rows: short lives nudged, revocations sent on their way, events told.

use std::time::Duration;

use mm_model::{Version, event::Change, limits::CLOCK_SKEW_MAX, wheel::SOON_REACH};

use crate::{
    Engine, EngineError,
    ports::{Lane, NUDGE_DELAY_MAX, Nudge, Trigger},
};

// A nudge that had to be sent earlier than asked would be refused, and gone.
const _: () = assert!(SOON_REACH.as_secs() + CLOCK_SKEW_MAX.as_secs() <= NUDGE_DELAY_MAX.as_secs());

/// A batch of changes was not followed to its end.
#[derive(Debug, thiserror::Error)]
#[error("change {position} of the batch could not be followed")]
pub struct ChangeError {
    /// The first change, from 0, that is to be delivered again, and all that came after it with it.
    pub position: usize,
    /// Why.
    #[source]
    pub source: EngineError,
}

impl Engine {
    /// Follows changes. First the nudges of them all, so that one row's event that nobody takes delays no other row's
    /// refresh; then their events, in order, up to the first change that failed. Delivered again, it does the same again:
    /// events carry an id, nudges are looked at.
    ///
    /// # Errors
    ///
    /// Names the first change that failed.
    pub async fn on_changes(&self, changes: &[Change]) -> Result<(), ChangeError> {
        let mut failed = None;
        for (position, change) in changes.iter().enumerate() {
            if let Err(source) = self.nudge_change(change).await {
                failed = failed.or(Some(ChangeError { position, source }));
            }
        }
        let followed = failed.as_ref().map_or(changes.len(), |failed| failed.position);
        for (position, change) in changes[..followed].iter().enumerate() {
            if let Some(event) = change.connection_event() {
                let told = self.events.publish(&event).await;
                told.map_err(|source| ChangeError { position, source: source.into() })?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn nudge_change(&self, change: &Change) -> Result<(), EngineError> {
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
        Ok(())
    }
}
