//! The product as it is deployed, behind TLS and under a name, put together in this process: the binary offers the sandbox on
//! 127.0.0.1 only.

use std::sync::Arc;

use mm_embedded::{clock::SystemClock, dice::SystemRng, queue::QueueSettings};
use mm_engine::ports::Clock;
use mm_model::limits::AWAKE_WINDOW;
use mm_oauth::{Catalogue, Deadlines, ProviderClient};
use mm_sandbox::Outcome;
use mm_standalone::{
    Backend, Blueprint, pump, routes, server,
    twins::{Twins, TwinsPlan},
};
use mm_web::{Origins, same_site::same_site_check};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use url::Url;

use super::Tls;

/// A product and its sandbox; both end with it.
pub(crate) struct Deployment {
    /// `PUBLIC_URL`, without a slash at the end.
    pub(crate) url: String,
    sandbox: mm_sandbox::Sandbox,
    _stop: watch::Sender<bool>,
    _serving: JoinSet<()>,
    _tls: Tls,
    _dir: TempDir,
}

impl Deployment {
    /// Serves under `host`, which has to lie below `mm.test`, for one frontend.
    pub(crate) async fn start(host: &str, frontend: &str) -> Self {
        let mut tls = Tls::new().await;
        let dir = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sandbox_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sandbox_port = sandbox_listener.local_addr().unwrap().port();
        tls.run(listener.local_addr().unwrap().port());
        let url = format!("https://{host}:{}", tls.port);
        let origins = Origins::new(Url::parse(&url).unwrap(), vec![Url::parse(frontend).unwrap()]).unwrap();
        same_site_check(&origins, &[]).expect("two subdomains of one domain");
        let catalogue = Catalogue::built_in().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let plan = TwinsPlan {
            base_url: Url::parse(&format!("http://localhost:{sandbox_port}")).unwrap(),
            origins: &origins,
            data_dir: None,
            token_lifetime: None,
            clock: Arc::clone(&clock),
            rng: Arc::new(SystemRng),
        };
        let twins = Twins::new(&catalogue, plan).unwrap();
        let backend = Backend::open(Blueprint {
            data_dir: dir.path().to_owned(),
            clock,
            rng: Arc::new(SystemRng),
            client: ProviderClient::new(Deadlines::PROVIDER).unwrap(),
            offers: twins.offers.into_iter().collect(),
            secrets: Arc::new(twins.secrets),
            catalogue: catalogue.iter().map(|provider| provider.id.clone()).collect(),
            origins,
            session_keys: None,
            encryption_key: None,
            awake_window: AWAKE_WINDOW,
            queue: QueueSettings::default(),
        })
        .await
        .unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut serving = JoinSet::new();
        serving.spawn(server::serve(listener, routes::product(&backend.surface, None, None), stopped.clone()));
        serving.spawn(pump::run(Arc::new(backend), stopped));
        let sandbox = twins.sandbox.clone();
        serving.spawn(async move { sandbox.serve(sandbox_listener, std::future::pending()).await });
        Self { url, sandbox: twins.sandbox, _stop: stop, _serving: serving, _tls: tls, _dir: dir }
    }

    /// Asserts that no cookie of the product's came to the provider.
    pub(crate) fn assert_clean(&self) {
        let log = self.sandbox.log();
        let foreign: Vec<_> = log.entries().filter(|entry| entry.outcome == Outcome::ForeignCookie).collect();
        assert!(foreign.is_empty(), "the provider was sent cookies that are not its own: {foreign:#?}");
    }
}
