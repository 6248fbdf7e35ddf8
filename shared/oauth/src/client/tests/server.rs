//! A real HTTP server on loopback, and what it was sent.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use mm_model::{RefreshToken, Timestamp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::{Url, form_urlencoded};

use crate::{
    catalogue::{Catalogue, Provider},
    client::{Deadlines, ProviderClient},
    registration::Registration,
    secret::{AuthorizationCode, ClientSecret, CodeVerifier},
};

/// Wed, 25 Nov 2026 12:00:00 GMT.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_795_608_000);

/// A good answer to a refresh.
pub(crate) const TOKENS: &str = r#"{"access_token":"access-1","refresh_token":"refresh-2","expires_in":60}"#;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    /// The header's values.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The form's fields, in order of their names.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        let mut fields: Vec<_> = form_urlencoded::parse(self.body.as_bytes()).into_owned().collect();
        fields.sort();
        fields
    }

    /// The form's values of that name.
    pub(crate) fn field(&self, name: &str) -> Vec<String> {
        self.form().into_iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
    }
}

/// The server. It ends when dropped.
pub(crate) struct Server {
    pub(crate) base: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers every request by `answer`.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let (listener, base) = listen().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let router = Router::new().fallback(move |request: Request| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 1 << 20).await.unwrap();
                let headers = parts.headers.iter();
                let seen = Seen {
                    method: parts.method.to_string(),
                    path: parts.uri.to_string(),
                    headers: headers.map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect(),
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                let response = answer(&seen);
                log.lock().unwrap().push(seen);
                response
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, seen, task }
    }

    /// Answers every request with this status and body.
    pub(crate) async fn always(status: u16, body: &'static str) -> Self {
        Self::start(move |_| answer(status, &[], body)).await
    }

    /// What has arrived.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request that has arrived.
    pub(crate) fn only(&self) -> Seen {
        let [seen] = <[Seen; 1]>::try_from(self.seen()).expect("one request");
        seen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    (listener, base)
}

/// An answer.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let response = Response::builder().status(status);
    let response = headers.iter().fold(response, |response, (name, value)| response.header(*name, *value));
    response.body(body.into()).unwrap()
}

/// A server below HTTP: reads a request if `read` says so, writes `bytes`, then closes if `close` says so, else keeps
/// the connection without another byte.
pub(crate) async fn raw(read: bool, bytes: &'static [u8], close: bool) -> (Url, JoinHandle<()>) {
    let (listener, base) = listen().await;
    let task = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if read {
                read_request(&mut stream).await;
            }
            stream.write_all(bytes).await.unwrap();
            if !close {
                kept.push(stream);
            }
        }
    });
    (base, task)
}

/// Reads head and body of a request with a Content-Length.
async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if count == 0 || length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
            return;
        }
    }
}

/// The catalogue's provider, at this server.
pub(crate) fn twin(id: &str, base: &Url) -> Provider {
    Catalogue::built_in().unwrap().get(&id.parse().unwrap()).unwrap().rebased(base)
}

pub(crate) fn register(provider: &Provider, client_id: &str) -> Registration {
    let redirect_uri = Url::parse("http://127.0.0.1:8080/auth/callback?a=1").unwrap();
    Registration::new(provider, client_id.to_owned(), redirect_uri, None).unwrap()
}

pub(crate) fn client() -> ProviderClient {
    ProviderClient::new(Deadlines::PROVIDER).unwrap()
}

/// A client that waits only so long for an answer, and as long as usual for a connection: a busy machine must not turn the
/// one into the other.
pub(crate) fn hasty(total: Duration) -> ProviderClient {
    ProviderClient::new(Deadlines { total, ..Deadlines::PROVIDER }).unwrap()
}

/// A client that waits only so long for a connection.
pub(crate) fn hasty_to_connect(connect: Duration) -> ProviderClient {
    ProviderClient::new(Deadlines { connect, ..Deadlines::PROVIDER }).unwrap()
}

pub(crate) fn secret(text: &str) -> ClientSecret {
    ClientSecret::new(text.to_owned())
}

pub(crate) fn refresh_token() -> RefreshToken {
    RefreshToken::new("refresh-1".to_owned())
}

pub(crate) fn code() -> AuthorizationCode {
    AuthorizationCode::from_callback("code-1".to_owned()).unwrap()
}

pub(crate) fn verifier() -> CodeVerifier {
    CodeVerifier::from_random([7; 32])
}
