//! The log of every token and revocation request: what judges whether a client kept its tokens.

use std::{collections::VecDeque, fmt};

use serde::{Serialize, Serializer};

/// Entries kept; the oldest go first. 30 days of one connection refreshed hourly are 864.
pub const MAX_LOG_ENTRIES: usize = 50_000;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Tokens were issued, and the answer said so.
    Issued,
    /// Refused with this OAuth error code (RFC 6749 §5.2).
    Refused(&'static str),
    /// A spent token came back and ended its grant (strict mode), or a spent code did (RFC 6749 §4.1.2).
    ReuseKilledGrant,
    /// Answered 429 by plan.
    Throttled,
    /// Revoked, or unknown, which is the same to the client (RFC 7009 §2.2).
    Revoked,
    /// A planned fault left the client without a usable answer.
    Fault(&'static str),
    /// The request carried a cookie that is not the sandbox's, and was refused for it.
    ForeignCookie,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issued => f.write_str("issued"),
            Self::Refused(code) => write!(f, "refused_{code}"),
            Self::ReuseKilledGrant => f.write_str("reuse_killed_grant"),
            Self::Throttled => f.write_str("throttled"),
            Self::Revoked => f.write_str("revoked"),
            Self::Fault(kind) => write!(f, "fault:{kind}"),
            Self::ForeignCookie => f.write_str("foreign_cookie"),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One request. Tokens appear as the first 16 hexadecimal digits of their SHA-256 hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    /// Counts from 1, without gaps, since the sandbox was built.
    pub seq: u64,
    /// When it arrived, in Unix seconds of the injected clock.
    pub at: u64,
    /// The provider's id; empty for a foreign cookie outside any twin.
    pub provider: String,
    /// `token`, `revoke`, or `other` for a foreign cookie elsewhere.
    pub endpoint: &'static str,
    /// `authorization_code`, `refresh_token`, or `other`; absent when there was none to read.
    pub grant_type: Option<&'static str>,
    /// The refresh token presented (or the token to be revoked).
    pub presented: Option<String>,
    /// Whether an earlier request had already exchanged the presented token for a successor.
    pub presented_again: bool,
    /// Whether this request exchanged it.
    pub spent: bool,
    /// The refresh token issued.
    pub issued: Option<String>,
    /// The grant concerned.
    pub grant: Option<u64>,
    /// The account that gave it.
    pub account: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// The planned fault that struck, even when it left the answer usable.
    pub fault: Option<&'static str>,
    /// Whether the whole answer was handed to the socket.
    pub answered: bool,
}

impl LogEntry {
    /// An entry of a request that nothing is known about yet.
    pub(crate) fn new(at: u64, provider: &str, endpoint: &'static str, outcome: Outcome) -> Self {
        Self {
            seq: 0,
            at,
            provider: provider.to_owned(),
            endpoint,
            grant_type: None,
            presented: None,
            presented_again: false,
            spent: false,
            issued: None,
            grant: None,
            account: None,
            outcome,
            fault: None,
            answered: false,
        }
    }
}

/// The requests so far, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Log {
    last_seq: u64,
    entries: VecDeque<LogEntry>,
}

impl Log {
    /// Every entry kept, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Entries later than `seq`, oldest first.
    pub fn after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().skip(self.entries.partition_point(|entry| entry.seq <= seq))
    }

    /// The last entry's number; 0 when there was none.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Refresh tokens that were presented again after a request had exchanged them: their short hashes, in order, once
    /// per repetition. Empty is what a client of a rotating provider owes, except after an answer that was lost.
    pub fn tokens_sent_twice(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| entry.endpoint == "token" && entry.presented_again)
            .filter_map(|entry| entry.presented.clone())
            .collect()
    }

    /// Requests that issued tokens and whose usable answer was handed to the socket whole: those a client may not lose.
    pub fn answers_given(&self) -> Vec<LogEntry> {
        self.entries.iter().filter(|entry| entry.answered && entry.outcome == Outcome::Issued).cloned().collect()
    }

    /// Adds an entry and answers its number.
    pub(crate) fn push(&mut self, entry: LogEntry) -> u64 {
        self.last_seq += 1;
        if self.entries.len() >= MAX_LOG_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(LogEntry { seq: self.last_seq, ..entry });
        self.last_seq
    }

    /// Notes that the answer to request `seq` has left.
    pub(crate) fn mark_answered(&mut self, seq: u64) {
        let at = self.entries.partition_point(|entry| entry.seq < seq);
        if let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.seq == seq) {
            entry.answered = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_written_as_documented() {
        let written = [
            Outcome::Issued,
            Outcome::Refused("invalid_grant"),
            Outcome::ReuseKilledGrant,
            Outcome::Throttled,
            Outcome::Fault("reset_after"),
        ]
        .map(|outcome| outcome.to_string());
        assert_eq!(
            written,
            ["issued", "refused_invalid_grant", "reuse_killed_grant", "throttled", "fault:reset_after"]
        );
    }

    #[test]
    fn the_log_is_bounded_and_keeps_its_numbers() {
        let mut log = Log::default();
        for at in 0..MAX_LOG_ENTRIES as u64 + 3 {
            log.push(LogEntry::new(at, "p", "token", Outcome::Issued));
        }
        assert_eq!(log.entries().count(), MAX_LOG_ENTRIES);
        assert_eq!(log.entries().next().unwrap().seq, 4);
        assert_eq!(log.after(log.last_seq() - 2).count(), 2);
        log.mark_answered(2);
        log.mark_answered(5);
        assert_eq!(log.answers_given().iter().map(|entry| entry.seq).collect::<Vec<_>>(), [5]);
    }
}
