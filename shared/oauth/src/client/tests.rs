//! The client against a real server on loopback.

mod accounts;
mod canaries;
mod revocations;
mod secrets;
mod server;

use std::time::Duration;

use axum::body::{Body, Bytes};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use url::Url;

use self::server::{
    NOW, Server, TOKENS, answer, client, code, hasty, hasty_to_connect, raw, refresh_token, register, secret, twin,
    verifier,
};
use super::{BODY_BYTES_MAX, ProviderClient};
use crate::{
    catalogue::Provider,
    verdict::{ExchangeOutcome, Misconfiguration, UnavailableCause, Verdict},
};

/// Refreshes once at the twin of SoundCloud under `base`.
async fn refresh_at(base: &Url) -> Verdict {
    refresh_by(&client(), &twin("soundcloud", base)).await
}

async fn refresh_by(client: &ProviderClient, provider: &Provider) -> Verdict {
    client.refresh(provider, &register(provider, "app"), &secret("s"), &refresh_token(), NOW).await
}

fn unavailable(cause: UnavailableCause, may_have_been_processed: bool) -> Verdict {
    Verdict::Unavailable { cause, may_have_been_processed, retry_after: None }
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn basic_credentials_are_form_encoded_and_stand_in_the_header_alone() {
    let server = Server::always(200, TOKENS).await;
    let provider = twin("spotify", &server.base);
    let (id, password) = ("a:b+c%&=", "p:w %+ü=&");
    let verdict = client().refresh(&provider, &register(&provider, id), &secret(password), &refresh_token(), NOW).await;
    assert_eq!(verdict.class(), "refreshed");

    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/accounts.spotify.com/api/token"));
    let [authorization] = seen.header("authorization")[..] else { panic!("one header: {seen:?}") };
    let credentials = STANDARD.decode(authorization.strip_prefix("Basic ").unwrap()).unwrap();
    // RFC 6749 §2.3.1: an unencoded colon in the id would move the border between id and secret.
    assert_eq!(String::from_utf8(credentials).unwrap(), "a%3Ab%2Bc%25%26%3D:p%3Aw+%25%2B%C3%BC%3D%26");
    assert_eq!(seen.form(), fields(&[("grant_type", "refresh_token"), ("refresh_token", "refresh-1")]));
}

#[tokio::test]
async fn body_credentials_stand_in_the_body_alone() {
    let server = Server::always(200, TOKENS).await;
    let provider = twin("soundcloud", &server.base);
    let verdict = client().refresh(&provider, &register(&provider, "a&b"), &secret("p=w"), &refresh_token(), NOW).await;
    let Verdict::Refreshed(tokens) = verdict else { panic!("{verdict:?}") };
    assert_eq!((tokens.access_token.expose(), tokens.expires_in), ("access-1", Duration::from_mins(1)));
    assert_eq!(tokens.refresh_token.unwrap().expose(), "refresh-2");

    let seen = server.only();
    assert_eq!(seen.path, "/secure.soundcloud.com/oauth/token");
    assert_eq!(seen.header("authorization"), Vec::<&str>::new());
    let expected = [
        ("client_id", "a&b"),
        ("client_secret", "p=w"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "refresh-1"),
    ];
    assert_eq!(seen.form(), fields(&expected));
}

#[tokio::test]
async fn an_exchange_sends_the_verifier_and_the_same_redirect_uri() {
    let server = Server::always(200, TOKENS).await;
    let provider = twin("soundcloud", &server.base);
    let registration = register(&provider, "app");
    let login = crate::authorization_url(&provider, &registration, "state", &verifier(), false);
    let outcome = client().exchange(&provider, &registration, &secret("s"), code(), &verifier(), NOW).await;
    assert!(matches!(outcome, ExchangeOutcome::Granted(_)), "{outcome:?}");

    let seen = server.only();
    let verifier = verifier();
    let expected = [
        ("client_id", "app"),
        ("client_secret", "s"),
        ("code", "code-1"),
        ("code_verifier", verifier.expose()),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "http://127.0.0.1:8080/auth/callback?a=1"),
    ];
    assert_eq!(seen.form(), fields(&expected));
    let at_login = |wanted: &str| login.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned();
    assert_eq!(seen.field("redirect_uri"), [at_login("redirect_uri")]);
    let sent = PkceCodeVerifier::new(seen.field("code_verifier").remove(0));
    assert_eq!(PkceCodeChallenge::from_code_verifier_sha256(&sent).as_str(), at_login("code_challenge"));
    assert_eq!(seen.header("content-type"), ["application/x-www-form-urlencoded"]);
    assert_eq!(seen.header("accept"), ["application/json"]);
    assert_eq!(seen.header("user-agent"), [concat!("MultiMusic/", env!("CARGO_PKG_VERSION"))]);
}

/// A proxy would see every credential that is sent over http, and the environment of a function is not the place where
/// somebody decides that. The environment is a process's, so the test runs another one in a process of its own.
#[tokio::test]
async fn no_proxy_is_taken_from_the_environment() {
    let proxy = Server::always(502, "").await;
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        test.env(name, proxy.base.as_str());
    }
    test.args(["--exact", "client::tests::a_cookie_is_not_kept"]);
    let output = tokio::task::spawn_blocking(move || test.output().unwrap()).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    assert!(proxy.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::always(200, TOKENS).await;
    let target = elsewhere.base.to_string();
    for status in [301, 302, 303, 307, 308] {
        let target = target.clone();
        let server = Server::start(move |_| answer(status, &[("location", &target)], "")).await;
        assert_eq!(refresh_at(&server.base).await, unavailable(UnavailableCause::Redirected, true), "{status}");
        assert_eq!(server.seen().len(), 1);
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_cookie_is_not_kept() {
    let server = Server::start(|_| answer(200, &[("set-cookie", "visit=1; Path=/")], TOKENS)).await;
    let provider = twin("soundcloud", &server.base);
    let (client, registration) = (client(), register(&provider, "app"));
    for _ in 0..2 {
        client.refresh(&provider, &registration, &secret("s"), &refresh_token(), NOW).await;
    }
    assert_eq!(server.seen().len(), 2);
    assert!(server.seen().iter().all(|seen| seen.header("cookie").is_empty()));
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    let padded = |length: usize| format!("{TOKENS}{}", " ".repeat(length - TOKENS.len()));
    for (length, class) in [(BODY_BYTES_MAX, "refreshed"), (BODY_BYTES_MAX + 1, "unavailable")] {
        let body = padded(length);
        let server = Server::start(move |_| answer(200, &[], body.clone())).await;
        let verdict = refresh_at(&server.base).await;
        assert_eq!(verdict.class(), class, "{length}: {verdict:?}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_and_its_status_still_counts() {
    for (status, expected) in [
        (200, unavailable(UnavailableCause::TooLarge, true)),
        (403, unavailable(UnavailableCause::TooLarge, true)),
        (503, unavailable(UnavailableCause::ServerError, true)),
        (429, Verdict::Throttled { retry_after: Some(Duration::from_secs(3)) }),
    ] {
        let server = Server::start(move |_| {
            let chunks = std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096])));
            let wait: &[(&str, &str)] = if status == 429 { &[("retry-after", "3")] } else { &[] };
            answer(status, wait, Body::from_stream(futures_util::stream::iter(chunks)))
        })
        .await;
        assert_eq!(refresh_at(&server.base).await, expected, "{status}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_the_token_may_be_spent() {
    let started = tokio::time::Instant::now();
    for bytes in
        [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_token\":\"a"]
    {
        let (base, task) = raw(true, bytes, false).await;
        assert_eq!(
            refresh_by(&hasty(Duration::from_millis(200)), &twin("soundcloud", &base)).await,
            unavailable(UnavailableCause::Timeout, true),
            "{bytes:?}"
        );
        task.abort();
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_connection_that_ends_early_may_have_spent_the_token() {
    for (read, bytes) in [
        // Closed at once: whether the request was read is not to be known here.
        (false, &b""[..]),
        (true, b""),
        (true, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_token\":\"a"),
        (true, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"acc\r\n"),
        (true, b"nonsense\r\n\r\n"),
    ] {
        let (base, task) = raw(read, bytes, true).await;
        assert_eq!(refresh_at(&base).await, unavailable(UnavailableCause::Interrupted, true), "{bytes:?}");
        task.abort();
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_spent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    assert_eq!(refresh_at(&closed).await, unavailable(UnavailableCause::Connect, false));

    // A server that does not speak TLS, and one whose handshake never ends.
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let (base, task) = raw(false, bytes, false).await;
        let mut provider = twin("soundcloud", &base);
        provider.token = Url::parse(&format!("https://{}/token", base.authority())).unwrap();
        let verdict = refresh_by(&hasty_to_connect(Duration::from_millis(100)), &provider).await;
        assert_eq!(verdict, unavailable(UnavailableCause::Connect, false), "{bytes:?}");
        task.abort();
    }
}

#[tokio::test]
async fn the_wait_is_read_from_the_header_in_both_forms() {
    for (header, seconds) in [("7", 7), ("Wed, 25 Nov 2026 12:00:09 GMT", 9)] {
        let server = Server::start(move |_| answer(429, &[("retry-after", header)], "")).await;
        let expected = Verdict::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(refresh_at(&server.base).await, expected);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_an_endpoint_or_for_a_registration_of_somebody_else() {
    let server = Server::always(200, TOKENS).await;
    let forbidden = Verdict::Misconfigured { error: Misconfiguration::ForbiddenEndpoint };
    let provider = twin("soundcloud", &server.base);
    let registration = register(&provider, "app");

    for url in ["http://192.0.2.1/token", "ftp://127.0.0.1/token", "https://u:p@127.0.0.1/token"] {
        let mut moved = provider.clone();
        moved.token = Url::parse(url).unwrap();
        let verdict = client().refresh(&moved, &registration, &secret("s"), &refresh_token(), NOW).await;
        assert_eq!(verdict, forbidden, "{url}");
    }
    let spotify = twin("spotify", &server.base);
    let verdict = client().refresh(&spotify, &registration, &secret("s"), &refresh_token(), NOW).await;
    assert_eq!(verdict, forbidden);
    assert!(server.seen().is_empty());
}
