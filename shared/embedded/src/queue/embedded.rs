//! The whole port: two lanes in memory and the ordered lane in its journal.

use std::time::Duration;

use async_trait::async_trait;
use mm_engine::ports::{Lane, LaneMessage, Nudge, QueueError, RefreshQueue};

use super::InProcessQueue;
use crate::journal::JournalLane;

/// The queues of one machine.
#[derive(Debug)]
pub struct EmbeddedQueue {
    /// The lanes `due` and `urgent`.
    pub nudges: InProcessQueue,
    /// The ordered lane.
    pub lane: JournalLane,
}

impl EmbeddedQueue {
    /// Puts the queues together.
    pub const fn new(nudges: InProcessQueue, lane: JournalLane) -> Self {
        Self { nudges, lane }
    }

    /// Ends every wait for a delivery, present and future. What is under way can still be ended, and sending goes on.
    pub fn close(&self) {
        self.nudges.close();
        self.lane.close();
    }
}

#[async_trait]
impl RefreshQueue for EmbeddedQueue {
    async fn nudge(&self, lane: Lane, nudges: Vec<(Nudge, Duration)>) -> Result<(), QueueError> {
        self.nudges.nudge(lane, &nudges)
    }

    async fn put_on_lane(&self, message: &LaneMessage) -> Result<(), QueueError> {
        let refused = |source| QueueError { count: 1, source };
        let body = serde_json::to_string(message).map_err(|unwritable| refused(Box::new(unwritable)))?;
        let put = self.lane.put(&message.key().to_string(), &message.deduplication_id(), body).await;
        put.map_err(|unstored| refused(Box::new(unstored)))
    }
}
