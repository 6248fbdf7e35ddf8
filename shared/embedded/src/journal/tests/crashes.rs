//! Random lives of a journal with crashes in them. Whatever tail a crash leaves, no acknowledged message that was not deleted
//! is lost, none that was surely deleted returns, and no group is ever out of order.

use std::{collections::BTreeMap, fs};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    journal::record::{Entry, HEADER_BYTES, Record, encode, scan},
    queue::VISIBILITY_TIMEOUT,
};

/// The file's first bytes, before the records.
const MAGIC_BYTES: usize = 8;

#[derive(Clone, Debug)]
enum Event {
    Put { group: u8, length: usize },
    Receive,
    Delete { which: usize },
    Release { which: usize, seconds: u64 },
    Advance { seconds: u64 },
    Restart,
    Crash { tear: Tear, at: usize },
}

/// What a crash does to the bytes behind the last acknowledged put. `at` chooses the place.
#[derive(Clone, Copy, Debug)]
enum Tear {
    /// They end somewhere.
    Cut,
    /// They end somewhere, and half an unacknowledged put follows.
    HalfPut,
    /// One of them is another.
    Garbled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    /// Deleted, and no put was acknowledged since: a crash may bring it back.
    Deleted,
    /// Deleted for good.
    Gone,
}

struct Life {
    fixture: Fixture,
    lane: Option<JournalLane>,
    /// Every message ever put, by number, with its group.
    messages: BTreeMap<usize, (String, State)>,
    in_hand: Vec<Held>,
}

/// A delivery that was not deleted.
struct Held {
    received: LaneReceived,
    /// It locks its group until then.
    until: Duration,
    /// It was released: it can be ended no more.
    spent: bool,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let tear = prop_oneof![Just(Tear::Cut), Just(Tear::HalfPut), Just(Tear::Garbled)];
    let event = prop_oneof![
        6 => (0..3u8, 0..600usize).prop_map(|(group, length)| Event::Put { group, length }),
        4 => Just(Event::Receive),
        6 => any::<usize>().prop_map(|which| Event::Delete { which }),
        2 => (any::<usize>(), 0..400u64).prop_map(|(which, seconds)| Event::Release { which, seconds }),
        2 => (0..400u64).prop_map(|seconds| Event::Advance { seconds }),
        1 => Just(Event::Restart),
        2 => (tear, any::<usize>()).prop_map(|(tear, at)| Event::Crash { tear, at }),
    ];
    vec(event, 1..60)
}

impl Life {
    fn new() -> Self {
        let fixture = Fixture::new();
        let lane = Some(fixture.open_within(SMALL));
        Self { fixture, lane, messages: BTreeMap::new(), in_hand: Vec::new() }
    }

    fn lane(&self) -> &JournalLane {
        self.lane.as_ref().unwrap()
    }

    async fn live_through(&mut self, event: Event) {
        match event {
            Event::Put { group, length } => self.put(&format!("group-{group}"), length).await,
            Event::Receive => self.receive(),
            Event::Delete { which } => self.delete(which).await,
            Event::Release { which, seconds } => self.release(which, Duration::from_secs(seconds)),
            Event::Advance { seconds } => self.fixture.clock.advance(Duration::from_secs(seconds)),
            Event::Restart => self.restart(None),
            Event::Crash { tear, at } => self.restart(Some((tear, at))),
        }
    }

    async fn put(&mut self, group: &str, length: usize) {
        let number = self.messages.len();
        let body = format!("{number} {}", "x".repeat(length));
        self.lane().put(group, &number.to_string(), body).await.unwrap();
        self.messages.insert(number, (group.to_owned(), State::Live));
        // The deletions before it were given to the writer before it, and its sync covered them.
        for (_, state) in self.messages.values_mut() {
            if *state == State::Deleted {
                *state = State::Gone;
            }
        }
    }

    fn receive(&mut self) {
        let now = self.fixture.clock.elapsed();
        let batch = visible(self.lane());
        let mut taken: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for received in &batch {
            taken.entry(&received.group).or_default().push(number_of(&received.body));
        }
        for (group, numbers) in taken {
            let locked = self.in_hand.iter().any(|held| held.received.group == group && held.until > now);
            assert!(!locked, "{group} was delivered while a delivery of it was under way");
            assert_eq!(numbers, self.live(group)[..numbers.len()], "{group} is delivered from its front, in order");
        }
        self.in_hand.retain(|held| !batch.iter().any(|received| received.group == held.received.group));
        let until = now + VISIBILITY_TIMEOUT;
        self.in_hand.extend(batch.into_iter().map(|received| Held { received, until, spent: false }));
    }

    async fn delete(&mut self, which: usize) {
        let Some(held) = self.pick(which) else { return };
        let (receipt, number) = (held.received.receipt, number_of(&held.received.body));
        self.in_hand.retain(|held| held.received.receipt != receipt);
        assert!(self.lane().delete(receipt).await, "nobody else has had it since");
        self.messages.get_mut(&number).unwrap().1 = State::Deleted;
    }

    fn release(&mut self, which: usize, delay: Duration) {
        let now = self.fixture.clock.elapsed();
        let Some(held) = self.pick(which) else { return };
        (held.spent, held.until) = (true, now + delay);
        let receipt = held.received.receipt;
        assert!(self.lane().release(receipt, delay));
    }

    /// One of the deliveries that can still be ended.
    fn pick(&mut self, which: usize) -> Option<&mut Held> {
        let mut open: Vec<_> = self.in_hand.iter_mut().filter(|held| !held.spent).collect();
        let which = which.checked_rem(open.len())?;
        Some(open.swap_remove(which))
    }

    fn restart(&mut self, crash: Option<(Tear, usize)>) {
        self.lane = None;
        if let Some((tear, at)) = crash {
            self.tear(tear, at);
        }
        self.in_hand.clear();
        self.lane = Some(self.fixture.open_within(SMALL));
        self.settle(crash.is_some());
    }

    /// Tears the bytes behind the last put. Those up to it are on the disk.
    fn tear(&self, tear: Tear, at: usize) {
        let path = self.fixture.path();
        let mut bytes = fs::read(&path).unwrap();
        let (synced, used) = tail(&bytes[MAGIC_BYTES..]);
        let (synced, used) = (MAGIC_BYTES + synced, MAGIC_BYTES + used);
        let place = synced + at % (used - synced + 1);
        match tear {
            Tear::Cut => bytes.truncate(place),
            Tear::HalfPut => {
                bytes.truncate(place);
                let half = unacknowledged_put(self.messages.len());
                bytes.extend(&half[..at % half.len()]);
                bytes.resize(bytes.len() + 512, 0);
            }
            Tear::Garbled if place < used => bytes[place] ^= 1 + u8::try_from(at % 255).unwrap(),
            Tear::Garbled => {}
        }
        fs::write(path, bytes).unwrap();
    }

    /// Compares the lane as it was found with what may be there, and takes it as it is from here on.
    fn settle(&mut self, crashed: bool) {
        let found: Vec<_> = self.lane().shared.groups().entries().iter().map(|entry| number_of(&entry.body)).collect();
        assert!(found.is_sorted(), "{found:?}");
        for (number, (_, state)) in &mut self.messages {
            let present = found.contains(number);
            match *state {
                State::Live => assert!(present, "message {number} was acknowledged and is lost"),
                State::Gone => assert!(!present, "message {number} was deleted for good and came back"),
                State::Deleted if crashed && present => *state = State::Live,
                State::Deleted => assert!(!present, "message {number} was deleted and came back without a crash"),
            }
        }
        assert!(found.iter().all(|number| self.messages.contains_key(number)));
    }

    fn live(&self, group: &str) -> Vec<usize> {
        let live = self.messages.iter().filter(|(_, (of, state))| of == group && *state == State::Live);
        live.map(|(number, _)| *number).collect()
    }
}

fn number_of(body: &str) -> usize {
    body.split_once(' ').unwrap().0.parse().unwrap()
}

/// Where the last put ends, and where the last record does.
fn tail(records: &[u8]) -> (usize, usize) {
    let (mut synced, mut end) = (0, 0);
    let read = scan(records);
    assert!(!read.damaged && !read.torn);
    for record in &read.records {
        let mut bytes = Vec::new();
        encode(record, &mut bytes);
        end += bytes.len();
        if matches!(record, Record::Put(_)) {
            synced = end;
        }
    }
    assert_eq!(end, read.end);
    (synced, end)
}

fn unacknowledged_put(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let entry = Entry {
        id: u64::MAX / 2,
        put_at: Timestamp::from_unix(1_000_000),
        group: "group-0".into(),
        deduplication_id: "never acknowledged".into(),
        body: format!("{number} never acknowledged").into(),
    };
    encode(&Record::Put(entry), &mut bytes);
    assert!(bytes.len() > HEADER_BYTES);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_message_is_lost_and_no_group_is_out_of_order(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut life = Life::new();
            for event in events {
                life.live_through(event).await;
            }
            life.restart(None);
            let drained = drain(life.lane()).await;
            for group in ["group-0", "group-1", "group-2"] {
                let of_group: Vec<_> = drained
                    .iter()
                    .map(|body| number_of(body))
                    .filter(|number| life.messages[number].0 == group)
                    .collect();
                assert_eq!(of_group, life.live(group));
            }
        });
    }
}
