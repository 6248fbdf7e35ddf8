//! RFC 7009 against a real server.

use std::time::Duration;

use super::server::{NOW, Server, answer, client, raw, refresh_token, register, secret, twin};
use crate::{
    client::{RevocationOutcome, RevocationRefusal},
    secret::{SecretPair, StaticSecrets},
    verdict::Misconfiguration,
};

const RETRY: RevocationOutcome = RevocationOutcome::Retry { after: None };

fn refused(reason: RevocationRefusal) -> RevocationOutcome {
    RevocationOutcome::Refused { reason }
}

async fn revoke_at(server: &Server) -> RevocationOutcome {
    let provider = twin("youtube", &server.base);
    client().revoke(&provider, &register(&provider, "app"), &secret("s"), &refresh_token(), NOW).await
}

#[tokio::test]
async fn a_revocation_names_the_token_and_its_kind() {
    let server = Server::always(200, "").await;
    assert_eq!(revoke_at(&server).await, RevocationOutcome::Revoked);
    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/oauth2.googleapis.com/revoke"));
    let form: Vec<(String, String)> = seen.form();
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        form,
        [("client_id", "app"), ("client_secret", "s"), ("token", "refresh-1"), ("token_type_hint", "refresh_token")]
    );
    assert!(seen.header("authorization").is_empty());
}

#[tokio::test]
async fn every_answer_to_a_revocation_has_its_outcome() {
    let misconfigured = |error| refused(RevocationRefusal::Misconfigured(error));
    for (status, body, expected) in [
        (200, "", RevocationOutcome::Revoked),
        (200, "<html>anything</html>", RevocationOutcome::Revoked),
        (204, "", RevocationOutcome::Revoked),
        (400, r#"{"error":"invalid_token"}"#, RevocationOutcome::Revoked),
        (400, r#"{"error":"invalid_grant"}"#, RevocationOutcome::Revoked),
        (400, r#"{"error":"unsupported_token_type"}"#, refused(RevocationRefusal::UnsupportedTokenType)),
        (401, r#"{"error":"invalid_client"}"#, misconfigured(Misconfiguration::InvalidClient)),
        (400, r#"{"error":"invalid_request"}"#, misconfigured(Misconfiguration::InvalidRequest)),
        (400, r#"{"error":"admin_policy_enforced"}"#, refused(RevocationRefusal::UnrecognisedError)),
        (400, r#"{"error":"something_else"}"#, refused(RevocationRefusal::UnrecognisedError)),
        (404, "<html></html>", refused(RevocationRefusal::NoEndpoint)),
        (405, "", refused(RevocationRefusal::NoEndpoint)),
        (400, r#"{"error":"temporarily_unavailable"}"#, RETRY),
        (403, "<html>CloudFront</html>", RETRY),
        (400, "<html></html>", RETRY),
        (202, "", RETRY),
        (302, "", RETRY),
        (500, "", RETRY),
        (503, r#"{"error":"invalid_token"}"#, RETRY),
        (429, r#"{"error":"invalid_token"}"#, RETRY),
    ] {
        let server = Server::always(status, body).await;
        assert_eq!(revoke_at(&server).await, expected, "{status} {body}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_wait_that_the_provider_names_is_kept() {
    for status in [429, 503] {
        let server = Server::start(move |_| answer(status, &[("retry-after", "30")], "")).await;
        let expected = RevocationOutcome::Retry { after: Some(Duration::from_secs(30)) };
        assert_eq!(revoke_at(&server).await, expected, "{status}");
    }
}

#[tokio::test]
async fn what_has_no_answer_is_tried_again() {
    let (base, task) = raw(true, b"", true).await;
    let provider = twin("youtube", &base);
    let registration = register(&provider, "app");
    assert_eq!(client().revoke(&provider, &registration, &secret("s"), &refresh_token(), NOW).await, RETRY);
    task.abort();
}

#[tokio::test]
async fn where_nothing_can_be_revoked_nothing_is_sent() {
    let server = Server::always(200, "").await;
    let provider = twin("soundcloud", &server.base);
    let registration = register(&provider, "app");
    let outcome = client().revoke(&provider, &registration, &secret("s"), &refresh_token(), NOW).await;
    assert_eq!(outcome, refused(RevocationRefusal::NoEndpoint));
    let none = StaticSecrets::default();
    let outcome = client().revoke_with(&provider, &registration, &none, &refresh_token(), NOW).await;
    assert_eq!(outcome, refused(RevocationRefusal::NoEndpoint));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_revocation_tries_the_previous_secret_too() {
    let server = Server::start(|seen| match seen.field("client_secret")[..] {
        [ref found] if found == "old" => answer(200, &[], ""),
        _ => answer(401, &[], r#"{"error":"invalid_client"}"#),
    })
    .await;
    let provider = twin("youtube", &server.base);
    let registration = register(&provider, "app");
    let pair = SecretPair { current: secret("new"), previous: Some(secret("old")) };
    let secrets = StaticSecrets::from_iter([(provider.id.clone(), pair)]);
    let outcome = client().revoke_with(&provider, &registration, &secrets, &refresh_token(), NOW).await;
    assert_eq!(outcome, RevocationOutcome::Revoked);
    assert_eq!(server.seen().len(), 2);

    let none = StaticSecrets::default();
    let outcome = client().revoke_with(&provider, &registration, &none, &refresh_token(), NOW).await;
    assert_eq!(outcome, refused(RevocationRefusal::Misconfigured(Misconfiguration::NoSecret)));
    assert_eq!(server.seen().len(), 2);
}
