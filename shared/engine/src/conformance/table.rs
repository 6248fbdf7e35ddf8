//! The table as plain values: what a store has to do, without a store. The other side of the differential cases.

use std::collections::BTreeMap;

use mm_model::{
    AccountId, Connection, ConnectionKey, ProviderId, Seat, Step, Timestamp, User, UserId,
    event::{Change, EventMark},
};

use crate::ports::{Expected, Link, LinkOutcome, Outcome, PersonRows, Unlink};

/// Connections, people, identities, and what was told of their changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    connections: BTreeMap<ConnectionKey, Connection>,
    users: BTreeMap<UserId, User>,
    identities: BTreeMap<(ProviderId, AccountId), UserId>,
    changes: Vec<Change>,
}

impl Table {
    /// `ConnectionStore::apply`.
    pub fn apply(&mut self, key: &ConnectionKey, step: &Step) -> Outcome {
        let old = self.connections.get(key).cloned();
        match old.clone().map(|row| step.apply(row)) {
            Some(Ok(row)) => {
                self.write(&row);
                Outcome::Applied(row)
            }
            Some(Err(refusal)) => Outcome::Refused(refusal, old),
            None => Outcome::Refused(step.refusal(None), None),
        }
    }

    /// `ConnectionStore::person`.
    pub fn person(&self, user: &UserId) -> PersonRows {
        let theirs = self.connections.values().filter(|row| row.key.user == *user);
        PersonRows { user: self.users.get(user).cloned(), connections: theirs.cloned().collect() }
    }

    /// `ConnectionStore::owner`.
    pub fn owner(&self, provider: &ProviderId, account: &AccountId) -> Option<&UserId> {
        self.identities.get(&(provider.clone(), account.clone()))
    }

    /// `ConnectionStore::seated`, all pages.
    pub fn seated(&self, seat: Seat) -> Vec<ConnectionKey> {
        let sits = |row: &&Connection| row.active().is_some_and(|active| active.seat == Some(seat));
        self.connections.values().filter(sits).map(|row| row.key.clone()).collect()
    }

    /// `ConnectionStore::changes`, all pages.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// `ConnectionStore::link`. A repeated write finds itself applied and changes nothing: what came after it, a claim's
    /// lease above all, must stand.
    pub fn link(&mut self, link: &Link) -> LinkOutcome {
        let key = &link.connection.key;
        let old = self.connections.get(key);
        if old.is_some_and(|old| old.version == link.connection.version) {
            return LinkOutcome::Done;
        }
        let expected = match link.expected {
            Expected::Absent => old.is_none(),
            Expected::Version(version) => old.is_some_and(|old| old.version == version),
        };
        let owner = self.owner(&key.provider, &link.connection.account);
        let free = match &link.taken_from {
            None => owner.is_none_or(|owner| *owner == key.user),
            Some(taken) => {
                let loser = self.connections.get(&taken.tombstone.key);
                owner == Some(&taken.tombstone.key.user) && loser.is_some_and(|row| row.version == taken.expected)
            }
        };
        if !(expected && free) {
            return LinkOutcome::Contended;
        }
        if let Some(released) = &link.released {
            self.release(key, released);
        }
        if let Some(taken) = &link.taken_from {
            self.write(&taken.tombstone);
        }
        self.users.entry(key.user.clone()).or_insert_with(|| link.user.clone());
        self.identities.insert((key.provider.clone(), link.connection.account.clone()), key.user.clone());
        self.write(&link.connection);
        LinkOutcome::Done
    }

    /// `ConnectionStore::unlink`.
    pub fn unlink(&mut self, unlink: &Unlink) -> LinkOutcome {
        let key = &unlink.tombstone.key;
        match self.connections.get(key).map(|old| old.version) {
            Some(version) if version == unlink.tombstone.version => LinkOutcome::Done,
            Some(version) if version == unlink.expected => {
                self.release(key, &unlink.tombstone.account);
                self.write(&unlink.tombstone);
                LinkOutcome::Done
            }
            _ => LinkOutcome::Contended,
        }
    }

    /// `ConnectionStore::forget`.
    pub fn forget(&mut self, user: &UserId) -> LinkOutcome {
        let theirs = |row: &Connection| row.key.user == *user;
        if self.connections.values().any(|row| theirs(row) && row.is_connected()) {
            return LinkOutcome::Contended;
        }
        self.connections.retain(|_, row| !theirs(row) || !row.revocations.is_empty());
        self.users.remove(user);
        LinkOutcome::Done
    }

    /// Removes the identity if it is this person's.
    fn release(&mut self, key: &ConnectionKey, account: &AccountId) {
        let identity = (key.provider.clone(), account.clone());
        if self.identities.get(&identity) == Some(&key.user) {
            self.identities.remove(&identity);
        }
    }

    /// Writes a row, and tells of it if it bears a mark that it did not bear before; says whether it told.
    fn write(&mut self, row: &Connection) -> bool {
        let (event, soon) = marks(row);
        let old = self.connections.insert(row.key.clone(), row.clone());
        let told = old.filter(|old| old.version == row.version).map_or((None, None), |old| marks(&old));
        let is_new = event.is_some() && event != told.0 || soon.is_some() && soon != told.1;
        if is_new {
            self.note(row);
        }
        is_new
    }

    /// Notes a change of the row.
    fn note(&mut self, row: &Connection) {
        let (event, soon) = marks(row);
        self.changes.push(Change {
            key: row.key.clone(),
            version: row.version,
            at: row.updated_at,
            event,
            soon,
            revocations: row.revocations.iter().map(|owed| owed.version).collect(),
        });
    }
}

/// What the stream has to see of a row.
fn marks(row: &Connection) -> (Option<EventMark>, Option<Timestamp>) {
    (row.event, row.active().and_then(|active| active.soon))
}

/// What the suite's own test needs to make a store of it, sound or flawed.
#[cfg(test)]
impl Table {
    /// Writes a row whatever was there; says whether it told of it.
    pub(super) fn put(&mut self, row: &Connection) -> bool {
        self.write(row)
    }

    /// Tells of a row.
    pub(super) fn tell(&mut self, row: &Connection) {
        self.note(row);
    }

    /// Deletes a row.
    pub(super) fn delete(&mut self, key: &ConnectionKey) {
        self.connections.remove(key);
    }

    /// Every row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values()
    }

    /// Everybody who has a row of their own.
    pub(super) fn people(&self) -> impl Iterator<Item = UserId> {
        self.users.keys().cloned()
    }

    /// Writes a person's row.
    pub(super) fn set_user(&mut self, user: User) {
        self.users.insert(user.id.clone(), user);
    }

    /// Makes an account nobody's.
    pub(super) fn free(&mut self, provider: &ProviderId, account: &AccountId) {
        self.identities.remove(&(provider.clone(), account.clone()));
    }

    /// Makes an account somebody's.
    pub(super) fn own(&mut self, provider: &ProviderId, account: &AccountId, user: UserId) {
        self.identities.insert((provider.clone(), account.clone()), user);
    }
}
