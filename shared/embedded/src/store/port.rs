//! The port's methods: each names what it does and where it runs.

use async_trait::async_trait;
use mm_engine::ports::{
    ChangePage, ConnectionStore, Consistency, Family, Link, LinkOutcome, Outcome, PersonRows, SeatPage, StateHash,
    StoreError, Unlink, WrappedKey,
};
use mm_model::{
    AccountId, Circuit, ConnectionKey, Minute, ProviderId, Seat, Step, Timestamp, UserId, Version,
    login::PendingLogin,
    user::{EndedSession, ForcedAdmission},
};

use super::{SqliteStore, accounts, changes, connections, logins, operations, people, wheel};

#[async_trait]
impl ConnectionStore for SqliteStore {
    async fn apply(&self, key: &ConnectionKey, step: &Step) -> Result<Outcome, StoreError> {
        let (key, step) = (key.clone(), step.clone());
        self.writer.write("apply a step to a connection", move |unit| connections::apply(unit, &key, &step)).await
    }

    // Both consistencies are one here: see `readers`.
    async fn person(&self, user: &UserId, _: Consistency) -> Result<PersonRows, StoreError> {
        self.read("read a person's rows", |sql| {
            // Both or neither of a login's rows. Dropped, the transaction ends: there is nothing to commit.
            let snapshot = sql.unchecked_transaction()?;
            Ok(PersonRows { user: people::find(&snapshot, user)?, connections: connections::of(&snapshot, user)? })
        })
    }

    async fn seated(&self, seat: Seat, cursor: Option<&str>) -> Result<SeatPage, StoreError> {
        self.read("read a seat of the wheel", |sql| wheel::seated(sql, seat, cursor))
    }

    async fn begin_login(&self, state: &StateHash, login: &PendingLogin) -> Result<(), StoreError> {
        let (state, login) = (*state, login.clone());
        self.writer.write("keep a pending login", move |unit| logins::begin(unit, &state, &login)).await
    }

    async fn take_login(&self, state: &StateHash, now: Timestamp) -> Result<Option<PendingLogin>, StoreError> {
        let state = *state;
        self.writer.write("take a pending login", move |unit| logins::take(unit, &state, now)).await
    }

    async fn owner(&self, provider: &ProviderId, account: &AccountId) -> Result<Option<UserId>, StoreError> {
        self.read("read whose account it is", |sql| accounts::owner(sql, provider, account))
    }

    async fn link(&self, link: &Link) -> Result<LinkOutcome, StoreError> {
        let link = link.clone();
        self.writer.write("write a login", move |unit| accounts::link(unit, &link)).await
    }

    async fn unlink(&self, unlink: &Unlink) -> Result<LinkOutcome, StoreError> {
        let unlink = unlink.clone();
        self.writer.write("write a disconnect", move |unit| accounts::unlink(unit, &unlink)).await
    }

    async fn end_session(&self, user: &UserId, session: EndedSession, now: Timestamp) -> Result<(), StoreError> {
        let user = user.clone();
        self.writer.write("end a session", move |unit| people::end_session(unit, &user, session, now)).await
    }

    async fn end_all_sessions(&self, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
        let user = user.clone();
        self.writer.write("end every session", move |unit| people::end_all_sessions(unit, &user, now)).await
    }

    async fn force(&self, user: &UserId, seen: Version, now: Timestamp) -> Result<Option<ForcedAdmission>, StoreError> {
        let user = user.clone();
        self.writer.write("count a forced refresh", move |unit| people::force(unit, &user, seen, now)).await
    }

    async fn forget(&self, user: &UserId) -> Result<LinkOutcome, StoreError> {
        let user = user.clone();
        self.writer.write("forget a person", move |unit| accounts::forget(unit, &user)).await
    }

    async fn tick(&self) -> Result<Option<Minute>, StoreError> {
        self.read("read the tick", operations::tick)
    }

    async fn advance_tick(&self, minute: Minute) -> Result<(), StoreError> {
        self.writer.write("note the tick", move |unit| operations::advance_tick(unit, minute)).await
    }

    async fn circuit(&self, provider: &ProviderId) -> Result<Circuit, StoreError> {
        self.read("read a circuit", |sql| operations::circuit(sql, provider))
    }

    async fn swap_circuit(&self, provider: &ProviderId, old: Circuit, new: Circuit) -> Result<bool, StoreError> {
        let provider = provider.clone();
        self.writer.write("change a circuit", move |unit| operations::swap_circuit(unit, &provider, old, new)).await
    }

    async fn branch_keys(&self, family: Family) -> Result<Vec<WrappedKey>, StoreError> {
        self.read("read the branch keys", |sql| operations::branch_keys(sql, family))
    }

    async fn add_branch_key(&self, family: Family, key: &WrappedKey) -> Result<bool, StoreError> {
        let key = key.clone();
        self.writer.write("add a branch key", move |unit| operations::add_branch_key(unit, family, &key)).await
    }

    async fn changes(&self, cursor: Option<&str>) -> Result<ChangePage, StoreError> {
        self.read("read the changes", |sql| changes::after(sql, cursor))
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.purge_in_batches(now).await
    }
}
