//! The machine's clock, as it is and sped up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use mm_engine::ports::Clock;
use mm_model::Timestamp;
use tokio::time::Instant;

/// The machine's clock. [`Clock::now`] follows the operating system's, corrections and a laptop's sleep included;
/// [`Clock::elapsed`] never goes back.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The machine's clock; its `elapsed` counts from here.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(since_epoch().as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    async fn sleep_real(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// A clock that starts at the real time and runs faster, for showing hours in minutes. It keeps to its own start: the
/// machine's corrections and sleep do not reach it.
#[derive(Debug)]
pub struct ScaledClock {
    epoch_at_start: Duration,
    started: Instant,
    speed: u32,
}

impl ScaledClock {
    /// A clock that runs `speed` times as fast as the machine's; 0 counts as 1.
    pub fn new(speed: u32) -> Self {
        Self::not_before(Timestamp::from_unix(0), speed)
    }

    /// The same, but starting at `earliest` where the real time is before it: the rows that a faster clock wrote lie in the
    /// future, and for whoever reads them time must not go back.
    pub fn not_before(earliest: Timestamp, speed: u32) -> Self {
        let epoch_at_start = since_epoch().max(Duration::from_secs(earliest.unix()));
        Self { epoch_at_start, started: Instant::now(), speed: speed.max(1) }
    }

    /// How many of its seconds pass in one real second.
    pub const fn speed(&self) -> u32 {
        self.speed
    }
}

#[async_trait]
impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.epoch_at_start.saturating_add(self.elapsed()).as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed().saturating_mul(self.speed)
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span / self.speed).await;
    }

    async fn sleep_real(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where the machine's clock enters")]
fn since_epoch() -> Duration {
    // A machine that believes to be before 1970 is at the epoch: every lease and token looks alive, none is lost.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first second of 2025: no machine that runs this is before it.
    const RECENT: Timestamp = Timestamp::from_unix(1_735_689_600);

    #[test]
    fn the_system_clock_shows_seconds_since_the_epoch() {
        let clock = SystemClock::new();
        assert!(clock.now() > RECENT, "{:?}", clock.now());
    }

    #[tokio::test]
    async fn a_scaled_clock_has_slept_its_own_time_after_a_fraction_of_it() {
        let clock = ScaledClock::new(1_000_000);
        let (start, real) = (clock.elapsed(), Instant::now());
        clock.sleep(Duration::from_hours(1)).await;
        assert!(clock.elapsed() >= start + Duration::from_hours(1));
        assert!(real.elapsed() < Duration::from_mins(1), "an hour at a million-fold speed is 3.6 ms");
        assert!(clock.now() > RECENT.plus(Duration::from_mins(59)));
    }

    #[tokio::test]
    async fn a_real_sleep_is_not_scaled() {
        let clock = ScaledClock::new(1_000);
        let start = clock.elapsed();
        clock.sleep_real(Duration::from_millis(2)).await;
        assert!(clock.elapsed() >= start + Duration::from_secs(2));
    }

    #[test]
    fn a_clock_that_goes_on_does_not_go_back() {
        let ahead = SystemClock::new().now().plus(Duration::from_hours(5));
        assert!(ScaledClock::not_before(ahead, 1).now() >= ahead);
        assert!(
            ScaledClock::not_before(RECENT, 1).now() > RECENT.plus(Duration::from_hours(1)),
            "the real time is later"
        );
    }

    #[test]
    fn a_speed_of_nothing_is_real_time() {
        assert_eq!(ScaledClock::new(0).speed(), 1);
    }
}
