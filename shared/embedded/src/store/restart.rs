//! What the queues forgot when the process ended.

use std::time::Duration;

use mm_engine::ports::{Nudge, StoreError, Trigger};
use mm_model::{
    ConnectionKey, Timestamp,
    connection::Revocation,
    limits::{AFTER_LEASE, NUDGE_SLACK},
    wheel::{self, Seat, Wheel},
};
use rusqlite::Row;

use super::{
    SqliteStore, codec,
    fault::Fault,
    query::{self, Fields},
};

/// Over how long the nudges of what is overdue are spread at most; what is overdue for less, over that. Everybody at once
/// would spend the provider's whole rate, after a long absence for minutes, and come by together ever after.
const OVERDUE_SPREAD_MAX: Duration = Duration::from_mins(10);

/// Rows looked at between two breaths: the scan runs on a runtime thread, and some milliseconds of it are enough.
const SCAN_PAGE: i64 = 1_000;

/// Scans by row number, because no index knows `nextRefreshAt`: an index on it would cost every refresh two writes, and
/// this is one scan at each start.
const SCAN: &str = "SELECT user_id, provider, rowid, seat, next_refresh_at, soon, lease_expires_at, attempts, to_revoke \
     FROM connections WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";

/// One scanned row's nudges, and where it stood.
struct Scanned {
    rowid: i64,
    nudges: Vec<(Nudge, Duration)>,
}

impl SqliteStore {
    /// The nudges that a queue in memory lost with the process before: for each connection on the wheel that is due by
    /// `now + horizon`, and for each revocation owed, with its delay from `now`. What is overdue is spread. What an attempt
    /// of the old process still holds a lease on comes just after the lease, which is kept. Of those that sleep on the slow
    /// wheel, only what was being refreshed or retried had a nudge to lose: the others wait for their pass.
    pub async fn nudges_lost_by_restart(
        &self,
        now: Timestamp,
        horizon: Duration,
    ) -> Result<Vec<(Nudge, Duration)>, StoreError> {
        let due_by = now.plus(horizon);
        let mut nudges = Vec::new();
        let mut after = i64::MIN;
        loop {
            let page = self.read_inline("find what the queue forgot", |sql| {
                query::all(sql, SCAN, [after, SCAN_PAGE], |row| scan(row, now, due_by))
            })?;
            let Some(last) = page.last() else { return Ok(nudges) };
            after = last.rowid;
            nudges.extend(page.into_iter().flat_map(|scanned| scanned.nudges));
            tokio::task::yield_now().await;
        }
    }
}

fn scan(row: &Row<'_>, now: Timestamp, due_by: Timestamp) -> Result<Scanned, Fault> {
    let mut fields = Fields::new(row, codec::TABLE, 2);
    let key = ConnectionKey {
        user: fields.need("userId", Fields::parsed)?,
        provider: fields.need("platform", Fields::parsed)?,
    };
    let rowid = fields.take("rowid")?;
    let wheel = fields.parsed::<Seat>("seat")?.map(Seat::wheel);
    let next_refresh_at = fields.time("nextRefreshAt")?;
    let soon = fields.time("soon")?;
    let lease_expires_at = fields.time("leaseExpiresAt")?;
    let attempts: Option<u32> = fields.take("attempts")?;
    let owed: Vec<Revocation> = fields.json("toRevoke")?.unwrap_or_default();

    let mut nudges = Vec::new();
    let had_a_nudge = match wheel {
        None => false,
        Some(Wheel::Fast) => true,
        Some(Wheel::Slow) => lease_expires_at.is_some() || attempts.is_some_and(|attempts| attempts > 0),
    };
    if let Some(next_refresh_at) = next_refresh_at.filter(|next| had_a_nudge && *next <= due_by) {
        let at = next_refresh_at.plus(NUDGE_SLACK);
        let at = soon.map_or(at, |soon| at.min(soon));
        let overdue = now.since(at).min(OVERDUE_SPREAD_MAX);
        let leased = lease_expires_at.is_some_and(|end| now < end);
        let at = if overdue.is_zero() || leased { at } else { wheel::spread_instant(&key, now, overdue) };
        let nudge = Nudge { key: key.clone(), trigger: Trigger::Due };
        nudges.push((nudge, delay(at, lease_expires_at, now)));
    }
    for owed in owed {
        let nudge = Nudge { key: key.clone(), trigger: Trigger::Revoke { revocation: owed.version } };
        nudges.push((nudge, delay(now, owed.lease.map(|lease| lease.expires_at), now)));
    }
    Ok(Scanned { rowid, nudges })
}

/// From `now` to `at`, or to just after a lease that is still live: a claim before that would be refused.
fn delay(at: Timestamp, lease_expires_at: Option<Timestamp>, now: Timestamp) -> Duration {
    let after_lease = lease_expires_at.filter(|end| now < *end).map(|end| end.plus(AFTER_LEASE));
    after_lease.map_or(at, |after| after.max(at)).since(now)
}
