//! The port's methods, each with its place for a flaw.

use async_trait::async_trait;
use mm_model::{
    AccountId, Circuit, ConnectionKey, Minute, ProviderId, Sealed, Seat, Step, Timestamp, User, UserId, Version,
    connection::Status,
    event::Change,
    login::PendingLogin,
    user::{EndedSession, ForcedAdmission},
};

use super::{Flaw, MemoryStore, PAGE};
use crate::ports::{
    ChangePage, ConnectionStore, Consistency, Family, Link, LinkOutcome, Outcome, PersonRows, SeatPage, StateHash,
    StoreError, Unlink, WrappedKey,
};

#[async_trait]
impl ConnectionStore for MemoryStore {
    async fn apply(&self, key: &ConnectionKey, step: &Step) -> Result<Outcome, StoreError> {
        if self.has(Flaw::ClaimIsNotAtomic) && matches!(step, Step::Claim(_) | Step::ForcedClaim(_)) {
            let old = self.state().table.person(&key.user).connection(&key.provider).cloned();
            self.hole(Flaw::ClaimIsNotAtomic).await;
            if let Some(Ok(row)) = old.map(|row| step.apply(row)) {
                self.state().table.put(&row);
                return Ok(Outcome::Applied(row));
            }
        }
        Ok(self.step(key, step))
    }

    async fn person(&self, user: &UserId, _: Consistency) -> Result<PersonRows, StoreError> {
        let mut rows = self.state().table.person(user);
        if self.has(Flaw::PersonIsUnordered) {
            rows.connections.reverse();
        }
        if self.has(Flaw::PersonReadsNeighbours) {
            let state = self.state();
            let is_neighbour = |other: &UserId| other.as_str().starts_with(user.as_str()) && other != user;
            let neighbours: Vec<_> = state.table.people().filter(is_neighbour).collect();
            rows.connections.extend(neighbours.iter().flat_map(|other| state.table.person(other).connections));
        }
        if self.has(Flaw::TokensAreCut) {
            for row in &mut rows.connections {
                if let Status::Active(active) = &mut row.status {
                    let bytes = active.access_token.as_bytes();
                    active.access_token = Sealed::from_bytes(bytes[..bytes.len().min(4096)].to_vec());
                }
            }
        }
        Ok(rows)
    }

    async fn seated(&self, seat: Seat, cursor: Option<&str>) -> Result<SeatPage, StoreError> {
        let mut state = self.state();
        let mut keys = state.table.seated(seat);
        if self.has(Flaw::SeatForgetsToMove) {
            for key in &keys {
                state.first_seats.entry(key.clone()).or_insert(seat);
            }
            keys = state.first_seats.iter().filter(|(_, first)| **first == seat).map(|(key, _)| key.clone()).collect();
        }
        let from: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let step = if self.has(Flaw::SeatRepeatsKeys) { PAGE - 1 } else { PAGE };
        let page: Vec<_> = keys.iter().skip(from).take(PAGE).cloned().collect();
        let more = page.len() == PAGE && !self.has(Flaw::SeatEndsAfterOnePage);
        Ok(SeatPage { keys: page, next: more.then(|| (from + step).to_string()) })
    }

    async fn begin_login(&self, state: &StateHash, login: &PendingLogin) -> Result<(), StoreError> {
        let mut all = self.state();
        if all.logins.contains_key(&state.0) && !self.has(Flaw::LoginIsOverwritten) {
            let (table, row) = ("logins", "login#".to_owned());
            return Err(StoreError::Impossible { table, row, field: "state", rule: "unused" });
        }
        all.logins.insert(state.0, login.clone());
        Ok(())
    }

    async fn take_login(&self, state: &StateHash, now: Timestamp) -> Result<Option<PendingLogin>, StoreError> {
        let found = self.state().logins.get(&state.0).cloned();
        self.hole(Flaw::TakeIsNotAtomic).await;
        let taken = if self.has(Flaw::TakeIsNotAtomic) {
            self.state().logins.remove(&state.0);
            found
        } else if self.has(Flaw::LoginIsTakenTwice) {
            found
        } else {
            self.state().logins.remove(&state.0)
        };
        Ok(taken.filter(|login| now < login.expires_at() || self.has(Flaw::LoginNeverExpires)))
    }

    async fn owner(&self, provider: &ProviderId, account: &AccountId) -> Result<Option<UserId>, StoreError> {
        let state = self.state();
        let exact = state.table.owner(provider, account).cloned();
        if self.has(Flaw::AccountsFoldTheirCase) && exact.is_some() {
            let folded = account.as_str().to_lowercase().parse().unwrap();
            return Ok(state.table.owner(provider, &folded).cloned().or(exact));
        }
        Ok(exact)
    }

    async fn link(&self, link: &Link) -> Result<LinkOutcome, StoreError> {
        if let (Err(broken), false) = (link.connection.check(), self.has(Flaw::LinkTakesImpossibleRows)) {
            let row = link.connection.key.to_string();
            return Err(StoreError::Impossible { table: "memory", row, field: broken.field, rule: broken.rule });
        }
        Ok(self.link_now(link))
    }

    async fn unlink(&self, unlink: &Unlink) -> Result<LinkOutcome, StoreError> {
        let mut state = self.state();
        let key = &unlink.tombstone.key;
        let mut unlink = unlink.clone();
        let old = state.table.person(&key.user).connection(&key.provider).map(|row| row.version);
        if let (Some(old), true) = (old, self.has(Flaw::UnlinkIgnoresTheVersion)) {
            unlink.expected = old;
        }
        let owner = state.table.owner(&key.provider, &unlink.tombstone.account).cloned();
        let outcome = state.table.unlink(&unlink);
        match owner {
            Some(owner) if self.has(Flaw::UnlinkKeepsTheIdentity) => {
                state.table.own(&key.provider, &unlink.tombstone.account, owner);
            }
            Some(_) if self.has(Flaw::UnlinkTakesAnyIdentity) => {
                state.table.free(&key.provider, &unlink.tombstone.account);
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn end_session(&self, user: &UserId, session: EndedSession, now: Timestamp) -> Result<(), StoreError> {
        let mut state = self.state();
        let row = state.table.person(user).user;
        let row = row.or_else(|| self.has(Flaw::SessionsAreMadeForNobody).then(|| User::new(user.clone(), now)));
        if let Some(row) = row.filter(|_| !self.has(Flaw::SessionsAreLost)) {
            state.table.set_user(row.end_session(session, now));
        }
        Ok(())
    }

    async fn end_all_sessions(&self, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(row) = state.table.person(user).user {
            state.table.set_user(row.end_all_sessions(now));
        }
        Ok(())
    }

    async fn force(&self, user: &UserId, seen: Version, now: Timestamp) -> Result<Option<ForcedAdmission>, StoreError> {
        if self.has(Flaw::ForceIsNotAtomic) {
            let row = self.state().table.person(user).user;
            self.hole(Flaw::ForceIsNotAtomic).await;
            let Some((row, admission)) = row.map(|row| row.force(seen, now)) else { return Ok(None) };
            self.state().table.set_user(row);
            return Ok(Some(admission));
        }
        let mut state = self.state();
        let Some((row, admission)) = state.table.person(user).user.map(|row| row.force(seen, now)) else {
            return Ok(None);
        };
        if !self.has(Flaw::ForcedRefreshesAreNotCounted) {
            state.table.set_user(row);
        }
        Ok(Some(admission))
    }

    async fn forget(&self, user: &UserId) -> Result<LinkOutcome, StoreError> {
        let mut state = self.state();
        for row in state.table.person(user).connections {
            let taken = row.is_connected() && self.has(Flaw::ForgetTakesTheConnected)
                || !row.is_connected() && self.has(Flaw::ForgetTakesTheOwing);
            if taken {
                state.table.delete(&row.key);
            }
        }
        Ok(state.table.forget(user))
    }

    async fn tick(&self) -> Result<Option<Minute>, StoreError> {
        Ok(self.state().tick)
    }

    async fn advance_tick(&self, minute: Minute) -> Result<(), StoreError> {
        let mut state = self.state();
        state.tick = if self.has(Flaw::TickGoesBack) { Some(minute) } else { state.tick.max(Some(minute)) };
        Ok(())
    }

    async fn circuit(&self, provider: &ProviderId) -> Result<Circuit, StoreError> {
        Ok(self.state().circuits.get(provider).copied().unwrap_or_default())
    }

    async fn swap_circuit(&self, provider: &ProviderId, old: Circuit, new: Circuit) -> Result<bool, StoreError> {
        let read = self.circuit(provider).await?;
        self.hole(Flaw::SwapIsNotAtomic).await;
        let mut state = self.state();
        let is = state.circuits.get(provider).copied().unwrap_or_default();
        let is = if self.has(Flaw::SwapIsNotAtomic) { read } else { is };
        let swaps = is == old || self.has(Flaw::SwapIsBlind);
        if swaps {
            state.circuits.insert(provider.clone(), new);
        }
        Ok(swaps)
    }

    async fn branch_keys(&self, family: Family) -> Result<Vec<WrappedKey>, StoreError> {
        let mut keys = self.state().keys.get(&family).cloned().unwrap_or_default();
        if !self.has(Flaw::KeysAreUnordered) {
            keys.sort_unstable_by_key(|key| key.number);
        }
        Ok(keys)
    }

    async fn add_branch_key(&self, family: Family, key: &WrappedKey) -> Result<bool, StoreError> {
        let mut state = self.state();
        let keys = state.keys.entry(family).or_default();
        if keys.iter().any(|present| present.number == key.number) {
            if !self.has(Flaw::KeyIsOverwritten) {
                return Ok(false);
            }
            keys.retain(|present| present.number != key.number);
        }
        keys.push(key.clone());
        Ok(true)
    }

    async fn changes(&self, cursor: Option<&str>) -> Result<ChangePage, StoreError> {
        let from: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let state = self.state();
        let mut page: Vec<Change> = state.table.changes().iter().skip(from).take(PAGE).cloned().collect();
        let next = (from + page.len()).to_string();
        if self.has(Flaw::ChangesLoseTheirOrder) {
            page.reverse();
        }
        if self.has(Flaw::ChangesTellTheNewestRevocation) {
            for change in &mut page {
                change.revocations = change.revocations.pop().into_iter().collect();
            }
        }
        if self.has(Flaw::CursorIsIgnored) && page.is_empty() && from == state.table.changes().len() {
            return Ok(ChangePage { changes: page, next: "0".to_owned() });
        }
        Ok(ChangePage { changes: page, next })
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut state = self.state();
        let before = state.logins.len();
        if !self.has(Flaw::PurgeSparesLogins) {
            state.logins.retain(|_, login| now < login.expires_at());
        }
        let mut purged = u64::try_from(before - state.logins.len()).unwrap();
        let rows: Vec<_> = state.table.rows().cloned().collect();
        for row in rows {
            let due = match row.status {
                Status::Disconnected { purge_at, .. } => purge_at <= now || self.has(Flaw::PurgeIsEarly),
                Status::Active(_) => self.has(Flaw::PurgeTakesTheActive),
                Status::ReauthorizationRequired { .. } => false,
            };
            if due && (row.revocations.is_empty() || !self.has(Flaw::PurgeSparesTheOwing)) {
                state.table.delete(&row.key);
                purged += 1;
            }
        }
        Ok(purged)
    }
}
