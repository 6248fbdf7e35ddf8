//! The ordered lane of each connection, as a journal on disk.
//!
//! What is put here is the only copy of an answer that the table did not take, or stands behind one. So a put is answered when
//! it is on the disk and not before; room for it is kept ahead, so that a full disk still takes it; nothing is ever set aside;
//! and whoever starts after a crash finds every message that was put and not deleted, in its order.
//!
//! One thread owns the file and writes what has gathered since its last write in one go, with one sync. Deletions are written
//! without a sync: one that a power cut undoes is a message delivered again, which every consumer must bear anyway.

mod file;
mod groups;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use mm_engine::ports::{Clock, LANE_MESSAGE_BYTES_MAX};
use tokio::sync::{Notify, mpsc, oneshot};

use file::Limits;
use groups::Groups;
use record::NAME_BYTES_MAX;
use writer::{Job, Writer};

/// How long a message lives: the longest that the queue service keeps one. Nobody repairs a table for two weeks.
pub const LANE_RETENTION: Duration = Duration::from_hours(14 * 24);

/// How long a deduplication id is remembered: as the queue service does.
pub const DEDUPLICATION_WINDOW: Duration = Duration::from_mins(5);

/// Most jobs waiting for the writer; past it `put` waits. One write carries them all.
const JOBS_MAX: usize = 1024;

/// The name of the file whose lock says that the journal is in use. The journal itself is replaced when it is compacted, and a
/// lock would stay with the old one.
const LOCK_NAME: &str = "lane.lock";

/// The journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("{} is held by another process; end that one first", path.display())]
    InUse {
        /// The lock's file.
        path: PathBuf,
    },
    /// The file is something else, or from another version of this program.
    #[error("{} is not a lane journal that this version reads; move it away to start without its messages", path.display())]
    Foreign {
        /// The journal.
        path: PathBuf,
    },
    /// The file system.
    #[error("{} could not be {doing}", path.display())]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A message was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LaneError {
    /// It, or its group or deduplication id, is larger than the port allows.
    #[error("a lane message of {bytes} bytes is larger than allowed")]
    TooLarge {
        /// The body's bytes.
        bytes: usize,
    },
    /// The disk did not take it, or the journal is at its limit.
    #[error("the lane's journal did not take the message")]
    Storage(#[source] Arc<io::Error>),
    /// The journal's thread has ended.
    #[error("the lane's journal is closed")]
    Closed,
}

/// One delivery of a message. `Debug` keeps the body to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct LaneReceived {
    /// The message's id; the same at each delivery until a restart.
    pub message_id: String,
    /// This delivery, for deleting or releasing it.
    pub receipt: LaneReceipt,
    /// The connection whose lane it is on.
    pub group: String,
    /// The deduplication id under which it was put.
    pub deduplication_id: String,
    /// The message as it was put. Whether it can be read is the worker's to find out.
    pub body: String,
    /// How often the message was delivered since the start, this time included.
    pub receive_count: u32,
}

impl fmt::Debug for LaneReceived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneReceived")
            .field("message_id", &self.message_id)
            .field("receipt", &self.receipt)
            .field("group", &self.group)
            .field("deduplication_id", &self.deduplication_id)
            .field("body_bytes", &self.body.len())
            .field("receive_count", &self.receive_count)
            .finish()
    }
}

/// One delivery; worth nothing once the message was delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneReceipt {
    id: u64,
    delivery: u64,
}

/// The ordered lane. Dropping it waits for the writer to finish what it was given.
pub struct JournalLane {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// `None` only while dropping: the writer ends when it is gone.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// Held as long as the journal is open.
    _lock: File,
}

/// What receivers and writer share: the messages that are safe on disk.
#[derive(Default)]
struct Shared {
    groups: Mutex<Groups>,
    /// Rings when something may be deliverable sooner than a receiver believes, and at closing.
    sooner: Notify,
}

impl JournalLane {
    /// Opens the journal of `data_dir`, making both where they are missing. Every message that was put and not deleted is
    /// visible at once. Reads and syncs files: for the start, not for a runtime's thread that others wait for.
    pub fn open(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        Self::open_within(data_dir, clock, Limits::default())
    }

    fn open_within(data_dir: &Path, clock: Arc<dyn Clock>, limits: Limits) -> Result<Self, JournalError> {
        crate::directory::create(data_dir).map_err(storage("created", data_dir))?;
        let lock = lock(&data_dir.join(LOCK_NAME))?;
        let shared = Arc::new(Shared::default());
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let writer = Writer::open(data_dir, limits, Arc::clone(&clock), Arc::clone(&shared), waiting)?;
        let writer = std::thread::Builder::new().name("lane-journal".to_owned()).spawn(move || writer.run());
        let writer = writer.map_err(storage("given a thread", data_dir))?;
        Ok(Self { shared, clock, jobs: Some(jobs), writer: Some(writer), _lock: lock })
    }

    /// Puts a message on the lane of `group`. `Ok` means that it is on the disk, or that a message with this deduplication id
    /// was put in the last [`DEDUPLICATION_WINDOW`]. A put that is abandoned may have happened.
    pub async fn put(&self, group: &str, deduplication_id: &str, body: String) -> Result<(), LaneError> {
        let names_fit = group.len() <= NAME_BYTES_MAX && deduplication_id.len() <= NAME_BYTES_MAX;
        if body.len() > LANE_MESSAGE_BYTES_MAX || !names_fit {
            return Err(LaneError::TooLarge { bytes: body.len() });
        }
        let (done, answer) = oneshot::channel();
        let job = Job::Put { group: group.into(), deduplication_id: deduplication_id.into(), body: body.into(), done };
        self.submit(job).await?;
        answer.await.map_err(|_| LaneError::Closed)?
    }

    /// Waits until something may be delivered and takes up to [`RECEIVE_BATCH_MAX`](crate::queue::RECEIVE_BATCH_MAX)
    /// messages, those of one group in order and together. A group gives out nothing more until all of its delivered messages
    /// are deleted or visible again, after [`VISIBILITY_TIMEOUT`](crate::queue::VISIBILITY_TIMEOUT). Empty only after
    /// [`close`](Self::close). A wait that is abandoned takes nothing.
    pub async fn receive(&self) -> Vec<LaneReceived> {
        loop {
            let mut sooner = std::pin::pin!(self.shared.sooner.notified());
            // Before looking: whatever arrives from here on rings.
            sooner.as_mut().enable();
            let (batch, wait) = {
                let now = self.clock.elapsed();
                let mut groups = self.shared.groups();
                if groups.closed {
                    return Vec::new();
                }
                self.expire(&mut groups, now);
                (groups.take(now), groups.next_visible().map(|at| at.saturating_sub(now)))
            };
            if !batch.is_empty() {
                return batch;
            }
            match wait {
                Some(span) => tokio::select! {
                    () = sooner => {}
                    () = self.clock.sleep(span) => {}
                },
                None => sooner.await,
            }
        }
    }

    fn expire(&self, groups: &mut Groups, now: Duration) {
        for (id, group) in groups.expire(self.clock.now(), now) {
            tracing::error!(connection = %group, message = id, "lane.receive: a message passed its retention and is gone");
            // When the writer is too busy to be told, the next start lets it expire again.
            let _told = self.jobs.as_ref().map(|jobs| jobs.try_send(Job::Delete { id, done: None }));
        }
    }

    /// Ends a message whose work is done: when this returns it is written, and no kill brings the message back. (A power cut or a
    /// failing disk may: then it is delivered again after the next start.) `false` when this delivery ran out and the message was
    /// delivered again: whoever has it now has to end it.
    pub async fn delete(&self, receipt: LaneReceipt) -> bool {
        let now = self.clock.elapsed();
        let deleted = self.change(|groups| groups.delete(receipt, now));
        if deleted {
            let (done, written) = oneshot::channel();
            if self.submit(Job::Delete { id: receipt.id, done: Some(done) }).await.is_ok() {
                // A writer that is gone has nothing to say; the message is deleted as far as this process goes.
                let _written = written.await;
            }
        }
        deleted
    }

    /// Lets a message whose work failed come again after `delay`. Its group is locked until then; release the later messages
    /// of the same delivery too, lest one overtake it. `false` as with [`delete`](Self::delete).
    pub fn release(&self, receipt: LaneReceipt, delay: Duration) -> bool {
        let now = self.clock.elapsed();
        self.change(|groups| groups.release(receipt, delay, now))
    }

    /// Ends every wait in [`receive`](Self::receive), present and future. Deliveries that are under way can still be ended, and
    /// puts are still taken: what a draining worker rescues must not be lost.
    pub fn close(&self) {
        self.shared.groups().closed = true;
        self.shared.sooner.notify_waiters();
    }

    /// How many messages live, those in flight included.
    pub fn depth(&self) -> usize {
        self.shared.groups().len()
    }

    /// How long ago the oldest message was put; zero when there is none.
    pub fn oldest_age(&self) -> Duration {
        let oldest = self.shared.groups().oldest();
        oldest.map(|put_at| self.clock.now().since(put_at)).unwrap_or_default()
    }

    async fn submit(&self, job: Job) -> Result<(), LaneError> {
        let jobs = self.jobs.as_ref().ok_or(LaneError::Closed)?;
        jobs.send(job).await.map_err(|_| LaneError::Closed)
    }

    fn change(&self, change: impl FnOnce(&mut Groups) -> bool) -> bool {
        let changed = change(&mut self.shared.groups());
        if changed {
            self.shared.sooner.notify_waiters();
        }
        changed
    }
}

impl Drop for JournalLane {
    fn drop(&mut self) {
        self.jobs = None;
        // A writer that panicked has nothing more to say.
        let _ended = self.writer.take().map(JoinHandle::join);
    }
}

impl fmt::Debug for JournalLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalLane").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

impl Shared {
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn storage(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Storage { doing, path: path.to_owned(), source }
}

fn lock(path: &Path) -> Result<File, JournalError> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(crate::directory::FILE_MODE);
    let file = options.open(path).map_err(storage("opened", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(storage("locked", path)(source)),
    }
}
