//! Points in time, in whole seconds and whole minutes since the Unix epoch.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Seconds since the Unix epoch. Rows, messages and responses carry time in this unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The point `seconds` after the Unix epoch.
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// This point later by `span`, parts of a second dropped.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// This point earlier by `span`, parts of a second dropped; never before the epoch.
    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }

    /// The time from `earlier` to this point; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// The minute that this point lies in.
    pub const fn minute(self) -> Minute {
        Minute(self.0 / 60)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Minutes since the Unix epoch: the wheel's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minute(u64);

impl Minute {
    /// The minute with this number since the Unix epoch.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Minutes since the Unix epoch.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The first second of this minute.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(60))
    }

    /// The minute `count` minutes later.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// The minute `count` minutes earlier; never before the epoch.
    #[must_use]
    pub const fn minus(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }
}
