//! How often this process may call a provider.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mm_model::ProviderId;

use crate::ports::Lane;

/// A fifth of the rate is kept for what somebody waits for.
const URGENT_SHARE: f64 = 0.2;

/// Calls that may be made at once, as seconds of the rate.
const BURST_SECONDS: f64 = 1.0;

/// Token buckets, one per provider. Each process takes its part of the provider's rate, so that the sum stays below it
/// without any I/O.
#[derive(Debug)]
pub(crate) struct Budget {
    processes: u32,
    buckets: Mutex<HashMap<ProviderId, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    calls: f64,
    filled_at: Duration,
    closed_until: Duration,
}

impl Budget {
    pub(crate) fn new(processes: u32) -> Self {
        Self { processes: processes.max(1), buckets: Mutex::default() }
    }

    /// Takes the right to one call at `elapsed` (the engine's monotonic clock), `rate` being the provider's calls per second
    /// for all processes together. Otherwise says after how long to come back.
    pub(crate) fn take(&self, provider: &ProviderId, rate: f64, lane: Lane, elapsed: Duration) -> Result<(), Duration> {
        let rate = (rate / f64::from(self.processes)).max(f64::MIN_POSITIVE);
        let capacity = (rate * BURST_SECONDS).max(1.0);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(provider.clone()).or_insert(Bucket {
            calls: capacity,
            filled_at: elapsed,
            closed_until: Duration::ZERO,
        });
        if elapsed < bucket.closed_until {
            return Err(bucket.closed_until.saturating_sub(elapsed));
        }
        let gained = elapsed.saturating_sub(bucket.filled_at).as_secs_f64() * rate;
        bucket.calls = (bucket.calls + gained).min(capacity);
        bucket.filled_at = elapsed;
        // Below one call's worth of reserve a slow provider would never be called for the wheel.
        let reserve = if capacity >= 5.0 && lane == Lane::Due { capacity * URGENT_SHARE } else { 0.0 };
        let missing = 1.0 + reserve - bucket.calls;
        if missing <= 0.0 {
            bucket.calls -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64(missing / rate).unwrap_or(Duration::MAX))
    }

    /// The provider asked for patience: no call of this process until `until`.
    pub(crate) fn close(&self, provider: &ProviderId, until: Duration) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(provider) {
            bucket.closed_until = bucket.closed_until.max(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> ProviderId {
        "spotify".parse().unwrap()
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_minute_never_sees_more_than_the_rate_and_one_burst() {
        let budget = Budget::new(2);
        let taken =
            (0..60_000).filter(|millis| budget.take(&provider(), 20.0, Lane::Urgent, at(*millis)).is_ok()).count();
        assert!((600..=610).contains(&taken), "half of 20 per second for a minute, and the burst: {taken}");
    }

    #[test]
    fn the_wheel_leaves_a_fifth_to_those_who_wait() {
        let budget = Budget::new(1);
        let due = (0..100).filter(|_| budget.take(&provider(), 10.0, Lane::Due, at(0)).is_ok()).count();
        let urgent = (0..100).filter(|_| budget.take(&provider(), 10.0, Lane::Urgent, at(0)).is_ok()).count();
        assert_eq!((due, urgent), (8, 2));
    }

    #[test]
    fn a_rate_below_one_still_calls() {
        let budget = Budget::new(10);
        assert_eq!(budget.take(&provider(), 1.0, Lane::Due, at(0)), Ok(()));
        assert_eq!(budget.take(&provider(), 1.0, Lane::Due, at(0)), Err(Duration::from_secs(10)));
        assert_eq!(budget.take(&provider(), 1.0, Lane::Due, at(10_000)), Ok(()));
    }

    #[test]
    fn patience_asked_for_is_given() {
        let budget = Budget::new(1);
        assert_eq!(budget.take(&provider(), 10.0, Lane::Due, at(0)), Ok(()));
        budget.close(&provider(), at(5000));
        assert_eq!(budget.take(&provider(), 10.0, Lane::Urgent, at(1000)), Err(at(4000)));
        assert_eq!(budget.take(&provider(), 10.0, Lane::Urgent, at(5000)), Ok(()));
    }
}
