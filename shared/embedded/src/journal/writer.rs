//! The thread that owns the journal's file.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io,
    path::Path,
    sync::Arc,
};

use mm_engine::ports::Clock;
use mm_model::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{
    DEDUPLICATION_WINDOW, JournalError, LaneError, Shared,
    file::{Found, JournalFile, Limits},
    record::{DELETED_BYTES, Entry, Record, encode},
    storage,
};

/// Most jobs that one write and one sync carry. At the largest message some 16 MiB.
const GROUP_MAX: usize = 256;

/// Most deduplication ids remembered; past it the oldest is forgotten early. 300 rescues a second for five minutes.
const REMEMBERED_MAX: usize = 100_000;

/// What the writer is asked to do.
pub(super) enum Job {
    Put {
        group: Arc<str>,
        deduplication_id: Arc<str>,
        body: Arc<str>,
        done: Answer,
    },
    /// Answered when it is written: from then on only a power cut brings the message back, no kill.
    Delete {
        id: u64,
        done: Option<oneshot::Sender<()>>,
    },
}

type Answer = oneshot::Sender<Result<(), LaneError>>;

pub(super) struct Writer {
    file: JournalFile,
    limits: Limits,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    remembered: Remembered,
    /// The messages that the file holds and has no deletion of.
    on_file: HashSet<u64>,
    next_id: u64,
    /// From this length on the journal is emptied when no message lives, or written anew when most of it is dead: at least twice
    /// what it was after the last time, for what is kept then (and remembered ids are kept) must not be written over and over.
    reset_from: u64,
    compact_from: u64,
    /// Whether the last try to keep room ahead failed, so that a full disk is told once.
    cramped: bool,
}

/// The deduplication ids of the last minutes, the oldest first.
#[derive(Default)]
struct Remembered {
    put_at: HashMap<Arc<str>, Timestamp>,
    order: VecDeque<Arc<str>>,
}

/// What one write carries.
#[derive(Default)]
struct Batch {
    records: Vec<u8>,
    puts: Vec<Entry>,
    names: HashSet<Arc<str>>,
    /// Who waits for the write: the puts, and repeats of them that came with them.
    answers: Vec<Answer>,
    /// Who waits for a deletion.
    deleted: Vec<oneshot::Sender<()>>,
}

impl Writer {
    /// Opens the file and fills `shared` with its live messages.
    pub(super) fn open(
        directory: &Path,
        limits: Limits,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        jobs: mpsc::Receiver<Job>,
    ) -> Result<Self, JournalError> {
        let now = clock.now();
        let Found { file, records } = JournalFile::open(directory, limits, now)?;
        let mut writer = Self {
            reset_from: limits.reset,
            compact_from: limits.compact,
            file,
            limits,
            clock,
            shared,
            jobs,
            remembered: Remembered::default(),
            on_file: HashSet::new(),
            next_id: 1,
            cramped: false,
        };
        writer.replay(records, now);
        writer.heal().map_err(storage("written anew after damage", directory))?;
        writer.tidy();
        Ok(writer)
    }

    fn replay(&mut self, records: Vec<Record>, now: Timestamp) {
        let mut live = BTreeMap::new();
        for record in records {
            match record {
                Record::Put(entry) => {
                    self.next_id = self.next_id.max(entry.id + 1);
                    self.remembered.add(Arc::clone(&entry.deduplication_id), entry.put_at, now);
                    live.insert(entry.id, entry);
                }
                Record::Deleted(id) => drop(live.remove(&id)),
                Record::Seen { put_at, deduplication_id } => self.remembered.add(deduplication_id, put_at, now),
            }
        }
        self.on_file = live.keys().copied().collect();
        let elapsed = self.clock.elapsed();
        let mut groups = self.shared.groups();
        for entry in live.into_values() {
            groups.insert(entry, elapsed);
        }
    }

    /// Works until the lane is dropped and everything it sent is done.
    pub(super) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < GROUP_MAX
                && let Ok(next) = self.jobs.try_recv()
            {
                jobs.push(next);
            }
            self.carry_out(jobs);
            self.tidy();
        }
    }

    fn carry_out(&mut self, jobs: Vec<Job>) {
        let healed = self.heal().map_err(refusal);
        let now = self.clock.now();
        let mut batch = Batch::default();
        for job in jobs {
            match job {
                Job::Put { group, deduplication_id, body, done } => {
                    let entry = Entry { id: self.next_id, put_at: now, group, deduplication_id, body };
                    match healed.clone().and_then(|()| self.stage(entry, &mut batch)) {
                        Ok(Staged::Joined) => batch.answers.push(done),
                        Ok(Staged::Repeated) => answer(done, Ok(())),
                        Err(refused) => answer(done, Err(refused)),
                    }
                }
                Job::Delete { id, done } => {
                    self.stage_deletion(id, &mut batch);
                    batch.deleted.extend(done);
                }
            }
        }
        let written = self.write(&batch).map_err(refusal);
        if written.is_ok() {
            self.publish(batch.puts);
        }
        for done in batch.deleted {
            // Whoever has gone does not need the answer.
            let _heard = done.send(());
        }
        for done in batch.answers {
            answer(done, written.clone());
        }
    }

    /// Adds a put to the batch when there is room for it, and for a deletion of everything that lives: a journal that cannot
    /// grow can then always be emptied.
    fn stage(&mut self, entry: Entry, batch: &mut Batch) -> Result<Staged, LaneError> {
        if batch.names.contains(&entry.deduplication_id) {
            return Ok(Staged::Joined);
        }
        if self.remembered.contains(&entry.deduplication_id, entry.put_at) {
            return Ok(Staged::Repeated);
        }
        let deletions = (self.on_file.len() + batch.puts.len() + 1) * DELETED_BYTES;
        let wanted = batch.records.len() + entry.record_bytes() + deletions;
        self.file.make_room(wanted).map_err(refusal)?;
        self.next_id += 1;
        batch.names.insert(Arc::clone(&entry.deduplication_id));
        encode(&Record::Put(entry.clone()), &mut batch.records);
        batch.puts.push(entry);
        Ok(Staged::Joined)
    }

    fn stage_deletion(&mut self, id: u64, batch: &mut Batch) {
        // A journal that was written anew in the meantime no longer holds the message.
        if self.on_file.remove(&id) {
            encode(&Record::Deleted(id), &mut batch.records);
        }
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        // A suspect file takes nothing, so there are no puts; its deletions are in memory, from which it is written anew.
        if batch.records.is_empty() || self.file.is_suspect() {
            return Ok(());
        }
        let written = self.file.append(&batch.records, !batch.puts.is_empty());
        if let Err(error) = &written {
            tracing::error!(%error, puts = batch.puts.len(), "lane.write: the journal did not take a write");
        }
        written
    }

    /// Lets receivers see what is now safe.
    fn publish(&mut self, puts: Vec<Entry>) {
        if puts.is_empty() {
            return;
        }
        let elapsed = self.clock.elapsed();
        let mut groups = self.shared.groups();
        for entry in puts {
            self.on_file.insert(entry.id);
            self.remembered.add(Arc::clone(&entry.deduplication_id), entry.put_at, entry.put_at);
            groups.insert(entry, elapsed);
        }
        drop(groups);
        self.shared.sooner.notify_waiters();
    }

    /// Writes a suspect journal anew from memory, which holds every acknowledged message that was not deleted.
    fn heal(&mut self) -> io::Result<()> {
        if self.file.is_suspect() { self.rewrite() } else { Ok(()) }
    }

    /// Keeps the file small and room ahead. Nobody waits for this; what fails is tried again.
    fn tidy(&mut self) {
        if self.file.is_suspect() {
            return;
        }
        let (live, live_bytes) = {
            let groups = self.shared.groups();
            (groups.len(), u64::try_from(groups.bytes()).unwrap_or(u64::MAX))
        };
        let tidied = if live == 0 && self.file.used() >= self.reset_from {
            self.reset()
        } else if self.file.used() >= self.compact_from && live_bytes <= self.file.used() / 2 {
            self.compact()
        } else {
            Ok(())
        };
        let roomy = tidied.and_then(|()| self.file.keep_ahead());
        if let Err(error) = &roomy
            && !self.cramped
        {
            tracing::warn!(%error, "lane.tidy: no room can be kept ahead; the journal takes what fits");
        }
        self.cramped = roomy.is_err();
    }

    /// A failure is not repeated before the journal is twice as long either.
    fn compact(&mut self) -> io::Result<()> {
        let compacted = self.rewrite();
        self.compact_from = self.limits.compact.max(2 * self.file.used());
        compacted
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let entries = self.shared.groups().entries();
        let ids = entries.iter().map(|entry| entry.id).collect();
        let mut records = self.seen_records(&entries);
        for entry in entries {
            encode(&Record::Put(entry), &mut records);
        }
        self.file.rewrite(&records)?;
        self.on_file = ids;
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.file.reset()?;
        self.on_file.clear();
        let seen = self.seen_records(&[]);
        self.file.make_room(seen.len())?;
        let appended = self.file.append(&seen, false);
        self.reset_from = self.limits.reset.max(2 * self.file.used());
        appended
    }

    /// The remembered deduplication ids that no live message carries.
    fn seen_records(&mut self, live: &[Entry]) -> Vec<u8> {
        let live: HashSet<&str> = live.iter().map(|entry| &*entry.deduplication_id).collect();
        let mut records = Vec::new();
        for (deduplication_id, put_at) in self.remembered.recent(self.clock.now()) {
            if !live.contains(&**deduplication_id) {
                let deduplication_id = Arc::clone(deduplication_id);
                encode(&Record::Seen { put_at: *put_at, deduplication_id }, &mut records);
            }
        }
        records
    }
}

/// What became of a put before it was written.
enum Staged {
    /// It is answered as the batch is.
    Joined,
    /// It was put before, and is safe.
    Repeated,
}

impl Remembered {
    fn add(&mut self, deduplication_id: Arc<str>, put_at: Timestamp, now: Timestamp) {
        self.forget(now);
        if within_window(put_at, now) && self.put_at.insert(Arc::clone(&deduplication_id), put_at).is_none() {
            self.order.push_back(deduplication_id);
        }
    }

    fn contains(&mut self, deduplication_id: &str, now: Timestamp) -> bool {
        self.forget(now);
        self.put_at.get(deduplication_id).is_some_and(|put_at| within_window(*put_at, now))
    }

    fn recent(&mut self, now: Timestamp) -> impl Iterator<Item = (&Arc<str>, &Timestamp)> {
        self.forget(now);
        self.put_at.iter().filter(move |(_, put_at)| within_window(**put_at, now))
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.order.front() {
            let over = self.put_at.get(oldest).is_none_or(|put_at| !within_window(*put_at, now));
            if !over && self.order.len() < REMEMBERED_MAX {
                break;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.put_at.remove(&oldest);
            }
        }
    }
}

fn within_window(put_at: Timestamp, now: Timestamp) -> bool {
    now.since(put_at) < DEDUPLICATION_WINDOW
}

fn refusal(error: io::Error) -> LaneError {
    LaneError::Storage(Arc::new(error))
}

fn answer(done: Answer, result: Result<(), LaneError>) {
    // Whoever has gone does not need the answer; the message is where it is.
    let _heard = done.send(result);
}
