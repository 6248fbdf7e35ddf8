//! Nothing secret is in anything that is shown, whatever the provider does.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use mm_model::{AccessToken, RefreshToken};
use tracing::level_filters::LevelFilter;

use super::server::{NOW, Server, answer, client, raw, register, twin};
use crate::{
    secret::{AuthorizationCode, ClientSecret, CodeVerifier, SecretPair, StaticSecrets},
    verdict::{ExchangeOutcome, TokenAnswer},
};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn canary<T>(make: impl Fn(String) -> T, name: &str) -> T {
    make(format!("canary-{name}-{}", "x".repeat(43)))
}

/// Every call with secrets in it, at this address; all that came of it, as `Debug` and `Display` show it.
async fn everything(base: &url::Url) -> String {
    let mut shown = String::new();
    for id in ["spotify", "soundcloud", "youtube"] {
        let provider = twin(id, base);
        let registration = register(&provider, "app");
        let pair = SecretPair {
            current: canary(ClientSecret::new, "current"),
            previous: Some(canary(ClientSecret::new, "previous")),
        };
        let secrets = StaticSecrets::from_iter([(provider.id.clone(), pair)]);
        let token = canary(RefreshToken::new, "refresh");
        let code = canary(AuthorizationCode::from_callback, "code").unwrap();
        let verifier = canary(CodeVerifier::from_stored, "verifier").unwrap();
        let client = client();

        let exchanged = client.exchange_with(&provider, &registration, &secrets, code, &verifier, NOW).await;
        let refreshed = client.refresh_with(&provider, &registration, &secrets, &token, NOW).await;
        let revoked = client.revoke_with(&provider, &registration, &secrets, &token, NOW).await;
        let access_token = match &exchanged {
            ExchangeOutcome::Granted(answer) => AccessToken::new(answer.access_token.expose().to_owned()),
            _ => canary(AccessToken::new, "access"),
        };
        let answer = TokenAnswer {
            access_token,
            refresh_token: None,
            expires_in: Duration::from_secs(1),
            scope: None,
            account: None,
        };
        let account = client.account(&provider, &registration, &answer, NOW).await;
        write!(shown, "{exchanged:?} {refreshed:?} {revoked:?} {account:?} {client:?} {secrets:?} {answer:?}").unwrap();
        shown += &account.map_or_else(|error| error.to_string(), |account| account.to_string());
    }
    shown
}

#[tokio::test]
async fn no_secret_is_logged_or_shown() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole process: with a thread's own subscriber, a call site that another test's thread meets first stays
    // silent for good, and this test would look at an empty log. It hears the other tests too, so much the better.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let tokens =
        r#"{"access_token":"canary-a","refresh_token":"canary-r","scope":"listen","id":"1","urn":"1","sub":"1"}"#;
    let mut shown = String::new();
    for (status, body) in [
        (200, tokens),
        (200, r#"{"access_token":"canary-a","token_type":"mac"}"#),
        (200, r#"{"access_token":"canary-a","refresh_token":["canary-r"]}"#),
        (200, r#"{"access_token":"canary-a"#),
        (302, "canary"),
        (400, r#"{"error":"invalid_grant","error_description":"canary"}"#),
        (400, r#"{"error":"canary","error_description":"canary"}"#),
        (401, r#"{"error":"invalid_client","error_description":"canary"}"#),
        (403, "<html>canary</html>"),
        (429, "canary"),
        (503, "canary"),
    ] {
        let server = Server::start(move |_| answer(status, &[("retry-after", "canary")], body)).await;
        shown += &everything(&server.base).await;
    }
    for bytes in [&b""[..], b"canary\r\n\r\n", b"HTTP/1.1 200 canary\r\ncontent-length: 9\r\n\r\ncanary"] {
        let (base, task) = raw(true, bytes, true).await;
        shown += &everything(&base).await;
        task.abort();
    }

    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for expected in [
        "oauth.code.exchange",
        "oauth.token.refresh",
        "oauth.token.revoke",
        "oauth.account.read",
        "the token endpoint was asked",
    ] {
        assert!(logged.contains(expected), "{expected} was not logged");
    }
    assert!(shown.contains("AccessToken(…)") && shown.contains("Misconfigured") && shown.contains("Interrupted"));
    for text in [&shown, &logged] {
        let at = text.find("canary");
        assert!(at.is_none(), "{}", &text[at.unwrap().saturating_sub(300)..at.unwrap() + 20]);
    }
}
