mod crashes;
mod delivery;
mod durability;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use mm_engine::testing::ManualClock;
use mm_model::Timestamp;
use tempfile::TempDir;

use super::*;

/// Small bounds, so that a few messages reach them.
const SMALL: Limits = Limits { file: 1 << 20, ahead: 4 << 10, compact: 4 << 10, reset: 1 << 10 };

/// A data directory and the time in it. The lane is opened by the test, as often as it likes.
struct Fixture {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix(1_000_000)));
        Self { directory: TempDir::new().unwrap(), clock }
    }

    fn open(&self) -> JournalLane {
        self.open_within(Limits::default())
    }

    fn open_within(&self, limits: Limits) -> JournalLane {
        self.try_open_within(limits).unwrap()
    }

    fn try_open_within(&self, limits: Limits) -> Result<JournalLane, JournalError> {
        JournalLane::open_within(self.directory.path(), Arc::clone(&self.clock) as Arc<dyn Clock>, limits)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("lane.journal")
    }
}

/// Puts one message; its body serves as its deduplication id.
async fn put(lane: &JournalLane, group: &str, body: &str) {
    lane.put(group, body, body.to_owned()).await.unwrap();
}

/// What `receive` gives without waiting.
fn visible(lane: &JournalLane) -> Vec<LaneReceived> {
    match pin!(lane.receive()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(batch) => batch,
        Poll::Pending => Vec::new(),
    }
}

fn bodies(batch: &[LaneReceived]) -> Vec<&str> {
    batch.iter().map(|received| received.body.as_str()).collect()
}

/// Takes and deletes all there is, and gives the bodies in the order of delivery.
async fn drain(lane: &JournalLane) -> Vec<String> {
    let mut drained = Vec::new();
    loop {
        let batch = visible(lane);
        if batch.is_empty() {
            return drained;
        }
        for received in batch {
            assert!(lane.delete(received.receipt).await);
            drained.push(received.body);
        }
    }
}
