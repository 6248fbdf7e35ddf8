//! The messages of one lane: what waits, what is being worked on, what was set aside. No waiting and no clock in here.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap, VecDeque},
    time::Duration,
};

use mm_engine::ports::{Lane, Nudge};
use mm_model::Timestamp;

use super::{
    DEAD_LETTERS_MAX, DeadLetter, LaneFigures, RECEIVE_BATCH_MAX, RECEIVES_MAX, Receipt, Received, VISIBILITY_TIMEOUT,
};

/// One lane's messages. Times are the clock's `elapsed`.
#[derive(Default)]
pub(super) struct Pending {
    /// No more deliveries.
    pub(super) closed: bool,
    /// The soonest visible first.
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// By when it is visible again, then by the delivery's number: a receipt is its key.
    in_flight: BTreeMap<(Duration, u64), Message>,
    /// Taken out for too many deliveries, and not yet in `dead`.
    exhausted: Vec<Message>,
    dead: VecDeque<DeadLetter>,
    dead_count: u64,
    /// For messages, places in the heap and deliveries alike.
    next_number: u64,
}

pub(super) struct Message {
    id: u64,
    /// When it was first to be visible.
    due: Duration,
    receives: u32,
    body: Box<str>,
}

struct Waiting {
    visible_at: Duration,
    /// Keeps the order of arrival among those visible at once.
    number: u64,
    message: Message,
}

impl Waiting {
    const fn rank(&self) -> (Duration, u64) {
        (self.visible_at, self.number)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl Pending {
    /// How many messages there are, those being worked on included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// Adds a message.
    pub(super) fn push(&mut self, body: Box<str>, visible_at: Duration) {
        let id = self.number();
        self.put_back(Message { id, due: visible_at, receives: 0, body }, visible_at);
    }

    /// Lets a message wait (again).
    pub(super) fn put_back(&mut self, message: Message, visible_at: Duration) {
        let number = self.number();
        self.waiting.push(Reverse(Waiting { visible_at, number, message }));
    }

    /// When the next message is visible: one that waits, or one whose delivery ran out.
    pub(super) fn next_visible(&self) -> Option<Duration> {
        let waiting = self.waiting.peek().map(|Reverse(waiting)| waiting.visible_at);
        let hidden = self.in_flight.first_key_value().map(|((visible_at, _), _)| *visible_at);
        waiting.into_iter().chain(hidden).min()
    }

    /// Delivers what is visible at `now`, up to [`RECEIVE_BATCH_MAX`], the longest visible first.
    pub(super) fn take(&mut self, now: Duration, lane: Lane) -> Vec<Received> {
        self.put_back_overdue(now);
        let mut batch = Vec::new();
        while batch.len() < RECEIVE_BATCH_MAX
            && let Some(message) = self.pop_visible(now)
        {
            if message.receives < RECEIVES_MAX {
                batch.push(self.deliver(message, now, lane));
            } else {
                self.exhausted.push(message);
            }
        }
        batch
    }

    fn put_back_overdue(&mut self, now: Duration) {
        while let Some(first) = self.in_flight.first_entry() {
            let (visible_at, number) = *first.key();
            if visible_at > now {
                break;
            }
            let message = first.remove();
            self.waiting.push(Reverse(Waiting { visible_at, number, message }));
        }
    }

    fn pop_visible(&mut self, now: Duration) -> Option<Message> {
        let Reverse(first) = self.waiting.peek()?;
        if first.visible_at > now {
            return None;
        }
        self.waiting.pop().map(|Reverse(waiting)| waiting.message)
    }

    fn deliver(&mut self, mut message: Message, now: Duration, lane: Lane) -> Received {
        message.receives += 1;
        let receipt = Receipt { lane, visible_at: now.saturating_add(VISIBILITY_TIMEOUT), number: self.number() };
        let received = Received {
            message_id: message.id.to_string(),
            receipt,
            body: message.body.clone().into_string(),
            receive_count: message.receives,
        };
        self.in_flight.insert((receipt.visible_at, receipt.number), message);
        received
    }

    /// Moves what [`take`](Self::take) found delivered too often to the dead letters, and says how many those were.
    pub(super) fn set_aside(&mut self, at: Timestamp) -> usize {
        let count = self.exhausted.len();
        for message in self.exhausted.drain(..) {
            self.dead_count += 1;
            // Every body was written by `nudge`, so each parses; only its key is kept.
            if let Ok(Nudge { key, .. }) = serde_json::from_str(&message.body) {
                if self.dead.len() == DEAD_LETTERS_MAX {
                    self.dead.pop_front();
                }
                self.dead.push_back(DeadLetter { key, at });
            }
        }
        count
    }

    /// Takes a message out of those being worked on; `None` when this delivery ran out and the message was seen again.
    pub(super) fn end(&mut self, receipt: Receipt) -> Option<Message> {
        self.in_flight.remove(&(receipt.visible_at, receipt.number))
    }

    pub(super) fn figures(&self, now: Duration) -> LaneFigures {
        let waiting = self.waiting.iter().map(|Reverse(waiting)| &waiting.message);
        let oldest = waiting.chain(self.in_flight.values()).map(|message| message.due).min();
        LaneFigures {
            waiting: self.waiting.len(),
            in_flight: self.in_flight.len(),
            oldest_age: oldest.map(|due| now.saturating_sub(due)).unwrap_or_default(),
            dead: self.dead_count,
        }
    }

    pub(super) fn dead_letters(&self) -> impl Iterator<Item = &DeadLetter> {
        self.dead.iter()
    }

    const fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
