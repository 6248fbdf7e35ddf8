//! A store whose eventual reads lag.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use mm_model::{
    AccountId, Circuit, ConnectionKey, Minute, ProviderId, Seat, Step, Timestamp, UserId, Version,
    login::PendingLogin,
    user::{EndedSession, ForcedAdmission},
};

use crate::ports::{
    ChangePage, ConnectionStore, Consistency, Family, Link, LinkOutcome, Outcome, PersonRows, SeatPage, StateHash,
    StoreError, Unlink, WrappedKey,
};

/// A store whose eventual [`person`](ConnectionStore::person) answers one write late, for as long as no further write comes:
/// the worst that a replica may do. Strong reads, and everything else, pass through.
///
/// Only writes that come by this decorator are known to it. It looks at a person's rows before each of them, so that it
/// costs reads that the store below counts.
#[derive(Debug)]
pub struct LateReader<S> {
    store: S,
    /// Each person's rows as they were before the last write that changed them.
    before: Mutex<HashMap<UserId, PersonRows>>,
}

impl<S: ConnectionStore> LateReader<S> {
    /// Makes `store`'s eventual reads lag.
    pub fn new(store: S) -> Self {
        Self { store, before: Mutex::default() }
    }

    /// The store below.
    pub const fn inner(&self) -> &S {
        &self.store
    }

    /// Lets the replica catch up: eventual reads see everything written so far.
    pub fn catch_up(&self) {
        self.before().clear();
    }

    fn before(&self) -> MutexGuard<'_, HashMap<UserId, PersonRows>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, user: &UserId) -> Result<(UserId, PersonRows), StoreError> {
        Ok((user.clone(), self.store.person(user, Consistency::Strong).await?))
    }

    /// Remembers what a write changed. Of writes at once some may count as one: late is late.
    async fn note(&self, seen: Vec<(UserId, PersonRows)>) -> Result<(), StoreError> {
        for (user, rows) in seen {
            if self.store.person(&user, Consistency::Strong).await? != rows {
                self.before().insert(user, rows);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl<S: ConnectionStore> ConnectionStore for LateReader<S> {
    async fn apply(&self, key: &ConnectionKey, step: &Step) -> Result<Outcome, StoreError> {
        let seen = vec![self.look(&key.user).await?];
        let outcome = self.store.apply(key, step).await?;
        self.note(seen).await?;
        Ok(outcome)
    }

    async fn person(&self, user: &UserId, consistency: Consistency) -> Result<PersonRows, StoreError> {
        let late = self.before().get(user).cloned();
        match (consistency, late) {
            (Consistency::Eventual, Some(late)) => Ok(late),
            (Consistency::Eventual | Consistency::Strong, _) => self.store.person(user, consistency).await,
        }
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
        let mut seen = vec![self.look(&link.connection.key.user).await?];
        if let Some(taken) = &link.taken_from {
            seen.push(self.look(&taken.tombstone.key.user).await?);
        }
        let outcome = self.store.link(link).await?;
        self.note(seen).await?;
        Ok(outcome)
    }

    async fn unlink(&self, unlink: &Unlink) -> Result<LinkOutcome, StoreError> {
        let seen = vec![self.look(&unlink.tombstone.key.user).await?];
        let outcome = self.store.unlink(unlink).await?;
        self.note(seen).await?;
        Ok(outcome)
    }

    async fn end_session(&self, user: &UserId, session: EndedSession, now: Timestamp) -> Result<(), StoreError> {
        let seen = vec![self.look(user).await?];
        self.store.end_session(user, session, now).await?;
        self.note(seen).await
    }

    async fn end_all_sessions(&self, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
        let seen = vec![self.look(user).await?];
        self.store.end_all_sessions(user, now).await?;
        self.note(seen).await
    }

    async fn force(&self, user: &UserId, seen: Version, now: Timestamp) -> Result<Option<ForcedAdmission>, StoreError> {
        let before = vec![self.look(user).await?];
        let admission = self.store.force(user, seen, now).await?;
        self.note(before).await?;
        Ok(admission)
    }

    async fn forget(&self, user: &UserId) -> Result<LinkOutcome, StoreError> {
        let seen = vec![self.look(user).await?];
        let outcome = self.store.forget(user).await?;
        self.note(seen).await?;
        Ok(outcome)
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
