//! How long to wait after a failed attempt.

use std::time::Duration;

/// The wait after the first failure.
pub const FIRST: Duration = Duration::from_secs(5);

/// The longest wait: an hour's outage costs each connection a handful of attempts, and its end is noticed in ten minutes.
pub const LONGEST: Duration = Duration::from_mins(10);

/// The wait before the next attempt, `attempts` failures counted before this one. Doubles from [`FIRST`] to [`LONGEST`];
/// `dice` (any 32 random bits) takes off up to half, so that what failed together does not return together.
pub fn wait(attempts: u32, dice: u32) -> Duration {
    let full = FIRST.saturating_mul(1 << attempts.min(16)).min(LONGEST);
    full.saturating_sub(fraction(full / 2, dice))
}

/// A part of `span`, spread evenly by `dice` (any 32 random bits).
pub fn fraction(span: Duration, dice: u32) -> Duration {
    let millis = (u128::from(dice) * span.as_millis()) >> 32;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = (0..9).map(|attempts| wait(attempts, 0).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    }

    #[test]
    fn the_dice_take_off_at_most_half() {
        assert_eq!(wait(3, u32::MAX).as_secs(), 20);
        assert_eq!(wait(u32::MAX, u32::MAX).as_secs(), 300);
        assert_eq!(fraction(Duration::from_mins(1), 1 << 31), Duration::from_secs(30));
    }
}
