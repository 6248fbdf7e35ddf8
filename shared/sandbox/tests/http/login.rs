//! Login and consent by posting the forms that the pages show.

use mm_sandbox::{ConsentError, Sandbox};
use reqwest::Response;
use url::Url;

use crate::stage::{CALLBACK, Stage, header, parameter, tokens};

/// The value of the hidden field `ticket` in a page.
fn ticket(html: &str) -> String {
    let (_, rest) = html.split_once("name=\"ticket\" value=\"").expect("a ticket in the page");
    rest.split_once('"').unwrap().0.to_owned()
}

/// A browser: it follows redirects within the sandbox by hand and keeps one cookie.
struct Browser<'a> {
    stage: &'a Stage,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(stage: &'a Stage) -> Self {
        Self { stage, cookie: None }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Response {
        let request = match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        };
        let response = request.send().await.unwrap();
        if let Some((cookie, attributes)) = header(&response, "set-cookie").split_once(';') {
            assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{attributes}");
            self.cookie = Some(cookie.to_owned());
        }
        response
    }

    /// Opens a URL and follows redirects as long as they stay in the sandbox.
    async fn open(&mut self, url: Url) -> Response {
        let mut response = self.send(self.stage.http.get(url)).await;
        while response.status().is_redirection() {
            let to = self.stage.url(header(&response, "location"));
            if to.origin() != self.stage.sandbox.base_url().origin() {
                break;
            }
            response = self.send(self.stage.http.get(to)).await;
        }
        response
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.send(self.stage.http.post(self.stage.url(path)).form(fields)).await
    }
}

#[tokio::test]
async fn a_person_logs_in_consents_and_the_client_gets_tokens() {
    let stage = Stage::new().await;
    let mut browser = Browser::new(&stage);
    let page = browser.open(stage.authorize_url("soundcloud")).await;
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();
    assert!(html.contains("Log in to SoundCloud") && html.contains("not the real provider"), "{html}");

    let moved = browser.post("/_sandbox/login", &[("ticket", &ticket(&html)), ("username", "Alice")]).await;
    assert_eq!(moved.status(), 303);
    let page = browser.open(stage.url(header(&moved, "location"))).await;
    let html = page.text().await.unwrap();
    assert!(html.contains("<strong>alice</strong>") && html.contains("Not you?"), "{html}");

    let back = browser.post("/_sandbox/consent", &[("ticket", &ticket(&html)), ("decision", "allow")]).await;
    assert_eq!(back.status(), 303);
    let url = Url::parse(header(&back, "location")).unwrap();
    assert!(url.as_str().starts_with(CALLBACK));
    assert_eq!(parameter(&url, "state").as_deref(), Some("the state"));
    let code = parameter(&url, "code").unwrap();
    tokens(stage.redeem("soundcloud", &code).await.unwrap()).await;
    let grants = stage.sandbox.grants();
    assert_eq!(Some(grants[0].account.clone()), stage.sandbox.account_id("soundcloud", "alice"));
}

#[tokio::test]
async fn the_second_login_shows_consent_at_once_and_offers_another_account() {
    let stage = Stage::new().await;
    let mut browser = Browser::new(&stage);
    let html = browser.open(stage.authorize_url("generic")).await.text().await.unwrap();
    browser.post("/_sandbox/login", &[("ticket", &ticket(&html)), ("username", "alice")]).await;

    let html = browser.open(stage.authorize_url("generic")).await.text().await.unwrap();
    assert!(html.contains("<strong>alice</strong>"), "{html}");
    let ticket = ticket(&html);
    let html = browser.open(stage.url(&format!("/_sandbox/login?ticket={ticket}"))).await.text().await.unwrap();
    assert!(html.contains("Log in to Generic"), "{html}");
    browser.post("/_sandbox/login", &[("ticket", &ticket), ("username", "bob")]).await;
    let back = browser.post("/_sandbox/consent", &[("ticket", &ticket), ("decision", "allow")]).await;
    let code = parameter(&Url::parse(header(&back, "location")).unwrap(), "code").unwrap();
    stage.redeem("generic", &code).await.unwrap();
    assert_eq!(stage.sandbox.grants()[0].username, "bob");
}

#[tokio::test]
async fn a_person_who_denies_is_sent_back_with_an_error_and_the_state() {
    let stage = Stage::new().await;
    let mut browser = Browser::new(&stage);
    let html = browser.open(stage.authorize_url("generic")).await.text().await.unwrap();
    let back = browser.post("/_sandbox/consent", &[("ticket", &ticket(&html)), ("decision", "deny")]).await;
    assert_eq!(back.status(), 303);
    let url = Url::parse(header(&back, "location")).unwrap();
    assert_eq!(parameter(&url, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&url, "state").as_deref(), Some("the state"));
}

#[tokio::test]
async fn a_bad_name_is_asked_for_again_and_said_why() {
    let stage = Stage::new().await;
    let mut browser = Browser::new(&stage);
    let html = browser.open(stage.authorize_url("generic")).await.text().await.unwrap();
    let page = browser.post("/_sandbox/login", &[("ticket", &ticket(&html)), ("username", "  ")]).await;
    assert_eq!(page.status(), 422);
    let html = page.text().await.unwrap();
    assert!(html.contains("role=\"alert\"") && html.contains("aria-invalid"), "{html}");
    assert!(!ticket(&html).is_empty());
}

#[tokio::test]
async fn another_browser_cannot_decide_and_a_decision_is_taken_once() {
    let stage = Stage::new().await;
    let mut browser = Browser::new(&stage);
    let html = browser.open(stage.authorize_url("generic")).await.text().await.unwrap();
    let ticket = ticket(&html);
    let mut thief = Browser::new(&stage);
    let refused = thief.post("/_sandbox/consent", &[("ticket", &ticket), ("decision", "deny")]).await;
    assert_eq!(refused.status(), 400);
    let taken = browser.post("/_sandbox/consent", &[("ticket", &ticket), ("decision", "deny")]).await;
    assert_eq!(taken.status(), 303);
    let again = browser.post("/_sandbox/consent", &[("ticket", &ticket), ("decision", "deny")]).await;
    assert_eq!(again.status(), 400);
}

#[tokio::test]
async fn a_wrong_redirect_uri_is_a_page_and_never_a_redirect() {
    let stage = Stage::new().await;
    let url = stage.authorize_url("generic").as_str().replace("%2Fcallback", "%2Felsewhere");
    let page = stage.http.get(url).send().await.unwrap();
    assert_eq!(page.status(), 400);
    assert_eq!(header(&page, "location"), "");
    assert!(page.text().await.unwrap().contains("redirect URI"));
}

#[tokio::test]
async fn pages_load_nothing_but_their_style_and_leave_the_way_back_open() {
    let stage = Stage::new().await;
    for path in ["/", "/no/such/page"] {
        let page = stage.get(path).await;
        let policy = header(&page, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("form-action"), "Chromium would block the redirect after consent");
        assert_eq!(header(&page, "referrer-policy"), "no-referrer");
        let html = page.text().await.unwrap();
        assert!(!html.contains("<script") && !html.contains("style="), "{html}");
    }
    let style = stage.get("/_sandbox/style.css").await;
    assert_eq!(header(&style, "content-type"), "text/css; charset=utf-8");
    assert!(style.text().await.unwrap().contains("prefers-color-scheme"));
}

#[tokio::test]
async fn consent_in_process_is_the_same_without_a_browser() {
    let stage = Stage::new().await;
    let url = stage.authorize_url("generic");
    let back = stage.sandbox.consent(url.as_str(), "alice").unwrap();
    assert_eq!(parameter(&back, "state").as_deref(), Some("the state"));
    tokens(stage.redeem("generic", &parameter(&back, "code").unwrap()).await.unwrap()).await;
    let denied = stage.sandbox.deny(url.as_str(), "alice").unwrap();
    assert_eq!(parameter(&denied, "error").as_deref(), Some("access_denied"));

    let consent = |url: &str, name: &str| Sandbox::consent(&stage.sandbox, url, name);
    let elsewhere = url.as_str().replace("localhost", "127.0.0.1");
    assert!(matches!(consent(&elsewhere, "alice"), Err(ConsentError::NotHere { .. })));
    let wrong_path = url.as_str().replace("/authorize?", "/token?");
    assert!(matches!(consent(&wrong_path, "alice"), Err(ConsentError::NotHere { .. })));
    let unknown = url.as_str().replace("client_id=client", "client_id=nobody");
    assert!(matches!(consent(&unknown, "alice"), Err(ConsentError::Page { .. })));
    assert!(matches!(consent(url.as_str(), ""), Err(ConsentError::Page { .. })));
    let plain = url.as_str().replace("S256", "plain");
    assert_eq!(parameter(&consent(&plain, "alice").unwrap(), "error").as_deref(), Some("invalid_request"));
}
