//! Every bound of the refresh protocol, with its unit and its reason, and the relations between them held at compile time.
//!
//! The relations are those of the protocol's timing rule: a lease must outlive everything that its holder may still be
//! doing, and everything that the provider may still be doing for it.

use std::time::Duration;

/// ε: how far two machines' clocks may differ. NTP on AWS keeps within milliseconds; ten seconds forgives a broken daemon.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(10);

/// How long a worker invocation may run: the function's timeout, and the standalone server's bound on one message.
pub const FUNCTION_LIMIT: Duration = Duration::from_secs(30);

/// Deadline of one call to a provider, connecting included.
pub const PROVIDER_TIMEOUT: Duration = Duration::from_secs(8);

/// D: a provider processes a request within this time or never. A guess, and hole H4 where it is wrong.
pub const PROVIDER_PROCESSING_MAX: Duration = Duration::from_mins(1);

/// What commit and rescue may need after the provider answered. A worker with less time left does not send.
pub const COMMIT_RESERVE: Duration = Duration::from_secs(6);

/// Length of a lease where a refresh token is spent by use: nobody else may send before the last sender's request is
/// surely over at the provider.
pub const LEASE_STRICT: Duration = Duration::from_mins(2);

/// Length of a lease where the refresh token survives its use: only duplicates are to be avoided.
pub const LEASE_REUSABLE: Duration = Duration::from_secs(45);

/// How long after a lease's end a retry is planned: clear of the lease on every clock that is nearly right.
pub const AFTER_LEASE: Duration = Duration::from_secs(5);

/// A `nextRefreshAt` lies this much before the start of the minute whose nudge it admits. It absorbs clock differences:
/// without it, one second of skew drops a quarter of the nudges.
pub const NUDGE_SLACK: Duration = Duration::from_secs(30);

/// How late a refresh may be before a reader calls the token stale and nudges.
pub const LATE_AFTER: Duration = Duration::from_mins(2);

/// How old `seenAt` may grow before a read renews it: a write per reader and hour, not per read.
pub const SEEN_RENEWAL: Duration = Duration::from_hours(1);

/// How long a connection stays awake after it was last read, unless configured otherwise.
pub const AWAKE_WINDOW: Duration = Duration::from_hours(24);

/// How long a tombstone is kept: longer than any answer, message or change record that may still name the connection.
pub const TOMBSTONE_LIFETIME: Duration = Duration::from_hours(720);

/// How long a person may take at the provider's pages (RFC 9700 §4.7 leaves the number to us).
pub const PENDING_LOGIN_LIFETIME: Duration = Duration::from_mins(10);

/// Most revocations that one connection may owe its provider. A person who disconnects and connects faster than we can
/// revoke loses the oldest intent, not the newest.
pub const REVOCATIONS_MAX: usize = 4;

/// Most attempts to revoke one token, by `backoff` at most ten minutes apart: seven hours at the longest, and never less
/// than half of that. An outage of a provider, or of ours, rarely lasts longer; the provider's own expiry has to do the rest.
pub const REVOCATION_ATTEMPTS_MAX: u32 = 50;

/// How long completing a login may last, by any clock: its function, the provider's last answers, and a clock's error.
pub const LOGIN_MAX: Duration =
    Duration::from_secs(FUNCTION_LIMIT.as_secs() + 2 * PROVIDER_TIMEOUT.as_secs() + CLOCK_SKEW_MAX.as_secs());

/// How long a login holds the revocations that its row owes: from before it redeems its code until its row is written. A
/// revocation sent in that time might end the grant that is being made. The hold ends by itself, so that a login that
/// fails or dies leaves them to be carried out, and is twice [`LOGIN_MAX`] and more, so that a second round of the same
/// login, for the refresh token that the first one lacked, is mostly covered too.
pub const REVOCATION_HOLD: Duration = Duration::from_mins(2);

/// Forced refreshes that one person may ask for in one minute.
pub const FORCED_REFRESHES_PER_MINUTE: u32 = 20;

/// A forced refresh that names no token is answered with the present one when that is younger than this.
pub const FORCED_REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// Most ended sessions remembered one by one; past it the person's older sessions all end.
pub const ENDED_SESSIONS_MAX: usize = 32;

/// Failed attempts after which a connection counts as degraded and its owner's backend is told.
pub const DEGRADED_AFTER_ATTEMPTS: u32 = 3;

const _: () = {
    let sent_and_processed = FUNCTION_LIMIT.as_secs() - PROVIDER_TIMEOUT.as_secs()
        + PROVIDER_PROCESSING_MAX.as_secs()
        + CLOCK_SKEW_MAX.as_secs();
    assert!(LEASE_STRICT.as_secs() > sent_and_processed, "a strict lease must outlive its holder's request");
    assert!(LEASE_REUSABLE.as_secs() > FUNCTION_LIMIT.as_secs() + CLOCK_SKEW_MAX.as_secs());
    assert!(REVOCATION_HOLD.as_secs() > LOGIN_MAX.as_secs(), "a hold must outlive the login that took it");
    let revocation = LEASE_REUSABLE.as_secs() + CLOCK_SKEW_MAX.as_secs();
    assert!(LOGIN_MAX.as_secs() > revocation, "no lease but a hold may outlive a login that finds it");
    assert!(NUDGE_SLACK.as_secs() >= 2 * CLOCK_SKEW_MAX.as_secs(), "a nudge must be admitted on every clock");
    assert!(FUNCTION_LIMIT.as_secs() > PROVIDER_TIMEOUT.as_secs() + COMMIT_RESERVE.as_secs());
};
