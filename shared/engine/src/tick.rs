//! The wheel's tick: the next minute's seats, read and nudged.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mm_model::{ConnectionKey, Minute, Seat, Timestamp, wheel};

use crate::{
    Engine, EngineError,
    ports::{Lane, Nudge, SeatPage, Trigger},
};

/// Seats read at once.
const SEATS_AT_ONCE: usize = 8;

/// Over how long the nudges of missed minutes are spread at most.
const CATCH_UP_SPREAD_MAX: Duration = Duration::from_mins(10);

/// How many minutes ahead of its own a tick may find the noted one: another process with a faster clock, and a minute's edge.
const AHEAD_MAX: u64 = 2;

/// Minutes of a long catch-up after which its progress is noted.
const CATCH_UP_CHUNK: u64 = 60;

/// What one tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Minutes whose nudges were sent.
    pub minutes: u64,
    /// Connections nudged.
    pub nudged: u64,
    /// Seats read.
    pub seats: u64,
}

impl Engine {
    /// Nudges the connections whose seats pass in the next minute, each at its own second, and those of every minute that
    /// was missed, each seat once. A minute is noted as done after its nudges were accepted, so that a tick that fails is
    /// made up for by the next one; a tick that comes twice does nothing.
    ///
    /// A noted minute far ahead was noted by a clock that was wrong. It must not stop the wheel until its day has come: the
    /// minute at hand is nudged at every tick, and missed ones are not made up for until then.
    pub async fn tick(&self) -> Result<TickReport, EngineError> {
        let now = self.clock.now();
        let target = now.minute().plus(1);
        let first = match self.store.tick().await? {
            Some(done) if done > target.plus(AHEAD_MAX) => {
                let ahead_min = done.number() - target.number();
                tracing::error!(ahead_min, "wheel.tick: the noted minute is ahead of the clock, ticking without it");
                target
            }
            Some(done) if done >= target => return Ok(TickReport::default()),
            // No seat is missed by forgetting what lies more than a turn of the slowest wheel back.
            Some(done) => done.plus(1).max(target.minus(u64::from(wheel::SLOW_PERIOD) - 1)),
            None => target,
        };
        let mut report = TickReport::default();
        let gap = Duration::from_secs((target.number() - first.number()) * 60);
        let mut minute = first;
        while minute <= target {
            // Each seat once: one that passes again before the end is left for its last pass.
            let seats = Seat::passing(minute).filter(|seat| minute.plus(u64::from(seat.period())) > target);
            let schedule = if minute == target {
                Schedule::OnTime(minute)
            } else if gap <= CATCH_UP_SPREAD_MAX {
                Schedule::Late { minute, by: now.since(first.start()) }
            } else {
                Schedule::Spread { from: now, over: CATCH_UP_SPREAD_MAX }
            };
            let (seats, nudged) = self.nudge_seats(seats.collect(), schedule).await?;
            report.minutes += 1;
            report.nudged += nudged;
            report.seats += seats;
            if minute == target || report.minutes % CATCH_UP_CHUNK == 0 {
                self.store.advance_tick(minute).await?;
            }
            minute = minute.plus(1);
        }
        tracing::debug!(minutes = report.minutes, nudged = report.nudged, seats = report.seats, "wheel.tick");
        Ok(report)
    }

    async fn nudge_seats(&self, seats: Vec<Seat>, schedule: Schedule) -> Result<(u64, u64), EngineError> {
        let count = u64::try_from(seats.len()).unwrap_or(u64::MAX);
        let nudged = stream::iter(seats.into_iter().map(|seat| self.nudge_seat(seat, schedule)))
            .buffer_unordered(SEATS_AT_ONCE)
            .try_fold(0, |sum, nudged| async move { Ok(sum + nudged) })
            .await?;
        Ok((count, nudged))
    }

    async fn nudge_seat(&self, seat: Seat, schedule: Schedule) -> Result<u64, EngineError> {
        let mut nudged = 0;
        let mut cursor = None;
        loop {
            let SeatPage { keys, next } = self.store.seated(seat, cursor.as_deref()).await?;
            if !keys.is_empty() {
                nudged += u64::try_from(keys.len()).unwrap_or(u64::MAX);
                let nudges = keys.into_iter().map(|key| {
                    let delay = schedule.delay(&key, self.clock.now());
                    (Nudge { key, trigger: Trigger::Due }, delay)
                });
                self.queue.nudge(Lane::Due, nudges.collect()).await?;
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(nudged),
            }
        }
    }
}

/// When the connections of a seat are nudged.
#[derive(Clone, Copy)]
enum Schedule {
    /// Each at its second of this minute, however late the tick is.
    OnTime(Minute),
    /// The minutes of a short gap go by once more from now on, in their order and at their pace: nobody waits for longer than
    /// the gap, and the first to expire come first.
    Late { minute: Minute, by: Duration },
    /// A long gap: spread from now on. Its minutes are not alike, since each seat is left for its last pass.
    Spread { from: Timestamp, over: Duration },
}

impl Schedule {
    fn delay(self, key: &ConnectionKey, now: Timestamp) -> Duration {
        match self {
            Self::OnTime(minute) => wheel::nudge_instant(key, minute).since(now),
            Self::Late { minute, by } => wheel::nudge_instant(key, minute).plus(by).since(now),
            Self::Spread { from, over } => wheel::spread_instant(key, from, over).since(now),
        }
    }
}
