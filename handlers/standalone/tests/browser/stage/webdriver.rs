//! As much of WebDriver (W3C Recommendation) as a person does with a browser: a session of one chromedriver, its commands as
//! JSON. A client from elsewhere would bring another generation of HTTP and Unicode tables along for this.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};

use super::processes::Owned;

/// What chromedriver says once it listens, before the number of its port.
const LISTENS: &str = "started successfully on port ";

/// How often a start is tried: chromedriver takes a free port of IPv6 and gives up where IPv4 has none of that number.
const STARTS_MAX: usize = 5;

/// How long ending a session may take before its processes are killed.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// How long any command may take: a page that never loads must not hold up the run.
const COMMAND_WITHIN: Duration = Duration::from_mins(1);

/// The member that holds an element's reference (WebDriver §12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A command that the driver refused; Display is its error code and what it says.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Refused {
    code: String,
    message: String,
}

/// One session of a chromedriver of its own, both ended when this is dropped.
pub(crate) struct WebDriver {
    http: reqwest::Client,
    session: String,
    port: u16,
    _driver: Owned,
}

/// An element of the page that is open.
pub(crate) struct Element(String);

impl WebDriver {
    /// Starts a Chromium with these flags.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let (driver, port) = (0..STARTS_MAX).find_map(|_| start_driver()).expect("chromedriver starts");
        let http = reqwest::Client::builder().timeout(COMMAND_WITHIN).build().unwrap();
        let capabilities = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": flags } } } });
        let url = format!("http://127.0.0.1:{port}/session");
        let begun = send(&http, Method::POST, &url, Some(capabilities)).await.expect("a Chromium starts");
        let session = begun["sessionId"].as_str().unwrap().to_owned();
        Self { http, session, port, _driver: driver }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refused> {
        send(&self.http, Method::GET, &self.at(path), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, Refused> {
        send(&self.http, Method::POST, &self.at(path), Some(body)).await
    }

    /// The first element that matches a CSS selector.
    pub(crate) async fn find(&self, selector: &str) -> Result<Element, Refused> {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector })).await?;
        Ok(Element(found[ELEMENT].as_str().unwrap().to_owned()))
    }

    pub(crate) async fn ask(&self, element: &Element, what: &str) -> Result<Value, Refused> {
        self.get(&format!("/element/{}/{what}", element.0)).await
    }

    pub(crate) async fn act(&self, element: &Element, what: &str, body: Value) -> Result<(), Refused> {
        self.post(&format!("/element/{}/{what}", element.0), body).await.map(|_| ())
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/session/{}{path}", self.port, self.session)
    }
}

impl Drop for WebDriver {
    /// Ends the session: chromedriver ends its Chromium with all of its processes, which the end of chromedriver alone would
    /// not. A failed test gets no further than its drops, so this waits without the runtime.
    fn drop(&mut self) {
        let (session, port) = (&self.session, self.port);
        let request =
            format!("DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        // Whatever goes wrong here, the driver is killed next.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let _deadline = stream.set_read_timeout(Some(CLOSE_WITHIN));
            let _sent = stream.write_all(request.as_bytes());
            let _answer = stream.read(&mut [0; 1]);
        }
    }
}

async fn send(http: &reqwest::Client, method: Method, url: &str, body: Option<Value>) -> Result<Value, Refused> {
    let request = http.request(method, url);
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let done = answer.status().is_success();
    let value = answer.json::<Value>().await.unwrap()["value"].take();
    if done {
        return Ok(value);
    }
    let said = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
    Err(Refused { code: said("error"), message: said("message") })
}

/// A chromedriver and its port; `None` when it gave up.
fn start_driver() -> Option<(Owned, u16)> {
    let mut command = Command::new("chromedriver");
    let mut driver = Owned::spawn(command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()));
    let output = BufReader::new(driver.child().stdout.take()?);
    let port = output.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once(LISTENS)?;
        port.trim_end_matches('.').parse().ok()
    })?;
    Some((driver, port))
}
