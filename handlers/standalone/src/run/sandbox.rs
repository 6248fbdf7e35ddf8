//! The sandbox beside the product: whether there is one, where it runs, and which clock both have.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::PathBuf, sync::Arc};

use mm_boot::Config;
use mm_embedded::{
    clock::{ScaledClock, SystemClock},
    dice::SystemRng,
    store::SqliteStore,
};
use mm_engine::{
    Offers,
    ports::{Clock, ConnectionStore as _},
};
use mm_model::Minute;
use mm_oauth::{Catalogue, ClientSecrets};
use mm_sandbox::Sandbox;
use mm_standalone::{
    StartError,
    twins::{TwinOffers, Twins, TwinsPlan},
};
use mm_web::Origins;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use url::Url;

use super::{Failure, bind, refused_start};
use crate::flags::Flags;

/// Only the owner may enter: the directory holds a key.
const DIRECTORY_MODE: u32 = 0o700;

/// Where the providers' twins are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In this process.
    Here,
    /// In another one.
    Elsewhere(Url),
}

/// Twins only where no real provider is configured, and never where others than this machine's browsers come.
pub(super) fn wanted(flags: &Flags, config: &Config) -> Result<Option<Place>, Failure> {
    let by_itself = cfg!(debug_assertions) && config.dev_page && config.providers.is_empty();
    let flag = match (&flags.sandbox_url, flags.sandbox) {
        (Some(_), _) => "--sandbox-url",
        (None, true) => "--sandbox",
        (None, false) => "DEV_PAGE without credentials offers the sandbox, which",
    };
    let refuse = |why: &str| Err(Failure::Config(format!("{flag} {why}")));
    if !flags.sandbox && flags.sandbox_url.is_none() && !by_itself {
        return if flags.speed == 1 {
            Ok(None)
        } else {
            Err(Failure::Config(
                "--speed is for the sandbox: real providers' clocks run as they do; remove it".to_owned(),
            ))
        };
    }
    if !config.providers.is_empty() {
        return refuse("and real credentials do not mix; remove the <ID>_CLIENT_ID variables or the flag");
    }
    if !matches!(config.public_url.host_str(), Some("127.0.0.1" | "[::1]")) {
        return refuse("needs PUBLIC_URL on 127.0.0.1: its accounts ask for no password");
    }
    match &flags.sandbox_url {
        None => Ok(Some(Place::Here)),
        Some(url) if url.scheme() == "http" && url.host_str() == Some("localhost") && url.path() == "/" => {
            Ok(Some(Place::Elsewhere(url.clone())))
        }
        Some(_) => {
            refuse("must be http://localhost:PORT, where another process runs a sandbox; leave it out for one here")
        }
    }
}

/// The twins' rows and grants and real ones never meet: each has a data directory of its own.
pub(super) fn data_dir(config: &Config) -> PathBuf {
    config.data_dir.join("sandbox")
}

/// The clock of product and sandbox. What an earlier run with a fast clock wrote lies in the future: its time goes on, or
/// its leases, tokens and sessions would be those of a machine whose clock went back by hours.
pub(super) async fn clock(config: &Config, speed: u32) -> Result<Arc<dyn Clock>, Failure> {
    let data_dir = data_dir(config);
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&data_dir);
    made.map_err(|error| {
        Failure::Config(format!("DATA_DIR: {} cannot be made ({error}); choose another one", data_dir.display()))
    })?;
    let earlier = SqliteStore::open(&data_dir).map_err(|error| refused_start(StartError::from(error)))?;
    let ticked = earlier.tick().await.map_err(|error| refused_start(StartError::from(error)))?;
    // Each tick notes the minute to come, so no row is later than its start.
    let real = SystemClock::new();
    let ahead = ticked.map(Minute::start).filter(|start| *start > real.now().minute().plus(1).start());
    Ok(match ahead {
        None if speed == 1 => Arc::new(real),
        None => Arc::new(ScaledClock::new(speed)),
        Some(start) => {
            tracing::info!(%start, "sandbox: the clock goes on where an earlier run's fast one stopped");
            Arc::new(ScaledClock::not_before(start, speed))
        }
    })
}

/// What the product needs of the sandbox.
pub(super) struct Beside {
    pub(super) url: Url,
    pub(super) offers: Offers,
    pub(super) secrets: Arc<dyn ClientSecrets>,
    /// The sandbox and its socket, where it runs in this process.
    here: Option<(Sandbox, TcpListener)>,
}

impl Beside {
    pub(super) async fn new(
        place: Place,
        flags: &Flags,
        config: &Config,
        catalogue: &Catalogue,
        origins: &Origins,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let url = match place {
            Place::Here => Url::parse(&format!("http://localhost:{}", flags.sandbox_port)).map_err(Failure::start)?,
            Place::Elsewhere(url) => {
                let TwinOffers { offers, secrets } =
                    TwinOffers::new(catalogue, &url, origins).map_err(Failure::start)?;
                let offers = offers.into_iter().collect();
                return Ok(Self { url, offers, secrets: Arc::new(secrets), here: None });
            }
        };
        let data_dir = data_dir(config);
        let plan = TwinsPlan {
            base_url: url.clone(),
            origins,
            data_dir: Some(&data_dir),
            token_lifetime: flags.token_lifetime,
            clock: Arc::clone(clock),
            rng: Arc::new(SystemRng),
        };
        let Twins { sandbox, offers, secrets } = Twins::new(catalogue, plan).map_err(Failure::start)?;
        let listener = bind(flags.sandbox_port, "--sandbox-port").await?;
        let offers = offers.into_iter().collect();
        Ok(Self { url, offers, secrets: Arc::new(secrets), here: Some((sandbox, listener)) })
    }

    /// Serves the sandbox, if it is here, until it is told to stop.
    pub(super) fn serve(self) -> Running {
        let (stop, stopped) = oneshot::channel();
        let task = self.here.map(|(sandbox, listener)| {
            tokio::spawn(async move {
                sandbox
                    .serve(listener, async {
                        // An error is a sender that is gone: the process is ending.
                        let _stopped = stopped.await;
                    })
                    .await;
            })
        });
        Running { stop, task }
    }
}

/// A sandbox at work.
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// Ends it: after everything that may still be waiting for an answer of it, or that would be lost.
    pub(super) async fn stop(self) {
        // Nobody listens where there is none.
        let _ended = self.stop.send(());
        if let Some(task) = self.task {
            let _ended = task.await;
        }
    }
}
