//! Unwrapped branch keys at hand, and for how long.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use mm_model::Timestamp;
use tokio::sync::Mutex;

use crate::ports::BranchKey;

/// How long unwrapped branch keys are kept: one call to the key service per process and this span.
pub(super) const KEY_CACHE_LIFETIME: Duration = Duration::from_mins(5);

/// How long they are used while the key service or the keys' rows do not answer: the time to repair them in before living
/// tokens cannot be read. A bound, because keys that were taken away must end some time.
pub(super) const KEY_CACHE_LIFETIME_MAX: Duration = Duration::from_hours(1);

/// How soon a reload that failed is tried again: nobody waits for a dead key service more often.
pub(super) const RELOAD_RETRY: Duration = Duration::from_secs(30);

const _: () = assert!(KEY_CACHE_LIFETIME.as_secs() + RELOAD_RETRY.as_secs() < KEY_CACHE_LIFETIME_MAX.as_secs());

/// One family's keys in this process.
#[derive(Default)]
pub(super) struct Cache {
    at_hand: RwLock<Option<AtHand>>,
    /// One loader at a time: a hundred readers that miss together make one call to the key service.
    pub(super) loading: Mutex<()>,
}

#[derive(Clone)]
struct AtHand {
    keys: Arc<Unwrapped>,
    reload_at: Timestamp,
}

/// Unwrapped keys, as they came from the key service together.
pub(super) struct Unwrapped {
    pub(super) newest: u32,
    pub(super) keys: BTreeMap<u32, BranchKey>,
    pub(super) loaded_at: Timestamp,
}

impl Cache {
    /// The keys at hand, `wanted` among them, unless it is time to ask for new ones.
    pub(super) fn fresh(&self, wanted: Option<u32>, now: Timestamp) -> Option<Arc<Unwrapped>> {
        self.usable(wanted, now).filter(|at_hand| now < at_hand.reload_at).map(|at_hand| at_hand.keys)
    }

    /// The keys at hand, `wanted` among them, even when it is time to ask for new ones.
    pub(super) fn old(&self, wanted: Option<u32>, now: Timestamp) -> Option<Arc<Unwrapped>> {
        self.usable(wanted, now).map(|at_hand| at_hand.keys)
    }

    fn usable(&self, wanted: Option<u32>, now: Timestamp) -> Option<AtHand> {
        let at_hand = self.at_hand.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let keys = &at_hand.keys;
        let has = wanted.is_none_or(|wanted| keys.keys.contains_key(&wanted));
        let usable = has && now.since(keys.loaded_at) < KEY_CACHE_LIFETIME_MAX;
        usable.then_some(at_hand)
    }

    /// Takes new keys.
    pub(super) fn renew(&self, loaded: Unwrapped) -> Arc<Unwrapped> {
        let reload_at = loaded.loaded_at.plus(KEY_CACHE_LIFETIME);
        let keys = Arc::new(loaded);
        self.set(Some(AtHand { keys: Arc::clone(&keys), reload_at }));
        keys
    }

    /// Keeps the keys for a while in which nobody asks for new ones.
    pub(super) fn put_off(&self, now: Timestamp) {
        let mut at_hand = self.at_hand.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at_hand) = at_hand.as_mut() {
            at_hand.reload_at = at_hand.reload_at.max(now.plus(RELOAD_RETRY));
        }
    }

    /// Drops the keys.
    pub(super) fn clear(&self) {
        self.set(None);
    }

    fn set(&self, at_hand: Option<AtHand>) {
        *self.at_hand.write().unwrap_or_else(PoisonError::into_inner) = at_hand;
    }
}
