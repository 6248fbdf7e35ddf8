//! No secret is anywhere but where it belongs: not in a log line, an error, an event, a file, or another answer.

mod log;

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{Method, StatusCode};
use mm_sandbox::{Endpoint, Fault, FaultKind, Only, RetryAfter};

use crate::{
    attacks::ask,
    login::{parameter, with_query},
    people::{SESSION, allowed, open},
    world::{Browser, Drawn, Heard, Setup, World},
};

/// The bytes of everything secret that is drawn: states, verifiers, bindings, keys, and the sandbox's codes and tokens.
const SECRET_BYTES: usize = 32;

/// The client's secret at the twins.
const CLIENT_SECRET: &str = "not-a-secret";

/// What the test itself sends in places where it must not be repeated.
const PLANTED: &str = "planted-canary";

/// Every secret that there was, as text, with what it is.
struct Secrets(BTreeMap<String, &'static str>);

impl Secrets {
    fn of(drawn: &Drawn, heard: &[Heard]) -> Self {
        let mut secrets =
            BTreeMap::from([(CLIENT_SECRET.to_owned(), "client secret"), (PLANTED.to_owned(), "planted")]);
        for throw in drawn.of(SECRET_BYTES) {
            secrets.insert(URL_SAFE_NO_PAD.encode(&throw), "32 random bytes");
            secrets.insert(STANDARD.encode(&throw), "32 random bytes");
            secrets.insert(hex(&throw), "32 random bytes");
            // As a derived Debug would show an array.
            secrets.insert(format!("{throw:?}").trim_matches(['[', ']']).to_owned(), "32 random bytes");
        }
        for heard in heard {
            for cookie in heard.answer.headers.get_all("set-cookie") {
                let value = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap().1;
                if !value.is_empty() {
                    secrets.insert(value.to_owned(), "cookie");
                    // A token is as good as its signature.
                    secrets.insert(value.rsplit('.').next().unwrap().to_owned(), "signature");
                }
            }
        }
        Self(secrets)
    }

    fn found_in(&self, text: &str) -> Option<(&str, &'static str)> {
        self.0.iter().find(|(secret, _)| text.contains(secret.as_str())).map(|(secret, what)| (secret.as_str(), *what))
    }

    /// Nothing secret is in this text.
    fn are_not_in(&self, text: &str, place: &str) {
        if let Some((secret, what)) = self.found_in(text) {
            let at = text.find(secret).unwrap();
            let from = text[..at].char_indices().rev().nth(300).map_or(0, |(index, _)| index);
            panic!("{place}: {what}: …{}…", &text[from..at + secret.len()]);
        }
    }
}

/// An answer without what belongs into it: its own cookies, its own token, the state on the way to the provider.
fn stripped(heard: &Heard) -> String {
    let Heard { path, answer } = heard;
    let mut text = String::new();
    for (name, value) in answer.headers.iter().filter(|(name, _)| *name != "set-cookie") {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    text += &answer.text;
    let mut own = Vec::new();
    if answer.status == StatusCode::OK && !answer.text.is_empty() {
        let document = answer.json();
        if path.ends_with("/token") || path.ends_with("/refresh") {
            own.push(document["access_token"].as_str().unwrap().to_owned());
        }
        if path == "/auth/tokens" {
            let tokens = document.as_object().unwrap().values();
            own.extend(tokens.filter_map(|token| token["access_token"].as_str().map(str::to_owned)));
        }
        if path.ends_with("/login") {
            own.push(state_of(document["authorization_url"].as_str().unwrap()));
        }
    }
    let to_the_provider = answer.headers.get("location").and_then(|value| value.to_str().ok());
    if let Some(location) = to_the_provider.filter(|location| location.starts_with("http://localhost:")) {
        own.push(state_of(location));
    }
    for own in own {
        assert!(own.len() >= 40, "{path}: not a secret: {own}");
        text = text.replace(&own, "[its own]");
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn state_of(authorization_url: &str) -> String {
    let url: url::Url = authorization_url.parse().unwrap();
    url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

fn plan(world: &World, provider: &str, endpoint: Endpoint, only: Only, kind: FaultKind) {
    world.sandbox.clear_faults(None);
    world.sandbox.plan(Fault { only, times: Some(1), ..Fault::at(provider, endpoint, kind) }).unwrap();
}

/// Logins that fail, each in its own way.
async fn failed_logins(world: &World, browser: &Browser) {
    let url = browser.start_login("soundcloud", "").await;
    let denied = world.sandbox.deny(&url, "mallory").unwrap();
    open(browser, &format!("{}?{}", denied.path(), denied.query().unwrap())).await;
    for kind in [
        FaultKind::ResetAfter,
        FaultKind::Html403,
        FaultKind::Malformed,
        FaultKind::MissingAccessToken,
        FaultKind::Error5xxAfter { status: 500 },
        FaultKind::Throttle { retry_after: RetryAfter::Seconds(1), html: false },
    ] {
        let callback = allowed(browser, "soundcloud", "mallory", "").await;
        plan(world, "soundcloud", Endpoint::Token, Only::Code, kind);
        assert_eq!(open(browser, &callback).await.status, StatusCode::SEE_OTHER);
    }
    for kind in [FaultKind::Html403, FaultKind::Malformed] {
        let callback = allowed(browser, "soundcloud", "mallory", "").await;
        plan(world, "soundcloud", Endpoint::Userinfo, Only::Any, kind);
        open(browser, &callback).await;
    }
    world.sandbox.clear_faults(None);
    // Mixed up, of another browser, with a foreign code, used again, with the provider's own words.
    let callback = allowed(browser, "soundcloud", "mallory", "").await;
    open(browser, &callback.replace("/soundcloud/", "/spotify/")).await;
    open(&world.browser(), &allowed(browser, "soundcloud", "mallory", "").await).await;
    let code = parameter(&allowed(browser, "spotify", "mallory", "").await, "code");
    let callback = allowed(browser, "soundcloud", "mallory", "").await;
    open(browser, &with_query(&callback, |pairs| pairs[0].1 = code)).await;
    open(browser, &callback).await;
    let state = parameter(&allowed(browser, "soundcloud", "mallory", "").await, "state");
    let path = format!("/auth/soundcloud/callback?error={PLANTED}&error_description={PLANTED}&state={state}");
    open(browser, &path).await;
    // Of another account, and one that is somebody else's.
    browser.login("soundcloud", "mallory", "").await;
    browser.login("youtube", "bob", "").await;
    // Garbled.
    open(browser, &format!("{callback}&state={PLANTED}")).await;
    open(browser, &format!("/auth/soundcloud/callback?code={PLANTED}%0a&state={PLANTED}")).await;
}

/// Requests with something secret, or planted, where nobody looks.
async fn garbage(world: &World, browser: &Browser) {
    let session = browser.cookie(SESSION).unwrap();
    for forged in [format!("{session}x"), PLANTED.to_owned(), format!("{PLANTED}.{PLANTED}.{PLANTED}")] {
        let copy = browser.copied();
        copy.set_cookie(SESSION, &forged);
        copy.get("/auth/connections").await;
        copy.post("/auth/soundcloud/login").await;
    }
    for path in [
        format!("/auth/soundcloud/token?access_token={PLANTED}"),
        format!("/auth/soundcloud/token?min_ttl={PLANTED}"),
        format!("/auth/{PLANTED}/token"),
        format!("/{PLANTED}"),
    ] {
        browser.get(&path).await;
    }
    let twice = format!("{SESSION}={session}; {SESSION}={session}");
    let bearer = format!("Bearer {PLANTED}");
    let headers = [
        ("x-multimusic-client", PLANTED),
        ("origin", PLANTED),
        ("cookie", twice.as_str()),
        ("authorization", &*bearer),
    ];
    for method in [Method::GET, Method::POST, Method::OPTIONS] {
        ask(world, method, "/auth/tokens", &headers).await;
        ask(world, Method::GET, "/auth/tokens", &headers[..1]).await;
        ask(world, Method::GET, "/auth/tokens", &[("x-multimusic-client", "1"), headers[2]]).await;
    }
}

/// Refreshes: by the wheel, by force, and through every fault of the token endpoint.
async fn refreshes(world: &mut World, browser: &Browser) {
    for kind in [
        FaultKind::Html403,
        FaultKind::Empty202,
        FaultKind::ErrorBody200,
        FaultKind::StringExpiresIn,
        FaultKind::ScopeArray,
        FaultKind::MissingExpiresIn,
        FaultKind::NoRefreshTokenInAnswer,
        FaultKind::Throttle { retry_after: RetryAfter::Date(30), html: true },
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
    ] {
        for provider in ["soundcloud", "youtube"] {
            plan(world, provider, Endpoint::Token, Only::Refresh, kind);
            let seen = browser.get(&format!("/auth/{provider}/token?wait=0")).await;
            let seen = seen.json()["token_id"].as_str().map(|id| format!("?seen={id}")).unwrap_or_default();
            let path = format!("/auth/{provider}/refresh{seen}");
            let answer = world.drive(Duration::from_millis(200), browser.post(&path)).await;
            assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.text);
        }
        world.sandbox.clear_faults(None);
        world.advance_by_steps(Duration::from_mins(10), Duration::from_secs(30)).await;
        browser.get("/auth/tokens").await;
        browser.get("/auth/connections").await;
    }
}

#[tokio::test]
async fn canary_tokens_appear_in_no_log_line_error_or_response_but_their_own() {
    let listening = log::listen();
    let drawn = Drawn::default();
    let mut world = World::with(Setup { drawn: Some(drawn.clone()), ..Setup::default() }).await;
    let bob = world.browser();
    bob.connect("youtube", "bob").await;
    let browser = world.browser();
    for provider in ["soundcloud", "spotify", "youtube"] {
        browser.connect(provider, "alice").await;
    }
    browser.navigate("/auth/soundcloud/login", "same-origin").await;
    failed_logins(&world, &browser).await;
    garbage(&world, &browser).await;
    refreshes(&mut world, &browser).await;
    let mut world = world.restart().await;
    browser.get("/auth/tokens").await;
    world.sleep_through(Duration::from_hours(2));
    assert_eq!(browser.get("/auth/spotify/token?wait=0").await.code(), "refresh_pending");
    world.settle().await;

    // A grant that died, a client secret that is wrong, an account that is replaced, and the ways out.
    world.sandbox.revoke_account("spotify", "alice");
    world.sandbox.remove_secret("youtube", "multimusic-dev", CLIENT_SECRET).unwrap();
    world.advance_by_steps(Duration::from_hours(2), Duration::from_secs(30)).await;
    assert_eq!(browser.get("/auth/spotify/token").await.code(), "reauthorization_required");
    browser.login("youtube", "alice", "").await;
    world.sandbox.add_secret("youtube", "multimusic-dev", CLIENT_SECRET).unwrap();
    browser.login("youtube", "carol", "?replace=1").await;
    world.settle().await;
    browser.delete("/auth/youtube").await;
    world.settle().await;
    browser.get("/auth/connections").await;
    browser.post("/auth/logout").await;
    bob.delete("/auth/user").await;
    world.advance_by_steps(Duration::from_mins(5), Duration::from_secs(30)).await;
    bob.start_login("youtube", "").await;

    let heard = world.heard();
    let secrets = Secrets::of(&drawn, &heard);
    let lines = listening.lines();
    was_all_of_it_seen(&secrets, &heard, &lines, &world);
    for line in &lines {
        secrets.are_not_in(line, "log");
    }
    for heard in &heard {
        secrets.are_not_in(&stripped(heard), &heard.path);
    }
    let events = world.backend.store.recent_events(1_000).unwrap();
    assert!(events.len() >= 6, "{events:?}");
    secrets.are_not_in(&format!("{events:?}"), "events");
    secrets.are_not_in(&format!("{:?} {:?}", world.backend.engine.offers(), world.sandbox), "Debug");
    at_rest(&secrets, &world);
}

/// A test that looks at nothing finds nothing: each kind of secret was there to be found, and so was each kind of place.
fn was_all_of_it_seen(secrets: &Secrets, heard: &[Heard], lines: &[String], world: &World) {
    let whole = |heard: &Heard| format!("{:?} {}", heard.answer.headers.get_all("set-cookie"), heard.answer.text);
    let kinds = |what: &str| {
        heard.iter().filter(|heard| secrets.found_in(&whole(heard)).is_some_and(|(_, found)| found == what)).count()
    };
    assert!(kinds("32 random bytes") > 50, "tokens, states and bindings are recognised: {}", kinds("32 random bytes"));
    let verifiers = world.rows();
    for verifier in verifiers.column("pending_logins", "code_verifier") {
        assert!(secrets.0.contains_key(verifier), "verifiers are among the secrets");
    }
    assert!(secrets.0.values().any(|what| *what == "signature"));
    for expected in [
        "oauth.code.exchange",
        "oauth.token.refresh",
        "oauth.token.revoke",
        "login.connected",
        "login.failed",
        "connection.disconnect",
        "user.deleted",
        "a session cookie was not accepted",
        "\"level\":\"TRACE\"",
        "\"level\":\"DEBUG\"",
    ] {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected} was not logged in {} lines", lines.len());
    }
    for (method, kind) in [(200, "/token"), (503, "/token"), (409, "/token"), (303, "/callback"), (400, "/callback")] {
        assert!(
            heard.iter().any(|heard| heard.answer.status.as_u16() == method && heard.path.ends_with(kind)),
            "no {method} of {kind}"
        );
    }
}

/// On disk there are sealed tokens and hashes only. The verifier waits in its row, the wrapping key in its file.
fn at_rest(secrets: &Secrets, world: &World) {
    let of_the_sandbox = ["sbx-code-", "sbx-access-", "sbx-refresh-"];
    let (mut files, mut waiting) = (0, String::new());
    for verifier in world.rows().column("pending_logins", "code_verifier") {
        waiting.push_str(verifier);
    }
    assert!(secrets.found_in(&waiting).is_some(), "a login is under way, and this search finds what is plain");
    for entry in std::fs::read_dir(world.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for prefix in of_the_sandbox {
            assert!(!text.contains(prefix), "{name} holds a code or token of the sandbox");
        }
        if name != "key" && !name.starts_with("multimusic.db") {
            secrets.are_not_in(&text, &name);
        }
        files += 1;
    }
    assert!(files >= 3, "the database, its lock and the key: {files}");
}
