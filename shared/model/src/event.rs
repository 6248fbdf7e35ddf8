//! What a connection's transitions tell the outside.

use serde::{Deserialize, Serialize};

use crate::{ConnectionKey, Timestamp, Version};

/// A transition worth telling. Written by the step that causes it, told by the stream, removed by the next claim or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventMark {
    /// An account was connected, or logged in again.
    Connected,
    /// The grant ends in 14, 7 or 1 days and only the person can renew it.
    ReauthDue,
    /// The provider refused the grant.
    ReauthRequired,
    /// A degraded connection was refreshed again.
    Recovered,
    /// Several attempts in a row failed.
    Degraded,
    /// The account was disconnected.
    Disconnected,
}

/// A row's change as the stream sees it: its key and its marks, nothing sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row that changed.
    pub key: ConnectionKey,
    /// Its version after the change.
    pub version: Version,
    /// When it changed.
    pub at: Timestamp,
    /// A transition to tell.
    pub event: Option<EventMark>,
    /// When a token too short for the wheel must be refreshed.
    pub soon: Option<Timestamp>,
    /// The refresh tokens that the row owes a revocation, by their versions, the oldest first: all of them, because a write
    /// may leave several that nobody was told of, or let go of what a login held.
    pub revocations: Vec<Version>,
}

/// A connection event as it is published. The same change published twice has the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionEvent {
    /// The consumer's deduplication key: version and kind.
    pub id: String,
    /// What happened.
    pub kind: EventMark,
    /// To which connection.
    #[serde(flatten)]
    pub key: ConnectionKey,
    /// When, in seconds since the Unix epoch.
    pub at: Timestamp,
}

impl Change {
    /// The event that the change tells, if it tells one.
    pub fn connection_event(&self) -> Option<ConnectionEvent> {
        let kind = self.event?;
        let name = match kind {
            EventMark::Connected => "connected",
            EventMark::ReauthDue => "reauth_due",
            EventMark::ReauthRequired => "reauth_required",
            EventMark::Recovered => "recovered",
            EventMark::Degraded => "degraded",
            EventMark::Disconnected => "disconnected",
        };
        Some(ConnectionEvent { id: format!("{}-{name}", self.version), kind, key: self.key.clone(), at: self.at })
    }
}
