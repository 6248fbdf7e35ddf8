//! Rows and values for this crate's tests.

use std::time::Duration;

use crate::{
    AccountId, AttemptId, Connection, ConnectionKey, Issuer, Sealed, Timestamp, Version,
    connection::{Active, Lease, Revocation, Status},
    grant::Grant,
    limits::LEASE_STRICT,
    wheel::Seat,
};

/// The tests' present.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

/// An hour: the life of a sample's token.
pub(crate) const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn version(n: u8) -> Version {
    Version::from_bytes([n; 16])
}

pub(crate) fn attempt(n: u8) -> AttemptId {
    AttemptId::from_bytes([n; 16])
}

pub(crate) fn sealed(n: u8) -> Sealed {
    Sealed::from_bytes(vec![n; 40])
}

pub(crate) fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

pub(crate) fn issuer() -> Issuer {
    "https://provider.example client".parse().unwrap()
}

pub(crate) fn key() -> ConnectionKey {
    ConnectionKey { user: "ann".parse().unwrap(), provider: "soundcloud".parse().unwrap() }
}

/// Connected an hour ago, with a token pair 1 that expires in ten minutes and is due now; awake, in its seat, unleased.
pub(crate) fn due() -> Connection {
    let issued = NOW.minus(seconds(3000));
    let active = Active {
        access_token: sealed(1),
        refresh_token: Some(sealed(2)),
        expires_at: issued.plus(HOUR),
        lifetime: 3600,
        seat: Some(Seat::fast(&key(), HOUR)),
        misfits: 0,
        next_refresh_at: NOW,
        soon: None,
        lease: None,
        unknown_outcomes: 0,
        attempts: 0,
        last_error: None,
        seen_at: NOW.minus(HOUR),
        grant: Grant::new(NOW.minus(HOUR), None),
    };
    Connection {
        key: key(),
        version: version(1),
        issuer: issuer(),
        account: account("first"),
        scope: Some("read".to_owned()),
        created_at: NOW.minus(HOUR),
        updated_at: issued,
        event: None,
        revocations: Vec::new(),
        status: Status::Active(Box::new(active)),
    }
}

/// [`due`], its active part edited.
pub(crate) fn due_with(edit: impl FnOnce(&mut Active)) -> Connection {
    let mut row = due();
    edit(row.active_mut().unwrap());
    row
}

/// [`due`], claimed a second ago by attempt 1.
pub(crate) fn claimed() -> Connection {
    due_with(|active| {
        active.lease = Some(lease(1));
        active.unknown_outcomes = 1;
    })
}

/// The lease that attempt `n` took a second ago.
pub(crate) fn lease(n: u8) -> Lease {
    Lease { owner: attempt(n), expires_at: NOW.minus(seconds(1)).plus(LEASE_STRICT) }
}

/// [`due`], flagged a minute ago under version 9.
pub(crate) fn flagged() -> Connection {
    let status = Status::ReauthorizationRequired {
        reason: crate::connection::ReauthorizationReason::Refused,
        since: NOW.minus(seconds(60)),
    };
    Connection { version: version(9), updated_at: NOW.minus(seconds(60)), status, ..due() }
}

/// [`due`], disconnected a minute ago under version 9; it owes the revocation of pair 1.
pub(crate) fn tombstone() -> Connection {
    due().disconnect(version(9), NOW.minus(seconds(60)), true)
}

/// An intent to revoke the refresh token of pair `n`.
pub(crate) fn owed(n: u8) -> Revocation {
    Revocation {
        version: version(n),
        refresh_token: sealed(n),
        account: account("first"),
        issuer: issuer(),
        lease: None,
        attempts: 0,
    }
}

/// The same row with its active part edited.
pub(crate) fn edited(row: &Connection, edit: impl FnOnce(&mut Active)) -> Connection {
    let mut row = row.clone();
    edit(row.active_mut().unwrap());
    row
}
