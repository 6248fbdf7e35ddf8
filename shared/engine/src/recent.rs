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
