//! A Chromium of one's own, and what a person does with it.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    until,
    webdriver::{Element, WebDriver},
};

/// No sandbox: containers run tests as root, where Chromium has none. Nothing in the background: it would call out.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
    "--lang=en",
];

/// A browser with a profile that nobody has used before.
pub(crate) struct Browser {
    driver: WebDriver,
    /// Removed after the session has ended: fields are dropped in order.
    _profile: TempDir,
}

/// A tab's handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tab(String);

impl Browser {
    pub(crate) async fn open() -> Self {
        Self::open_with(&[]).await
    }

    /// Opens one with more flags than usual.
    pub(crate) async fn open_with(more: &[&str]) -> Self {
        let profile = TempDir::new().unwrap();
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = FLAGS.iter().chain(more).copied().chain([profile_flag.as_str()]).collect();
        Self { driver: WebDriver::start(&flags).await, _profile: profile }
    }

    pub(crate) async fn goto(&self, url: &str) {
        self.driver.post("/url", json!({ "url": url })).await.unwrap();
    }

    pub(crate) async fn reload(&self) {
        self.driver.post("/refresh", json!({})).await.unwrap();
    }

    pub(crate) async fn back(&self) {
        self.driver.post("/back", json!({})).await.unwrap();
    }

    pub(crate) async fn url(&self) -> String {
        self.driver.get("/url").await.unwrap().as_str().unwrap().to_owned()
    }

    /// Runs the body of a function in the page; `None` while a page is being left.
    pub(crate) async fn try_run(&self, script: &str, arguments: &[Value]) -> Option<Value> {
        self.driver.post("/execute/sync", json!({ "script": script, "args": arguments })).await.ok()
    }

    /// Runs the body of a function in the page.
    pub(crate) async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.driver.post("/execute/sync", json!({ "script": script, "args": arguments })).await.unwrap()
    }

    /// Runs the body of a function that answers by calling its last argument.
    pub(crate) async fn run_async(&self, script: &str, arguments: &[Value]) -> Value {
        self.driver.post("/execute/async", json!({ "script": script, "args": arguments })).await.unwrap()
    }

    /// Waits for an element that can be seen.
    async fn visible(&self, selector: &str) -> Element {
        let mut element = None;
        let look = async || {
            element = self.driver.find(selector).await.ok();
            match &element {
                Some(found) => self.driver.ask(found, "displayed").await.is_ok_and(|shown| shown == true),
                None => false,
            }
        };
        until(&format!("{selector} can be seen"), look, |seen| *seen).await;
        element.unwrap()
    }

    /// Waits for an element that can be seen, and reads its text.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.visible(selector).await;
        self.driver.ask(&element, "text").await.unwrap().as_str().unwrap().to_owned()
    }

    /// Waits for an element that can be seen, and reads an attribute that it has.
    pub(crate) async fn attribute(&self, selector: &str, name: &str) -> String {
        let element = self.visible(selector).await;
        let value = self.driver.ask(&element, &format!("attribute/{name}")).await.unwrap();
        value.as_str().unwrap_or_else(|| panic!("{selector} has no {name}")).to_owned()
    }

    /// Clicks what a person can see, as a person does: with the pointer, so that nothing may lie over it.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.visible(selector).await;
        if let Err(error) = self.driver.act(&element, "click", json!({})).await {
            panic!("{selector} cannot be clicked: {error}");
        }
    }

    /// Types into a field.
    pub(crate) async fn write(&self, selector: &str, text: &str) {
        let element = self.visible(selector).await;
        self.driver.act(&element, "value", json!({ "text": text })).await.unwrap();
    }

    /// Opens another tab, in front.
    pub(crate) async fn tab(&self) -> Tab {
        let opened = self.driver.post("/window/new", json!({ "type": "tab" })).await.unwrap();
        let tab = Tab(opened["handle"].as_str().unwrap().to_owned());
        self.switch_to(&tab).await;
        tab
    }

    pub(crate) async fn switch_to(&self, tab: &Tab) {
        self.driver.post("/window", json!({ "handle": tab.0 })).await.unwrap();
    }

    /// A cookie of the page that is open, hidden ones too.
    pub(crate) async fn cookie(&self, name: &str) -> Value {
        self.driver.get(&format!("/cookie/{name}")).await.unwrap()
    }

    /// The names of all cookies of the page that is open, hidden ones too.
    pub(crate) async fn cookie_names(&self) -> Vec<String> {
        let cookies = self.driver.get("/cookie").await.unwrap();
        let names = cookies.as_array().unwrap().iter().map(|cookie| cookie["name"].as_str().unwrap().to_owned());
        names.collect()
    }

    /// A command that only Chromium has (DevTools protocol).
    pub(crate) async fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.driver.post("/goog/cdp/execute", json!({ "cmd": method, "params": parameters })).await.unwrap()
    }
}
