//! The sandbox in the test's own process: its log survives every end of the product.

use std::sync::Arc;

use mm_embedded::clock::ScaledClock;
use mm_engine::{ports::Clock, testing::SeededRng};
use mm_oauth::Catalogue;
use mm_sandbox::{Endpoint, Fault, FaultKind, LogEntry, Only, Sandbox};
use mm_standalone::twins::{Twins, TwinsPlan};
use mm_web::Origins;
use tokio::{net::TcpListener, sync::oneshot};
use url::Url;

use crate::ports::free_port;

pub(crate) struct Provider {
    pub(crate) sandbox: Sandbox,
    _stop: oneshot::Sender<()>,
}

impl Provider {
    /// Twins at which a product under `public_url` is registered. Their clock runs at the product's speed.
    pub(crate) async fn start(port: u16, public_url: &str, speed: u32, token_lifetime: Option<u64>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let plan = TwinsPlan {
            base_url: Url::parse(&format!("http://localhost:{port}")).unwrap(),
            origins: &Origins::new(Url::parse(public_url).unwrap(), Vec::new()).unwrap(),
            data_dir: None,
            token_lifetime,
            clock: Arc::new(ScaledClock::new(speed)) as Arc<dyn Clock>,
            rng: Arc::new(SeededRng::new(u64::from(port))),
        };
        let sandbox = Twins::new(&Catalogue::built_in().unwrap(), plan).unwrap().sandbox;
        let (stop, stopped) = oneshot::channel();
        let served = sandbox.clone();
        tokio::spawn(async move {
            served
                .serve(listener, async {
                    let _gone = stopped.await;
                })
                .await;
        });
        Self { sandbox, _stop: stop }
    }

    /// A port for it.
    pub(crate) fn port() -> u16 {
        free_port()
    }

    /// Plans a fault at a token endpoint's refreshes.
    pub(crate) fn plan(&self, provider: &str, kind: FaultKind, times: Option<u32>) {
        let provider = provider.to_owned();
        self.sandbox.plan(Fault { provider, endpoint: Endpoint::Token, kind, times, only: Only::Refresh }).unwrap();
    }

    /// The refreshes that a provider was asked for, oldest first.
    pub(crate) fn refreshes(&self, provider: &str) -> Vec<LogEntry> {
        let log = self.sandbox.log();
        let refreshes = log.entries().filter(|entry| entry.grant_type == Some("refresh_token"));
        refreshes.filter(|entry| entry.provider == provider).cloned().collect()
    }
}
