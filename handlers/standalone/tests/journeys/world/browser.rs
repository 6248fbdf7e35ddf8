//! A browser as far as the contract sees one: cookies, fetch metadata, the client header.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{COOKIE, LOCATION, SET_COOKIE},
};
use http_body_util::BodyExt as _;
use mm_sandbox::Sandbox;
use serde_json::Value;
use url::Url;

use super::Entrance;

/// One browser's cookies at the product. Clones are tabs: they share the cookies.
#[derive(Clone)]
pub(crate) struct Browser {
    entrance: Entrance,
    sandbox: Sandbox,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
    public_url: &'static str,
    heard: Option<Arc<Mutex<Vec<Heard>>>>,
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) path: String,
    pub(crate) answer: Answer,
}

/// An answer, read.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// Reads an answer to its end.
    pub(crate) async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// The body as JSON; null where there is none.
    pub(crate) fn json(&self) -> Value {
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// Where a redirect leads.
    pub(crate) fn location(&self) -> Url {
        Url::parse(self.headers[LOCATION].to_str().unwrap()).unwrap()
    }

    /// The problem's code.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A parameter of the redirect.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// `connected`, or the code of a failed login.
    pub(crate) fn login_result(&self) -> String {
        match self.parameter("mm_result").as_deref() {
            Some("connected") => "connected".to_owned(),
            _ => self.parameter("mm_code").unwrap_or_default(),
        }
    }
}

impl Browser {
    pub(super) fn new(
        entrance: Entrance,
        sandbox: Sandbox,
        public_url: &'static str,
        heard: Option<Arc<Mutex<Vec<Heard>>>>,
    ) -> Self {
        Self { entrance, sandbox, cookies: Arc::default(), public_url, heard }
    }

    /// A browser with a copy of the cookies: what a thief, or an old backup, has.
    pub(crate) fn copied(&self) -> Self {
        Self { cookies: Arc::new(Mutex::new(self.cookies.lock().unwrap().clone())), ..self.clone() }
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn forget_cookie(&self, name: &str) {
        self.cookies.lock().unwrap().remove(name);
    }

    /// A call by the frontend's script.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Answer {
        self.send(
            Request::builder().method(method).uri(path).header("x-multimusic-client", "1").body(Body::empty()).unwrap(),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.call(Method::POST, path).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path).await
    }

    /// A navigation, as Chromium marks it, from the site given (`none`, `same-origin`, `cross-site`).
    pub(crate) async fn navigate(&self, path: &str, site: &str) -> Answer {
        let request = Request::builder()
            .uri(path)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", site)
            .header("accept", "text/html")
            .body(Body::empty());
        self.send(request.unwrap()).await
    }

    /// Sends a request with the browser's cookies and keeps those that come back.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<String> =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.join("; ").parse().unwrap());
        }
        let path = request.uri().path().to_owned();
        let answer = Answer::read(self.entrance.send(request).await).await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            self.keep(cookie.to_str().unwrap());
        }
        if let Some(heard) = &self.heard {
            heard.lock().unwrap().push(Heard { path, answer: answer.clone() });
        }
        answer
    }

    fn keep(&self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
        let (name, value) = pair.split_once('=').unwrap();
        let mut cookies = self.cookies.lock().unwrap();
        if attributes.contains("Max-Age=0") {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Starts a login by call; the provider's address.
    pub(crate) async fn start_login(&self, provider: &str, query: &str) -> String {
        let answer = self.post(&format!("/auth/{provider}/login{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["authorization_url"].as_str().unwrap().to_owned()
    }

    /// What the person does at the provider: logs in as `account` and allows. The callback's path and query.
    pub(crate) fn consent(&self, authorization_url: &str, account: &str) -> String {
        let redirect = self.sandbox.consent(authorization_url, account).unwrap();
        assert!(redirect.as_str().starts_with(self.public_url), "{redirect}");
        format!("{}?{}", redirect.path(), redirect.query().unwrap_or_default())
    }

    /// A whole login. The callback's answer.
    pub(crate) async fn login(&self, provider: &str, account: &str, query: &str) -> Answer {
        let url = self.start_login(provider, query).await;
        let callback = self.consent(&url, account);
        self.navigate(&callback, "cross-site").await
    }

    /// A whole login that must succeed.
    pub(crate) async fn connect(&self, provider: &str, account: &str) {
        let answer = self.login(provider, account, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        assert_eq!(answer.login_result(), "connected", "{}", answer.location());
    }

    /// The token of a provider, which must be had.
    pub(crate) async fn token(&self, provider: &str) -> Value {
        let answer = self.get(&format!("/auth/{provider}/token")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }

    /// One connection as `/auth/connections` shows it.
    pub(crate) async fn connection(&self, provider: &str) -> Value {
        let answer = self.get("/auth/connections").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let connections = answer.json()["connections"].as_array().unwrap().clone();
        connections.into_iter().find(|connection| connection["provider"] == provider).unwrap_or(Value::Null)
    }
}
