//! A table, a queue and an event sink that fail when a test says so.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use mm_embedded::{queue::EmbeddedQueue, store::SqliteStore};
use mm_engine::ports::{
    ChangePage, Clock, ConnectionStore, Consistency, EventError, EventSink, Family, Lane, LaneMessage, Link,
    LinkOutcome, Nudge, Outcome, PersonRows, QueueError, RefreshQueue, SeatPage, StateHash, StoreError, Unlink,
    WrappedKey,
};
use mm_model::{
    AccountId, Circuit, ConnectionKey, Minute, ProviderId, Seat, Step, Timestamp, UserId, Version,
    event::ConnectionEvent,
    login::PendingLogin,
    user::{EndedSession, ForcedAdmission},
};

/// What is asked of the ports during a tick, and for a batch of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    ReadTick,
    ReadSeat,
    Send,
    AdvanceTick,
    Publish,
}

/// How a call ends that is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing was done.
    Refused,
    /// It was done, and the answer was lost.
    AnswerLost,
}

/// The failure to come: at which call of its kind, counted from 1, and how. One at a time, and once.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Option<(Call, u32, Failure)>>>);

impl Faults {
    pub(crate) fn fail(&self, call: Call, nth: u32, failure: Failure) {
        *self.0.lock().unwrap() = Some((call, nth, failure));
    }

    /// Whether the planned failure has not come; if so it is called off.
    pub(crate) fn call_off(&self) -> bool {
        self.0.lock().unwrap().take().is_some()
    }

    fn of(&self, call: Call) -> Option<Failure> {
        let mut planned = self.0.lock().unwrap();
        let (due, nth, failure) = planned.as_mut()?;
        if *due != call {
            return None;
        }
        *nth -= 1;
        let failure = *failure;
        (*nth == 0).then(|| {
            *planned = None;
            failure
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a failure planned by the test")]
struct Planned;

fn unavailable() -> StoreError {
    StoreError::Unavailable { doing: "fail as planned", source: Box::new(Planned) }
}

/// The table under its faults.
pub(crate) struct FaultyStore {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) faults: Faults,
}

/// The queue under its faults; remembers what was accepted.
pub(crate) struct FaultyQueue {
    pub(crate) queue: EmbeddedQueue,
    pub(crate) faults: Faults,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whom, and when it will be delivered.
    pub(crate) sent: Mutex<Vec<(ConnectionKey, Timestamp)>>,
}

/// An event sink under its faults; remembers what it accepted.
pub(crate) struct FaultyEvents {
    pub(crate) faults: Faults,
    pub(crate) told: Mutex<Vec<ConnectionEvent>>,
}

#[async_trait]
impl EventSink for FaultyEvents {
    async fn publish(&self, event: &ConnectionEvent) -> Result<(), EventError> {
        let failure = self.faults.of(Call::Publish);
        if failure != Some(Failure::Refused) {
            self.told.lock().unwrap().push(event.clone());
        }
        failure.map_or(Ok(()), |_| Err(EventError(Box::new(Planned))))
    }
}

#[async_trait]
impl RefreshQueue for FaultyQueue {
    async fn nudge(&self, lane: Lane, nudges: Vec<(Nudge, Duration)>) -> Result<(), QueueError> {
        let failure = self.faults.of(Call::Send);
        let count = nudges.len();
        if failure != Some(Failure::Refused) {
            let now = self.clock.now();
            let sent = nudges.iter().map(|(nudge, delay)| (nudge.key.clone(), now.plus(*delay)));
            self.sent.lock().unwrap().extend(sent);
            self.queue.nudge(lane, nudges).await?;
        }
        match failure {
            None => Ok(()),
            Some(_) => Err(QueueError { count, source: Box::new(Planned) }),
        }
    }

    async fn put_on_lane(&self, message: &LaneMessage) -> Result<(), QueueError> {
        self.queue.put_on_lane(message).await
    }
}

#[async_trait]
impl ConnectionStore for FaultyStore {
    async fn tick(&self) -> Result<Option<Minute>, StoreError> {
        match self.faults.of(Call::ReadTick) {
            None => self.store.tick().await,
            Some(_) => Err(unavailable()),
        }
    }

    async fn seated(&self, seat: Seat, cursor: Option<&str>) -> Result<SeatPage, StoreError> {
        match self.faults.of(Call::ReadSeat) {
            None => self.store.seated(seat, cursor).await,
            Some(_) => Err(unavailable()),
        }
    }

    async fn advance_tick(&self, minute: Minute) -> Result<(), StoreError> {
        let failure = self.faults.of(Call::AdvanceTick);
        if failure != Some(Failure::Refused) {
            self.store.advance_tick(minute).await?;
        }
        match failure {
            None => Ok(()),
            Some(_) => Err(unavailable()),
        }
    }

    async fn apply(&self, key: &ConnectionKey, step: &Step) -> Result<Outcome, StoreError> {
        self.store.apply(key, step).await
    }

    async fn person(&self, user: &UserId, consistency: Consistency) -> Result<PersonRows, StoreError> {
        self.store.person(user, consistency).await
    }

    async fn begin_login(&self, state: &StateHash, login: &PendingLogin) -> Result<(), StoreError> {
        self.store.begin_login(state, login).await
    }

    async fn take_login(&self, state: &StateHash, now: Timestamp) -> Result<Option<PendingLogin>, StoreError> {
        self.store.take_login(state, now).await
    }

    async fn owner(&self, provider: &ProviderId, account: &AccountId) -> Result<Option<UserId>, StoreError> {
        self.store.owner(provider, account).await
    }

    async fn link(&self, link: &Link) -> Result<LinkOutcome, StoreError> {
        self.store.link(link).await
    }

    async fn unlink(&self, unlink: &Unlink) -> Result<LinkOutcome, StoreError> {
        self.store.unlink(unlink).await
    }

    async fn end_session(&self, user: &UserId, session: EndedSession, now: Timestamp) -> Result<(), StoreError> {
        self.store.end_session(user, session, now).await
    }

    async fn end_all_sessions(&self, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
        self.store.end_all_sessions(user, now).await
    }

    async fn force(&self, user: &UserId, seen: Version, now: Timestamp) -> Result<Option<ForcedAdmission>, StoreError> {
        self.store.force(user, seen, now).await
    }

    async fn forget(&self, user: &UserId) -> Result<LinkOutcome, StoreError> {
        self.store.forget(user).await
    }

    async fn circuit(&self, provider: &ProviderId) -> Result<Circuit, StoreError> {
        self.store.circuit(provider).await
    }

    async fn swap_circuit(&self, provider: &ProviderId, old: Circuit, new: Circuit) -> Result<bool, StoreError> {
        self.store.swap_circuit(provider, old, new).await
    }

    async fn branch_keys(&self, family: Family) -> Result<Vec<WrappedKey>, StoreError> {
        self.store.branch_keys(family).await
    }

    async fn add_branch_key(&self, family: Family, key: &WrappedKey) -> Result<bool, StoreError> {
        self.store.add_branch_key(family, key).await
    }

    async fn changes(&self, cursor: Option<&str>) -> Result<ChangePage, StoreError> {
        self.store.changes(cursor).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.store.purge(now).await
    }
}
