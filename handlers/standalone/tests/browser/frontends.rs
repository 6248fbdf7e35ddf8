//! Where a frontend may live, and where it may not: cross-origin calls with credentials, and foreign pages.

use axum::{Router, response::Html, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::stage::{Browser, Deployment, Form, Plan, Product, Tls};

/// A frontend of nobody's: an empty page at every path, on a port of its own, under both loopback names.
struct Frontend {
    port: u16,
    serving: JoinHandle<()>,
}

impl Frontend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let page = || async { Html("<!doctype html><title>A frontend</title><link rel=icon href=data:,>") };
        let router = Router::new().route("/", get(page)).route("/{*path}", get(page));
        Self { port, serving: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }) }
    }

    /// Its address under this name.
    fn at(&self, name: &str) -> String {
        format!("http://{name}:{}", self.port)
    }
}

impl Drop for Frontend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Leaves the page by a link, as a frontend sends its visitor to log in.
async fn follow(browser: &Browser, url: &str) {
    const LINK: &str = "
      const link = Object.assign(document.createElement('a'), { href: arguments[0], id: 'login', textContent: 'Log in' });
      document.body.append(link);";
    browser.run(LINK, &[json!(url)]).await;
    browser.click("#login").await;
}

fn codes(answer: &Value) -> (&Value, &Value) {
    (&answer["status"], &answer["body"]["code"])
}

#[tokio::test]
async fn a_frontend_on_another_port_of_the_same_host_does_everything() {
    let frontend = Frontend::start().await;
    let home = frontend.at("127.0.0.1");
    let product = Product::start(Plan { frontend_url: Some(home.clone()), ..Plan::default() }).await;
    a_frontend_does_everything(&Browser::open().await, &product.url, &home).await;
    product.assert_clean().await;
}

#[tokio::test]
async fn a_frontend_on_another_subdomain_does_everything() {
    let frontend = Frontend::start().await;
    let mut tls = Tls::new().await;
    tls.run(frontend.port);
    let home = format!("https://app.mm.test:{}", tls.port);
    let product = Deployment::start("auth.mm.test", &home).await;
    let names = "--host-resolver-rules=MAP *.mm.test 127.0.0.1";
    let browser = Browser::open_with(&[names, "--ignore-certificate-errors"]).await;
    a_frontend_does_everything(&browser, &product.url, &home).await;
    product.assert_clean();
}

/// The whole contract from a page at `home`, an origin that is not the backend's.
async fn a_frontend_does_everything(browser: &Browser, backend: &str, home: &str) {
    let api = |path: &str| format!("{backend}{path}");
    browser.goto(home).await;
    assert_eq!(codes(&browser.call("GET", &api("/auth/connections")).await), (&json!(401), &json!("no_session")));

    // By POST, as a frontend that asks before it leaves.
    let begun = browser.call("POST", &api("/auth/soundcloud/login?return_to=/player?list=1")).await;
    assert_eq!(begun["status"], 200, "{begun}");
    follow(browser, begun["body"]["authorization_url"].as_str().unwrap()).await;
    assert_eq!(browser.decide(home, "alice", "allow").await, [Form::Login, Form::Consent]);
    let landed = browser.url().await;
    assert_eq!(landed, format!("{home}/player?list=1&mm_result=connected&mm_provider=soundcloud"));

    // By navigation.
    follow(browser, &api("/auth/spotify/login?return_to=/")).await;
    assert_eq!(browser.decide(home, "alice", "allow").await, [Form::Login, Form::Consent]);
    assert_eq!(browser.url().await, format!("{home}/?mm_result=connected&mm_provider=spotify"));

    let connections = browser.call("GET", &api("/auth/connections")).await;
    let connected: Vec<_> =
        connections["body"]["connections"].as_array().unwrap().iter().map(|row| row["provider"].clone()).collect();
    assert_eq!(connected, ["soundcloud", "spotify"]);
    let token = browser.call("GET", &api("/auth/soundcloud/token")).await;
    assert_eq!((&token["status"], &token["body"]["state"]), (&json!(200), &json!("fresh")));
    let call = &token["body"]["api"];
    let url = format!("{}/me", call["base_url"].as_str().unwrap().trim_end_matches('/'));
    let answer = browser.fetch(&url, json!({ "headers": call["headers"], "credentials": "omit" })).await;
    assert_eq!(answer["status"], 200, "{answer}");
    let seen = token["body"]["token_id"].as_str().unwrap();
    let renewed = browser.call("POST", &api(&format!("/auth/soundcloud/refresh?seen={seen}"))).await;
    assert_eq!(renewed["status"], 200, "{renewed}");
    assert_ne!(renewed["body"]["token_id"], seen);
    let problem = browser.call("GET", &api("/auth/youtube/token")).await;
    assert_eq!(codes(&problem), (&json!(404), &json!("not_connected")), "problems can be read too");
    assert_eq!(browser.call("DELETE", &api("/auth/spotify")).await["status"], 204);
    assert_eq!(browser.call("POST", &api("/auth/logout")).await["status"], 204);
    assert_eq!(codes(&browser.call("GET", &api("/auth/connections")).await), (&json!(401), &json!("no_session")));
}

#[tokio::test]
async fn attack_a_page_of_another_origin_reads_and_changes_nothing() {
    let product = Product::start(Plan::default()).await;
    let stranger = Frontend::start().await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    let before = browser.connected("soundcloud").await;
    let api = |path: &str| format!("{}{path}", product.url);
    let refused = json!({ "error": "TypeError" });

    // `localhost` is another site. 127.0.0.1 with another port is the same site: its requests carry the session.
    for page in [stranger.at("localhost"), stranger.at("127.0.0.1")] {
        browser.goto(&page).await;
        for (method, path) in [
            ("GET", "/auth/connections"),
            ("GET", "/auth/soundcloud/token"),
            ("GET", "/auth/tokens"),
            ("POST", "/auth/soundcloud/login"),
            ("POST", "/auth/soundcloud/refresh"),
            ("POST", "/auth/logout"),
            ("DELETE", "/auth/soundcloud"),
            ("DELETE", "/auth/user"),
        ] {
            assert_eq!(browser.call(method, &api(path)).await, refused, "{page} {method} {path}");
            // Without the header no preflight stands in the way: the request is made, must do nothing on arrival, and its
            // answer stays outside of the page's process (Cross-Origin-Resource-Policy), not even opaque.
            for mode in if method == "DELETE" { &[][..] } else { &["no-cors", "cors"] } {
                let unasked = json!({ "method": method, "credentials": "include", "mode": mode });
                assert_eq!(browser.fetch(&api(path), unasked).await, refused, "{page} {method} {path} {mode}");
            }
        }
        // A form needs no leave of anybody.
        browser
            .run(
                "const form = Object.assign(document.createElement('form'), { method: 'post', action: arguments[0] });
                 document.body.append(form);
                 form.submit();",
                &[json!(api("/auth/logout"))],
            )
            .await;
        crate::stage::until("the form is sent", async || browser.url().await, |url| url.starts_with(&product.url))
            .await;
        // And a link to the login, which a provider that asks for no consent would answer with a connection.
        browser.goto(&page).await;
        follow(&browser, &api("/auth/spotify/login?return_to=/")).await;
        let look = async || browser.run("return document.body.innerText", &[]).await.to_string();
        crate::stage::until("the login is refused", look, |text| text.contains("origin_not_allowed")).await;
    }
    browser.goto(&product.url).await;
    let after = browser.connected("soundcloud").await;
    assert_eq!((after.account, after.token_id), (before.account, before.token_id));
    assert_eq!(product.living_grants().await, ["soundcloud alice"]);
    product.assert_clean().await;
}
