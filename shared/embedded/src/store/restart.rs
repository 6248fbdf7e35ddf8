//! What the queues forgot when the process ended, and what is owed and may have no message.

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

/// A revocation owed, and the message that has it carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedNudge {
    /// The message: [`Trigger::Revoke`].
    pub nudge: Nudge,
    /// Its delay from now: none, or to just after the lease of who is at it.
    pub delay: Duration,
    /// Attempts that have failed.
    pub attempts: u32,
}

/// One scanned row: where it stood, when it is to be looked at, and what it owes.
struct Scanned {
    rowid: i64,
    due: Option<(Nudge, Duration)>,
    owed: Vec<OwedNudge>,
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
        let mut nudges = Vec::new();
        let found = |scanned: Scanned| {
            nudges.extend(scanned.due);
            nudges.extend(scanned.owed.into_iter().map(|owed| (owed.nudge, owed.delay)));
        };
        self.scan_all(now, now.plus(horizon), found).await?;
        Ok(nudges)
    }

    /// Every revocation owed. One that nobody may send now, or whose message ended with an error that nobody foresaw, has no
    /// message any more: only its row knows of it.
    pub async fn revocations_owed(&self, now: Timestamp) -> Result<Vec<OwedNudge>, StoreError> {
        let mut owed = Vec::new();
        self.scan_all(now, now, |scanned| owed.extend(scanned.owed)).await?;
        Ok(owed)
    }

    async fn scan_all(
        &self,
        now: Timestamp,
        due_by: Timestamp,
        mut found: impl FnMut(Scanned) + Send,
    ) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            let page = self.read_inline("find what the queue forgot", |sql| {
                query::all(sql, SCAN, [after, SCAN_PAGE], |row| scan(row, now, due_by))
            })?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.rowid;
            page.into_iter().for_each(&mut found);
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

    let had_a_nudge = match wheel {
        None => false,
        Some(Wheel::Fast) => true,
        Some(Wheel::Slow) => lease_expires_at.is_some() || attempts.is_some_and(|attempts| attempts > 0),
    };
    let due = next_refresh_at.filter(|next| had_a_nudge && *next <= due_by).map(|next_refresh_at| {
        let at = next_refresh_at.plus(NUDGE_SLACK);
        let at = soon.map_or(at, |soon| at.min(soon));
        let overdue = now.since(at).min(OVERDUE_SPREAD_MAX);
        let leased = lease_expires_at.is_some_and(|end| now < end);
        let at = if overdue.is_zero() || leased { at } else { wheel::spread_instant(&key, now, overdue) };
        (Nudge { key: key.clone(), trigger: Trigger::Due }, delay(at, lease_expires_at, now))
    });
    let owed = owed.into_iter().map(|owed| OwedNudge {
        nudge: Nudge { key: key.clone(), trigger: Trigger::Revoke { revocation: owed.version } },
        delay: delay(now, owed.lease.map(|lease| lease.expires_at), now),
        attempts: owed.attempts,
    });
    let owed = owed.collect();
    Ok(Scanned { rowid, due, owed })
}

/// From `now` to `at`, or to just after a lease that is still live: a claim before that would be refused.
fn delay(at: Timestamp, lease_expires_at: Option<Timestamp>, now: Timestamp) -> Duration {
    let after_lease = lease_expires_at.filter(|end| now < *end).map(|end| end.plus(AFTER_LEASE));
    after_lease.map_or(at, |after| after.max(at)).since(now)
}
