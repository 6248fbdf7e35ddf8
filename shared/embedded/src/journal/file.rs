//! The journal's file: what is appended, how it grows ahead of need, how it is written anew.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use mm_model::Timestamp;

use super::{
    JournalError,
    record::{Record, Scan, scan},
    storage,
};
use crate::directory::{self, FILE_MODE};

/// The file's first bytes: what it is, and the version of its format.
const MAGIC: [u8; 8] = *b"MMLANE1\n";

const NAME: &str = "lane.journal";

/// The journal while it is written anew.
const NEW_NAME: &str = "lane.journal.new";

/// A file of more than this many times the limit is none of ours. A journal written anew may pass the limit by its room ahead,
/// and a limit may be lowered: neither is a reason to refuse what was acknowledged.
const READABLE_FILES: u64 = 4;

/// Zeros are written in pieces of this many bytes.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The file's bounds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Largest file. Thousands of answers, each of a connection that is out of service anyway.
    pub(super) file: u64,
    /// Room kept ahead, already written: overwriting it takes no space from a full disk. (A file system that copies on write
    /// does not keep this promise; nothing can there.)
    pub(super) ahead: u64,
    /// From this size on a journal that is mostly deletions is written anew.
    pub(super) compact: u64,
    /// From this size on a journal without live messages is emptied in place.
    pub(super) reset: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file: 64 << 20, ahead: 1 << 20, compact: 4 << 20, reset: 256 << 10 }
    }
}

/// An open journal.
pub(super) struct JournalFile {
    directory: PathBuf,
    file: File,
    limits: Limits,
    /// Where the next record goes.
    used: u64,
    /// The file's length; zeros from `used` on.
    capacity: u64,
    /// A write or sync has failed: what the tail holds on disk is unknown. Nothing is appended until the file is written anew.
    suspect: bool,
}

/// A journal as it was found.
pub(super) struct Found {
    pub(super) file: JournalFile,
    pub(super) records: Vec<Record>,
}

impl JournalFile {
    /// Opens the journal, or makes an empty one. A torn tail is cut; a damaged journal is copied aside first and has to be
    /// written anew (it is [`suspect`](Self::is_suspect)).
    pub(super) fn open(directory: &Path, limits: Limits, now: Timestamp) -> Result<Found, JournalError> {
        let path = directory.join(NAME);
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                let (file, capacity) = write_new(directory, &[], limits.ahead).map_err(storage("created", &path))?;
                directory::sync(directory).map_err(storage("synced", directory))?;
                let file = Self::with(directory, file, limits, offset(MAGIC.len()), capacity);
                return Ok(Found { file, records: Vec::new() });
            }
            Err(source) => return Err(storage("opened", &path)(source)),
        };
        let readable = limits.file.saturating_mul(READABLE_FILES);
        let bytes = read(&file, readable).map_err(storage("read", &path))?;
        let foreign = || JournalError::Foreign { path: path.clone() };
        let records = bytes.strip_prefix(&MAGIC).filter(|_| offset(bytes.len()) <= readable).ok_or_else(foreign)?;
        let scan = scan(records);
        let used = offset(MAGIC.len() + scan.end);
        let mut journal = Self::with(directory, file, limits, used, offset(bytes.len()));
        journal.repair(&path, &scan, now)?;
        Ok(Found { file: journal, records: scan.records })
    }

    fn with(directory: &Path, file: File, limits: Limits, used: u64, capacity: u64) -> Self {
        Self { directory: directory.to_owned(), file, limits, used, capacity, suspect: false }
    }

    fn repair(&mut self, path: &Path, scan: &Scan, now: Timestamp) -> Result<(), JournalError> {
        if scan.damaged {
            let aside = self.directory.join(format!("{NAME}.damaged-{now}"));
            fs::copy(path, &aside).map_err(storage("copied aside", path))?;
            tracing::error!(aside = %aside.display(), "lane.open: the journal was damaged; what can be read is kept");
            self.suspect = true;
        } else if scan.torn {
            tracing::info!(at_byte = self.used, "lane.open: a torn write at the journal's end was cut");
            self.write_zeros(self.used, self.capacity).map_err(storage("cut", path))?;
            self.file.sync_data().map_err(storage("synced", path))?;
        }
        Ok(())
    }

    /// Whether the file has to be written anew before anything is appended.
    pub(super) const fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Bytes used.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Sees to it that `bytes` more bytes fit, growing the file if need be. A failure leaves the journal as it was.
    pub(super) fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        let wanted = self.used.saturating_add(offset(bytes));
        if wanted > self.capacity { self.grow(wanted - self.capacity) } else { Ok(()) }
    }

    /// Restores the room ahead, between one and two pieces of it.
    pub(super) fn keep_ahead(&mut self) -> io::Result<()> {
        if self.capacity - self.used < self.limits.ahead { self.grow(self.limits.ahead) } else { Ok(()) }
    }

    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        if self.capacity.saturating_add(bytes) > self.limits.file {
            let limit = format!("the journal is at its limit of {} bytes", self.limits.file);
            return Err(io::Error::new(io::ErrorKind::StorageFull, limit));
        }
        let wanted = self.capacity.saturating_add(bytes.max(self.limits.ahead)).min(self.limits.file);
        let grown = self.write_zeros(self.capacity, wanted).and_then(|()| self.file.sync_data());
        if grown.is_ok() {
            self.capacity = wanted;
        } else {
            // Gives back what was taken in vain; if not even that works, the zeros do no harm.
            let _shrunk = self.file.set_len(self.capacity);
        }
        grown
    }

    /// Appends records for which [`make_room`](Self::make_room) has made room; with `durable`, `Ok` means on the disk.
    pub(super) fn append(&mut self, records: &[u8], durable: bool) -> io::Result<()> {
        let written = self.file.write_all_at(records, self.used);
        let written = if durable { written.and_then(|()| self.file.sync_data()) } else { written };
        match written {
            Ok(()) => {
                self.used += offset(records.len());
                // A deletion for which no room could be made goes past the end.
                self.capacity = self.capacity.max(self.used);
            }
            Err(_) => self.suspect = true,
        }
        written
    }

    /// Empties the journal in place, which takes no space. Only when no message lives.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        let start = offset(MAGIC.len());
        let kept = self.capacity.min(start + 2 * self.limits.ahead);
        // First the end mark alone: from then on the journal reads as empty, whatever still stands behind it.
        let emptied = self
            .write_zeros(start, start + offset(super::record::HEADER_BYTES))
            .and_then(|()| self.file.sync_data())
            .and_then(|()| self.file.set_len(kept))
            .and_then(|()| self.write_zeros(start, self.used.min(kept)))
            .and_then(|()| self.file.sync_all());
        match emptied {
            Ok(()) => (self.used, self.capacity) = (start, kept),
            Err(_) => self.suspect = true,
        }
        emptied
    }

    /// Writes the journal anew with these records, beside the old one until it is whole. A failure leaves the old one, unless
    /// the new one's name could not be made durable: then the journal is suspect.
    pub(super) fn rewrite(&mut self, records: &[u8]) -> io::Result<()> {
        let (file, capacity) = write_new(&self.directory, records, self.limits.ahead)?;
        self.file = file;
        self.capacity = capacity;
        self.used = offset(MAGIC.len() + records.len());
        let named = directory::sync(&self.directory);
        self.suspect = named.is_err();
        named
    }

    /// Lets every write fail from here on, as a dying disk does, until the journal is written anew.
    #[cfg(test)]
    pub(super) fn fail_writes(&mut self) -> io::Result<()> {
        self.file = File::open(self.directory.join(NAME))?;
        Ok(())
    }

    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        zero(&self.file, from, to)
    }
}

/// Writes a journal with these records and room ahead under the journal's name. The name's durability is the caller's.
fn write_new(directory: &Path, records: &[u8], ahead: u64) -> io::Result<(File, u64)> {
    let path = directory.join(NEW_NAME);
    let written = write_new_file(&path, records, ahead).and_then(|written| {
        fs::rename(&path, directory.join(NAME))?;
        Ok(written)
    });
    if written.is_err() {
        // It may take the last room of a full disk.
        let _removed = fs::remove_file(&path);
    }
    written
}

fn write_new_file(path: &Path, records: &[u8], ahead: u64) -> io::Result<(File, u64)> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
    let file = options.open(path)?;
    let start = offset(MAGIC.len());
    file.write_all_at(&MAGIC, 0)?;
    file.write_all_at(records, start)?;
    let used = start + offset(records.len());
    zero(&file, used, used + ahead)?;
    file.sync_all()?;
    Ok((file, used + ahead))
}

fn zero(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let piece = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_all_at(&ZEROS[..piece], at)?;
        at += offset(piece);
    }
    Ok(())
}

/// The file's bytes, one more than `limit` at most.
fn read(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A length as a place in a file.
fn offset(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
