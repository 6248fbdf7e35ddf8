//! The `Retry-After` header (RFC 9110 §10.2.3).

use std::time::{Duration, SystemTime};

use mm_model::Timestamp;

/// Longest wait that a provider can impose. A header of a day, from a gateway's template, would let every token of the
/// provider run out; visiting once an hour harms nobody.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// How long to wait by a `Retry-After` header: seconds or an HTTP date, at most [`RETRY_AFTER_MAX`].
///
/// A date in the past is zero. Anything else, a negative or fractional number included, is no advice at all.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds is still "very long".
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let at = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(Timestamp::from_unix(at.as_secs()).since(now).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wed, 25 Nov 2026 12:00:00 GMT.
    const NOW: Timestamp = Timestamp::from_unix(1_795_608_000);

    #[test]
    fn seconds_and_all_three_date_forms_are_read() {
        for (value, seconds) in [
            ("0", 0),
            ("7", 7),
            (" 120 ", 120),
            ("Wed, 25 Nov 2026 12:00:30 GMT", 30),
            ("Wednesday, 25-Nov-26 12:01:00 GMT", 60),
            ("Wed Nov 25 12:00:05 2026", 5),
        ] {
            assert_eq!(retry_after(value, NOW), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn a_wait_is_capped_and_never_negative() {
        for value in ["3601", "86400", "99999999999999999999999", "Thu, 26 Nov 2026 12:00:00 GMT"] {
            assert_eq!(retry_after(value, NOW), Some(RETRY_AFTER_MAX), "{value}");
        }
        assert_eq!(retry_after("Wed, 25 Nov 2026 11:59:00 GMT", NOW), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_no_advice() {
        for value in ["", "-1", "1.5", "soon", "1,2", "25 Nov 2026", "0x10", "٣"] {
            assert_eq!(retry_after(value, NOW), None, "{value}");
        }
    }
}
