//! A table whose writes fail on demand.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use mm_engine::ports::{
    ChangePage, ConnectionStore, Consistency, Family, Link, LinkOutcome, Outcome, PersonRows, SeatPage, StateHash,
    StoreError, Unlink, WrappedKey,
};
use mm_model::{
    AccountId, Circuit, ConnectionKey, Minute, ProviderId, Refusal, Seat, Step, Timestamp, UserId, Version,
    login::PendingLogin,
    user::{EndedSession, ForcedAdmission},
};

/// What becomes of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It is done.
    Well,
    /// It is not done, and the answer says that the table is unavailable.
    Refuses,
    /// It is done, and the answer says that the table is unavailable.
    LosesTheAnswer,
    /// It is not done, because the row changed between the write and the look at it.
    Races,
    /// It is done, and no answer ever comes: the process will be killed there.
    Stalls,
    /// It is never done, and no answer ever comes: the process will be killed there.
    StallsBefore,
}

type Script = dyn FnMut(&Step) -> Mood + Send;

/// Decides about each conditional write; clones decide together.
#[derive(Clone)]
pub(crate) struct Moods {
    script: Arc<Mutex<Box<Script>>>,
    stalled: Arc<AtomicU64>,
}

impl Moods {
    pub(crate) fn new(script: impl FnMut(&Step) -> Mood + Send + 'static) -> Self {
        Self { script: Arc::new(Mutex::new(Box::new(script))), stalled: Arc::default() }
    }

    pub(crate) fn set(&self, script: impl FnMut(&Step) -> Mood + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// How many writes never answered.
    pub(crate) fn stalled(&self) -> u64 {
        self.stalled.load(Ordering::SeqCst)
    }
}

/// The table under its moods. Only the conditional writes of the refresh protocol have any.
pub(crate) struct MoodyStore {
    pub(crate) store: Arc<dyn ConnectionStore>,
    pub(crate) moods: Moods,
}

#[derive(Debug, thiserror::Error)]
#[error("a mood of the test's table")]
struct InAMood;

fn unavailable() -> StoreError {
    StoreError::Unavailable { doing: "write for a test", source: Box::new(InAMood) }
}

#[async_trait]
impl ConnectionStore for MoodyStore {
    async fn apply(&self, key: &ConnectionKey, step: &Step) -> Result<Outcome, StoreError> {
        let mood = (self.moods.script.lock().unwrap())(step);
        if mood == Mood::Races {
            return Ok(Outcome::Refused(Refusal::Raced, None));
        }
        if !matches!(mood, Mood::Refuses | Mood::StallsBefore) {
            let outcome = self.store.apply(key, step).await?;
            if mood == Mood::Well {
                return Ok(outcome);
            }
        }
        if matches!(mood, Mood::Stalls | Mood::StallsBefore) {
            self.moods.stalled.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Err(unavailable())
    }

    async fn person(&self, user: &UserId, consistency: Consistency) -> Result<PersonRows, StoreError> {
        self.store.person(user, consistency).await
    }

    async fn seated(&self, seat: Seat, cursor: Option<&str>) -> Result<SeatPage, StoreError> {
        self.store.seated(seat, cursor).await
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

    async fn tick(&self) -> Result<Option<Minute>, StoreError> {
        self.store.tick().await
    }

    async fn advance_tick(&self, minute: Minute) -> Result<(), StoreError> {
        self.store.advance_tick(minute).await
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
