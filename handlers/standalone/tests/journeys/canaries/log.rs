//! Everything that the process logs while somebody listens.

use std::{
    io,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing_subscriber::{Layer as _, filter::dynamic_filter_fn, fmt::format::FmtSpan, layer::SubscriberExt as _};

static LISTENING: AtomicBool = AtomicBool::new(false);
static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static INSTALLED: OnceLock<()> = OnceLock::new();

/// Ears, until they are dropped.
pub(super) struct Listening(());

struct Tape;

impl io::Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Listens to every thread at every level, as the product logs to a collector: JSON with its spans. For the whole process,
/// since the store writes on a thread of its own; the other tests are heard too, and nothing of theirs is expected.
pub(super) fn listen() -> Listening {
    INSTALLED.get_or_init(|| {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_events(FmtSpan::FULL)
            .with_writer(|| Tape)
            .with_filter(dynamic_filter_fn(|_, _| LISTENING.load(Ordering::Relaxed)));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    });
    LISTENING.store(true, Ordering::Relaxed);
    Listening(())
}

impl Listening {
    /// What was logged so far, line by line.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self(()) = self;
        let written = WRITTEN.lock().unwrap();
        String::from_utf8(written.clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.store(false, Ordering::Relaxed);
    }
}
