//! Nudges sent a moment ago, so that a crowd of readers of one dead token sends one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mm_model::{ConnectionKey, Version};

/// How long one nudge speaks for all: longer than a refresh takes, shorter than a reader's patience.
const SPEAKS_FOR: Duration = Duration::from_secs(2);

/// Most nudges remembered. Past it the memory is emptied: a few nudges more, each refused by the row.
const REMEMBERED_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct RecentNudges(Mutex<HashMap<(ConnectionKey, Version), Duration>>);

impl RecentNudges {
    /// Whether nobody nudged this token pair a moment ago; if so, the caller does.
    pub(crate) fn is_first(&self, key: &ConnectionKey, version: Version, elapsed: Duration) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= REMEMBERED_MAX {
            recent.clear();
        }
        match recent.get_mut(&(key.clone(), version)) {
            Some(at) if elapsed.saturating_sub(*at) < SPEAKS_FOR => false,
            Some(at) => {
                *at = elapsed;
                true
            }
            None => {
                recent.insert((key.clone(), version), elapsed);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn key(user: &str) -> ConnectionKey {
        ConnectionKey { user: user.parse().unwrap(), provider: "soundcloud".parse().unwrap() }
    }

    fn version(n: u8) -> Version {
        Version::from_bytes([n; 16])
    }

    #[test]
    fn one_nudge_speaks_for_two_seconds_and_then_the_next_one_does() {
        let recent = RecentNudges::default();
        let at = |millis| recent.is_first(&key("ann"), version(1), Duration::from_millis(millis));
        let firsts = [0, 1, 1999, 2000, 2001, 3999, 4000].map(at);
        assert_eq!(firsts, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn each_token_pair_of_each_connection_is_nudged_for_itself() {
        let recent = RecentNudges::default();
        assert!(recent.is_first(&key("ann"), version(1), Duration::ZERO));
        assert!(recent.is_first(&key("ann"), version(2), Duration::ZERO));
        assert!(recent.is_first(&key("bob"), version(1), Duration::ZERO));
        assert!(!recent.is_first(&key("ann"), version(1), Duration::ZERO));
    }

    #[test]
    fn a_crowd_at_once_nudges_once() {
        let recent = RecentNudges::default();
        let start = Barrier::new(16);
        let firsts: usize = std::thread::scope(|scope| {
            let ask = || {
                start.wait();
                usize::from(recent.is_first(&key("ann"), version(1), Duration::from_secs(9)))
            };
            let readers: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
        });
        assert_eq!(firsts, 1);
    }

    #[test]
    fn the_memory_is_bounded() {
        let recent = RecentNudges::default();
        for n in 0..REMEMBERED_MAX {
            assert!(recent.is_first(&key(&format!("user-{n}")), version(1), Duration::ZERO));
        }
        assert_eq!(recent.0.lock().unwrap().len(), REMEMBERED_MAX);
        assert!(recent.is_first(&key("one-more"), version(1), Duration::ZERO));
        assert_eq!(recent.0.lock().unwrap().len(), 1, "emptied, and the newest is in it");
        assert!(!recent.is_first(&key("one-more"), version(1), Duration::ZERO));
    }
}
