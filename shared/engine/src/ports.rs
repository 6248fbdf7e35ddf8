//! What the engine asks of the world. Each port has two living implementations (one machine, AWS), and the conformance
//! suite holds both to what is written here.

use std::time::Duration;

use async_trait::async_trait;
use mm_model::{Timestamp, event::ConnectionEvent};

mod keys;
mod queue;
mod store;

pub use keys::{BranchKey, Family, KeyContext, KeyError, KeyService, WrappedKey};
pub use queue::{
    LANE_MESSAGE_BYTES_MAX, Lane, LaneMessage, NUDGE_DELAY_MAX, Nudge, QueueError, RefreshQueue, SEND_BATCH_MAX,
    Trigger,
};
pub use store::{
    ChangePage, ConnectionStore, Consistency, Expected, Link, LinkOutcome, Outcome, PersonRows, SeatPage, StateHash,
    StoreError, TakenFrom, Unlink,
};

/// The time. Injected, so that tests, simulations and `--speed` own it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Monotonic time since an arbitrary start, which nobody corrects: for spans shorter than a second, and for how long an
    /// invocation may still work.
    fn elapsed(&self) -> Duration;

    /// Waits until this clock has advanced by `span`.
    async fn sleep(&self, span: Duration);

    /// Waits for `span` as a person does: real time even where the clock runs faster. For readers that wait for a
    /// refresh, whose provider call takes real time too, and between the tries of a write, which waits for a disk.
    async fn sleep_real(&self, span: Duration);
}

/// The dice. Injected, so that a test's seed repeats a run.
pub trait Rng: Send + Sync {
    /// Fills `bytes` with cryptographically secure random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Random values of the kinds that the engine needs.
impl dyn Rng {
    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// 32 random bits, for spreading and back-off.
    pub fn dice(&self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }
}

/// Where connection events go. Called by the stream alone, so that each change is told once, by its event id.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Publishes the event.
    ///
    /// # Errors
    ///
    /// The event was not accepted; the stream delivers its change again.
    async fn publish(&self, event: &ConnectionEvent) -> Result<(), EventError>;
}

/// An event was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the event sink did not accept the event")]
pub struct EventError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
