//! A whole product in a test: real routers, real store, real queue, a real provider on a socket of this machine; the clock
//! and the dice belong to the test.

mod browser;
mod dice;
mod moody;
mod rows;
mod wiring;

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body};
use http::{Request, Response};
use mm_embedded::queue::QueueSettings;
use mm_engine::{
    Offer, Offers,
    ports::{Clock, ConnectionStore as _, Lane},
    testing::ManualClock,
};
use mm_model::{Timestamp, limits::AWAKE_WINDOW};
use mm_oauth::{Catalogue, ClientSecrets, Deadlines, ProviderClient};
use mm_sandbox::{Behaviour, BehaviourPatch, LogEntry, Sandbox};
use mm_standalone::{
    Backend, Blueprint, pump, routes,
    twins::{Twins, TwinsPlan},
};
use mm_web::{
    Origins, SessionKeys,
    rate_limit::{Peer, Throttle},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower::ServiceExt as _;
use url::Url;

pub(crate) use browser::{Answer, Browser, Heard};
pub(crate) use dice::Drawn;
pub(crate) use moody::{Mood, Moods, MoodyStore};
pub(crate) use rows::Rows;
pub(crate) use wiring::{CountingKeys, OperatorsSecrets, SkewedClock};

/// When every test begins: on a minute, so that ticks are easy to count.
pub(crate) const START: Timestamp = Timestamp::from_unix(1_800_000_000);

/// The product's address in tests.
pub(crate) const PUBLIC_URL: &str = "http://127.0.0.1:8080";

/// A provider call's deadline in tests: a socket's, so real time; short, for tests of silence.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_millis(1500);

/// What differs from the usual world.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) token_lifetime: Option<u64>,
    pub(crate) queue: QueueSettings,
    pub(crate) awake_window: Duration,
    /// `PUBLIC_URL`.
    pub(crate) public_url: &'static str,
    /// `FRONTEND_URL`.
    pub(crate) frontends: &'static [&'static str],
    /// The limits per client address, with these `TRUSTED_PROXIES`; off unless a test is about them.
    pub(crate) limits: Option<&'static str>,
    /// Providers of the catalogue that this installation has no credentials for.
    pub(crate) withheld: &'static [&'static str],
    /// What the catalogue says otherwise about each provider.
    pub(crate) edit: fn(&mut Offer),
    /// `JWT_SECRET`, for tests that forge sessions with the true key.
    pub(crate) session_secret: Option<&'static [u8]>,
    /// Remembers everything random and everything answered.
    pub(crate) drawn: Option<Drawn>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            token_lifetime: None,
            queue: QueueSettings::default(),
            awake_window: AWAKE_WINDOW,
            public_url: PUBLIC_URL,
            frontends: &[],
            limits: None,
            withheld: &[],
            edit: |_| {},
            session_secret: None,
            drawn: None,
        }
    }
}

impl Setup {
    fn origins(&self) -> Origins {
        let frontends = self.frontends.iter().map(|url| Url::parse(url).unwrap()).collect();
        Origins::new(Url::parse(self.public_url).unwrap(), frontends).unwrap()
    }

    fn product(&self, backend: &Backend, clock: &Arc<ManualClock>) -> Router {
        let limits = self.limits.map(|proxies| Throttle {
            limiter: routes::limiter(false, [7; 16]),
            proxies: proxies.parse().unwrap(),
            now: {
                let clock = Arc::clone(clock);
                Box::new(move || clock.now())
            },
        });
        routes::product(&backend.surface, limits, None)
    }
}

/// The product and its surroundings.
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sandbox: Sandbox,
    entrance: Entrance,
    setup: Setup,
    offers: Vec<Offer>,
    secrets: Arc<dyn ClientSecrets>,
    ticked: u64,
    data_dir: Arc<tempfile::TempDir>,
    heard: Arc<Mutex<Vec<Heard>>>,
    _sandbox_server: Server,
}

/// The product's router, shared by the world and its browsers; another one after a restart, none while it is down.
#[derive(Clone, Default)]
pub(crate) struct Entrance(Arc<Mutex<Option<Router>>>);

impl Entrance {
    fn open(&self, router: Router) {
        *self.0.lock().unwrap() = Some(router);
    }

    fn close(&self) {
        *self.0.lock().unwrap() = None;
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Response<Body> {
        // As the server does that accepts connections.
        if request.extensions().get::<Peer>().is_none() {
            request.extensions_mut().insert(Peer(Ipv4Addr::LOCALHOST.into()));
        }
        let router = self.0.lock().unwrap().clone().expect("the product is up");
        router.oneshot(request).await.unwrap()
    }
}

/// The sandbox's server; ends with the world.
struct Server {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _gone = stop.send(());
        }
        self.task.abort();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let catalogue = Catalogue::built_in().unwrap();
        let plan = TwinsPlan {
            base_url: Url::parse(&format!("http://localhost:{port}")).unwrap(),
            origins: &setup.origins(),
            data_dir: None,
            token_lifetime: setup.token_lifetime,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            rng: dice::seeded(setup.seed ^ 0x5a5a, setup.drawn.as_ref()),
        };
        let twins = Twins::new(&catalogue, plan).unwrap();
        let sandbox = twins.sandbox.clone();
        let (stop, stopped) = oneshot::channel();
        let served = sandbox.clone();
        let task = tokio::spawn(async move {
            served
                .serve(listener, async {
                    let _gone = stopped.await;
                })
                .await;
        });
        let data_dir = Arc::new(data_dir());
        let secrets: Arc<dyn ClientSecrets> = Arc::new(twins.secrets);
        let mut offers = twins.offers;
        offers.retain(|offer| !setup.withheld.contains(&offer.provider.id.as_str()));
        offers.iter_mut().for_each(setup.edit);
        let backend = open(&setup, &data_dir, &clock, offers.clone(), Arc::clone(&secrets), setup.seed).await;
        let entrance = Entrance::default();
        entrance.open(setup.product(&backend, &clock));
        Self {
            backend,
            clock,
            sandbox,
            entrance,
            setup,
            offers,
            secrets,
            ticked: START.minute().number(),
            data_dir,
            heard: Arc::default(),
            _sandbox_server: Server { stop: Some(stop), task },
        }
    }

    /// Ends the process as a kill does: whatever was in memory is gone, the files stay.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            backend,
            clock,
            sandbox,
            entrance,
            setup,
            offers,
            secrets,
            ticked,
            data_dir,
            heard,
            _sandbox_server: server,
        } = self;
        entrance.close();
        drop(backend);
        let seed = setup.seed.wrapping_add(ticked);
        let backend = open(&setup, &data_dir, &clock, offers.clone(), Arc::clone(&secrets), seed).await;
        entrance.open(setup.product(&backend, &clock));
        Self {
            backend,
            clock,
            sandbox,
            entrance,
            setup,
            offers,
            secrets,
            ticked,
            data_dir,
            heard,
            _sandbox_server: server,
        }
    }

    /// A browser without cookies.
    pub(crate) fn browser(&self) -> Browser {
        let heard = self.setup.drawn.as_ref().map(|_| Arc::clone(&self.heard));
        Browser::new(self.entrance.clone(), self.sandbox.clone(), self.setup.public_url, heard)
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.entrance.send(request).await
    }

    /// Everything that the table holds.
    pub(crate) fn rows(&self) -> Rows {
        Rows::of(self.data_dir.path())
    }

    /// Where the product keeps its files.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Every request and answer of this world's browsers, where it remembers them.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Changes how a provider's twin behaves.
    pub(crate) fn adjust(&self, provider: &str, patch: BehaviourPatch) -> Behaviour {
        self.sandbox.adjust(provider, &patch).expect("a twin of the sandbox")
    }

    /// The token requests of one kind that a provider received.
    pub(crate) fn calls(&self, provider: &str, grant_type: &str) -> Vec<LogEntry> {
        let log = self.sandbox.log();
        log.entries()
            .filter(|entry| entry.provider == provider && entry.grant_type == Some(grant_type))
            .cloned()
            .collect()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Carries out everything that can be done without time passing: changes, nudges, lane messages.
    pub(crate) async fn settle(&self) {
        loop {
            let mut done = pump::stream_turn(&self.backend).await.unwrap().followed;
            for lane in [Lane::Urgent, Lane::Due] {
                done += pump::nudge_turn(&self.backend, lane).await;
            }
            done += pump::lane_turn(&self.backend).await;
            if done == 0 {
                return;
            }
        }
    }

    /// Lets time pass in steps of at most `step`, ticking at each minute's start and settling after each step.
    pub(crate) async fn advance_by_steps(&mut self, span: Duration, step: Duration) {
        let end = self.now().plus(span);
        loop {
            self.tick_if_due().await;
            self.settle().await;
            let left = end.since(self.now());
            if left.is_zero() {
                return;
            }
            let to_minute = self.now().minute().plus(1).start().since(self.now());
            self.clock.advance(step.min(to_minute).min(left));
        }
    }

    /// Lets time pass, ten seconds at a time.
    pub(crate) async fn advance(&mut self, span: Duration) {
        self.advance_by_steps(span, Duration::from_secs(10)).await;
    }

    /// Lets time pass while nobody ticks, refreshes or tells: the process is away.
    pub(crate) fn sleep_through(&mut self, span: Duration) {
        self.clock.advance(span);
    }

    /// Lets time pass up to `to`, which is known to be free of passes and messages: the same as to advance, without the ticks
    /// that find nobody.
    pub(crate) async fn skip_to(&mut self, to: Timestamp) {
        self.clock.advance_to(to);
        self.ticked = self.now().minute().number();
        self.backend.store.advance_tick(self.now().minute()).await.unwrap();
    }

    async fn tick_if_due(&mut self) {
        let minute = self.now().minute().number();
        if minute > self.ticked {
            pump::schedule_turn(&self.backend).await.unwrap().unwrap();
            self.ticked = minute;
        }
    }

    /// Runs `work` to its end while settling and letting `pace` pass at each turn: for callers that wait for the worker. The
    /// clock moves only for somebody who sleeps by it, and only once the sockets and the table's thread had time to answer.
    pub(crate) async fn drive<T>(&self, pace: Duration, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let turn = async {
                self.settle().await;
                tokio::time::sleep(wiring::SILENCE).await;
            };
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = turn => {}
            }
            if self.clock.sleepers() > 0 {
                self.clock.advance(pace);
            }
        }
    }
}

/// A directory in memory where the machine has one: a long journey syncs its files some thousand times, and no power fails in it.
fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn open(
    setup: &Setup,
    data_dir: &tempfile::TempDir,
    clock: &Arc<ManualClock>,
    offers: Vec<Offer>,
    secrets: Arc<dyn ClientSecrets>,
    seed: u64,
) -> Backend {
    let catalogue = Catalogue::built_in().unwrap();
    let offers: Offers = offers.into_iter().collect();
    Backend::open(Blueprint {
        data_dir: data_dir.path().to_owned(),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        rng: dice::seeded(seed, setup.drawn.as_ref()),
        client: ProviderClient::new(Deadlines { connect: CALL_DEADLINE / 2, total: CALL_DEADLINE }).unwrap(),
        offers,
        secrets,
        catalogue: catalogue.iter().map(|provider| provider.id.clone()).collect(),
        origins: setup.origins(),
        session_keys: setup.session_secret.map(|secret| SessionKeys::new(secret, None).unwrap()),
        encryption_key: None,
        awake_window: setup.awake_window,
        queue: setup.queue,
    })
    .await
    .unwrap()
}
