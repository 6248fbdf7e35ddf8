//! The table of connections and the rows beside them.

use async_trait::async_trait;
use mm_model::{
    AccountId, Circuit, Connection, ConnectionKey, Minute, ProviderId, Refusal, Seat, Step, Timestamp, User, UserId,
    Version,
    event::Change,
    login::PendingLogin,
    user::{EndedSession, ForcedAdmission},
};

use super::{Family, WrappedKey};

/// The hash under which a pending login is kept: SHA-256 of its `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateHash(pub [u8; 32]);

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// May miss the latest writes. Costs half.
    Eventual,
    /// Sees every write acknowledged before.
    Strong,
}

/// Everything under one person's partition: one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonRows {
    /// The person's own row.
    pub user: Option<User>,
    /// Their connections, tombstones included, ordered by provider.
    pub connections: Vec<Connection>,
}

impl PersonRows {
    /// The connection at `provider`, whatever its state.
    pub fn connection(&self, provider: &ProviderId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.key.provider == *provider)
    }
}

/// What came of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written; the row as it is now.
    Applied(Connection),
    /// Not written: why, and the row as it was (`ALL_OLD`).
    Refused(Refusal, Option<Connection>),
}

/// The state of the row that a login or a disconnect builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There was no row.
    Absent,
    /// The row had this version.
    Version(Version),
}

/// The transaction of a login: connection, identity and person together, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The row to write. Condition: the old row is as `expected`, or this very row is already there.
    pub connection: Connection,
    /// What the row was when the login decided.
    pub expected: Expected,
    /// The person's row, written only if it is absent.
    pub user: User,
    /// The identity of the account that was connected here before and is not any more.
    pub released: Option<AccountId>,
    /// The person who loses the account, when it moves. Without it the condition on the identity is: absent, or this person's.
    pub taken_from: Option<TakenFrom>,
}

/// The other side of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenFrom {
    /// The tombstone to write in the other person's row.
    pub tombstone: Connection,
    /// Condition: that row's version.
    pub expected: Version,
}

/// The transaction of a disconnect: tombstone and identity together, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlink {
    /// The row to write. Condition: the old row has version `expected`, or this very tombstone is already there.
    pub tombstone: Connection,
    /// What the row was when the disconnect decided.
    pub expected: Version,
}

/// What came of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// All of it is written.
    Done,
    /// Nothing is written: a condition failed. Read again, decide again.
    Contended,
}

/// Keys of one seat's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatPage {
    /// The keys. The index may lag behind the table: a key may be missing or too many.
    pub keys: Vec<ConnectionKey>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// Changes of rows, in order per row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangePage {
    /// The changes.
    pub changes: Vec<Change>,
    /// Where to go on, also when there is nothing yet.
    pub next: String,
}

/// The table could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer, or refused for load. The write may have been applied: repeat it, the conditions recognise it.
    #[error("the store is unavailable while it was to {doing}")]
    Unavailable {
        /// What was asked, in the port's words.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Others wrote the row each time that it was looked at: nothing is written, and what the row says is not known. Try again.
    #[error("the row kept changing while the store was to {doing}")]
    Contended {
        /// What was asked, in the port's words.
        doing: &'static str,
    },
    /// A row that nothing can have written: a fault of ours, or somebody else's hand.
    #[error("table {table}, row {row}: field {field} must be {rule}")]
    Impossible {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// The attribute.
        field: &'static str,
        /// What must hold.
        rule: &'static str,
    },
}

/// The table of connections and the rows beside them: every conditional write of the refresh protocol, and no other.
///
/// Each method is atomic. An answer `Ok` to a write means that it is durable.
#[async_trait]
pub trait ConnectionStore: Send + Sync {
    /// Applies one step to one row if its condition holds (`Step::apply` says what that means): one conditional write,
    /// no read. When it does not hold, the old row comes back with the reason.
    async fn apply(&self, key: &ConnectionKey, step: &Step) -> Result<Outcome, StoreError>;

    /// One person's rows, in one query.
    async fn person(&self, user: &UserId, consistency: Consistency) -> Result<PersonRows, StoreError>;

    /// A page of the connections in a seat, from the sparse index.
    async fn seated(&self, seat: Seat, cursor: Option<&str>) -> Result<SeatPage, StoreError>;

    /// Keeps a pending login under the hash of its state, which must be unused.
    async fn begin_login(&self, state: &StateHash, login: &PendingLogin) -> Result<(), StoreError>;

    /// Takes a pending login: of any number of racers exactly one gets it. Expired ones are gone whatever a timer did.
    async fn take_login(&self, state: &StateHash, now: Timestamp) -> Result<Option<PendingLogin>, StoreError>;

    /// Whose account this is; strongly consistent.
    async fn owner(&self, provider: &ProviderId, account: &AccountId) -> Result<Option<UserId>, StoreError>;

    /// Writes a login.
    async fn link(&self, link: &Link) -> Result<LinkOutcome, StoreError>;

    /// Writes a disconnect. The identity is removed if it is this person's.
    async fn unlink(&self, unlink: &Unlink) -> Result<LinkOutcome, StoreError>;

    /// Ends one session (`User::end_session`). A person without a row has none to end.
    async fn end_session(&self, user: &UserId, session: EndedSession, now: Timestamp) -> Result<(), StoreError>;

    /// Ends every session of a person (`User::end_all_sessions`).
    async fn end_all_sessions(&self, user: &UserId, now: Timestamp) -> Result<(), StoreError>;

    /// Counts a forced refresh (`User::force`): one conditional write. `None`: there is no such person.
    async fn force(&self, user: &UserId, seen: Version, now: Timestamp) -> Result<Option<ForcedAdmission>, StoreError>;

    /// Deletes a person's row and those of their connections that owe nothing; what owes a revocation goes once that is
    /// done, or when its tombstone's time is over.
    /// Only tombstones are ever deleted: connected rows make it an error.
    async fn forget(&self, user: &UserId) -> Result<LinkOutcome, StoreError>;

    /// The last minute whose nudges were all sent.
    async fn tick(&self) -> Result<Option<Minute>, StoreError>;

    /// Notes that minute; ignored where a later one is noted already.
    async fn advance_tick(&self, minute: Minute) -> Result<(), StoreError>;

    /// A provider's circuit; closed where there is no row.
    async fn circuit(&self, provider: &ProviderId) -> Result<Circuit, StoreError>;

    /// Replaces a provider's circuit if it still is `old`; says whether it was.
    async fn swap_circuit(&self, provider: &ProviderId, old: Circuit, new: Circuit) -> Result<bool, StoreError>;

    /// A family's branch keys, the oldest first.
    async fn branch_keys(&self, family: Family) -> Result<Vec<WrappedKey>, StoreError>;

    /// Adds a branch key under its number, which must be absent; says whether it was.
    async fn add_branch_key(&self, family: Family, key: &WrappedKey) -> Result<bool, StoreError>;

    /// Changes after `cursor` (`None`: from the oldest kept), in the order in which each row changed. Only changes that
    /// bear a mark (`event`, `soon`) are told.
    async fn changes(&self, cursor: Option<&str>) -> Result<ChangePage, StoreError>;

    /// Deletes what is past its time: pending logins and tombstones, whatever these still owe: a revocation that
    /// could not be carried out until then is given up. Returns how many rows.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}
