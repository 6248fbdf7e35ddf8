//! The grant's own clock: some providers end a grant a fixed time after the person's consent, however often it is refreshed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Days before a grant's end at which its owner's backend is told, the longest first.
pub const WARNING_DAYS: [u8; 3] = [14, 7, 1];

/// When the person consented, and when that consent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// When the person consented. A refresh does not move it.
    pub issued_at: Timestamp,
    /// When the provider ends the grant; `None` where it has no fixed end.
    pub expires_at: Option<Timestamp>,
    /// The last of [`WARNING_DAYS`] that was told.
    pub warned_days: Option<u8>,
}

impl Grant {
    /// A grant given at `now` that lives for `lifetime`, if it has a fixed life.
    pub fn new(now: Timestamp, lifetime: Option<Duration>) -> Self {
        Self { issued_at: now, expires_at: lifetime.map(|lifetime| now.plus(lifetime)), warned_days: None }
    }

    /// By when the person has to log in again: what readers are shown.
    pub const fn reauth_by(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The warning that is due at `now` and was not given yet: the shortest of [`WARNING_DAYS`] reached.
    pub fn warning_due(&self, now: Timestamp) -> Option<u8> {
        let left = self.expires_at?.since(now);
        let reached = |days: &u8| left <= Duration::from_secs(u64::from(*days) * 24 * 3600);
        let due = WARNING_DAYS.into_iter().rev().find(reached)?;
        Some(due).filter(|due| self.warned_days.is_none_or(|warned| *due < warned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn each_warning_is_given_once_and_the_latest_wins() {
        let start = Timestamp::from_unix(1_700_000_000);
        let mut grant = Grant::new(start, Some(DAY * 182));
        assert_eq!(grant.warning_due(start.plus(DAY * 167)), None);
        assert_eq!(grant.warning_due(start.plus(DAY * 168)), Some(14));
        grant.warned_days = Some(14);
        assert_eq!(grant.warning_due(start.plus(DAY * 169)), None);
        assert_eq!(grant.warning_due(start.plus(DAY * 176)), Some(7));
        assert_eq!(grant.warning_due(start.plus(DAY * 181)), Some(1), "a sleeper is told the nearest only");
        grant.warned_days = Some(1);
        assert_eq!(grant.warning_due(start.plus(DAY * 183)), None);
    }

    #[test]
    fn a_grant_without_an_end_never_warns() {
        assert_eq!(Grant::new(Timestamp::from_unix(0), None).warning_due(Timestamp::from_unix(u64::MAX)), None);
    }
}
