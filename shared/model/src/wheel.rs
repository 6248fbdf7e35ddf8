//! The wheel: when a connection is refreshed, without an index by expiry.
//!
//! Each awake connection has a [`Seat`]: a period from a fixed grid and a slot within it. In minute *m* the seats
//! `(period, m mod period)` come by, and every connection in them is nudged within that minute, at its own second. A
//! refresh that leaves the seat alone writes no index; the load is flat because slots and seconds are hashes.
//!
//! Example: a token of 3600 s has a margin of 570 s and sits on the 50-minute period. Refreshed at its pass with an hour
//! to live, it comes by again 50 minutes later with 10 minutes to live.

use std::{fmt, hash::Hasher as _, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::{
    ConnectionKey, Minute, Timestamp,
    limits::{CLOCK_SKEW_MAX, NUDGE_SLACK},
};

/// The periods of the fast wheel, in minutes: 8 minutes to 6 days in steps of about a tenth, more where tokens of usual
/// lifetimes land. With the margin, 10 min → 8, 15 min → 13, 30 min → 25, 1 h → 50, 2 h → 105, 4 h → 225, 24 h → 1425.
pub const PERIODS: [u32; 52] = [
    8, 9, 10, 11, 13, 14, 16, 18, 20, 22, 25, 28, 31, 34, 38, 42, 46, 50, 56, 62, 69, 77, 86, 95, 105, 117, 130, 150,
    175, 200, 225, 260, 300, 360, 420, 500, 600, 720, 860, 1020, 1200, 1425, 1700, 2040, 2450, 2940, 3500, 4200, 5000,
    6000, 7200, 8640,
];

/// The period of the slow wheel, in minutes: 20 days. For sleeping connections whose provider lets an unused refresh
/// token die; the shortest such life known is six months, so three turns may fail before the last chance.
pub const SLOW_PERIOD: u32 = 28_800;

/// How often a seat must be far too short, in a row, before a refresh moves the connection to a longer one. One odd
/// lifetime is not a reason for two index writes.
pub const MISFITS_MAX: u8 = 3;

/// Shortest life left at which a pass still counts as leaving the margin's substance.
const LEFT_MIN: Duration = Duration::from_mins(1);

/// How much of the margin the first pass after a login may use up. A first pass may be the period, two minutes and
/// [`CLOCK_SKEW_MAX`] ahead: the few logins in a thousand that would lose more ask for a nudge of their own, and are on their
/// seats from then on.
const MARGIN_GIVE: Duration = Duration::from_secs(90);

/// How far ahead a token that is too short for the wheel may ask for its nudge. Below the longest delay of a message, 15
/// minutes, by more than clocks differ.
pub const SOON_REACH: Duration = Duration::from_mins(14);

/// The life that a refresh at its pass leaves to the old token: the time in which a failed refresh can be repeated
/// without a reader noticing. A sixth of the lifetime less 30 s, between 90 s and 15 min, at most half the lifetime.
pub fn margin(lifetime: Duration) -> Duration {
    let sixth = (lifetime / 6).saturating_sub(Duration::from_secs(30));
    let usual = sixth.clamp(Duration::from_secs(90), Duration::from_mins(15));
    Duration::from_secs(usual.min(lifetime / 2).as_secs())
}

/// The longest period of the grid that leaves the margin of a token with this lifetime; the shortest period when none does.
pub fn period_for(lifetime: Duration) -> u32 {
    let fits = |period: &u32| Duration::from_secs(u64::from(*period) * 60) + margin(lifetime) <= lifetime;
    PERIODS.into_iter().rev().find(fits).unwrap_or(PERIODS[0])
}

/// Which wheel a seat is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wheel {
    /// For connections that somebody reads.
    Fast,
    /// For sleeping connections that must be refreshed now and then to stay alive.
    Slow,
}

/// A place on the wheel: the partition key of the sparse index. Written as `fast-50-17` or `slow-28800-4711`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seat {
    wheel: Wheel,
    period: u32,
    slot: u32,
}

impl Seat {
    /// The connection's seat on the fast wheel for tokens of this lifetime.
    pub fn fast(key: &ConnectionKey, lifetime: Duration) -> Self {
        Self::with_period(key, Wheel::Fast, period_for(lifetime))
    }

    /// The connection's seat on the slow wheel.
    pub fn slow(key: &ConnectionKey) -> Self {
        Self::with_period(key, Wheel::Slow, SLOW_PERIOD)
    }

    fn with_period(key: &ConnectionKey, wheel: Wheel, period: u32) -> Self {
        let slot = u32::try_from(place(key) % u64::from(period)).unwrap_or(0);
        Self { wheel, period, slot }
    }

    /// Which wheel the seat is on.
    pub const fn wheel(self) -> Wheel {
        self.wheel
    }

    /// Minutes between two passes.
    pub const fn period(self) -> u32 {
        self.period
    }

    /// Every seat that comes by in this minute, one for each period of both wheels.
    pub fn passing(minute: Minute) -> impl Iterator<Item = Self> {
        let seat = move |wheel, period: u32| {
            let slot = u32::try_from(minute.number() % u64::from(period)).unwrap_or(0);
            Self { wheel, period, slot }
        };
        PERIODS.into_iter().map(move |period| seat(Wheel::Fast, period)).chain([seat(Wheel::Slow, SLOW_PERIOD)])
    }

    /// The first pass in `earliest` or later.
    pub fn first_pass(self, earliest: Minute) -> Minute {
        let period = u64::from(self.period);
        let wait = (u64::from(self.slot) + period - earliest.number() % period) % period;
        earliest.plus(wait)
    }

    /// The last pass in `latest` or earlier.
    fn last_pass(self, latest: Minute) -> Minute {
        let period = u64::from(self.period);
        let ago = (latest.number() + period - u64::from(self.slot)) % period;
        latest.minus(ago)
    }
}

/// The instant within `minute` at which the connection is nudged: its own second, so that a minute's work is spread.
pub fn nudge_instant(key: &ConnectionKey, minute: Minute) -> Timestamp {
    minute.start().plus(Duration::from_secs((place(key) >> 32) % 60))
}

/// The instant within `over` from `from` at which a connection is nudged whose pass was missed: spread by its hash.
pub fn spread_instant(key: &ConnectionKey, from: Timestamp, over: Duration) -> Timestamp {
    from.plus(Duration::from_secs((place(key) >> 32) % over.as_secs().max(1)))
}

/// Where the hash puts a connection. Stable for ever: a change would move every seat.
fn place(key: &ConnectionKey) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(key.user.as_str().as_bytes());
    hasher.write(b"#");
    hasher.write(key.provider.as_str().as_bytes());
    hasher.finish()
}

/// When a freshly stored token is refreshed, and what of the row that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seat to write; `None` leaves the present one, and so the index, alone.
    pub reseat: Option<Seat>,
    /// How often in a row the present seat was far too short.
    pub misfits: u8,
    /// Claims before this are refused.
    pub next_refresh_at: Timestamp,
    /// Set where no pass of the wheel comes in time: the stream nudges at this instant instead.
    pub soon: Option<Timestamp>,
}

/// Plans the refresh of a token stored at `now` that expires at `expires_at`, for an awake connection in `seat`
/// (`None`: it has none yet). A connection on the slow wheel keeps its seat.
pub fn plan(
    key: &ConnectionKey,
    seat: Option<Seat>,
    misfits: u8,
    lifetime: Duration,
    now: Timestamp,
    expires_at: Timestamp,
) -> Plan {
    let margin = margin(lifetime);
    let ideal = Seat::fast(key, lifetime);
    if seat.is_some_and(|seat| seat.wheel == Wheel::Slow) {
        // Should a reader wake it meanwhile, the next pass of its new seat must be admitted: no later than this.
        let next_refresh_at = expires_at.minus(margin).minus(NUDGE_SLACK);
        return Plan { reseat: None, misfits: 0, next_refresh_at, soon: None };
    }
    let misfits = match seat {
        Some(seat) if far_too_short(seat, ideal) => misfits.saturating_add(1),
        _ => 0,
    };
    let present = seat.filter(|_| misfits < MISFITS_MAX);
    let candidates = present.into_iter().chain(Some(ideal).filter(|ideal| present != Some(*ideal)));
    for candidate in candidates {
        if let Some(pass) = useful_pass(key, candidate, now, expires_at, margin) {
            let reseat = Some(candidate).filter(|candidate| seat != Some(*candidate));
            let misfits = if reseat.is_some() { 0 } else { misfits };
            return Plan { reseat, misfits, next_refresh_at: pass.start().minus(NUDGE_SLACK), soon: None };
        }
    }
    // The seat stays as a safety net; the token's own instant does the work. Where that is further off than a message can be
    // delayed, an earlier one does: a nudge that came before its time would be refused and gone.
    let soon = expires_at.minus(margin).clamp(now, now.plus(SOON_REACH));
    let slack = NUDGE_SLACK.min(margin / 2);
    let reseat = Some(ideal).filter(|ideal| seat != Some(*ideal));
    Plan { reseat, misfits: 0, next_refresh_at: soon.minus(slack).max(now), soon: Some(soon) }
}

fn far_too_short(seat: Seat, ideal: Seat) -> bool {
    u64::from(seat.period) * 8 < u64::from(ideal.period) * 5
}

/// The last pass that leaves the margin and whose nudges are still to be sent; failing that, the first one to come,
/// where it leaves the margin but a little. The schedule sends minute *m + 1* in minute *m*, so the first pass that is
/// surely still to come is in the minute after next, by the clock that may be ahead of ours: in the last seconds of a
/// minute the schedule may be in the next one already, and its index may not show this write yet.
fn useful_pass(
    key: &ConnectionKey,
    seat: Seat,
    now: Timestamp,
    expires_at: Timestamp,
    margin: Duration,
) -> Option<Minute> {
    let first = seat.first_pass(now.plus(CLOCK_SKEW_MAX).minute().plus(2));
    let leaves = |pass: Minute, life: Duration| nudge_instant(key, pass).plus(life) <= expires_at;
    let last = seat.last_pass(expires_at.minus(margin).minute());
    let last = if leaves(last, margin) { last } else { last.minus(u64::from(seat.period)) };
    if last >= first {
        return Some(last);
    }
    Some(first).filter(|first| leaves(*first, margin.saturating_sub(MARGIN_GIVE).max(LEFT_MIN)))
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wheel = match self.wheel {
            Wheel::Fast => "fast",
            Wheel::Slow => "slow",
        };
        write!(f, "{wheel}-{}-{}", self.period, self.slot)
    }
}

/// A text that is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a seat: expected <fast|slow>-<period>-<slot> with a period of the grid and a slot below it")]
pub struct InvalidSeat;

impl FromStr for Seat {
    type Err = InvalidSeat;

    fn from_str(text: &str) -> Result<Self, InvalidSeat> {
        let mut parts = text.split('-');
        let (Some(wheel), Some(period), Some(slot), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidSeat);
        };
        let period: u32 = period.parse().map_err(|_| InvalidSeat)?;
        let slot: u32 = slot.parse().map_err(|_| InvalidSeat)?;
        let wheel = match wheel {
            "fast" if PERIODS.contains(&period) => Wheel::Fast,
            "slow" if period == SLOW_PERIOD => Wheel::Slow,
            _ => return Err(InvalidSeat),
        };
        if slot < period { Ok(Self { wheel, period, slot }) } else { Err(InvalidSeat) }
    }
}

impl TryFrom<String> for Seat {
    type Error = InvalidSeat;

    fn try_from(text: String) -> Result<Self, InvalidSeat> {
        text.parse()
    }
}

impl From<Seat> for String {
    fn from(seat: Seat) -> Self {
        seat.to_string()
    }
}

#[cfg(test)]
mod tests;
