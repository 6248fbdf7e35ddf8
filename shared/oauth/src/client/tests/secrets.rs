//! Which secret is sent, and how often.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use mm_model::ProviderId;

use super::server::{
    NOW, Server, TOKENS, answer, client, code, hasty, refresh_token, register, secret, twin, verifier,
};
use crate::{
    secret::{ClientSecrets, SecretPair, SecretsError, StaticSecrets},
    verdict::{ExchangeOutcome, Misconfiguration, UnavailableCause, Verdict},
};

const INVALID_CLIENT: Verdict = Verdict::Misconfigured { error: Misconfiguration::InvalidClient };

/// Secrets that changed at their source after they were read here. A pair is written `current/previous`.
struct Rotating {
    here: &'static str,
    source: &'static str,
    reloads: AtomicUsize,
}

impl Rotating {
    fn new(here: &'static str, source: &'static str) -> Self {
        Self { here, source, reloads: AtomicUsize::new(0) }
    }
}

fn pair(text: &str, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
    match text.split_once('/') {
        _ if text == "unknown" => Err(SecretsError::Unknown { provider: provider.clone() }),
        _ if text == "down" => Err(SecretsError::Unavailable { provider: provider.clone(), source: "down".into() }),
        Some((current, previous)) => Ok(SecretPair { current: secret(current), previous: Some(secret(previous)) }),
        None => Ok(SecretPair { current: secret(text), previous: None }),
    }
}

#[async_trait]
impl ClientSecrets for Rotating {
    async fn current(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        pair(self.here, provider)
    }

    async fn reload(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        pair(self.source, provider)
    }
}

/// A server that accepts only this secret.
async fn accepting(right: &'static str) -> Server {
    Server::start(move |seen| match seen.field("client_secret")[..] {
        [ref found] if found == right => answer(200, &[], TOKENS),
        _ => answer(401, &[], r#"{"error":"invalid_client"}"#),
    })
    .await
}

fn tried(server: &Server) -> Vec<String> {
    server.seen().iter().flat_map(|seen| seen.field("client_secret")).collect()
}

#[tokio::test]
async fn every_secret_that_may_be_right_is_tried_once() {
    for (here, source, right, expected, reloads) in [
        // The usual case asks nobody.
        ("a", "a", "a", &["a"][..], 0),
        // Rotated elsewhere: the new one is found.
        ("a", "b/a", "b", &["a", "b"], 1),
        // Stored here before the provider knows it: the previous one is found.
        ("b/a", "b/a", "a", &["b", "a"], 1),
        // Rotated twice.
        ("a", "c/b", "b", &["a", "c", "b"], 1),
        // None is right, and none is sent twice.
        ("a", "b/a", "z", &["a", "b"], 1),
        ("a", "c/b", "z", &["a", "c", "b"], 1),
        ("a", "a", "z", &["a"], 1),
        ("a", "a/a", "z", &["a"], 1),
        ("a", "down", "z", &["a"], 1),
        ("a", "unknown", "z", &["a"], 1),
    ] {
        let server = accepting(right).await;
        let secrets = Rotating::new(here, source);
        let provider = twin("soundcloud", &server.base);
        let registration = register(&provider, "app");
        let verdict = client().refresh_with(&provider, &registration, &secrets, &refresh_token(), NOW).await;
        let found = expected.contains(&right);
        assert_eq!(matches!(verdict, Verdict::Refreshed(_)), found, "{here} {source} {right}: {verdict:?}");
        assert!(found || verdict == INVALID_CLIENT, "{verdict:?}");
        assert_eq!(tried(&server), expected, "{here} {source} {right}");
        assert_eq!(secrets.reloads.load(Ordering::Relaxed), reloads, "{here} {source} {right}");
        assert!(server.seen().iter().all(|seen| seen.field("refresh_token") == ["refresh-1"]));
    }
}

#[tokio::test]
async fn a_code_is_sent_again_only_to_prove_the_client() {
    let server = accepting("a").await;
    let provider = twin("soundcloud", &server.base);
    let registration = register(&provider, "app");
    let secrets = Rotating::new("b/a", "b/a");
    let outcome = client().exchange_with(&provider, &registration, &secrets, code(), &verifier(), NOW).await;
    assert!(matches!(outcome, ExchangeOutcome::Granted(_)), "{outcome:?}");
    assert_eq!(tried(&server), ["b", "a"]);
}

/// RFC 6749 §4.1.2: a code that the server may have consumed must not come twice; it may revoke what it issued.
#[tokio::test]
async fn nothing_is_sent_again_after_any_other_answer() {
    for (status, body) in [
        (400, r#"{"error":"invalid_grant"}"#),
        (400, r#"{"error":"unauthorized_client"}"#),
        (429, r#"{"error":"invalid_client"}"#),
        (500, r#"{"error":"invalid_client"}"#),
        (200, r#"{"error":"invalid_client"}"#),
        (403, "<html>invalid_client</html>"),
        (202, ""),
    ] {
        let server = Server::always(status, body).await;
        let provider = twin("soundcloud", &server.base);
        let registration = register(&provider, "app");
        let secrets = Rotating::new("a", "b/c");
        client().exchange_with(&provider, &registration, &secrets, code(), &verifier(), NOW).await;
        client().refresh_with(&provider, &registration, &secrets, &refresh_token(), NOW).await;
        assert_eq!(tried(&server), ["a", "a"], "{status} {body}");
        assert_eq!(secrets.reloads.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn without_a_secret_nothing_is_sent() {
    let server = accepting("a").await;
    let provider = twin("soundcloud", &server.base);
    let registration = register(&provider, "app");
    for (here, expected) in [
        ("unknown", Verdict::Misconfigured { error: Misconfiguration::NoSecret }),
        (
            "down",
            Verdict::Unavailable {
                cause: UnavailableCause::Secrets,
                may_have_been_processed: false,
                retry_after: None,
            },
        ),
    ] {
        let secrets = Rotating::new(here, "a");
        let verdict = client().refresh_with(&provider, &registration, &secrets, &refresh_token(), NOW).await;
        assert_eq!(verdict, expected);
    }
    assert!(server.seen().is_empty());
}

/// Leases are computed from the whole call's deadline: a further attempt may neither prolong it nor be cut off by it, for
/// one that was cut off may have spent the token.
#[tokio::test]
async fn a_slow_source_leaves_no_time_for_another_secret() {
    let server = accepting("b").await;
    let provider = twin("soundcloud", &server.base);
    let registration = register(&provider, "app");
    let client = hasty(Duration::from_millis(600));
    // A quarter of the time must be left.
    for delay in [Duration::from_millis(500), Duration::MAX] {
        let secrets = SlowReload { secrets: Rotating::new("a", "b"), delay };
        let verdict = client.refresh_with(&provider, &registration, &secrets, &refresh_token(), NOW).await;
        assert_eq!(verdict, INVALID_CLIENT, "{delay:?}");
    }
    assert_eq!(tried(&server), ["a", "a"]);
}

/// A source that takes its time.
struct SlowReload {
    secrets: Rotating,
    delay: Duration,
}

#[async_trait]
impl ClientSecrets for SlowReload {
    async fn current(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        self.secrets.current(provider).await
    }

    async fn reload(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        tokio::time::sleep(self.delay).await;
        self.secrets.reload(provider).await
    }
}

#[tokio::test]
async fn static_secrets_are_the_ones_that_were_given() {
    let known: ProviderId = "soundcloud".parse().unwrap();
    let secrets = StaticSecrets::from_iter([(known.clone(), pair("b/a", &known).unwrap())]);
    assert_eq!(secrets.current(&known).await.unwrap(), pair("b/a", &known).unwrap());
    assert_eq!(secrets.reload(&known).await.unwrap(), pair("b/a", &known).unwrap());
    let unknown = secrets.current(&"spotify".parse().unwrap()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "no client secret is configured for spotify");
}
