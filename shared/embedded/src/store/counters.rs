//! What the store did, for tests and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Port-level input and output since the store was opened. A unit is what DynamoDB would bill as one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Reads asked for through the port, of whatever size.
    pub reads: u64,
    /// Rows written or deleted and committed; the log of changes is no row.
    pub writes: u64,
    /// Of those, the ones that changed a connection's seat, and so the wheel's index.
    pub index_writes: u64,
    /// Conditional writes refused: nothing was written.
    pub refused: u64,
    /// Transactions committed. Fewer than writes when several waited at once.
    pub commits: u64,
}

impl IoCounts {
    /// What was done since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            reads: self.reads.saturating_sub(earlier.reads),
            writes: self.writes.saturating_sub(earlier.writes),
            index_writes: self.index_writes.saturating_sub(earlier.index_writes),
            refused: self.refused.saturating_sub(earlier.refused),
            commits: self.commits.saturating_sub(earlier.commits),
        }
    }
}

/// What one job did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) writes: u64,
    pub(super) index_writes: u64,
    pub(super) refused: u64,
}

/// The running counts. Relaxed: each is a number by itself, and orders nothing.
#[derive(Debug, Default)]
pub(super) struct Counters {
    reads: AtomicU64,
    writes: AtomicU64,
    index_writes: AtomicU64,
    refused: AtomicU64,
    commits: AtomicU64,
}

impl Counters {
    pub(super) fn add_read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_group(&self, jobs: impl Iterator<Item = Tally>) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        for tally in jobs {
            self.writes.fetch_add(tally.writes, Ordering::Relaxed);
            self.index_writes.fetch_add(tally.index_writes, Ordering::Relaxed);
            self.refused.fetch_add(tally.refused, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> IoCounts {
        IoCounts {
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            index_writes: self.index_writes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }
}
