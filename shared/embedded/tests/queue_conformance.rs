//! The ports' suite over this crate's queues and key service.

use std::{
    any::Any,
    collections::HashMap,
    fs,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use mm_embedded::{
    journal::{JournalLane, LaneReceipt},
    keys::KeyFile,
    queue::{EmbeddedQueue, InProcessQueue, QueueSettings, Receipt, VISIBILITY_TIMEOUT},
};
use mm_engine::{
    conformance::{Delivered, KeySubject, QueueProbe, QueueSubject},
    ports::{Clock, Lane, LaneMessage, Nudge, RefreshQueue, Rng},
    testing::{ManualClock, SeededRng},
};
use mm_model::Timestamp;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

struct Probe {
    clock: Arc<ManualClock>,
    /// The present process, and those that were killed: a killed one has not tidied up either.
    processes: Mutex<Vec<(TempDir, Arc<EmbeddedQueue>)>>,
    receipts: Mutex<HashMap<String, Receipt>>,
    ordered: Mutex<HashMap<String, LaneReceipt>>,
}

impl Probe {
    #[expect(clippy::unwrap_used, reason = "a probe that cannot do its part fails the case")]
    fn start(&self, directory: TempDir) {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let lane = JournalLane::open(directory.path(), Arc::clone(&clock)).unwrap();
        let queue = EmbeddedQueue::new(InProcessQueue::new(clock, QueueSettings::default()), lane);
        self.processes.lock().unwrap().push((directory, Arc::new(queue)));
    }

    #[expect(clippy::unwrap_used, reason = "a probe that cannot do its part fails the case")]
    fn present(&self) -> Arc<EmbeddedQueue> {
        Arc::clone(&self.processes.lock().unwrap().last().unwrap().1)
    }
}

/// What is there without waiting.
fn ready<T>(receiving: impl Future<Output = Vec<T>>) -> Vec<T> {
    match pin!(receiving).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(batch) => batch,
        Poll::Pending => Vec::new(),
    }
}

#[expect(clippy::unwrap_used, reason = "a probe that cannot do its part fails the case")]
fn delivered<T: DeserializeOwned, R>(receipts: &Mutex<HashMap<String, R>>, receipt: R, body: &str) -> Delivered<T> {
    let mut receipts = receipts.lock().unwrap();
    let name = receipts.len().to_string();
    receipts.insert(name.clone(), receipt);
    Delivered { message: serde_json::from_str(body).unwrap(), receipt: name }
}

#[async_trait]
#[expect(clippy::unwrap_used, reason = "a probe that cannot do its part fails the case")]
impl QueueProbe for Probe {
    fn queue(&self) -> Arc<dyn RefreshQueue> {
        self.present()
    }

    async fn receive(&self, lane: Lane) -> Vec<Delivered<Nudge>> {
        let batch = ready(self.present().nudges.receive(lane));
        batch.into_iter().map(|received| delivered(&self.receipts, received.receipt, &received.body)).collect()
    }

    async fn delete(&self, _lane: Lane, receipt: &str) {
        let receipt = self.receipts.lock().unwrap()[receipt];
        self.present().nudges.delete(receipt);
    }

    async fn receive_ordered(&self) -> Vec<Delivered<LaneMessage>> {
        let batch = ready(self.present().lane.receive());
        batch.into_iter().map(|received| delivered(&self.ordered, received.receipt, &received.body)).collect()
    }

    async fn delete_ordered(&self, receipt: &str) {
        let receipt = self.ordered.lock().unwrap()[receipt];
        self.present().lane.delete(receipt).await;
    }

    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    fn visibility_timeout(&self) -> Duration {
        VISIBILITY_TIMEOUT
    }

    async fn reopen(&self) -> bool {
        // As a kill does: what is in the file at this instant, while the process goes on believing.
        let directory = TempDir::new().unwrap();
        let journal = "lane.journal";
        let killed = self.processes.lock().unwrap().last().unwrap().0.path().join(journal);
        fs::copy(killed, directory.path().join(journal)).unwrap();
        self.start(directory);
        true
    }
}

mod queues {
    use super::*;

    #[expect(clippy::unwrap_used, reason = "without a directory there is no case")]
    async fn fresh() -> QueueSubject {
        let probe = Probe {
            clock: Arc::new(ManualClock::new(Timestamp::from_unix(1_760_000_000))),
            processes: Mutex::default(),
            receipts: Mutex::default(),
            ordered: Mutex::default(),
        };
        probe.start(TempDir::new().unwrap());
        QueueSubject { probe: Arc::new(probe), keep: Box::new(()) }
    }

    mm_engine::queue_conformance!(fresh);
}

mod key_file {
    use super::*;

    #[expect(clippy::unwrap_used, reason = "without a directory there is no case")]
    async fn fresh() -> KeySubject {
        let directory = TempDir::new().unwrap();
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(1));
        let keys = KeyFile::open_or_create(directory.path(), true, rng).unwrap();
        KeySubject { keys: Arc::new(keys), keep: Box::new(directory) as Box<dyn Any + Send> }
    }

    mm_engine::key_conformance!(fresh);
}
