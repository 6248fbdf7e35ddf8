//! A running sandbox, a client that follows nothing, and a clock that stands still.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mm_sandbox::{Client, Endpoint, Sandbox, Settings};
use reqwest::{Response, redirect::Policy};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use url::Url;

/// Where the clients are sent back to.
pub(crate) const CALLBACK: &str = "http://127.0.0.1:8080/callback";

/// A page's origin that may use the control interface.
pub(crate) const PAGE: &str = "http://127.0.0.1:8080";

/// A verifier and its challenge (RFC 7636, appendix B).
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: reqwest::Client,
    now: Arc<AtomicU64>,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with_state_file(None).await
    }

    pub(crate) async fn with_state_file(state_file: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base_url = Url::parse(&format!("http://localhost:{}", address.port())).unwrap();
        let client = |provider: &str| Client {
            provider: provider.to_owned(),
            client_id: "client".to_owned(),
            secrets: vec!["secret".to_owned()],
            redirect_uris: vec![CALLBACK.to_owned()],
        };
        let settings = Settings {
            clients: ["soundcloud", "spotify", "youtube", "generic"].map(client).to_vec(),
            allowed_origins: vec![PAGE.to_owned()],
            state_file,
            ..Settings::new(base_url)
        };
        let now = Arc::new(AtomicU64::new(1_000_000));
        let (clock, start) = (Arc::clone(&now), address.port());
        // Each stage rolls other numbers, so that tokens of an earlier one over the same state file stay apart.
        let mut rolled = u64::from(start) << 32;
        let random = move |bytes: &mut [u8]| {
            rolled += 1;
            bytes.fill(0);
            bytes[..8].copy_from_slice(&rolled.to_be_bytes());
        };
        let sandbox =
            Sandbox::new(settings, Arc::new(move || clock.load(Ordering::Relaxed)), Box::new(random)).unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = sandbox.clone();
        let serving = tokio::spawn(async move {
            served
                .serve(listener, async {
                    let _ = stopped.await;
                })
                .await;
        });
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(PATIENCE).build().unwrap();
        Self { sandbox, http, now, address, stop, serving }
    }

    /// Ends the sandbox and waits until its last connection has ended.
    pub(crate) async fn end(self) -> Sandbox {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.serving).await.expect("the sandbox did not end").unwrap();
        self.sandbox
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        self.sandbox.base_url().join(path).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The URL at which a login at this provider begins.
    pub(crate) fn authorize_url(&self, provider: &str) -> Url {
        let mut url = self.sandbox.authorize_url(provider).unwrap();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", "client")
            .append_pair("redirect_uri", CALLBACK)
            .append_pair("state", "the state")
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// The code that `alice`'s consent brings.
    pub(crate) fn code(&self, provider: &str) -> String {
        let url = self.sandbox.consent(self.authorize_url(provider).as_str(), "alice").unwrap();
        parameter(&url, "code").unwrap()
    }

    /// A token request with body credentials.
    pub(crate) fn token_request(&self, provider: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let credentials = [("client_id", "client"), ("client_secret", "secret")];
        let url = self.sandbox.endpoint_url(provider, Endpoint::Token).unwrap();
        self.http.post(url).form(&[fields, &credentials].concat())
    }

    pub(crate) async fn redeem(&self, provider: &str, code: &str) -> reqwest::Result<Response> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.token_request(provider, &fields).send().await
    }

    pub(crate) async fn refresh(&self, provider: &str, token: &str) -> reqwest::Result<Response> {
        self.token_request(provider, &[("grant_type", "refresh_token"), ("refresh_token", token)]).send().await
    }

    /// Access and refresh token of a new grant.
    pub(crate) async fn tokens(&self, provider: &str) -> (String, String) {
        let code = self.code(provider);
        tokens(self.redeem(provider, &code).await.unwrap()).await
    }

    /// Waits until the log satisfies `seen`.
    pub(crate) async fn until(&self, seen: impl Fn(&mm_sandbox::Log) -> bool) {
        let watching = async {
            while !seen(&self.sandbox.log()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, watching).await.expect("it never appeared in the log");
    }
}

/// Access and refresh token of a good answer.
pub(crate) async fn tokens(response: Response) -> (String, String) {
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}
