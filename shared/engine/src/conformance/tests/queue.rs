//! A queue and a key service in memory, sound or with one flaw.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    conformance::{Delivered, KEY_CASES, KeySubject, QUEUE_CASES, QueueProbe, QueueSubject, key_case, queue_case},
    ports::{
        BranchKey, KeyContext, KeyError, KeyService, Lane, LaneMessage, NUDGE_DELAY_MAX, Nudge, QueueError,
        RefreshQueue, SEND_BATCH_MAX,
    },
};

const VISIBILITY: Duration = Duration::from_mins(3);
const DEDUPLICATION: Duration = Duration::from_mins(5);

/// What a queue could get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    SecondBatchIsLost,
    LanesAreOne,
    DelayIsIgnored,
    DelayIsRefused,
    DelayIsNotCapped,
    NothingComesAgain,
    DeleteIsForgotten,
    LaneIsAStack,
    LaneOvertakes,
    LaneHasADeadLetterQueue,
    OneLaneForAll,
    DuplicatesPass,
    DeduplicatesByKey,
    DeduplicatesForEver,
    LaneIsForgotten,
}

impl Flaw {
    /// Each flaw, and the case that has to find it.
    const ALL: [(Self, &'static str); 15] = [
        (Self::SecondBatchIsLost, "nudges::many_nudges_all_arrive_with_their_identities"),
        (Self::LanesAreOne, "nudges::the_lanes_are_apart"),
        (Self::DelayIsIgnored, "nudges::a_nudge_waits_for_its_delay"),
        (Self::DelayIsRefused, "nudges::a_long_delay_is_capped"),
        (Self::DelayIsNotCapped, "nudges::a_long_delay_is_capped"),
        (Self::NothingComesAgain, "nudges::what_is_not_deleted_comes_again"),
        (Self::DeleteIsForgotten, "nudges::what_is_not_deleted_comes_again"),
        (Self::LaneIsAStack, "lane::one_connections_messages_come_in_order"),
        (Self::LaneOvertakes, "lane::the_next_waits_until_the_one_before_is_deleted"),
        (Self::LaneHasADeadLetterQueue, "lane::what_is_not_deleted_comes_again_and_before_what_is_behind_it"),
        (Self::OneLaneForAll, "lane::connections_do_not_wait_for_each_other"),
        (Self::DuplicatesPass, "lane::a_deduplication_id_is_accepted_once_in_five_minutes"),
        (Self::DeduplicatesByKey, "lane::the_same_content_under_another_id_is_another_message"),
        (Self::DeduplicatesForEver, "lane::a_deduplication_id_is_accepted_once_in_five_minutes"),
        (Self::LaneIsForgotten, "lane::what_was_accepted_survives_the_process"),
    ];
}

struct Message {
    id: u64,
    lane: &'static str,
    body: String,
    visible_at: Duration,
    receives: u32,
}

#[derive(Default)]
struct State {
    now: Duration,
    next: u64,
    messages: Vec<Message>,
    seen: Vec<(String, Duration)>,
}

#[derive(Clone)]
struct MemoryQueue {
    flaw: Option<Flaw>,
    state: Arc<Mutex<State>>,
}

impl MemoryQueue {
    fn new(flaw: Option<Flaw>) -> Self {
        Self { flaw, state: Arc::default() }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn lane(&self, lane: Lane) -> &'static str {
        match lane {
            Lane::Urgent if !self.has(Flaw::LanesAreOne) => "urgent",
            Lane::Due | Lane::Urgent => "due",
        }
    }

    fn put(&self, lane: &'static str, message: &impl Serialize, delay: Duration) {
        let mut state = self.state();
        let (id, visible_at) = (state.next, state.now.saturating_add(delay));
        state.next += 1;
        let body = serde_json::to_string(message).unwrap();
        state.messages.push(Message { id, lane, body, visible_at, receives: 0 });
    }

    /// Takes what `admits` lets through out of sight, a batch at most.
    fn take<T: DeserializeOwned>(&self, lane: &str, mut admits: impl FnMut(&T, bool) -> bool) -> Vec<Delivered<T>> {
        let mut state = self.state();
        let now = state.now;
        let again = if self.has(Flaw::NothingComesAgain) { Duration::MAX } else { now + VISIBILITY };
        let mut batch = Vec::new();
        for entry in state.messages.iter_mut().filter(|entry| entry.lane == lane) {
            let message = serde_json::from_str(&entry.body).unwrap();
            if admits(&message, entry.visible_at <= now) && batch.len() < SEND_BATCH_MAX {
                entry.visible_at = again;
                entry.receives += 1;
                batch.push(Delivered { message, receipt: entry.id.to_string() });
            }
        }
        batch
    }

    fn remove(&self, receipt: &str) {
        if !self.has(Flaw::DeleteIsForgotten) {
            self.state().messages.retain(|entry| entry.id.to_string() != receipt);
        }
    }
}

#[async_trait]
impl RefreshQueue for MemoryQueue {
    async fn nudge(&self, lane: Lane, nudges: Vec<(Nudge, Duration)>) -> Result<(), QueueError> {
        let most = if self.has(Flaw::SecondBatchIsLost) { SEND_BATCH_MAX } else { usize::MAX };
        for (nudge, delay) in nudges.into_iter().take(most) {
            let delay = match self.flaw {
                Some(Flaw::DelayIsIgnored) => Duration::ZERO,
                Some(Flaw::DelayIsNotCapped) => delay,
                Some(Flaw::DelayIsRefused) if delay > NUDGE_DELAY_MAX => {
                    return Err(QueueError { count: 1, source: "the delay is too long".into() });
                }
                _ => delay.min(NUDGE_DELAY_MAX),
            };
            self.put(self.lane(lane), &nudge, delay);
        }
        Ok(())
    }

    async fn put_on_lane(&self, message: &LaneMessage) -> Result<(), QueueError> {
        let id = match self.flaw {
            Some(Flaw::DuplicatesPass) => self.state().next.to_string(),
            Some(Flaw::DeduplicatesByKey) => message.key().to_string(),
            _ => message.deduplication_id(),
        };
        {
            let mut state = self.state();
            let now = state.now;
            if !self.has(Flaw::DeduplicatesForEver) {
                state.seen.retain(|(_, at)| now < *at + DEDUPLICATION);
            }
            if state.seen.iter().any(|(seen, _)| *seen == id) {
                return Ok(());
            }
            state.seen.push((id, now));
        }
        self.put("ordered", message, Duration::ZERO);
        if self.has(Flaw::LaneIsAStack) {
            self.state().messages.rotate_right(1);
        }
        Ok(())
    }
}

#[async_trait]
impl QueueProbe for MemoryQueue {
    fn queue(&self) -> Arc<dyn RefreshQueue> {
        Arc::new(self.clone())
    }

    async fn receive(&self, lane: Lane) -> Vec<Delivered<Nudge>> {
        self.take(self.lane(lane), |_, visible| visible)
    }

    async fn delete(&self, _: Lane, receipt: &str) {
        self.remove(receipt);
    }

    async fn receive_ordered(&self) -> Vec<Delivered<LaneMessage>> {
        if self.has(Flaw::LaneHasADeadLetterQueue) {
            self.state().messages.retain(|entry| entry.receives < 5);
        }
        let mut locked = BTreeSet::new();
        let one = self.has(Flaw::OneLaneForAll);
        let overtakes = self.has(Flaw::LaneOvertakes);
        self.take("ordered", |message: &LaneMessage, visible| {
            let group = if one { String::new() } else { message.key().to_string() };
            let free = !locked.contains(&group);
            // One of a group at a time; behind one that is under way nothing comes.
            if visible || !overtakes {
                locked.insert(group);
            }
            visible && free
        })
    }

    async fn delete_ordered(&self, receipt: &str) {
        self.remove(receipt);
    }

    async fn pass(&self, span: Duration) {
        self.state().now += span;
    }

    fn visibility_timeout(&self) -> Duration {
        VISIBILITY
    }

    async fn reopen(&self) -> bool {
        let mut state = self.state();
        if self.has(Flaw::LaneIsForgotten) {
            state.messages.clear();
        }
        for entry in &mut state.messages {
            entry.visible_at = Duration::ZERO;
        }
        true
    }
}

fn queue(flaw: Option<Flaw>) -> QueueSubject {
    QueueSubject { probe: Arc::new(MemoryQueue::new(flaw)), keep: Box::new(()) }
}

async fn fresh() -> QueueSubject {
    queue(None)
}

crate::queue_conformance!(fresh);

#[tokio::test]
async fn every_flaw_of_a_queue_is_found_by_its_case() {
    let mut missed = Vec::new();
    for (flaw, case) in Flaw::ALL {
        assert!(QUEUE_CASES.contains(&case), "there is no case {case}");
        let ended = tokio::spawn(queue_case(case, queue(Some(flaw)))).await;
        if matches!(ended, Ok(Ok(()))) {
            missed.push((flaw, case));
        }
    }
    assert_eq!(missed, [], "flaws that their cases let pass");
}

/// A key service that seals nothing: it wraps by writing down, and refuses or not as its flaw has it.
struct WritingDown {
    numbered: Mutex<u64>,
    flaw: Option<KeyFlaw>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFlaw {
    ShowsTheKey,
    WrapsAlike,
    IgnoresTheTable,
    IgnoresTheFamily,
    IgnoresTheNumber,
    JoinsTheContext,
    IgnoresTouching,
    IgnoresTheLength,
}

impl KeyFlaw {
    const ALL: [(Self, &'static str); 8] = [
        (Self::ShowsTheKey, "keys::a_wrapped_key_shows_nothing_of_the_key"),
        (Self::WrapsAlike, "keys::a_wrapped_key_shows_nothing_of_the_key"),
        (Self::IgnoresTheTable, "keys::another_context_is_refused"),
        (Self::IgnoresTheFamily, "keys::another_context_is_refused"),
        (Self::IgnoresTheNumber, "keys::another_context_is_refused"),
        (Self::JoinsTheContext, "keys::another_context_is_refused"),
        (Self::IgnoresTouching, "keys::a_touched_key_is_refused"),
        (Self::IgnoresTheLength, "keys::a_touched_key_is_refused"),
    ];
}

impl WritingDown {
    fn bound(&self, context: &KeyContext) -> String {
        let KeyContext { table, family, number } = context;
        match self.flaw {
            Some(KeyFlaw::IgnoresTheTable) => format!("{family:?}/{number}"),
            Some(KeyFlaw::IgnoresTheFamily) => format!("{}/{table}/{number}", table.len()),
            Some(KeyFlaw::IgnoresTheNumber) => format!("{}/{table}/{family:?}", table.len()),
            Some(KeyFlaw::JoinsTheContext) => {
                format!("{table}{}", family.as_str()).replace("refreshrefresh", "refresh")
            }
            _ => format!("{}/{table}/{family:?}/{number}", table.len()),
        }
    }
}

#[async_trait]
impl KeyService for WritingDown {
    async fn wrap(&self, context: &KeyContext, key: &BranchKey) -> Result<Vec<u8>, KeyError> {
        let mut numbered = self.numbered.lock().unwrap();
        if self.flaw != Some(KeyFlaw::WrapsAlike) {
            *numbered += 1;
        }
        let hidden = key.0.map(|byte| if self.flaw == Some(KeyFlaw::ShowsTheKey) { byte } else { byte ^ 0x5a });
        let body = [&numbered.to_be_bytes()[..], &hidden, self.bound(context).as_bytes()].concat();
        let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Ok([&sum.to_be_bytes()[..], &body].concat())
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8]) -> Result<BranchKey, KeyError> {
        let refused = KeyError::Refused { family: context.family, number: context.number };
        let Some((sum, body)) = wrapped.split_first_chunk::<8>() else { return Err(refused) };
        let is = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        let sound = is == u64::from_be_bytes(*sum) || self.flaw == Some(KeyFlaw::IgnoresTouching);
        let bound = self.bound(context);
        let is_bound = match self.flaw {
            Some(KeyFlaw::IgnoresTheLength) => body.get(40..).is_some_and(|rest| bound.as_bytes().starts_with(rest)),
            _ => body.get(40..) == Some(bound.as_bytes()),
        };
        let ignores = self.flaw == Some(KeyFlaw::IgnoresTheLength);
        match body.get(8..40).and_then(|hidden| <[u8; 32]>::try_from(hidden).ok()) {
            Some(hidden) if (sound || ignores) && is_bound => Ok(BranchKey(hidden.map(|byte| byte ^ 0x5a))),
            _ => Err(refused),
        }
    }
}

fn keys(flaw: Option<KeyFlaw>) -> KeySubject {
    KeySubject { keys: Arc::new(WritingDown { numbered: Mutex::default(), flaw }), keep: Box::new(()) }
}

async fn fresh_keys() -> KeySubject {
    keys(None)
}

crate::key_conformance!(fresh_keys);

#[tokio::test]
async fn every_flaw_of_a_key_service_is_found_by_its_case() {
    let mut missed = Vec::new();
    for (flaw, case) in KeyFlaw::ALL {
        assert!(KEY_CASES.contains(&case), "there is no case {case}");
        let ended = tokio::spawn(key_case(case, keys(Some(flaw)))).await;
        if matches!(ended, Ok(Ok(()))) {
            missed.push((flaw, case));
        }
    }
    assert_eq!(missed, [], "flaws that their cases let pass");
}
