//! The one thread that writes, and its group commit.
//!
//! A durable commit costs one fsync, some milliseconds on an ordinary disk, whatever it holds. So the thread takes every
//! job that waits (up to a bound), runs each within a savepoint of one transaction, commits once and only then answers.
//! A failed job takes back its own savepoint and nothing else; a failed commit disappoints all.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use mm_engine::ports::StoreError;
use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use super::{
    counters::{Counters, Tally},
    fault::{self, Fault},
};

/// Most jobs in one commit. At some 30 µs each (release build, two busy cores) a full group delays its first job by 4 ms,
/// about what an fsync costs anyway.
const GROUP_MAX: usize = 128;

/// Jobs that may wait beyond the group under way; who comes later waits for room. Two full groups keep the thread busy.
const QUEUE_MAX: usize = 2 * GROUP_MAX;

/// A job's view of the transaction.
pub(super) struct Unit<'c> {
    /// The transaction.
    pub(super) sql: &'c Connection,
    /// What the job did to rows; counted once it is committed.
    pub(super) tally: Tally,
}

/// One unit of work and whoever waits for it.
trait Job: Send {
    /// Does the work within the open savepoint; false asks to take it back.
    fn run(&mut self, sql: &Connection) -> bool;

    /// What it did to rows.
    fn tally(&self) -> Tally;

    /// Answers: with the work's own result if the group is committed.
    fn answer(self: Box<Self>, committed: Result<(), &rusqlite::Error>);
}

struct Work<T, F> {
    doing: &'static str,
    todo: Option<F>,
    result: Option<Result<T, Fault>>,
    tally: Tally,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnOnce(&mut Unit<'_>) -> Result<T, Fault> + Send,
{
    fn run(&mut self, sql: &Connection) -> bool {
        let Some(work) = self.todo.take() else { return false };
        let mut unit = Unit { sql, tally: Tally::default() };
        let result = work(&mut unit);
        let done = result.is_ok();
        if done {
            self.tally = unit.tally;
        }
        self.result = Some(result);
        done
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn answer(self: Box<Self>, committed: Result<(), &rusqlite::Error>) {
        let result = match (self.result, committed) {
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(Fault::Sqlite(fault::copy(error))),
            (None, Ok(())) => Err(Fault::Sqlite(rusqlite::Error::InvalidQuery)),
        };
        // Whoever waited may have given up; the work stands all the same.
        let _ = self.reply.send(result.map_err(|fault| fault.doing(self.doing)));
    }
}

/// The way to the writing thread. Dropping it lets the thread finish what waits, fold the log into the file and end.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on its connection.
    pub(super) fn start(sql: Connection, counters: Arc<Counters>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("mm-store-writer".to_owned())
            .spawn(move || write_until_dropped(&sql, receiver, &counters))?;
        Ok(Self { jobs: Some(sender), thread: Some(thread) })
    }

    /// Has `work` done in a transaction; returns once that is durable. A caller that stops waiting stops nothing.
    pub(super) async fn write<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Unit<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Work { doing, todo: Some(work), result: None, tally: Tally::default(), reply };
        let ended = || StoreError::Unavailable { doing, source: Box::new(WriterEnded) };
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(Box::new(job)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// The writing thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the writing thread has ended")]
struct WriterEnded;

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writing thread ended by a panic");
        }
    }
}

fn write_until_dropped(sql: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>, counters: &Counters) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while jobs.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
        let committed = commit_together(sql, &mut group);
        if committed.is_ok() {
            counters.add_group(group.iter().map(|job| job.tally()));
        }
        for job in group.drain(..) {
            job.answer(committed.as_ref().copied());
        }
    }
    let checkpoint = sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    match checkpoint {
        Ok(0) => {}
        Ok(_) => tracing::debug!("the store's log stays for the next start: a reader was still at it"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store's log stays for the next start");
        }
    }
}

/// Runs the group's jobs in one transaction. An error means that nothing of the group is known to be written.
fn commit_together(sql: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), rusqlite::Error> {
    sql.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let committed = run_jobs(sql, group).and_then(|()| {
        sql.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    });
    if committed.is_err() && !sql.is_autocommit() {
        sql.execute_batch("ROLLBACK")?;
    }
    committed
}

fn run_jobs(sql: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), rusqlite::Error> {
    for job in group {
        sql.prepare_cached("SAVEPOINT job")?.execute([])?;
        let done = job.run(sql);
        // A full disk or a failed read may make SQLite take back the whole transaction, earlier jobs' work included.
        if sql.is_autocommit() {
            let rolled_back = ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK);
            let message = "another write of the same commit failed and took this one with it".to_owned();
            return Err(rusqlite::Error::SqliteFailure(rolled_back, Some(message)));
        }
        if !done {
            sql.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        sql.prepare_cached("RELEASE job")?.execute([])?;
    }
    Ok(())
}
