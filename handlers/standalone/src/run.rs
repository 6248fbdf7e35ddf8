//! From configuration to a serving process, and back down.

use std::{path::Path, sync::Arc, time::Duration};

use mm_boot::{
    Config, ConfigError, Environment,
    config::{Credentials, Overrides},
    telemetry,
};
use mm_embedded::{
    clock::{ScaledClock, SystemClock},
    dice::SystemRng,
    queue::QueueSettings,
};
use mm_engine::{Offer, Offers, chain, ports::Clock};
use mm_oauth::{
    Catalogue, ClientSecret, ClientSecrets, Deadlines, ProviderClient, Registration, SecretPair, StaticSecrets,
};
use mm_standalone::{
    Backend, Blueprint, StartError,
    page::{self, PageContext},
    pump, routes, server,
    twins::{Twins, TwinsPlan},
};
use mm_web::{
    Origins, SessionKeys,
    rate_limit::Throttle,
    same_site::{RedirectUri, same_site_check},
};
use tokio::{net::TcpListener, sync::watch};
use url::Url;

use crate::flags::{Flags, tell};

/// Shortest deadline of a provider call under a fast clock: on one machine, but not instantly.
const DEADLINE_MIN: Duration = Duration::from_millis(500);

/// How long everything may take to end after a stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Why the server does not run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A value is missing or wrong.
    Config(String),
    /// The start failed for another reason.
    Start(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    pub(crate) const fn is_configuration(&self) -> bool {
        matches!(self, Self::Config(_))
    }

    fn start(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Start(error.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(line) => f.write_str(line),
            Self::Start(error) => f.write_str(&chain(&**error)),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(flags: Flags) -> Result<(), Failure> {
    let env = Environment::of_process().with_file(Path::new(".env"))?;
    telemetry::install(&env)?;
    let catalogue = Catalogue::built_in().map_err(Failure::start)?;
    let overrides = Overrides { port: flags.port, data_dir: flags.data_dir.clone() };
    let config = Config::from_env(&env, &catalogue, overrides)?;
    let origins = Origins::new(config.public_url.clone(), config.frontends.clone())
        .map_err(|error| Failure::Config(error.to_string()))?;
    check_sites(&config, &origins)?;
    let twins_wanted = wants_twins(&flags, &config)?;
    let clock: Arc<dyn Clock> = if flags.speed == 1 || !twins_wanted {
        Arc::new(SystemClock::new())
    } else {
        Arc::new(ScaledClock::new(flags.speed))
    };
    let speed = if twins_wanted { flags.speed } else { 1 };

    let listener = bind(config.port, "PORT or --port").await?;
    let twins = if twins_wanted { Some(twins(&flags, &config, &catalogue, &origins, &clock)?) } else { None };
    let sandbox_listener = match &twins {
        Some(_) => Some(bind(flags.sandbox_port, "--sandbox-port").await?),
        None => None,
    };
    let (offers, secrets): (Offers, Arc<dyn ClientSecrets>) = match &twins {
        Some(twins) => (twins.offers.iter().cloned().collect(), Arc::new(twins.secrets.clone())),
        None => real_offers(&config.providers, &catalogue)?,
    };
    let backend = open(&config, &catalogue, origins, clock, offers, secrets, twins.is_some(), speed).await?;

    let (stop, stopped) = watch::channel(false);
    let sandbox_url = twins.as_ref().map(|twins| twins.sandbox.base_url().clone());
    let page = config
        .dev_page
        .then(|| page::routes(&backend.surface, PageContext { speed, sandbox_url: sandbox_url.clone() }));
    let router = routes::product(&backend.surface, Some(throttle(&config, &backend)), page);
    announce(&config, &backend, sandbox_url.as_ref(), speed);
    let sandbox = tokio::spawn(serve_sandbox(twins, sandbox_listener, stopped.clone()));
    let pumps = tokio::spawn(pump::run(Arc::new(backend.clone()), stopped.clone()));
    let serving = tokio::spawn(server::serve(listener, router, stopped));

    signal().await;
    tell("multimusic: stopping");
    // Nobody listens any more: everything has ended already.
    let _ended = stop.send(true);
    let ended = tokio::time::timeout(STOP_WITHIN, async {
        let _served = serving.await;
        backend.close();
        let _pumped = pumps.await;
        let _twins = sandbox.await;
    });
    if ended.await.is_err() {
        tracing::warn!(
            "stop: what was under way is left; the rows hold its leases, and the next start goes on from them"
        );
    }
    Ok(())
}

fn check_sites(config: &Config, origins: &Origins) -> Result<(), Failure> {
    let redirect_uris: Vec<_> = config
        .providers
        .iter()
        .map(|credentials| RedirectUri {
            variable: format!("{}_REDIRECT_URI", credentials.provider.as_str().to_uppercase().replace('-', "_")),
            url: credentials.redirect_uri.clone(),
        })
        .collect();
    same_site_check(origins, &redirect_uris).map_err(|error| Failure::Config(error.to_string()))
}

/// Twins only where no real provider is configured, and never where others than this machine's browsers come.
fn wants_twins(flags: &Flags, config: &Config) -> Result<bool, Failure> {
    let by_itself = cfg!(debug_assertions) && config.dev_page && config.providers.is_empty();
    if !flags.sandbox && !by_itself {
        return Ok(false);
    }
    let refuse = |why: &str| Err(Failure::Config(format!("--sandbox {why}")));
    if !config.providers.is_empty() {
        return refuse("and real credentials do not mix; remove the <ID>_CLIENT_ID variables or the flag");
    }
    match config.public_url.host_str() {
        Some("127.0.0.1" | "[::1]") => Ok(true),
        _ => refuse("needs PUBLIC_URL on 127.0.0.1: its accounts ask for no password"),
    }
}

fn twins(
    flags: &Flags,
    config: &Config,
    catalogue: &Catalogue,
    origins: &Origins,
    clock: &Arc<dyn Clock>,
) -> Result<Twins, Failure> {
    let base_url = Url::parse(&format!("http://localhost:{}", flags.sandbox_port)).map_err(Failure::start)?;
    let data_dir = sandbox_dir(config);
    std::fs::create_dir_all(&data_dir).map_err(|error| {
        Failure::Start(format!("{} cannot be made: {error}; choose another DATA_DIR", data_dir.display()).into())
    })?;
    let plan = TwinsPlan {
        base_url,
        origins,
        data_dir: Some(&data_dir),
        token_lifetime: flags.token_lifetime,
        clock: Arc::clone(clock),
        rng: Arc::new(SystemRng),
    };
    Twins::new(catalogue, plan).map_err(Failure::start)
}

/// The twins' grants and real ones never meet: each has a data directory of its own.
fn sandbox_dir(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("sandbox")
}

fn real_offers(
    credentials: &[Credentials],
    catalogue: &Catalogue,
) -> Result<(Offers, Arc<dyn ClientSecrets>), Failure> {
    let mut offers = Vec::new();
    let mut secrets = Vec::new();
    for credentials in credentials {
        let Some(provider) = catalogue.get(&credentials.provider) else { continue };
        let registration = Registration::new(
            provider,
            credentials.client_id.clone(),
            credentials.redirect_uri.clone(),
            credentials.scopes.clone(),
        )
        .map_err(|error| Failure::Config(format!("{}: {error}", credentials.provider)))?;
        offers.push(Offer { provider: provider.clone(), registration });
        let secret = |secret: &mm_boot::config::Secret| ClientSecret::new(secret.expose().to_owned());
        let pair = SecretPair {
            current: secret(&credentials.client_secret),
            previous: credentials.previous_secret.as_ref().map(secret),
        };
        secrets.push((credentials.provider.clone(), pair));
    }
    Ok((offers.into_iter().collect(), Arc::new(secrets.into_iter().collect::<StaticSecrets>())))
}

#[expect(clippy::too_many_arguments, reason = "each is made by another part of the start, and they meet only here")]
async fn open(
    config: &Config,
    catalogue: &Catalogue,
    origins: Origins,
    clock: Arc<dyn Clock>,
    offers: Offers,
    secrets: Arc<dyn ClientSecrets>,
    sandbox: bool,
    speed: u32,
) -> Result<Backend, Failure> {
    let session_keys = config.session_secrets.as_ref().map(|secrets| {
        let previous = secrets.previous.as_ref().map(|secret| secret.expose().as_bytes());
        SessionKeys::new(secrets.current.expose().as_bytes(), previous)
    });
    let session_keys = session_keys.transpose().map_err(Failure::start)?;
    // Leases run on the scaled clock: a call must not outlive its lease there.
    let scaled = |deadline: Duration| (deadline / speed).max(DEADLINE_MIN.min(deadline));
    let deadlines =
        Deadlines { connect: scaled(Deadlines::PROVIDER.connect), total: scaled(Deadlines::PROVIDER.total) };
    let blueprint = Blueprint {
        data_dir: if sandbox { sandbox_dir(config) } else { config.data_dir.clone() },
        clock,
        rng: Arc::new(SystemRng),
        client: ProviderClient::new(deadlines).map_err(Failure::start)?,
        offers,
        secrets,
        catalogue: catalogue.iter().map(|provider| provider.id.clone()).collect(),
        origins,
        session_keys,
        encryption_key: config.encryption_key.as_ref().map(|key| key.expose().to_owned()),
        awake_window: config.awake_window,
        queue: QueueSettings::default(),
    };
    Backend::open(blueprint).await.map_err(|error| match error {
        StartError::Keys(error) => Failure::Config(chain(&error)),
        StartError::Key(error) => Failure::Config(chain(&error)),
        error => Failure::start(error),
    })
}

fn throttle(config: &Config, backend: &Backend) -> Throttle {
    let clock = Arc::clone(&backend.clock);
    Throttle {
        limiter: routes::limiter(config.dev_page, backend.engine.random()),
        proxies: config.trusted_proxies.iter().copied().collect(),
        now: Box::new(move || clock.now()),
    }
}

async fn bind(port: u16, variable: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        Failure::Config(format!("{variable}: 127.0.0.1:{port} cannot be listened on ({error}); choose another port"))
    })
}

async fn serve_sandbox(twins: Option<Twins>, listener: Option<TcpListener>, mut stop: watch::Receiver<bool>) {
    if let (Some(twins), Some(listener)) = (twins, listener) {
        let stopped = async move {
            // An error is a sender that is gone: the process is ending.
            let _stopped = stop.wait_for(|stop| *stop).await;
        };
        twins.sandbox.serve(listener, stopped).await;
    }
}

fn announce(config: &Config, backend: &Backend, sandbox: Option<&Url>, speed: u32) {
    let home = config.public_url.as_str();
    let providers: Vec<_> = backend.engine.offers().iter().map(|offer| offer.provider.name.clone()).collect();
    tell(&format!("multimusic {} on the embedded engine", env!("CARGO_PKG_VERSION")));
    if config.dev_page {
        tell(&format!("  page       {home}"));
    }
    tell(&format!("  interface  {home}auth/…   ({home}health)"));
    if let Some(sandbox) = sandbox {
        tell(&format!("  sandbox    {sandbox}   its accounts ask for no password"));
    }
    tell(&format!("  data       {}", backend.data_dir.display()));
    if speed > 1 {
        tell(&format!("  clock      {speed} times as fast as real time"));
    }
    match (providers.is_empty(), config.dev_page) {
        (true, _) => tell("  providers  none: set <ID>_CLIENT_ID and <ID>_CLIENT_SECRET, see .env.example"),
        (false, _) => tell(&format!("  providers  {}", providers.join(", "))),
    }
    if config.dev_page {
        tell("Open the page, connect an account, and watch its token being refreshed. Ctrl-C ends.");
    }
}

async fn signal() {
    let interrupt = tokio::signal::ctrl_c();
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt => {}
        () = terminate => {}
    }
}
