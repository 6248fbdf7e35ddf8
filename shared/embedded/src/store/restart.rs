//! What the queues forgot when the process ended.

use std::time::Duration;

use mm_engine::ports::{Nudge, StoreError, Trigger};
use mm_model::{
    ConnectionKey, Timestamp,
    connection::Revocation,
    limits::{AFTER_LEASE, NUDGE_SLACK},
};
use rusqlite::Row;

use super::{
    SqliteStore, codec,
    fault::Fault,
    query::{self, Fields},
};

/// Rows looked at between two breaths: the scan runs on a runtime thread, and some milliseconds of it are enough.
const SCAN_PAGE: i64 = 1_000;

/// Scans by row number, because no index knows `nextRefreshAt`: an index on it would cost every refresh two writes, and
/// this is one scan at each start.
const SCAN: &str = "SELECT user_id, provider, rowid, seat IS NOT NULL, next_refresh_at, soon, lease_expires_at, to_revoke \
     FROM connections WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";

/// One scanned row's nudges, and where it stood.
struct Scanned {
    rowid: i64,
    nudges: Vec<(Nudge, Duration)>,
}

impl SqliteStore {
    /// The nudges that a queue in memory lost with the process before: for each connection on the wheel that is due by
    /// `now + horizon`, and for each revocation owed, with its delay from `now`. What an attempt of the old process still
    /// holds a lease on comes just after the lease, which is kept.
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
    let on_the_wheel: bool = fields.take("seat")?;
    let next_refresh_at = fields.time("nextRefreshAt")?;
    let soon = fields.time("soon")?;
    let lease_expires_at = fields.time("leaseExpiresAt")?;
    let owed: Vec<Revocation> = fields.json("toRevoke")?.unwrap_or_default();

    let mut nudges = Vec::new();
    if let Some(next_refresh_at) = next_refresh_at.filter(|next| on_the_wheel && *next <= due_by) {
        let at = next_refresh_at.plus(NUDGE_SLACK);
        let at = soon.map_or(at, |soon| at.min(soon));
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
