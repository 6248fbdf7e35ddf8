//! Which messages of which connection may be delivered when. No file, no clock and no waiting in here.
//!
//! As in a FIFO queue with message groups: a delivery takes messages of a group from its front, and the group then gives out
//! nothing more until every one of them is deleted or visible again; a message that comes back comes back to its place.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use mm_model::Timestamp;

use super::{LANE_RETENTION, LaneReceipt, LaneReceived, record::Entry};
use crate::queue::{RECEIVE_BATCH_MAX, VISIBILITY_TIMEOUT};

/// The live messages. Times are the clock's `elapsed`, except where a [`Timestamp`] says otherwise.
#[derive(Default)]
pub(super) struct Groups {
    /// No more deliveries.
    pub(super) closed: bool,
    messages: BTreeMap<u64, Message>,
    lanes: HashMap<Arc<str>, Group>,
    /// When each group gives out messages; the id of its first message keeps groups of one time in order.
    schedule: BTreeMap<(Duration, u64), Arc<str>>,
    bytes: usize,
    next_delivery: u64,
}

struct Message {
    entry: Entry,
    receives: u32,
}

#[derive(Default)]
struct Group {
    ids: BTreeSet<u64>,
    /// Delivered and not deleted.
    in_flight: HashMap<u64, Flight>,
    /// Its place in the schedule.
    at: Option<(Duration, u64)>,
}

struct Flight {
    /// `None` when it was released: the receipt is spent.
    delivery: Option<u64>,
    until: Duration,
}

impl Groups {
    /// Adds a message behind those of its group. Its id is larger than any before.
    pub(super) fn insert(&mut self, entry: Entry, now: Duration) {
        let (id, group) = (entry.id, Arc::clone(&entry.group));
        self.bytes += entry.record_bytes();
        self.messages.insert(id, Message { entry, receives: 0 });
        let lane = self.lanes.entry(Arc::clone(&group)).or_default();
        lane.ids.insert(id);
        // Whether it waits or is locked, a group that has a place keeps it: it comes behind nobody for having grown.
        if lane.at.is_none() {
            lane.at = Some((now, id));
            self.schedule.insert((now, id), group);
        }
    }

    /// Delivers what may be delivered at `now`, up to [`RECEIVE_BATCH_MAX`] messages, the longest waiting group first.
    pub(super) fn take(&mut self, now: Duration) -> Vec<LaneReceived> {
        let mut batch = Vec::new();
        while batch.len() < RECEIVE_BATCH_MAX {
            let Some((place, group)) = self.schedule.first_key_value() else { break };
            if place.0 > now {
                break;
            }
            let group = Arc::clone(group);
            self.deliver(&group, now, &mut batch);
        }
        batch
    }

    fn deliver(&mut self, name: &Arc<str>, now: Duration, batch: &mut Vec<LaneReceived>) {
        let Some(group) = self.lanes.get_mut(name) else { return };
        // The schedule says that every one of them is visible again.
        group.in_flight.clear();
        let until = now.saturating_add(VISIBILITY_TIMEOUT);
        for id in group.ids.iter().take(RECEIVE_BATCH_MAX - batch.len()) {
            let Some(message) = self.messages.get_mut(id) else { continue };
            message.receives += 1;
            self.next_delivery += 1;
            group.in_flight.insert(*id, Flight { delivery: Some(self.next_delivery), until });
            batch.push(LaneReceived {
                message_id: id.to_string(),
                receipt: LaneReceipt { id: *id, delivery: self.next_delivery },
                group: name.to_string(),
                deduplication_id: message.entry.deduplication_id.to_string(),
                body: message.entry.body.to_string(),
                receive_count: message.receives,
            });
        }
        self.reschedule(name, now);
    }

    /// Deletes a delivered message; `false` when the delivery ran out and the message was delivered again.
    pub(super) fn delete(&mut self, receipt: LaneReceipt, now: Duration) -> bool {
        let held = self.flight(receipt).is_some();
        if held {
            self.remove(receipt.id, now);
        }
        held
    }

    /// Lets a delivered message come again after `delay`; `false` as with [`delete`](Self::delete).
    pub(super) fn release(&mut self, receipt: LaneReceipt, delay: Duration, now: Duration) -> bool {
        let Some((group, flight)) = self.flight(receipt) else { return false };
        *flight = Flight { delivery: None, until: now.saturating_add(delay) };
        self.reschedule(&group, now);
        true
    }

    /// Removes the messages that were put longer than [`LANE_RETENTION`] ago and gives their ids and groups.
    pub(super) fn expire(&mut self, now: Timestamp, elapsed: Duration) -> Vec<(u64, Arc<str>)> {
        let mut expired = Vec::new();
        while let Some((id, message)) = self.messages.first_key_value() {
            if now.since(message.entry.put_at) < LANE_RETENTION {
                break;
            }
            let (id, group) = (*id, Arc::clone(&message.entry.group));
            self.remove(id, elapsed);
            expired.push((id, group));
        }
        expired
    }

    /// When the next group gives out messages.
    pub(super) fn next_visible(&self) -> Option<Duration> {
        self.schedule.first_key_value().map(|(place, _)| place.0)
    }

    /// How many messages live, those in flight included.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The bytes of their records.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest was put.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.messages.values().next().map(|message| message.entry.put_at)
    }

    /// The live messages in order.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.messages.values().map(|message| message.entry.clone()).collect()
    }

    fn flight(&mut self, receipt: LaneReceipt) -> Option<(Arc<str>, &mut Flight)> {
        let name = Arc::clone(&self.messages.get(&receipt.id)?.entry.group);
        let flight = self.lanes.get_mut(&name)?.in_flight.get_mut(&receipt.id)?;
        (flight.delivery == Some(receipt.delivery)).then_some((name, flight))
    }

    fn remove(&mut self, id: u64, now: Duration) {
        let Some(message) = self.messages.remove(&id) else { return };
        self.bytes -= message.entry.record_bytes();
        if let Some(group) = self.lanes.get_mut(&message.entry.group) {
            group.ids.remove(&id);
            group.in_flight.remove(&id);
        }
        self.reschedule(&message.entry.group, now);
    }

    /// Gives a group its place after its messages in flight have changed: when the last of them is visible again, or at once
    /// when there is none.
    fn reschedule(&mut self, name: &Arc<str>, now: Duration) {
        let Some(group) = self.lanes.get_mut(name) else { return };
        if let Some(place) = group.at.take() {
            self.schedule.remove(&place);
        }
        let Some(first) = group.ids.first() else {
            self.lanes.remove(name);
            return;
        };
        let at = group.in_flight.values().map(|flight| flight.until).max().unwrap_or(now);
        group.at = Some((at, *first));
        self.schedule.insert((at, *first), Arc::clone(name));
    }
}
