//! A person with a browser, over real HTTP. Cookies are kept by hand: `__Host-` ones go over http to this machine only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use mm_sandbox::Sandbox;
use reqwest::{Client, Method, RequestBuilder, StatusCode, header, redirect::Policy};
use serde_json::Value;
use url::Url;

/// How long an answer may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Person {
    client: Client,
    base: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A parameter of the address that it redirects to.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let url = Url::parse(self.header("location")).ok()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

impl Person {
    /// Somebody without cookies, at the product under `base`.
    pub(crate) fn at(base: &str) -> Self {
        let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(PATIENCE).build().unwrap();
        Self { client, base: base.to_owned(), cookies: Arc::default() }
    }

    /// Its cookies, as it sends them.
    pub(crate) fn cookies(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    async fn send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let cookies = self.cookies();
        let request = if cookies.is_empty() { request } else { request.header(header::COOKIE, cookies) };
        let response = request.send().await?;
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(name.starts_with("__Host-") && attributes.contains("Secure"), "{name}; {attributes}");
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// A call by the frontend's script, which may find nobody listening.
    pub(crate) async fn call(&self, method: Method, path: &str) -> reqwest::Result<Answer> {
        let request = self.client.request(method, format!("{}{path}", self.base)).header("x-multimusic-client", "1");
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).await.unwrap()
    }

    /// Opens an address in the browser.
    pub(crate) async fn navigate(&self, url: &str) -> reqwest::Result<Answer> {
        let request = self
            .client
            .get(url)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", "cross-site")
            .header(header::ACCEPT, "text/html");
        self.send(request).await
    }

    /// Starts a login: the provider's address.
    pub(crate) async fn start_login(&self, provider: &str) -> reqwest::Result<Result<String, Answer>> {
        let answer = self.call(Method::POST, &format!("/auth/{provider}/login")).await?;
        if answer.status != StatusCode::OK {
            return Ok(Err(answer));
        }
        Ok(Ok(answer.json()["authorization_url"].as_str().unwrap().to_owned()))
    }

    /// A whole login with the consent given in process: the callback's answer, or that of the start that failed.
    pub(crate) async fn login(&self, sandbox: &Sandbox, provider: &str, account: &str) -> reqwest::Result<Answer> {
        let address = match self.start_login(provider).await? {
            Ok(address) => address,
            Err(answer) => return Ok(answer),
        };
        let callback = sandbox.consent(&address, account).unwrap();
        self.navigate(callback.as_str()).await
    }

    /// The same where it must succeed.
    pub(crate) async fn connect(&self, sandbox: &Sandbox, provider: &str, account: &str) {
        let answer = self.login(sandbox, provider, account).await.unwrap();
        assert_eq!(answer.parameter("mm_result").as_deref(), Some("connected"), "{answer:?}");
    }

    /// The same through the pages of a sandbox in another process: its forms, with its own cookie.
    pub(crate) async fn connect_by_forms(&self, provider: &str, account: &str) {
        let address = self.start_login(provider).await.unwrap().unwrap();
        let sandbox = Self::at(&Url::parse(&address).unwrap().origin().ascii_serialization());
        let page = sandbox.open(&address).await;
        let fields = [("ticket", ticket(&page)), ("username", account.to_owned())];
        let entered = sandbox.post_form("/_sandbox/login", &fields).await;
        let page = sandbox.open(&entered).await;
        let fields = [("ticket", ticket(&page)), ("decision", "allow".to_owned())];
        let callback = sandbox.post_form("/_sandbox/consent", &fields).await;
        assert!(callback.starts_with(&self.base), "{callback}");
        let answer = self.navigate(&callback).await.unwrap();
        assert_eq!(answer.parameter("mm_result").as_deref(), Some("connected"), "{answer:?}");
    }

    /// Opens a page of the sandbox, through its redirects.
    async fn open(&self, address: &str) -> String {
        let mut address = Url::parse(&self.base).unwrap().join(address).unwrap();
        loop {
            let answer = self.with_foreign_cookies(self.client.get(address.clone())).await;
            if !answer.status.is_redirection() {
                return answer.text;
            }
            address = address.join(answer.header("location")).unwrap();
        }
    }

    /// What a script sends to the sandbox's control interface.
    pub(crate) async fn post_json(&self, path: &str, body: &Value) {
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        let answer = self.send(request).await.unwrap();
        assert!(answer.status.is_success(), "{answer:?}");
    }

    async fn post_form(&self, path: &str, fields: &[(&str, String)]) -> String {
        let answer = self.with_foreign_cookies(self.client.post(format!("{}{path}", self.base)).form(fields)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// The sandbox's cookies have other names than ours.
    async fn with_foreign_cookies(&self, request: RequestBuilder) -> Answer {
        let cookie = self.cookies.lock().unwrap().get("").cloned();
        let request = match cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        let response = request.send().await.unwrap();
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            self.cookies.lock().unwrap().insert(String::new(), pair.to_owned());
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// A provider's token, which must be had.
    pub(crate) async fn token(&self, provider: &str) -> Value {
        let answer = self.get(&format!("/auth/{provider}/token")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }

    /// One connection as `/auth/connections` shows it, if there is one.
    pub(crate) async fn connection(&self, provider: &str) -> reqwest::Result<Value> {
        let answer = self.call(Method::GET, "/auth/connections").await?;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let connections = answer.json()["connections"].as_array().unwrap().clone();
        Ok(connections.into_iter().find(|connection| connection["provider"] == provider).unwrap_or(Value::Null))
    }
}

/// The hidden field of a page's form.
fn ticket(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"ticket\" value=\"").unwrap_or_else(|| panic!("no form: {page}"));
    rest.split_once('"').unwrap().0.to_owned()
}
