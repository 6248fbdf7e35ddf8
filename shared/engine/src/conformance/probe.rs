//! The other end of a queue, as its adapter's test holds it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::ports::{Lane, LaneMessage, Nudge, RefreshQueue};

/// A message as its consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered<T> {
    /// The message, parsed from the body that travelled.
    pub message: T,
    /// What deletes this delivery.
    pub receipt: String,
}

/// The consumer's side of a queue, and time, for the cases.
///
/// A method that cannot do its part panics: it is a test's.
#[async_trait]
pub trait QueueProbe: Send + Sync {
    /// The queue. After [`reopen`](Self::reopen) another one over the same messages.
    fn queue(&self) -> Arc<dyn RefreshQueue>;

    /// Receives once: at most a batch of what is visible now, nothing if nothing is. Never waits for time to pass.
    async fn receive(&self, lane: Lane) -> Vec<Delivered<Nudge>>;

    /// Deletes a delivery of a nudge.
    async fn delete(&self, lane: Lane, receipt: &str);

    /// Receives once from the ordered lanes.
    async fn receive_ordered(&self) -> Vec<Delivered<LaneMessage>>;

    /// Deletes a delivery of a lane message.
    async fn delete_ordered(&self, receipt: &str);

    /// Lets time pass.
    async fn pass(&self, span: Duration);

    /// How long a delivery that is neither deleted nor given back stays invisible.
    fn visibility_timeout(&self) -> Duration;

    /// Ends the queue's process as a kill does and starts it again. `false` where there is no such process.
    async fn reopen(&self) -> bool;
}
