//! Messages that come back once a lease is over which a failure may have left on its row.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mm_model::{
    ConnectionKey, Timestamp,
    limits::{AFTER_LEASE, CLOCK_SKEW_MAX},
};

use crate::{
    Engine, EngineError,
    causes::chain,
    ports::{Lane, NUDGE_DELAY_MAX, Nudge, QueueError, StoreError, Trigger},
};

/// Most messages remembered that are still to come back. Past it no more are sent: an outage that leaves so many leases is
/// not helped by messages, and the wheel's next turn finds every connection.
const PENDING_MAX: usize = 10_000;

/// When each message that comes back does, on the engine's monotonic clock. A message that fails is delivered again, fails
/// again, and would leave one more each time; each of those fails too. While a table is away for an hour that is a storm.
#[derive(Debug, Default)]
pub(crate) struct PendingReturns(Mutex<HashMap<(ConnectionKey, Trigger), Duration>>);

impl PendingReturns {
    /// Whether no message is on its way back already; if so, the caller sends one that comes at `at`.
    fn is_first(&self, key: &ConnectionKey, trigger: Trigger, elapsed: Duration, at: Duration) -> bool {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let returning = (key.clone(), trigger);
        if pending.get(&returning).is_some_and(|at| elapsed < *at) {
            return false;
        }
        if pending.len() >= PENDING_MAX {
            pending.retain(|_, at| elapsed < *at);
        }
        if pending.len() >= PENDING_MAX {
            return false;
        }
        pending.insert(returning, at);
        true
    }
}

/// Whether a lease may stand on the row although the message failed. A row that cannot be read was not written either, and
/// a message that came back for it would do so for ever.
const fn may_leave_a_lease(error: &EngineError) -> bool {
    match error {
        EngineError::Store(StoreError::Impossible { .. }) => false,
        EngineError::Store(StoreError::Unavailable { .. } | StoreError::Contended { .. })
        | EngineError::Queue(_)
        | EngineError::Cipher(_)
        | EngineError::Event(_) => true,
    }
}

impl Engine {
    /// One nudge that comes when a lease is over on every clock that is nearly right.
    ///
    /// # Errors
    ///
    /// It was not accepted.
    pub(crate) async fn nudge_after_lease(
        &self,
        key: &ConnectionKey,
        trigger: Trigger,
        lease_end: Timestamp,
    ) -> Result<(), QueueError> {
        let nudge = Nudge { key: key.clone(), trigger };
        self.queue.nudge(Lane::Due, vec![(nudge, self.until_after(lease_end))]).await
    }

    /// Passes on what came of a message that took a lease, or may have: an answer lost on its way back leaves a lease too.
    /// The message's next delivery meets that lease as a stranger's and ends there, so one that comes after it is sent first.
    pub(crate) async fn outlast_lease(
        &self,
        key: &ConnectionKey,
        trigger: Trigger,
        lease_end: Timestamp,
        worked: Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Err(error) = worked else { return Ok(()) };
        let elapsed = self.clock.elapsed();
        let at = elapsed.saturating_add(self.until_after(lease_end));
        if may_leave_a_lease(&error)
            && self.returns.is_first(key, trigger, elapsed, at)
            && let Err(error) = self.nudge_after_lease(key, trigger, lease_end).await
        {
            tracing::warn!(connection = %key, error = %chain(&error), "after_lease.nudge: left to the wheel");
        }
        Err(error)
    }

    fn until_after(&self, lease_end: Timestamp) -> Duration {
        (lease_end.since(self.clock.now()) + AFTER_LEASE + CLOCK_SKEW_MAX).min(NUDGE_DELAY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> ConnectionKey {
        ConnectionKey { user: user.parse().unwrap(), provider: "soundcloud".parse().unwrap() }
    }

    fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_message_that_fails_again_and_again_sends_one_per_lease() {
        let pending = PendingReturns::default();
        let fails_at = |now| pending.is_first(&key("ann"), Trigger::Due, second(now), second(now + 135));
        let sent = [0, 1, 3, 134, 135, 136, 269, 270].map(fails_at);
        assert_eq!(sent, [true, false, false, false, true, false, false, true]);
    }

    #[test]
    fn each_connection_and_each_revocation_has_its_own() {
        let pending = PendingReturns::default();
        let revoke = |n| Trigger::Revoke { revocation: mm_model::Version::from_bytes([n; 16]) };
        let sends = |user: &str, trigger| pending.is_first(&key(user), trigger, second(0), second(60));
        assert!(sends("ann", Trigger::Due));
        assert!(sends("bob", Trigger::Due));
        assert!(sends("ann", revoke(1)));
        assert!(sends("ann", revoke(2)));
        assert!(!sends("ann", revoke(1)));
    }

    #[test]
    fn the_memory_is_bounded_and_so_are_the_messages() {
        let pending = PendingReturns::default();
        for n in 0..PENDING_MAX {
            assert!(pending.is_first(&key(&format!("user-{n}")), Trigger::Due, second(0), second(60)));
        }
        assert!(!pending.is_first(&key("late"), Trigger::Due, second(59), second(119)), "none is forgotten for it");
        assert!(pending.is_first(&key("late"), Trigger::Due, second(60), second(120)), "all have come back");
    }
}
