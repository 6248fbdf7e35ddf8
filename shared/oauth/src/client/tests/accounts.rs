//! Whose tokens these are, asked of a real server.

use std::time::Duration;

use mm_model::{AccessToken, AccountId};
use url::Url;

use super::server::{NOW, Server, answer, client, register, twin};
use crate::{
    catalogue::AccountSource,
    client::AccountError,
    verdict::{TokenAnswer, UnavailableCause},
};

fn tokens(account: Option<&str>) -> TokenAnswer {
    TokenAnswer {
        access_token: AccessToken::new("access-1".to_owned()),
        refresh_token: None,
        expires_in: Duration::from_mins(1),
        scope: None,
        account: account.map(|id| id.parse().unwrap()),
    }
}

async fn account_at(id: &str, server: &Server) -> Result<AccountId, AccountError> {
    let provider = twin(id, &server.base);
    client().account(&provider, &register(&provider, "app"), &tokens(None), NOW).await
}

#[tokio::test]
async fn the_access_token_goes_into_the_header_that_the_provider_documents() {
    for (id, path, scheme, body) in [
        ("soundcloud", "/api.soundcloud.com/me", "OAuth", r#"{"urn":"soundcloud:users:1"}"#),
        ("spotify", "/api.spotify.com/v1/me", "Bearer", r#"{"id":"soundcloud:users:1"}"#),
        ("youtube", "/openidconnect.googleapis.com/v1/userinfo", "Bearer", r#"{"sub":"soundcloud:users:1"}"#),
    ] {
        let server = Server::always(200, body).await;
        assert_eq!(account_at(id, &server).await.unwrap().as_str(), "soundcloud:users:1");
        let seen = server.only();
        assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.body.as_str()), ("GET", path, ""));
        assert_eq!(seen.header("authorization"), [format!("{scheme} access-1")]);
    }
}

#[tokio::test]
async fn further_headers_carry_the_client_id() {
    let server = Server::always(200, r#"{"id":"1"}"#).await;
    let mut provider = twin("spotify", &server.base);
    provider.api.headers.insert("Client-Id".to_owned(), "<{client_id}>".to_owned());
    let registration = register(&provider, "app");
    client().account(&provider, &registration, &tokens(None), NOW).await.unwrap();
    assert_eq!(server.only().header("client-id"), ["<app>"]);
}

#[tokio::test]
async fn an_account_is_a_text_or_a_whole_number() {
    for (body, expected) in [
        (r#"{"id":"u-1"}"#, Ok("u-1")),
        (r#"{"id":18446744073709551615}"#, Ok("18446744073709551615")),
        (r#"{"id":-3}"#, Ok("-3")),
        (r#"{"id":1.5}"#, Err(AccountError::Missing)),
        (r#"{"id":1e300}"#, Err(AccountError::Missing)),
        (r#"{"id":""}"#, Err(AccountError::Missing)),
        (r#"{"id":"a\nb"}"#, Err(AccountError::Missing)),
        (r#"{"id":null}"#, Err(AccountError::Missing)),
        (r#"{"id":true}"#, Err(AccountError::Missing)),
        (r#"{"id":["u-1"]}"#, Err(AccountError::Missing)),
        (r#"{"user":{"id":"u-1"}}"#, Err(AccountError::Missing)),
        (r#"["u-1"]"#, Err(AccountError::Unavailable { cause: UnavailableCause::Malformed })),
        ("", Err(AccountError::Unavailable { cause: UnavailableCause::Malformed })),
    ] {
        let server = Server::always(200, body).await;
        let found = account_at("spotify", &server).await;
        assert_eq!(found.as_ref().map(AccountId::as_str).map_err(|error| *error), expected, "{body}");
    }
}

#[tokio::test]
async fn an_account_deep_in_the_answer_is_found() {
    let server = Server::always(200, r#"{"data":[{"id":"u-2"}]}"#).await;
    let mut provider = twin("spotify", &server.base);
    let AccountSource::Userinfo { pointer, .. } = &mut provider.account else { panic!("{provider:?}") };
    "/data/0/id".clone_into(pointer);
    let registration = register(&provider, "app");
    let found = client().account(&provider, &registration, &tokens(None), NOW).await;
    assert_eq!(found.unwrap().as_str(), "u-2");
}

#[tokio::test]
async fn every_failure_has_its_error() {
    let unavailable = |cause| AccountError::Unavailable { cause };
    for (status, body, expected) in [
        (401, "", AccountError::Refused { status: 401 }),
        (403, r#"{"message":"scope"}"#, AccountError::Refused { status: 403 }),
        (403, "<html>CloudFront</html>", unavailable(UnavailableCause::UnexpectedStatus)),
        (202, "", unavailable(UnavailableCause::Malformed)),
        (302, "", unavailable(UnavailableCause::Redirected)),
        (404, r#"{"id":"u-1"}"#, unavailable(UnavailableCause::UnexpectedStatus)),
        (500, r#"{"id":"u-1"}"#, unavailable(UnavailableCause::ServerError)),
    ] {
        let server = Server::always(status, body).await;
        assert_eq!(account_at("spotify", &server).await, Err(expected), "{status} {body}");
    }
    let server = Server::start(|_| answer(429, &[("retry-after", "2")], "")).await;
    let expected = AccountError::Throttled { retry_after: Some(Duration::from_secs(2)) };
    assert_eq!(account_at("spotify", &server).await, Err(expected));
}

#[tokio::test]
async fn the_token_answer_itself_may_name_the_account() {
    let nowhere = Url::parse("http://127.0.0.1:9").unwrap();
    let mut provider = twin("spotify", &nowhere);
    provider.account = AccountSource::TokenAnswer { pointer: "/user_id".to_owned() };
    let registration = register(&provider, "app");
    let account = async |id| client().account(&provider, &registration, &tokens(id), NOW).await;
    assert_eq!(account(Some("7")).await.unwrap().as_str(), "7");
    assert_eq!(account(None).await, Err(AccountError::Missing));
}

#[tokio::test]
async fn the_token_is_not_sent_to_an_address_that_is_none() {
    let server = Server::always(200, r#"{"id":"1"}"#).await;
    let mut provider = twin("spotify", &server.base);
    let registration = register(&provider, "app");
    provider.account =
        AccountSource::Userinfo { url: Url::parse("http://192.0.2.1/me").unwrap(), pointer: "/id".to_owned() };
    let found = client().account(&provider, &registration, &tokens(None), NOW).await;
    assert_eq!(found, Err(AccountError::ForbiddenEndpoint));
    let other = twin("soundcloud", &server.base);
    let found = client().account(&other, &registration, &tokens(None), NOW).await;
    assert_eq!(found, Err(AccountError::ForbiddenEndpoint));
    assert!(server.seen().is_empty());
}
