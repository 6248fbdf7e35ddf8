//! How often this process may call a provider.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mm_model::{ProviderId, limits::CLOCK_SKEW_MAX};

use crate::ports::{Lane, NUDGE_DELAY_MAX};

/// A fifth of the rate is kept for what somebody waits for.
const URGENT_SHARE: f64 = 0.2;

/// Calls that may be made at once, as seconds of the rate.
const BURST_SECONDS: f64 = 1.0;

/// What a sum of floating-point refills may be short of a whole call, as parts of a call: nobody is sent away for less.
const ROUNDING: f64 = 1e-6;

/// The latest slot that is given away. The message that comes back for a later one could not be delayed so long, would be
/// refused by the row, and gone.
const SLOT_MAX: Duration = NUDGE_DELAY_MAX.saturating_sub(CLOCK_SKEW_MAX);

/// The longest wait for one call at a rate that hardly is one: rows hold times, not eternities.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// Token buckets, one per provider. Each process takes its part of the provider's rate, so that the sum stays below it
/// without any I/O.
#[derive(Debug)]
pub(crate) struct Budget {
    processes: u32,
    buckets: Mutex<HashMap<ProviderId, Bucket>>,
}

/// Points in time are on the engine's monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    calls: f64,
    filled_at: Duration,
    closed_until: Duration,
    due: Backlog,
    urgent: Backlog,
}

/// The slots given to those who were refused. A lane has its own: who is waited for does not queue behind the wheel.
#[derive(Debug, Clone, Copy, Default)]
struct Backlog {
    until: Duration,
}

impl Backlog {
    /// The next slot that is not before `earliest`, `spacing` after the last one.
    fn reserve(&mut self, elapsed: Duration, earliest: Duration, spacing: Duration) -> Duration {
        let slot = earliest.max(self.until.min(elapsed.saturating_add(SLOT_MAX)));
        self.until = slot.saturating_add(spacing);
        slot
    }
}

/// The time in which `rate` calls per second make `calls`.
fn time_for(calls: f64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(calls / rate).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}

impl Budget {
    pub(crate) fn new(processes: u32) -> Self {
        Self { processes: processes.max(1), buckets: Mutex::default() }
    }

    /// Takes the right to one call at `elapsed` (the engine's monotonic clock), `rate` being the provider's calls per second
    /// for all processes together. Otherwise says after how long to come back: each who is refused gets a slot of their own,
    /// at what the urgent share leaves of the rate, so that they do not come back together only to be refused again.
    pub(crate) fn take(&self, provider: &ProviderId, rate: f64, lane: Lane, elapsed: Duration) -> Result<(), Duration> {
        let rate = (rate / f64::from(self.processes)).max(f64::MIN_POSITIVE);
        let capacity = (rate * BURST_SECONDS).max(1.0);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(provider.clone()).or_insert(Bucket {
            calls: capacity,
            filled_at: elapsed,
            closed_until: Duration::ZERO,
            due: Backlog::default(),
            urgent: Backlog::default(),
        });
        let gained = elapsed.saturating_sub(bucket.filled_at).as_secs_f64() * rate;
        bucket.calls = (bucket.calls + gained).min(capacity);
        bucket.filled_at = elapsed;
        let (backlog, reserve) = match lane {
            // A bucket that holds one call and no reserve besides would never let the wheel call.
            Lane::Due if capacity * (1.0 - URGENT_SHARE) >= 1.0 => (&mut bucket.due, capacity * URGENT_SHARE),
            Lane::Due => (&mut bucket.due, 0.0),
            Lane::Urgent => (&mut bucket.urgent, 0.0),
        };
        let missing = 1.0 + reserve - bucket.calls;
        let open = elapsed >= bucket.closed_until;
        if open && missing <= ROUNDING {
            bucket.calls -= 1.0;
            return Ok(());
        }
        let refilled = elapsed.saturating_add(time_for(missing.max(0.0), rate));
        let spacing = time_for(1.0, rate * (1.0 - URGENT_SHARE));
        Err(backlog.reserve(elapsed, refilled.max(bucket.closed_until), spacing).saturating_sub(elapsed))
    }

    /// Gives back a call that was taken and not made.
    pub(crate) fn give_back(&self, provider: &ProviderId) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(provider) {
            // Never above the capacity: the next take sees to that.
            bucket.calls += 1.0;
        }
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
mod tests;
