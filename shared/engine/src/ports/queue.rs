//! The messages that make the worker work. A nudge is a hint, never an order: the worker looks at the row.

use std::time::Duration;

use async_trait::async_trait;
use mm_model::{AttemptId, ConnectionKey, Version, step::Commit};
use serde::{Deserialize, Serialize};

/// Longest delay of one nudge: SQS allows 15 minutes.
pub const NUDGE_DELAY_MAX: Duration = Duration::from_mins(15);

/// Most messages in one request to the queue: SQS allows ten.
pub const SEND_BATCH_MAX: usize = 10;

/// Largest lane message in bytes. Two sealed tokens of the largest size seen are under 8 KiB.
pub const LANE_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Which of the two unordered lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What the wheel finds due, and retries.
    Due,
    /// What somebody is waiting for.
    Urgent,
}

/// Look at this connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nudge {
    /// Which connection.
    pub key: ConnectionKey,
    /// Why.
    pub trigger: Trigger,
}

/// Why the worker should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// It should be due.
    Due,
    /// A reader found this token pair dead, or was told so by the provider's API.
    Forced {
        /// The token pair.
        version: Version,
    },
    /// It owes a revocation.
    Revoke {
        /// Which one.
        revocation: Version,
    },
}

/// A message on the ordered lane of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LaneMessage {
    /// An answer that the table did not take in time: apply it.
    Rescue {
        /// Whose.
        key: ConnectionKey,
        /// The sealed answer.
        commit: Box<Commit>,
    },
    /// A retry after an unknown outcome: whatever rescue there is stands before it on this lane.
    Retry {
        /// Whose.
        key: ConnectionKey,
        /// The token pair to send again.
        version: Version,
        /// The attempt that holds the lease.
        from: AttemptId,
        /// Whether a reader waits for it.
        urgent: bool,
    },
}

impl LaneMessage {
    /// The connection whose lane it is.
    pub const fn key(&self) -> &ConnectionKey {
        match self {
            Self::Rescue { key, .. } | Self::Retry { key, .. } => key,
        }
    }

    /// The queue's deduplication id: the new version of a rescue, the owner of a retry. Never made from the content.
    pub fn deduplication_id(&self) -> String {
        match self {
            Self::Rescue { commit, .. } => commit.version.to_string(),
            Self::Retry { from, .. } => from.to_string(),
        }
    }
}

/// A message was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not accept {count} of the messages")]
pub struct QueueError {
    /// How many were not accepted.
    pub count: usize,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The queues: two lanes of nudges, at least once and in any order, and the ordered lane of each connection.
#[async_trait]
pub trait RefreshQueue: Send + Sync {
    /// Sends nudges, each to be delivered after its delay (capped at [`NUDGE_DELAY_MAX`]), in batches of [`SEND_BATCH_MAX`].
    /// Entries that a batch refuses are sent again.
    ///
    /// # Errors
    ///
    /// Some were not accepted; others may have been.
    async fn nudge(&self, lane: Lane, nudges: Vec<(Nudge, Duration)>) -> Result<(), QueueError>;

    /// Puts a message on its connection's lane. `Ok` means durable. Messages of one connection are delivered in the order in
    /// which they were put, the next only after the one before is deleted; a deduplication id seen in the last five
    /// minutes is accepted and dropped.
    async fn put_on_lane(&self, message: &LaneMessage) -> Result<(), QueueError>;
}
