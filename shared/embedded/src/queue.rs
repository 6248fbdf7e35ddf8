//! The two unordered lanes, in memory.
//!
//! They keep the bargain of the service that they stand for: at least once, in any order, hidden for the visibility timeout
//! after each delivery, set aside after too many. A message is a hint, so none is written down: what a restart forgets, the
//! wheel's next turn finds again.

mod embedded;
mod pending;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mm_engine::ports::{Clock, Lane, NUDGE_DELAY_MAX, Nudge, QueueError, SEND_BATCH_MAX};
use mm_model::{ConnectionKey, Timestamp, limits::FUNCTION_LIMIT};
use tokio::sync::Notify;

pub use embedded::EmbeddedQueue;
use pending::Pending;

/// How long a delivered message stays hidden: six times the worker's limit, so that no message comes again while its first
/// delivery can still be at work, retries of the invocation included.
pub const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(6 * FUNCTION_LIMIT.as_secs());

/// Most messages in one delivery: what the worker's event source is set to.
pub const RECEIVE_BATCH_MAX: usize = 10;

/// Deliveries after which a nudge is set aside instead of delivered again.
pub const RECEIVES_MAX: u32 = 5;

/// Most messages that one lane holds. A message takes some 250 bytes: a quarter of a gigabyte at the very worst.
pub const MESSAGES_MAX: usize = 1_000_000;

/// Most dead letters remembered one by one; all are counted.
pub const DEAD_LETTERS_MAX: usize = 100;

/// How an [`InProcessQueue`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most messages in one lane; [`MESSAGES_MAX`] unless a test wants to see it full.
    pub messages_max: usize,
    /// Whether every message is delivered twice, side by side, as at-least-once delivery allows at any time.
    pub deliver_twice: bool,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { messages_max: MESSAGES_MAX, deliver_twice: false }
    }
}

/// One delivery of a message. `Debug` keeps the body to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The message's id; the same at each delivery.
    pub message_id: String,
    /// This delivery, for deleting or releasing it.
    pub receipt: Receipt,
    /// The nudge as JSON.
    pub body: String,
    /// How often the message was delivered, this time included.
    pub receive_count: u32,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message_id", &self.message_id)
            .field("receipt", &self.receipt)
            .field("body_bytes", &self.body.len())
            .field("receive_count", &self.receive_count)
            .finish()
    }
}

/// One delivery. It is worth nothing once the message is visible again and was delivered to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    lane: Lane,
    /// When the message is visible again, on the clock's `elapsed`.
    visible_at: Duration,
    number: u64,
}

/// A nudge that was delivered [`RECEIVES_MAX`] times in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The connection it was about.
    pub key: ConnectionKey,
    /// When it was set aside.
    pub at: Timestamp,
}

/// What a lane holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneFigures {
    /// Messages waiting, delayed ones included.
    pub waiting: usize,
    /// Messages delivered, and neither deleted nor visible again.
    pub in_flight: usize,
    /// How long the message that waits longest has been due; a delay that is still running does not count.
    pub oldest_age: Duration,
    /// Messages set aside since the start.
    pub dead: u64,
}

/// A nudge was not accepted.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// The lane is at its limit. The wheel comes round again.
    #[error("the lane holds {0} messages, which is its limit")]
    Full(usize),
    #[error("the nudge could not be written as JSON")]
    Unwritable(#[source] serde_json::Error),
}

/// The lanes `due` and `urgent` in this process's memory.
pub struct InProcessQueue {
    clock: Arc<dyn Clock>,
    settings: QueueSettings,
    due: NudgeLane,
    urgent: NudgeLane,
}

#[derive(Default)]
struct NudgeLane {
    pending: Mutex<Pending>,
    /// Rings when something becomes visible sooner than every receiver believes, and at closing.
    sooner: Notify,
}

impl InProcessQueue {
    /// Empty lanes.
    pub fn new(clock: Arc<dyn Clock>, settings: QueueSettings) -> Self {
        Self { clock, settings, due: NudgeLane::default(), urgent: NudgeLane::default() }
    }

    /// Sends nudges, each to be visible after its delay (capped at [`NUDGE_DELAY_MAX`]), in batches of [`SEND_BATCH_MAX`].
    /// Closing does not end this: what a draining worker still sends is found again after the restart.
    ///
    /// # Errors
    ///
    /// The lane is full; the messages before the first refused one were accepted.
    pub fn nudge(&self, lane: Lane, nudges: &[(Nudge, Duration)]) -> Result<(), QueueError> {
        let mut accepted = 0;
        for batch in nudges.chunks(SEND_BATCH_MAX) {
            let bodies: Result<Vec<_>, _> = batch.iter().map(message).collect();
            let refusal = match bodies {
                Ok(bodies) => {
                    let sent = bodies.len();
                    let taken = self.send(lane, bodies);
                    accepted += taken;
                    (taken < sent).then_some(Refused::Full(self.settings.messages_max))
                }
                Err(unwritable) => Some(Refused::Unwritable(unwritable)),
            };
            if let Some(refused) = refusal {
                return Err(QueueError { count: nudges.len() - accepted, source: Box::new(refused) });
            }
        }
        Ok(())
    }

    fn send(&self, lane: Lane, messages: Vec<(Box<str>, Duration)>) -> usize {
        let copies = if self.settings.deliver_twice { 2 } else { 1 };
        let now = self.clock.elapsed();
        self.change(lane, |pending| {
            let mut taken = 0;
            for (body, delay) in messages {
                if pending.len() + copies > self.settings.messages_max {
                    break;
                }
                for _ in 1..copies {
                    pending.push(body.clone(), now.saturating_add(delay));
                }
                pending.push(body, now.saturating_add(delay));
                taken += 1;
            }
            taken
        })
    }

    /// Waits until something is visible and takes up to [`RECEIVE_BATCH_MAX`] messages, hidden from others for
    /// [`VISIBILITY_TIMEOUT`]. Empty only after [`close`](Self::close). A wait that is abandoned takes nothing.
    pub async fn receive(&self, lane: Lane) -> Vec<Received> {
        let of = self.lane(lane);
        loop {
            let mut sooner = std::pin::pin!(of.sooner.notified());
            // Before looking: whatever arrives from here on rings.
            sooner.as_mut().enable();
            let wait = {
                let mut pending = of.pending();
                if pending.closed {
                    return Vec::new();
                }
                let batch = pending.take(self.clock.elapsed(), lane);
                let set_aside = pending.set_aside(self.clock.now());
                if set_aside > 0 {
                    tracing::warn!(?lane, set_aside, "queue.receive: nudges were delivered too often and set aside");
                }
                if !batch.is_empty() {
                    return batch;
                }
                pending.next_visible().map(|at| at.saturating_sub(self.clock.elapsed()))
            };
            match wait {
                Some(span) => tokio::select! {
                    () = sooner => {}
                    () = self.clock.sleep(span) => {}
                },
                None => sooner.await,
            }
        }
    }

    /// Ends a message whose work is done. `false` when the receipt is no longer worth anything: the message became visible
    /// again, and whoever takes it now has to end it.
    pub fn delete(&self, receipt: Receipt) -> bool {
        self.change(receipt.lane, |pending| pending.end(receipt).is_some())
    }

    /// Makes a message whose work failed visible again after `delay`. `false` as with [`delete`](Self::delete).
    pub fn release(&self, receipt: Receipt, delay: Duration) -> bool {
        let visible_at = self.clock.elapsed().saturating_add(delay.min(NUDGE_DELAY_MAX));
        self.change(receipt.lane, |pending| {
            let message = pending.end(receipt);
            message.map(|message| pending.put_back(message, visible_at)).is_some()
        })
    }

    /// Ends every wait in [`receive`](Self::receive), present and future. Deliveries that are under way can still be deleted
    /// or released.
    pub fn close(&self) {
        for lane in [&self.due, &self.urgent] {
            lane.pending().closed = true;
            lane.sooner.notify_waiters();
        }
    }

    /// What the lane holds. Looks at every message: for a scrape now and then, not for each request.
    pub fn figures(&self, lane: Lane) -> LaneFigures {
        self.lane(lane).pending().figures(self.clock.elapsed())
    }

    /// The nudges last set aside, the newest last; at most [`DEAD_LETTERS_MAX`].
    pub fn dead_letters(&self, lane: Lane) -> Vec<DeadLetter> {
        self.lane(lane).pending().dead_letters().cloned().collect()
    }

    /// Changes the lane and rings when its next message became visible sooner by it.
    fn change<T>(&self, lane: Lane, change: impl FnOnce(&mut Pending) -> T) -> T {
        let of = self.lane(lane);
        let mut pending = of.pending();
        let before = pending.next_visible();
        let result = change(&mut pending);
        let sooner = match (before, pending.next_visible()) {
            (Some(before), Some(after)) => after < before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        drop(pending);
        if sooner {
            of.sooner.notify_waiters();
        }
        result
    }

    const fn lane(&self, lane: Lane) -> &NudgeLane {
        match lane {
            Lane::Due => &self.due,
            Lane::Urgent => &self.urgent,
        }
    }
}

impl fmt::Debug for InProcessQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessQueue").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl NudgeLane {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message of a nudge, and its delay within the limit.
fn message((nudge, delay): &(Nudge, Duration)) -> Result<(Box<str>, Duration), serde_json::Error> {
    Ok((serde_json::to_string(nudge)?.into_boxed_str(), (*delay).min(NUDGE_DELAY_MAX)))
}
