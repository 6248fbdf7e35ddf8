//! The person: ended sessions and forced refreshes, on one row beside their connections.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Minute, SessionId, Timestamp, UserId, Version,
    limits::{ENDED_SESSIONS_MAX, FORCED_REFRESHES_PER_MINUTE},
};

/// A person's own row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// When they first connected an account.
    pub created_at: Timestamp,
    /// Sessions that logged out and would otherwise still be valid.
    pub ended_sessions: Vec<EndedSession>,
    /// Sessions that began at this time or earlier are over.
    pub sessions_end_at: Option<Timestamp>,
    /// When somebody last logged out.
    pub last_logout_at: Option<Timestamp>,
    /// Forced refreshes in the present minute.
    pub forced: Option<ForcedRefreshes>,
}

/// A session that is over, kept until its token would have expired by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndedSession {
    /// Which one.
    pub id: SessionId,
    /// When its token can no longer be renewed.
    pub forget_at: Timestamp,
    /// When it began.
    pub began_at: Timestamp,
}

/// Forced refreshes that a person asked for within one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForcedRefreshes {
    /// The minute counted.
    pub minute: Minute,
    /// How many.
    pub count: u32,
    /// The token pair of the last one: other tabs that saw the same token fail are not counted again.
    pub last: Version,
}

/// What comes of asking for a forced refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedAdmission {
    /// Counted.
    Counted,
    /// The same token pair was asked for before: one refresh serves both.
    Joined,
    /// Too many in this minute.
    Exceeded {
        /// When the next one may be asked for.
        until: Timestamp,
    },
}

impl User {
    /// A person who connects their first account.
    pub const fn new(id: UserId, now: Timestamp) -> Self {
        Self {
            id,
            created_at: now,
            ended_sessions: Vec::new(),
            sessions_end_at: None,
            last_logout_at: None,
            forced: None,
        }
    }

    /// Whether a session of this person that began at `began_at` is still good.
    ///
    /// One that began before the person did is of an earlier person with this id, who deleted themselves: a browser that
    /// kept its binding is given the id again. Exactly, with nothing allowed for clocks: [`Self::session_start`] never
    /// starts one earlier.
    pub fn admits(&self, session: SessionId, began_at: Timestamp) -> bool {
        let outlived = self.sessions_end_at.is_none_or(|end| began_at > end);
        let of_this_person = began_at >= self.created_at;
        of_this_person && outlived && !self.ended_sessions.iter().any(|ended| ended.id == session)
    }

    /// When a session that starts now begins: not before the person did, whatever the clock that made their row, and after
    /// everything that was ended, even within the same second.
    pub fn session_start(&self, now: Timestamp) -> Timestamp {
        let after = |end: Timestamp| end.plus(Duration::from_secs(1));
        now.max(self.created_at).max(self.sessions_end_at.map_or(now, after))
    }

    /// Ends one session.
    #[must_use]
    pub fn end_session(mut self, session: EndedSession, now: Timestamp) -> Self {
        self.ended_sessions.retain(|ended| ended.forget_at > now && ended.id != session.id);
        if self.ended_sessions.len() >= ENDED_SESSIONS_MAX {
            // Remembering no more one by one: everything as old as the oldest remembered session ends with it.
            let oldest = self.ended_sessions.iter().min_by_key(|ended| ended.began_at).map(|ended| ended.began_at);
            self.sessions_end_at = self.sessions_end_at.max(oldest);
            self.ended_sessions.retain(|ended| Some(ended.began_at) > self.sessions_end_at);
        }
        self.ended_sessions.push(session);
        self.last_logout_at = Some(now);
        self
    }

    /// Ends every session.
    #[must_use]
    pub fn end_all_sessions(mut self, now: Timestamp) -> Self {
        // A session may have been given a start just after an earlier end: ends too.
        let latest = self.session_start(now);
        self.sessions_end_at = Some(latest);
        self.ended_sessions.clear();
        self.last_logout_at = Some(now);
        self
    }

    /// Counts a forced refresh of the token pair `seen`.
    #[must_use]
    pub fn force(mut self, seen: Version, now: Timestamp) -> (Self, ForcedAdmission) {
        let minute = now.minute();
        let present = self.forced.filter(|forced| forced.minute == minute);
        let admission = match present {
            Some(forced) if forced.last == seen => ForcedAdmission::Joined,
            Some(forced) if forced.count >= FORCED_REFRESHES_PER_MINUTE => {
                ForcedAdmission::Exceeded { until: minute.plus(1).start() }
            }
            _ => ForcedAdmission::Counted,
        };
        if admission == ForcedAdmission::Counted {
            let count = present.map_or(0, |forced| forced.count) + 1;
            self.forced = Some(ForcedRefreshes { minute, count, last: seen });
        }
        (self, admission)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

    fn session(n: u8) -> SessionId {
        SessionId::from_bytes([n; 16])
    }

    fn user() -> User {
        User::new("u1".parse().unwrap(), NOW)
    }

    fn ended(n: u8, began_at: Timestamp) -> EndedSession {
        EndedSession { id: session(n), forget_at: began_at.plus(Duration::from_hours(1)), began_at }
    }

    #[test]
    fn logging_out_ends_that_session_only() {
        let user = user().end_session(ended(1, NOW), NOW);
        assert!(!user.admits(session(1), NOW));
        assert!(user.admits(session(2), NOW));
    }

    #[test]
    fn a_session_from_before_the_person_is_of_somebody_who_deleted_themselves() {
        let seconds = Duration::from_secs;
        let again = User::new("u1".parse().unwrap(), NOW.plus(seconds(60)));
        assert!(!again.admits(session(1), NOW));
        assert!(!again.admits(session(1), NOW.plus(seconds(59))));
        // A sibling of the first login, on a machine whose clock is late, starts its session by the row's.
        let start = again.session_start(NOW.plus(seconds(50)));
        assert_eq!(start, NOW.plus(seconds(60)));
        assert!(again.admits(session(1), start));
    }

    #[test]
    fn logging_out_everywhere_ends_what_began_within_the_same_second_and_admits_the_next_login() {
        let user = user().end_all_sessions(NOW);
        assert!(!user.admits(session(1), NOW));
        let start = user.session_start(NOW);
        assert!(user.admits(session(2), start));
        let user = user.end_all_sessions(NOW);
        assert!(!user.admits(session(2), start));
    }

    #[test]
    fn the_list_is_bounded_and_forgets_nobody_who_logged_out() {
        let mut user = user();
        let count = u8::try_from(ENDED_SESSIONS_MAX).unwrap() + 8;
        for n in 0..count {
            user = user.end_session(ended(n, NOW.plus(Duration::from_secs(u64::from(n)))), NOW);
        }
        assert!(user.ended_sessions.len() <= ENDED_SESSIONS_MAX);
        for n in 0..count {
            assert!(!user.admits(session(n), NOW.plus(Duration::from_secs(u64::from(n)))), "session {n} came back");
        }
    }

    #[test]
    fn forced_refreshes_are_counted_by_token_pair_and_minute() {
        let pair = |n: u8| Version::from_bytes([n; 16]);
        let mut user = user();
        for n in 0..20 {
            let (next, admission) = user.force(pair(n), NOW);
            assert_eq!(admission, ForcedAdmission::Counted, "{n}");
            let (next, again) = next.force(pair(n), NOW);
            assert_eq!(again, ForcedAdmission::Joined, "{n}");
            user = next;
        }
        let until = NOW.minute().plus(1).start();
        assert_eq!(user.clone().force(pair(99), NOW).1, ForcedAdmission::Exceeded { until });
        assert_eq!(user.force(pair(99), until).1, ForcedAdmission::Counted);
    }
}
