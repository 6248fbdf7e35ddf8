//! A few read-only connections, used on the caller's own thread.
//!
//! A cached read of one person takes some 8 µs (release build, two busy cores); handing it to another thread and back
//! would double that and add two wake-ups. So readers block their thread for that long. Every statement sees the newest
//! commit, and the writer answers after its commit returned: a read sees every write that was acknowledged before it,
//! whatever consistency it asks for.

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rusqlite::{Connection, OpenFlags};

use super::{fault::Fault, schema};

/// Read-only connections. A read occupies a runtime thread, of which a small machine has two or four.
const READERS: usize = 4;

pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Readers {
    /// Opens the connections; the file must exist.
    pub(super) fn open(file: &Path) -> Result<Self, rusqlite::Error> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let sql = Connection::open_with_flags(file, flags)?;
            schema::configure_reader(&sql)?;
            Ok(Mutex::new(sql))
        };
        let connections = (0..READERS).map(|_| open()).collect::<Result<_, rusqlite::Error>>()?;
        Ok(Self { connections, next: AtomicUsize::new(0) })
    }

    /// Runs `read`. Each statement sees a snapshot of its own; a read of several opens a transaction for them.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        read(&self.borrow())
    }

    fn borrow(&self) -> MutexGuard<'_, Connection> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let order = (first..READERS).chain(0..first);
        for index in order {
            match self.connections[index].try_lock() {
                Ok(free) => return free,
                // A panic in the middle of a read leaves nothing behind but a snapshot, which ended with it.
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.connections[first].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
