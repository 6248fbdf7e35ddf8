//! What the provider's log and the people's own observations say about a product that was killed again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use mm_sandbox::{LogEntry, Outcome};

use crate::provider::Provider;

/// The reason of a flag that follows a refresh whose outcome the product never knew.
const INTERRUPTED: &str = "interrupted_rotation";

/// A connection: provider and account.
type Key = (String, String);

#[derive(Default)]
struct Notes {
    /// The last log entry of each process's life.
    ends: Vec<u64>,
    /// Lives in which a call got no answer in time: there an answer may have been lost on its way.
    lost_on_the_way: BTreeSet<usize>,
    people: BTreeMap<Key, Seen>,
}

/// What one person saw.
#[derive(Default)]
struct Seen {
    token_ids: Vec<String>,
    /// Of them, those since the last login.
    since_login: usize,
    /// The log's length when that login was due.
    login_at: u64,
    /// Refreshes whose answers were stored for certain, each with the log's length when that was known.
    stored: BTreeMap<u64, u64>,
    /// The log's length when a flag was seen, and its reason.
    flags: Vec<(u64, String)>,
}

pub(super) struct Judge {
    provider: Arc<Provider>,
    notes: Arc<Mutex<Notes>>,
    keys: Mutex<Vec<Key>>,
}

/// One person's notebook.
pub(super) struct Watch {
    provider: Arc<Provider>,
    notes: Arc<Mutex<Notes>>,
    key: Key,
}

fn refreshes(provider: &Provider, key: &Key) -> Vec<LogEntry> {
    let entries = provider.refreshes(&key.0).into_iter();
    entries.filter(|entry| entry.account.as_deref() == Some(&*key.1)).collect()
}

fn is_issued(entry: &LogEntry) -> bool {
    entry.outcome == Outcome::Issued
}

impl Watch {
    /// An active connection was seen with this token.
    pub(super) fn seen(&self, token_id: &str) {
        let refreshes = refreshes(&self.provider, &self.key);
        let now = self.provider.sandbox.log().last_seq();
        let mut notes = self.notes.lock().unwrap();
        let seen = notes.people.entry(self.key.clone()).or_default();
        if seen.token_ids.last().is_some_and(|last| last == token_id) {
            return;
        }
        assert!(!seen.token_ids.iter().any(|old| old == token_id), "{:?} went back to an older token", self.key);
        seen.token_ids.push(token_id.to_owned());
        seen.since_login += 1;
        // Answers are stored in the order in which they were issued. Who saw n tokens since a login saw n - 1 answers stored.
        let mut issued = refreshes.iter().filter(|entry| is_issued(entry) && entry.seq > seen.login_at);
        if let Some(index) = seen.since_login.checked_sub(2)
            && let Some(entry) = issued.nth(index)
        {
            seen.stored.insert(entry.seq, now);
        }
    }

    /// The connection asks for a login. Whatever token comes next is of a new grant.
    pub(super) fn flagged(&self, reason: &str) {
        let now = self.provider.sandbox.log().last_seq();
        let mut notes = self.notes.lock().unwrap();
        let seen = notes.people.entry(self.key.clone()).or_default();
        (seen.since_login, seen.login_at) = (0, now);
        if seen.flags.last().is_none_or(|(at, _)| was_refreshed(&self.provider, &self.key, *at, now)) {
            seen.flags.push((now, reason.to_owned()));
        }
    }
}

/// Whether the connection was refreshed between two lengths of the log: a flag after that is another one.
fn was_refreshed(provider: &Provider, key: &Key, after: u64, until: u64) -> bool {
    refreshes(provider, key).iter().any(|entry| entry.seq > after && entry.seq <= until)
}

impl Judge {
    pub(super) fn new(provider: Arc<Provider>) -> Self {
        Self { provider, notes: Arc::default(), keys: Mutex::default() }
    }

    pub(super) fn watch(&self, service: &str, account: &str) -> Watch {
        let key = (service.to_owned(), account.to_owned());
        self.keys.lock().unwrap().push(key.clone());
        Watch { provider: Arc::clone(&self.provider), notes: Arc::clone(&self.notes), key }
    }

    /// A process is gone. `log`: what it had logged.
    pub(super) fn killed(&self, log: &str) {
        assert!(!log.contains("panicked"), "{log}");
        let mut notes = self.notes.lock().unwrap();
        if log.lines().any(|line| line.contains("refresh.verdict") && line.contains("unavailable")) {
            let life = notes.ends.len();
            notes.lost_on_the_way.insert(life);
        }
        notes.ends.push(self.provider.sandbox.log().last_seq());
    }

    /// Those who were not refreshed by the process that lives now.
    pub(super) fn waiting(&self) -> String {
        let end = self.notes.lock().unwrap().ends.last().copied().unwrap_or_default();
        let keys = self.keys.lock().unwrap();
        let waiting = keys.iter().filter(|key| {
            !refreshes(&self.provider, key).iter().any(|entry| is_issued(entry) && entry.answered && entry.seq > end)
        });
        waiting.map(|(_, account)| account.as_str()).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn verdict(&self) {
        let notes = self.notes.lock().unwrap();
        let (mut sent, mut losses) = (0, 0);
        for key in self.keys.lock().unwrap().iter() {
            let refreshes = refreshes(&self.provider, key);
            sent += refreshes.len();
            let seen = &notes.people[key];
            if key.0 == "spotify" {
                assert!(seen.flags.is_empty(), "a token that survives its use was flagged: {key:?} {:?}", seen.flags);
                continue;
            }
            let lost = notes.losses(key, &refreshes);
            losses += lost.len();
            let mut from = 0;
            for (at, reason) in &seen.flags {
                assert_eq!(reason, INTERRUPTED, "{key:?}");
                assert!(lost.iter().any(|seq| (from..=*at).contains(seq)), "{key:?} was flagged without a loss");
                from = *at;
            }
        }
        let stored: usize = notes.people.values().map(|seen| seen.stored.len()).sum();
        let flags: usize = notes.people.values().map(|seen| seen.flags.len()).sum();
        println!(
            "{} kills, {sent} refreshes, {stored} seen stored, {losses} answers lost with a process, {flags} logins asked \
             for, {} lives with a late answer",
            notes.ends.len(),
            notes.lost_on_the_way.len(),
        );
        assert!(sent > 100 && stored > 50, "too little happened to judge by");
        assert!(losses > 0, "no kill found a refresh under way");
        assert!(notes.lost_on_the_way.len() < notes.ends.len() / 2, "the machine is too busy to judge by");
    }
}

impl Notes {
    fn life(&self, seq: u64) -> usize {
        self.ends.partition_point(|end| *end < seq)
    }

    /// Log entries that sent a token again: each after a process that had sent it died, not knowing its answer.
    fn losses(&self, key: &Key, refreshes: &[LogEntry]) -> Vec<u64> {
        let seen = &self.people[key];
        let mut last: BTreeMap<&str, &LogEntry> = BTreeMap::new();
        let mut losses = Vec::new();
        for entry in refreshes {
            let Some(earlier) = last.insert(entry.presented.as_deref().unwrap_or_default(), entry) else { continue };
            let (life, lives_on) = (self.life(earlier.seq), self.life(entry.seq));
            assert!(
                life < lives_on || self.lost_on_the_way.contains(&life),
                "{key:?}: one process sent a token twice:\n{earlier:?}\n{entry:?}"
            );
            if let Some(known) = seen.stored.get(&earlier.seq) {
                assert!(entry.seq <= *known, "{key:?}: a stored answer was forgotten:\n{earlier:?}\n{entry:?}");
            }
            if entry.presented_again {
                losses.push(entry.seq);
            }
        }
        losses
    }
}
