//! From configuration to a serving process, and back down.

mod replay;
mod sandbox;

use std::{io, path::Path, sync::Arc, time::Duration};

use mm_boot::{
    Config, ConfigError, Environment,
    config::{Credentials, Overrides},
    telemetry,
};
use mm_embedded::{clock::SystemClock, dice::SystemRng, queue::QueueSettings, store::OpenError};
use mm_engine::{
    CipherError, Offer, Offers, chain,
    ports::{Clock, KeyError},
};
use mm_model::limits::{PROVIDER_PROCESSING_MAX, PROVIDER_TIMEOUT};
use mm_oauth::{
    Catalogue, ClientSecret, ClientSecrets, Deadlines, InvalidRegistration, ProviderClient, Registration, SecretPair,
    StaticSecrets,
};
use mm_standalone::{
    Backend, Blueprint, StartError,
    page::{self, PageContext},
    pump, routes, server,
};
use mm_web::{
    Origins, SessionKeys,
    client_address::{InvalidProxies, TrustedProxies},
    rate_limit::Throttle,
    same_site::{RedirectUri, same_site_check},
};
use sandbox::Beside;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use url::Url;

use crate::flags::{Flags, tell};

/// How long answers, refreshes and their commits may take to end after a stop: a provider's deadline and a commit. With
/// [`SANDBOX_ENDS_WITHIN`] it is less than the 10 s that a stop may take.
const WORK_ENDS_WITHIN: Duration = Duration::from_millis(8_800);

/// How long the sandbox may take to end after that.
const SANDBOX_ENDS_WITHIN: Duration = Duration::from_millis(500);

const _: () = assert!(WORK_ENDS_WITHIN.as_millis() > PROVIDER_TIMEOUT.as_millis());
const _: () = assert!(WORK_ENDS_WITHIN.as_millis() + SANDBOX_ENDS_WITHIN.as_millis() < 9_500);

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
    // Before anything is told: whoever reads that we are up may stop us at once.
    let mut signals = Signals::install().map_err(Failure::start)?;
    let env = Environment::of_process().with_file(Path::new(".env"))?;
    telemetry::install(&env)?;
    let catalogue = Catalogue::built_in().map_err(Failure::start)?;
    let overrides = Overrides { port: flags.port, data_dir: flags.data_dir.clone() };
    let config = Config::from_env(&env, &catalogue, overrides)?;
    let origins = Origins::new(config.public_url.clone(), frontends(&config))
        .map_err(|error| Failure::Config(error.to_string()))?;
    check_sites(&config, &origins)?;
    let proxies: TrustedProxies =
        config.trusted_proxies.parse().map_err(|error: InvalidProxies| Failure::Config(error.to_string()))?;
    let place = sandbox::wanted(&flags, &config)?;
    if let Some(file) = &flags.replay {
        return replay::run(file, &config, place.is_some(), flags.speed).await;
    }

    let listener = bind(config.port, "PORT or --port").await?;
    let clock = match &place {
        Some(_) => sandbox::clock(&config, flags.speed).await?,
        None => Arc::new(SystemClock::new()),
    };
    let mut beside = match place {
        Some(place) => Some(Beside::new(place, &flags, &config, &catalogue, &origins, &clock).await?),
        None => None,
    };
    let (offers, secrets) = match &mut beside {
        Some(beside) => (std::mem::take(&mut beside.offers), Arc::clone(&beside.secrets)),
        None => real_offers(&config.providers, &catalogue)?,
    };
    let backend = open(&config, &catalogue, origins, clock, offers, secrets, beside.is_some(), flags.speed).await?;

    let (stop, stopped) = watch::channel(false);
    let sandbox_url = beside.as_ref().map(|beside| beside.url.clone());
    let page = config
        .dev_page
        .then(|| page::routes(&backend.surface, PageContext { speed: flags.speed, sandbox_url: sandbox_url.clone() }));
    let router = routes::product(&backend.surface, Some(throttle(&config, proxies, &backend)), page);
    let sandbox = beside.map(Beside::serve);
    let mut pumps = tokio::spawn(pump::run(Arc::new(backend.clone()), stopped.clone()));
    let serving = tokio::spawn(server::serve(listener, router, stopped));
    announce(&config, &backend, sandbox_url.as_ref(), flags.speed);

    let pumps_died = tokio::select! {
        () = signals.next() => false,
        _ = &mut pumps => true,
    };
    tell("multimusic: stopping");
    // Whatever is under way ends; nothing new begins, for its answer might come too late to be kept.
    backend.close();
    // Nobody listens any more: everything has ended already.
    let _ended = stop.send(true);
    let work = async {
        let _served = serving.await;
        if !pumps_died {
            let _pumped = pumps.await;
        }
    };
    if tokio::time::timeout(WORK_ENDS_WITHIN, work).await.is_err() {
        tracing::warn!(
            "stop: what was under way is left; the rows hold its leases, and the next start goes on from them"
        );
    }
    if let Some(sandbox) = sandbox {
        // Its own grace is a second; hanging answers, which were asked for, are cut.
        let _cut = tokio::time::timeout(SANDBOX_ENDS_WITHIN, sandbox.stop()).await;
    }
    if pumps_died {
        return Err(Failure::Start("a part of the server ended by a fault; see the log above, and start again".into()));
    }
    Ok(())
}

/// The frontends, and the developer's page where it is on: logins that begin there return there.
fn frontends(config: &Config) -> Vec<Url> {
    let page = Some(&config.public_url).filter(|_| config.dev_page && !config.frontends.is_empty());
    config.frontends.iter().chain(page).cloned().collect()
}

fn check_sites(config: &Config, origins: &Origins) -> Result<(), Failure> {
    let redirect_uris: Vec<_> = config
        .providers
        .iter()
        .map(|credentials| RedirectUri {
            variable: credentials.variable("REDIRECT_URI"),
            url: credentials.redirect_uri.clone(),
        })
        .collect();
    same_site_check(origins, &redirect_uris).map_err(|error| Failure::Config(error.to_string()))
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
        .map_err(|error| Failure::Config(format!("{}: {error}", registration_variable(credentials, &error))))?;
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
    // Leases run on the scaled clock, sockets do not. A lease outlives the time in which a provider may still process a
    // request, so that is how long a call may last there.
    let scaled = |deadline: Duration| deadline.min(PROVIDER_PROCESSING_MAX / speed);
    let deadlines =
        Deadlines { connect: scaled(Deadlines::PROVIDER.connect), total: scaled(Deadlines::PROVIDER.total) };
    let blueprint = Blueprint {
        data_dir: if sandbox { sandbox::data_dir(config) } else { config.data_dir.clone() },
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
    Backend::open(blueprint).await.map_err(refused_start)
}

/// The data directory and the keys are configuration: theirs is the exit code of a wrong value.
fn refused_start(error: StartError) -> Failure {
    match error {
        StartError::Store(error @ OpenError::Inaccessible { .. }) => Failure::Config(chain(&error)),
        StartError::Keys(error) => Failure::Config(chain(&error)),
        StartError::Key(error) => Failure::Config(format!("ENCRYPTION_KEY: {error}")),
        StartError::Cipher(CipherError::Keys { source: KeyError::Refused { .. }, .. }) => {
            Failure::Config(chain(&error))
        }
        error => Failure::start(error),
    }
}

/// The variable that a refused registration was made from.
fn registration_variable(credentials: &Credentials, error: &InvalidRegistration) -> String {
    credentials.variable(match error {
        InvalidRegistration::RedirectUri | InvalidRegistration::LocalhostRedirect { .. } => "REDIRECT_URI",
        InvalidRegistration::Scopes => "SCOPES",
        // `ClientId` and `Issuer`, which is made of it; the enum may grow.
        _ => "CLIENT_ID",
    })
}

fn throttle(config: &Config, proxies: TrustedProxies, backend: &Backend) -> Throttle {
    let clock = Arc::clone(&backend.clock);
    Throttle {
        limiter: routes::limiter(config.dev_page, backend.engine.random()),
        proxies,
        now: Box::new(move || clock.now()),
    }
}

async fn bind(port: u16, variable: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        Failure::Config(format!("{variable}: 127.0.0.1:{port} cannot be listened on ({error}); choose another port"))
    })
}

fn announce(config: &Config, backend: &Backend, sandbox: Option<&Url>, speed: u32) {
    let home = config.public_url.as_str();
    let providers: Vec<_> = backend.engine.offers().iter().map(|offer| offer.provider.name.clone()).collect();
    tell(&format!("multimusic {} on the embedded engine", env!("CARGO_PKG_VERSION")));
    if config.dev_page {
        tell(&format!("  page       {home}"));
    }
    tell(&format!("  interface  {home}auth/…   ({home}health)"));
    if config.public_url.port_or_known_default() != Some(config.port) {
        tell(&format!("  listening  127.0.0.1:{}, for the proxy that answers at the address above", config.port));
    }
    for frontend in &config.frontends {
        tell(&format!("  frontend   {frontend}"));
    }
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

/// What ends the server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on the signals no longer kill the process.
    fn install() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
