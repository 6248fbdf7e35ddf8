//! An engine over one machine's ports, and connections in it. Nobody answers for a provider: ticking needs none.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mm_embedded::{
    journal::JournalLane,
    keys::KeyFile,
    queue::{EmbeddedQueue, InProcessQueue, QueueSettings},
    store::SqliteStore,
};
use mm_engine::{
    Engine, Offers, Parts, TickReport, TokenCipher,
    ports::{Clock, ConnectionStore as _, Consistency, Expected, Link, LinkOutcome, Rng},
    testing::{ManualClock, SeededRng},
};
use mm_model::{
    Connection, ConnectionKey, Minute, Sealed, Seat, Timestamp, User, Version, limits::AWAKE_WINDOW, login::Consent,
};
use mm_oauth::{Deadlines, ProviderClient, StaticSecrets};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::faulty::{Faults, FaultyEvents, FaultyQueue, FaultyStore};

/// Where every test begins: on a minute.
pub(crate) const START: Timestamp = Timestamp::from_unix(1_800_000_000);

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) queue: Arc<FaultyQueue>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) events: Arc<FaultyEvents>,
    pub(crate) faults: Faults,
    /// Everybody's seat.
    pub(crate) seats: BTreeMap<ConnectionKey, Seat>,
    _directory: TempDir,
}

impl World {
    /// Connects somebody for each lifetime in seconds, now.
    pub(crate) async fn with(lifetimes: impl IntoIterator<Item = u64>) -> Self {
        let directory = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let dyn_clock: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(1));
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let faults = Faults::default();
        let nudges = InProcessQueue::new(Arc::clone(&dyn_clock), QueueSettings::default());
        let lane = JournalLane::open(directory.path(), Arc::clone(&dyn_clock)).unwrap();
        let queue = Arc::new(FaultyQueue {
            queue: EmbeddedQueue::new(nudges, lane),
            faults: faults.clone(),
            clock: Arc::clone(&dyn_clock),
            sent: Vec::new().into(),
        });
        let keys = KeyFile::from_text(&"5a".repeat(32), Arc::clone(&rng)).unwrap();
        let faulty = Arc::new(FaultyStore { store: Arc::clone(&store), faults: faults.clone() });
        let cipher = TokenCipher::new(
            "tick".to_owned(),
            Arc::new(keys),
            Arc::clone(&faulty) as _,
            Arc::clone(&dyn_clock),
            Arc::clone(&rng),
        );
        let events = Arc::new(FaultyEvents { faults: faults.clone(), told: Vec::new().into() });
        let engine = Engine::new(Parts {
            store: faulty,
            queue: Arc::clone(&queue) as _,
            cipher,
            events: Arc::clone(&events) as _,
            clock: dyn_clock,
            rng,
            client: ProviderClient::new(Deadlines::PROVIDER).unwrap(),
            secrets: Arc::new(StaticSecrets::from_iter([])),
            offers: Offers::default(),
            awake_window: AWAKE_WINDOW,
            processes: 1,
        });
        let seats = connect(&store, lifetimes).await;
        Self { engine, store, queue, clock, events, faults, seats, _directory: directory }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ticks, and says whom that nudged and for when; ordered.
    pub(crate) async fn tick(&self) -> (TickReport, Vec<(ConnectionKey, Timestamp)>) {
        let report = self.engine.tick().await.unwrap();
        (report, self.take_sent())
    }

    pub(crate) fn take_sent(&self) -> Vec<(ConnectionKey, Timestamp)> {
        let mut sent = std::mem::take(&mut *self.queue.sent.lock().unwrap());
        sent.sort();
        sent
    }

    /// Whose seats pass in one of these minutes, with the last such pass.
    pub(crate) fn passing(&self, first: Minute, last: Minute) -> BTreeMap<ConnectionKey, Minute> {
        let passes = self.seats.iter().filter_map(|(key, seat)| {
            let pass =
                (first.number()..=last.number()).rev().map(Minute::new).find(|pass| seat.first_pass(*pass) == *pass);
            pass.map(|pass| (key.clone(), pass))
        });
        passes.collect()
    }

    pub(crate) async fn row(&self, key: &ConnectionKey) -> Connection {
        let rows = self.store.person(&key.user, Consistency::Strong).await.unwrap();
        rows.connection(&key.provider).unwrap().clone()
    }
}

/// The key of connection `n`.
pub(crate) fn key(n: usize) -> ConnectionKey {
    ConnectionKey { user: format!("user-{n}").parse().unwrap(), provider: "soundcloud".parse().unwrap() }
}

async fn connect(store: &Arc<SqliteStore>, lifetimes: impl IntoIterator<Item = u64>) -> BTreeMap<ConnectionKey, Seat> {
    // At once, so that the store's writer takes many in one transaction.
    let mut links = JoinSet::new();
    let mut seats = BTreeMap::new();
    for (n, lifetime) in lifetimes.into_iter().enumerate() {
        let key = key(n);
        let connection = established(&key, n, lifetime);
        seats.insert(key.clone(), connection.active().unwrap().seat.unwrap());
        let user = User::new(key.user.clone(), START);
        let link = Link { connection, expected: Expected::Absent, user, released: None, taken_from: None };
        let store = Arc::clone(store);
        links.spawn(async move { store.link(&link).await.unwrap() });
    }
    assert!(links.join_all().await.into_iter().all(|outcome| outcome == LinkOutcome::Done));
    seats
}

fn established(key: &ConnectionKey, n: usize, lifetime: u64) -> Connection {
    let consent = Consent {
        issuer: "https://provider.example client".parse().unwrap(),
        account: format!("account-{n}").parse().unwrap(),
        version: Version::from_bytes(u128::try_from(n).unwrap().to_be_bytes()),
        access_token: Sealed::from_bytes(vec![1; 40]),
        refresh_token: Some(Sealed::from_bytes(vec![2; 40])),
        lifetime,
        expires_at: START.plus(Duration::from_secs(lifetime)),
        scope: None,
        grant_lifetime: None,
        now: START,
    };
    Connection::establish(key.clone(), consent, None, false)
}
