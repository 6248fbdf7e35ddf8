//! A clock that stands still until a test moves it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use mm_model::Timestamp;
use tokio::sync::oneshot;

use crate::ports::Clock;

/// A clock that moves only by [`advance`](Self::advance). `sleep` and `sleep_real` both wait on it, so that a test in which
/// time has not moved has not waited.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Since the Unix epoch, at the clock's making.
    started: Duration,
    /// Since the clock's making.
    elapsed: Duration,
    /// By deadline; the number keeps sleepers of one deadline apart and in their order.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    next_number: u64,
}

/// Takes its sleeper off the clock when the sleep is abandoned.
struct Registration<'a> {
    clock: &'a ManualClock,
    at: (Duration, u64),
}

impl ManualClock {
    /// A clock that shows `now`.
    pub const fn new(now: Timestamp) -> Self {
        let state = State {
            started: Duration::from_secs(now.unix()),
            elapsed: Duration::ZERO,
            sleepers: BTreeMap::new(),
            next_number: 0,
        };
        Self { state: Mutex::new(state) }
    }

    /// Moves the clock by `span` and wakes the sleepers whose deadlines that reaches, the earliest first. A woken task runs
    /// when the runtime comes to it; one that then sleeps again counts from the clock's new time. To walk through every
    /// deadline in between, go from [`next_deadline`](Self::next_deadline) to the next.
    pub fn advance(&self, span: Duration) {
        let mut state = self.state();
        let elapsed = state.elapsed.saturating_add(span);
        state.elapsed = elapsed;
        while let Some(first) = state.sleepers.first_entry() {
            if first.key().0 > elapsed {
                break;
            }
            // A sleeper that is gone needs no waking.
            let _gone = first.remove().send(());
        }
    }

    /// Moves the clock to the point `to` and wakes as [`advance`](Self::advance) does. A clock that is past it stays.
    pub fn advance_to(&self, to: Timestamp) {
        let span = {
            let state = self.state();
            Duration::from_secs(to.unix()).saturating_sub(state.started.saturating_add(state.elapsed))
        };
        self.advance(span);
    }

    /// How long until the next sleeper is due; `None` when nobody sleeps.
    pub fn next_deadline(&self) -> Option<Duration> {
        let state = self.state();
        state.sleepers.first_key_value().map(|((deadline, _), _)| deadline.saturating_sub(state.elapsed))
    }

    /// How many sleep.
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.clock.state().sleepers.remove(&self.at);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let state = self.state();
        Timestamp::from_unix(state.started.saturating_add(state.elapsed).as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.state().elapsed
    }

    async fn sleep(&self, span: Duration) {
        if span.is_zero() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        let _registration = {
            let mut state = self.state();
            let at = (state.elapsed.saturating_add(span), state.next_number);
            state.next_number += 1;
            state.sleepers.insert(at, wake);
            Registration { clock: self, at }
        };
        // The sender stays in the map until it is used, so this ends by waking only.
        let _woken = woken.await;
    }

    async fn sleep_real(&self, span: Duration) {
        self.sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn poll(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_sleeper_wakes_at_its_deadline_and_not_before() {
        let clock = ManualClock::new(Timestamp::from_unix(1_000));
        let mut sleep = pin!(clock.sleep(Duration::from_millis(1_500)));
        assert_eq!(poll(sleep.as_mut()), Poll::Pending);
        clock.advance(Duration::from_millis(1_499));
        assert_eq!(poll(sleep.as_mut()), Poll::Pending);
        assert_eq!(clock.next_deadline(), Some(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(poll(sleep.as_mut()), Poll::Ready(()));
        assert_eq!(clock.next_deadline(), None);
        assert_eq!(clock.now(), Timestamp::from_unix(1_001));
        assert_eq!(clock.elapsed(), Duration::from_millis(1_500));
    }

    #[test]
    fn an_abandoned_sleep_leaves_no_deadline() {
        let clock = ManualClock::new(Timestamp::from_unix(0));
        {
            let mut sleep = pin!(clock.sleep_real(Duration::from_secs(5)));
            assert_eq!(poll(sleep.as_mut()), Poll::Pending);
            assert_eq!(clock.sleepers(), 1);
        }
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn the_clock_never_goes_back() {
        let clock = ManualClock::new(Timestamp::from_unix(100));
        clock.advance_to(Timestamp::from_unix(160));
        assert_eq!(clock.now(), Timestamp::from_unix(160));
        clock.advance_to(Timestamp::from_unix(50));
        assert_eq!(clock.now(), Timestamp::from_unix(160));
    }

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_deadlines() {
        let clock = std::sync::Arc::new(ManualClock::new(Timestamp::from_unix(0)));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for seconds in [3, 1, 2] {
            let (clock, tell) = (std::sync::Arc::clone(&clock), tell.clone());
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                tell.send(seconds)
            });
        }
        while clock.sleepers() < 3 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(3));
        let order = [told.recv().await, told.recv().await, told.recv().await];
        assert_eq!(order, [Some(1), Some(2), Some(3)]);
    }
}
