//! The product as somebody starts it, with the sandbox's providers.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{processes::Owned, until};
use crate::ports::free_port;

/// How often a start is tried: between finding a free port and listening on it somebody else may take it.
const STARTS_MAX: usize = 3;

/// How much of the product's log is shown when a test fails, bytes.
const SHOWN_OF_LOG: usize = 4_000;

/// How the product is started.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Its seconds in one of ours.
    pub(crate) speed: u32,
    /// Life of the sandbox's access tokens in its seconds.
    pub(crate) token_lifetime: Option<u64>,
    /// `PUBLIC_URL`, where it is not the address that it listens on.
    pub(crate) public_url: Option<String>,
    /// `FRONTEND_URL`.
    pub(crate) frontend_url: Option<String>,
}

impl Default for Plan {
    /// An hour of tokens in a minute.
    fn default() -> Self {
        Self { speed: 60, token_lifetime: None, public_url: None, frontend_url: None }
    }
}

/// A running product.
pub(crate) struct Product {
    /// Where browsers find it, without a slash at the end.
    pub(crate) url: String,
    /// Where it listens.
    pub(crate) port: u16,
    /// The sandbox.
    pub(crate) sandbox_url: String,
    http: reqwest::Client,
    _process: Owned,
    dir: TempDir,
}

impl Product {
    pub(crate) async fn start(plan: Plan) -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(product) = Self::try_start(&plan).await {
                return product;
            }
        }
        panic!("the product did not start; is it being built for this test?");
    }

    async fn try_start(plan: &Plan) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let (port, sandbox_port) = (free_port(), free_port());
        let own = format!("http://127.0.0.1:{port}");
        let url = plan.public_url.clone().unwrap_or_else(|| own.clone());
        let mut command = Command::new(env!("CARGO_BIN_EXE_mm-standalone"));
        command
            .args(["--port", &port.to_string(), "--sandbox-port", &sandbox_port.to_string()])
            .args(["--speed", &plan.speed.to_string()])
            .args(plan.token_lifetime.iter().flat_map(|life| ["--token-lifetime".to_owned(), life.to_string()]))
            // Whoever runs the tests may have credentials in the environment, or in a `.env` where they stand.
            .env_clear()
            .current_dir(dir.path())
            .env("DATA_DIR", dir.path().join("data"))
            .env("DEV_PAGE", "1")
            .env("PUBLIC_URL", &url)
            .envs(plan.frontend_url.iter().map(|url| ("FRONTEND_URL", url)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap());
        let mut process = Owned::spawn(&mut command);
        let http = reqwest::Client::new();
        let health = format!("{own}/health");
        let began = until(
            "the product answers, or has ended",
            async || match http.get(&health).send().await {
                Ok(answer) if answer.status().is_success() => Some(true),
                _ if process.has_ended() => Some(false),
                _ => None,
            },
            Option::is_some,
        );
        let began = began.await == Some(true);
        let sandbox_url = format!("http://localhost:{sandbox_port}");
        began.then_some(Self { url, port, sandbox_url, http, _process: process, dir })
    }

    /// What the sandbox has been asked, oldest first.
    pub(crate) async fn sandbox_log(&self) -> Vec<Value> {
        let answer = self.http.get(format!("{}/_sandbox/log", self.sandbox_url)).send().await.unwrap();
        let mut log: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        serde_json::from_value(log["entries"].take()).unwrap()
    }

    /// The grants that the sandbox has given, as `provider account`, those that live.
    pub(crate) async fn living_grants(&self) -> Vec<String> {
        let answer = self.http.get(format!("{}/_sandbox/grants", self.sandbox_url)).send().await.unwrap();
        let grants: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let living = grants["grants"].as_array().unwrap().iter().filter(|grant| grant["alive"] == true);
        living.map(|grant| format!("{} {}", text(&grant["provider"]), text(&grant["username"]))).collect()
    }

    /// Submits the sandbox's consent form outside the browser, and answers where the browser would be sent.
    pub(crate) async fn consent(&self, ticket: &str, cookie: &str) -> String {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = http
            .post(format!("{}/_sandbox/consent", self.sandbox_url))
            .header("cookie", format!("sandbox_session={cookie}"))
            .form(&[("ticket", ticket), ("decision", "allow")])
            .send()
            .await
            .unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// Asserts what holds at the end of every journey: no cookie of the product's came to the provider (they would, under
    /// one host name), and no refresh token was sent twice.
    pub(crate) async fn assert_clean(&self) {
        let log = self.sandbox_log().await;
        let foreign: Vec<_> = log.iter().filter(|entry| entry["outcome"] == "foreign_cookie").collect();
        assert!(foreign.is_empty(), "the provider was sent cookies that are not its own: {foreign:#?}");
        let again: Vec<_> = log.iter().filter(|entry| entry["presented_again"] == true).collect();
        assert!(again.is_empty(), "refresh tokens were sent again: {again:#?}");
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
            let from = log.len().saturating_sub(SHOWN_OF_LOG);
            eprintln!("the end of the product's log:\n{}", String::from_utf8_lossy(&log[from..]));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
