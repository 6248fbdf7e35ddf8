//! The product with parts of it exchanged: a table that fails on demand, a clock that is wrong, keys that are counted,
//! secrets that an operator changes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mm_embedded::{keys::KeyFile, store::SqliteEvents};
use mm_engine::{
    Engine, Parts, TokenCipher,
    ports::{BranchKey, Clock, ConnectionStore, KeyContext, KeyError, KeyService, Rng},
    testing::{ManualClock, SeededRng},
};
use mm_model::{ProviderId, Timestamp};
use mm_oauth::{ClientSecret, ClientSecrets, Deadlines, ProviderClient, SecretPair, SecretsError};
use mm_sandbox::{Ending, Endpoint, Request};
use mm_standalone::Backend;

use super::{CALL_DEADLINE, World};

/// How long the sockets and the table's thread must be silent before the product's own waits pass.
pub(super) const SILENCE: Duration = Duration::from_millis(2);

/// The longest of the product's own waits between two tries. What sleeps for longer is a time limit: it does not pass because
/// a socket or the table's thread was slow for a moment.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a test looks for what must come: only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an engine of a test is made of.
pub(crate) struct Wiring {
    pub(crate) store: Arc<dyn ConnectionStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<dyn KeyService>,
    pub(crate) secrets: Arc<dyn ClientSecrets>,
    /// Of the engine's dice: no two processes of one world may have the same.
    pub(crate) seed: u64,
}

impl World {
    /// The parts as they are, for another process over the same table and queues.
    pub(crate) fn wiring(&self, seed: u64) -> Wiring {
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(seed ^ 0x0f0f));
        Wiring {
            store: Arc::clone(&self.backend.store) as _,
            clock: Arc::clone(&self.clock) as _,
            keys: Arc::new(KeyFile::open_or_create(self.data_dir(), false, rng).unwrap()),
            secrets: Arc::clone(&self.secrets),
            seed,
        }
    }

    /// Another process over the same table and queues.
    pub(crate) fn process(&self, wiring: Wiring) -> Backend {
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(wiring.seed ^ 0x7700_0000));
        let backend = self.backend.clone();
        let cipher = TokenCipher::new(
            "multimusic-tokens".to_owned(),
            wiring.keys,
            Arc::clone(&wiring.store),
            Arc::clone(&wiring.clock),
            Arc::clone(&rng),
        );
        let engine = Arc::new(Engine::new(Parts {
            store: wiring.store,
            queue: Arc::clone(&backend.queue) as _,
            cipher,
            events: Arc::new(SqliteEvents::new(Arc::clone(&backend.store))),
            clock: wiring.clock,
            rng,
            client: ProviderClient::new(Deadlines { connect: CALL_DEADLINE / 2, total: CALL_DEADLINE }).unwrap(),
            secrets: wiring.secrets,
            offers: self.offers.iter().cloned().collect(),
            awake_window: self.setup.awake_window,
            processes: 1,
        }));
        let mut surface = backend.surface.clone();
        surface.engine = Arc::clone(&engine);
        Backend { engine, surface, ..backend }
    }

    /// Makes `backend` the one that the world's pumps and browsers use.
    pub(crate) fn adopt(&mut self, backend: Backend) {
        self.entrance.open(self.setup.product(&backend, &self.clock));
        self.backend = backend;
    }

    /// Settles while the product's own waits pass: those of a worker whose table fails.
    pub(crate) async fn settle_through_waits(&self) {
        let mut work = std::pin::pin!(self.settle());
        loop {
            tokio::select! {
                biased;
                () = &mut work => return,
                () = tokio::time::sleep(SILENCE) => self.pass_next_wait(),
            }
        }
    }

    /// Lets time pass in steps of at most `step`, as [`World::advance_by_steps`] does, the product's own waits included.
    pub(crate) async fn advance_through_waits(&mut self, span: Duration, step: Duration) {
        let end = self.now().plus(span);
        loop {
            self.tick_if_due().await;
            self.settle_through_waits().await;
            let left = end.since(self.now());
            if left.is_zero() {
                return;
            }
            let to_minute = self.now().minute().plus(1).start().since(self.now());
            self.clock.advance(step.min(to_minute).min(left));
        }
    }

    fn pass_next_wait(&self) {
        if let Some(span) = self.clock.next_deadline().filter(|span| *span <= WAIT_MAX) {
            self.clock.advance(span);
        }
    }

    /// Waits, in the sockets' time, until something is so.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let looked = tokio::time::timeout(PATIENCE, async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(looked.await.is_ok(), "waited in vain until {what}");
    }

    /// Whether the provider's API takes an access token.
    pub(crate) fn api_takes(&self, provider: &str, token: &serde_json::Value) -> bool {
        let header = token["api"]["headers"]["Authorization"].as_str().unwrap();
        let request = Request { authorization: Some(header), query: Some("q="), ..Request::default() };
        let reply = self.sandbox.act(provider, Endpoint::Api, &request, None).unwrap();
        matches!(reply.ending, Ending::Answer(answer) if answer.status == 200)
    }
}

/// A clock that is some seconds ahead or behind.
pub(crate) struct SkewedClock {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ahead: i64,
}

#[async_trait]
impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.clock.now().unix().checked_add_signed(self.ahead).unwrap())
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    async fn sleep(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    async fn sleep_real(&self, span: Duration) {
        self.clock.sleep_real(span).await;
    }
}

/// Counts what the key service unwraps.
pub(crate) struct CountingKeys {
    keys: Arc<dyn KeyService>,
    unwraps: AtomicU64,
}

impl CountingKeys {
    pub(crate) fn new(keys: Arc<dyn KeyService>) -> Self {
        Self { keys, unwraps: AtomicU64::new(0) }
    }

    pub(crate) fn unwraps(&self) -> u64 {
        self.unwraps.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeyService for CountingKeys {
    async fn wrap(&self, context: &KeyContext, key: &BranchKey) -> Result<Vec<u8>, KeyError> {
        self.keys.wrap(context, key).await
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8]) -> Result<BranchKey, KeyError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        self.keys.unwrap(context, wrapped).await
    }
}

/// Secrets as an operator sets them: the same for every provider.
pub(crate) struct OperatorsSecrets(Mutex<SecretPair>);

impl OperatorsSecrets {
    pub(crate) fn new(current: &str, previous: Option<&str>) -> Self {
        Self(Mutex::new(pair(current, previous)))
    }

    pub(crate) fn set(&self, current: &str, previous: Option<&str>) {
        *self.0.lock().unwrap() = pair(current, previous);
    }
}

fn pair(current: &str, previous: Option<&str>) -> SecretPair {
    let secret = |text: &str| ClientSecret::new(text.to_owned());
    SecretPair { current: secret(current), previous: previous.map(secret) }
}

#[async_trait]
impl ClientSecrets for OperatorsSecrets {
    async fn current(&self, _provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn reload(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        self.current(provider).await
    }
}
