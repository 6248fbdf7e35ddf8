//! The shapes of answers, member by member.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

use crate::{
    attacks::{is_dressed, is_problem},
    people::open,
    world::{Browser, Setup, World},
};

/// What differs from run to run of the sandbox and says nothing about the shape.
fn redacted(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match name.as_str() {
                        "access_token" | "token_id" | "account_id" => *member = Value::String(format!("[{name}]")),
                        "Authorization" => {
                            let scheme = member.as_str().unwrap().split(' ').next().unwrap().to_owned();
                            *member = Value::String(format!("{scheme} [access_token]"));
                        }
                        "base_url" => {
                            let url: url::Url = member.as_str().unwrap().parse().unwrap();
                            *member = Value::String(format!("[sandbox]{}", url.path()));
                        }
                        "refresh_in" | "next_refresh_at" => {
                            if !member.is_null() {
                                assert!(member.as_u64().unwrap() > 0);
                                *member = Value::String(format!("[{name}]"));
                            }
                        }
                        _ => walk(member),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut value);
    value
}

async fn connected(world: &World, providers: &[&str]) -> Browser {
    let browser = world.browser();
    for provider in providers {
        browser.connect(provider, "alice").await;
    }
    browser
}

#[tokio::test]
async fn health_says_build_and_engine_to_anybody() {
    let world = World::new().await;
    let answer = crate::attacks::ask(&world, Method::GET, "/health", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    is_dressed(&answer, "health");
    assert_eq!(answer.headers["content-type"], "application/json");
    insta::assert_json_snapshot!(answer.json(), { ".version" => "[version]" }, @r#"
    {
      "engine": "embedded",
      "status": "ok",
      "version": "[version]"
    }
    "#);
}

#[tokio::test]
async fn a_token() {
    let world = World::new().await;
    let browser = connected(&world, &["soundcloud", "spotify", "youtube"]).await;
    let answer = browser.get("/auth/soundcloud/token").await;
    is_dressed(&answer, "token");
    assert_eq!(answer.headers["content-type"], "application/json");
    insta::assert_json_snapshot!(redacted(answer.json()), @r#"
    {
      "access_token": "[access_token]",
      "api": {
        "base_url": "[sandbox]/api.soundcloud.com",
        "headers": {
          "Authorization": "OAuth [access_token]"
        }
      },
      "expires_at": 1800003600,
      "expires_in": 3600,
      "min_ttl": 60,
      "reauth_by": null,
      "refresh_in": "[refresh_in]",
      "scope": "",
      "state": "fresh",
      "token_id": "[token_id]",
      "token_type": "Bearer"
    }
    "#);
    insta::assert_json_snapshot!(redacted(browser.token("spotify").await), @r#"
    {
      "access_token": "[access_token]",
      "api": {
        "base_url": "[sandbox]/api.spotify.com/v1",
        "headers": {
          "Authorization": "Bearer [access_token]"
        }
      },
      "expires_at": 1800003600,
      "expires_in": 3600,
      "min_ttl": 60,
      "reauth_by": 1815724800,
      "refresh_in": "[refresh_in]",
      "scope": "user-read-private playlist-read-private playlist-modify-private user-library-read streaming user-read-playback-state user-modify-playback-state",
      "state": "fresh",
      "token_id": "[token_id]",
      "token_type": "Bearer"
    }
    "#);
    let youtube = browser.token("youtube").await;
    assert_eq!(
        youtube["api"]["headers"]["Authorization"],
        format!("Bearer {}", youtube["access_token"].as_str().unwrap())
    );
    // The headers are complete: spread into a request, they open the provider's API.
    for provider in ["soundcloud", "spotify", "youtube"] {
        let token = browser.token(provider).await;
        let headers = token["api"]["headers"].as_object().unwrap().clone();
        let url = world.sandbox.endpoint_url(provider, mm_sandbox::Endpoint::Api).unwrap();
        assert!(
            url.as_str().starts_with(token["api"]["base_url"].as_str().unwrap().trim_end_matches('/')),
            "{provider}"
        );
        let mut request = http::Request::get(format!("{}?q=x", url.path()));
        for (name, value) in headers {
            request = request.header(name, value.as_str().unwrap());
        }
        let answer =
            tower::ServiceExt::oneshot(world.sandbox.router(), request.body(axum::body::Body::empty()).unwrap());
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK, "{provider}");
    }
}

#[tokio::test]
async fn connections() {
    let mut world = World::new().await;
    let browser = connected(&world, &["soundcloud", "spotify"]).await;
    world.sandbox.revoke_account("soundcloud", "alice");
    world.advance(Duration::from_mins(56)).await;
    let answer = browser.get("/auth/connections").await;
    is_dressed(&answer, "connections");
    assert_eq!(answer.headers["content-type"], "application/json");
    let mut document = redacted(answer.json());
    // When exactly the wheel came by is the wheel's business.
    for connection in document["connections"].as_array_mut().unwrap() {
        for name in ["updated_at", "issued_at", "expires_at"] {
            if connection[name].is_u64() {
                connection[name] = Value::String(format!("[{name}]"));
            }
        }
    }
    insta::assert_json_snapshot!(document, @r#"
    {
      "connections": [
        {
          "account_id": "[account_id]",
          "attempts": 0,
          "connected_at": 1800000000,
          "expires_at": null,
          "issued_at": null,
          "last_error": null,
          "lifetime": null,
          "next_refresh_at": null,
          "provider": "soundcloud",
          "reason": "refused",
          "reauth_by": null,
          "scope": "",
          "state": null,
          "status": "reauthorization_required",
          "token_id": "[token_id]",
          "updated_at": "[updated_at]"
        },
        {
          "account_id": "[account_id]",
          "attempts": 0,
          "connected_at": 1800000000,
          "expires_at": "[expires_at]",
          "issued_at": "[issued_at]",
          "last_error": null,
          "lifetime": 3600,
          "next_refresh_at": "[next_refresh_at]",
          "provider": "spotify",
          "reason": null,
          "reauth_by": 1815724800,
          "scope": "user-read-private playlist-read-private playlist-modify-private user-library-read streaming user-read-playback-state user-modify-playback-state",
          "state": "fresh",
          "status": "active",
          "token_id": "[token_id]",
          "updated_at": "[updated_at]"
        }
      ],
      "now": 1800003360
    }
    "#);
    assert!(!answer.text.contains("sbx-"), "no token of the sandbox is in it");
}

#[tokio::test]
async fn nobodys_connections_are_empty_after_the_last_disconnect() {
    let world = World::new().await;
    let browser = connected(&world, &["soundcloud"]).await;
    assert_eq!(browser.delete("/auth/soundcloud").await.text, "");
    insta::assert_json_snapshot!(browser.get("/auth/connections").await.json(), @r#"
    {
      "connections": [],
      "now": 1800000000
    }
    "#);
}

#[tokio::test]
async fn tokens_in_mixed_states() {
    let mut world = World::with(Setup { withheld: &["youtube"], ..Setup::default() }).await;
    let browser = connected(&world, &["soundcloud"]).await;
    let single = browser.token("soundcloud").await;
    let answer = browser.get("/auth/tokens").await;
    assert_eq!(answer.status, StatusCode::OK);
    is_dressed(&answer, "tokens");
    let tokens = answer.json();
    assert_eq!(tokens["soundcloud"], single, "per provider what the single call answers");
    assert_eq!(tokens["spotify"], browser.get("/auth/spotify/token").await.json());
    assert_eq!(tokens.as_object().unwrap().keys().collect::<Vec<_>>(), ["soundcloud", "spotify"], "those on offer");

    // One expired while the process was away, one whose grant is dead, at once and without a wait.
    browser.connect("spotify", "alice").await;
    world.sandbox.revoke_account("spotify", "alice");
    world.advance(Duration::from_mins(58)).await;
    world.sleep_through(Duration::from_hours(2));
    let before = world.now();
    let answer = browser.get("/auth/tokens").await;
    assert_eq!((answer.status, world.now()), (StatusCode::OK, before), "never waits");
    let tokens = answer.json();
    assert_eq!(tokens["soundcloud"]["code"], "refresh_pending");
    assert_eq!(tokens["spotify"]["code"], "reauthorization_required");
    assert_eq!(tokens["soundcloud"], browser.get("/auth/soundcloud/token?wait=0").await.json());
    assert_eq!(tokens["spotify"], browser.get("/auth/spotify/token").await.json());
    insta::assert_json_snapshot!(tokens, @r#"
    {
      "soundcloud": {
        "code": "refresh_pending",
        "detail": "Ask again after the time given; the refresh goes on meanwhile.",
        "provider": "soundcloud",
        "retry_after": 1,
        "status": 503,
        "title": "The token is being refreshed.",
        "type": "/problems/refresh-pending"
      },
      "spotify": {
        "code": "reauthorization_required",
        "detail": "Send the person to login_url; the connection works again after that login.",
        "login_url": "http://127.0.0.1:8080/auth/spotify/login",
        "provider": "spotify",
        "status": 409,
        "title": "The provider asks for a new authorization.",
        "type": "/problems/reauthorization-required"
      }
    }
    "#);
    // And it nudged.
    world.settle().await;
    assert_eq!(browser.get("/auth/tokens").await.json()["soundcloud"]["state"], "fresh");
}

#[tokio::test]
async fn min_ttl_is_clamped_to_the_margin_and_echoed() {
    let mut world = World::new().await;
    let browser = connected(&world, &["soundcloud"]).await;
    // An hour's margin is 570 s: an hour / 6 - 30 s.
    for (asked, echoed) in [
        ("", 60),
        ("?min_ttl=0", 0),
        ("?min_ttl=1", 1),
        ("?min_ttl=570", 570),
        ("?min_ttl=571", 570),
        ("?min_ttl=86400", 570),
    ] {
        let token = browser.get(&format!("/auth/soundcloud/token{asked}")).await.json();
        assert_eq!(token["min_ttl"], echoed, "{asked}");
        assert_eq!(token["state"], "fresh", "{asked}");
        let all = browser.get(&format!("/auth/tokens{asked}")).await.json();
        assert_eq!(all["soundcloud"]["min_ttl"], echoed, "{asked}");
    }
    // It moves the border between fresh and stale, and never refuses a living token.
    world.sleep_through(Duration::from_mins(55));
    for (asked, state) in [("?min_ttl=570", "stale"), ("?min_ttl=301", "stale")] {
        let token = browser.get(&format!("/auth/soundcloud/token{asked}")).await.json();
        assert_eq!((token["state"].as_str(), token["expires_in"].as_u64()), (Some(state), Some(300)), "{asked}");
    }
}

#[tokio::test]
async fn a_reader_that_does_not_wait_is_told_when_to_come_back() {
    let mut world = World::new().await;
    let browser = connected(&world, &["soundcloud"]).await;
    world.sleep_through(Duration::from_hours(2));
    let now = world.now();
    let answer = browser.get("/auth/soundcloud/token?wait=0").await;
    is_problem(&answer, 503, "refresh_pending", "wait=0");
    assert_eq!(world.now(), now);
    assert_eq!(answer.headers["retry-after"], "1");
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "code": "refresh_pending",
      "detail": "Ask again after the time given; the refresh goes on meanwhile.",
      "provider": "soundcloud",
      "retry_after": 1,
      "status": 503,
      "title": "The token is being refreshed.",
      "type": "/problems/refresh-pending"
    }
    "#);
    world.settle().await;
    assert_eq!(browser.get("/auth/soundcloud/token?wait=0").await.json()["state"], "fresh");
}

#[tokio::test]
async fn a_conflict_names_a_login_that_can_be_followed() {
    let mut world = World::new().await;
    let browser = connected(&world, &["spotify"]).await;
    world.sandbox.revoke_account("spotify", "alice");
    world.advance(Duration::from_hours(1)).await;
    let answer = browser.get("/auth/spotify/token").await;
    is_problem(&answer, 409, "reauthorization_required", "a dead grant");
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "code": "reauthorization_required",
      "detail": "Send the person to login_url; the connection works again after that login.",
      "login_url": "http://127.0.0.1:8080/auth/spotify/login",
      "provider": "spotify",
      "status": 409,
      "title": "The provider asks for a new authorization.",
      "type": "/problems/reauthorization-required"
    }
    "#);
    let url: url::Url = answer.json()["login_url"].as_str().unwrap().parse().unwrap();
    let started = browser.navigate(url.path(), "same-origin").await;
    assert_eq!(started.status, StatusCode::SEE_OTHER);
    let done = open(&browser, &browser.consent(started.location().as_str(), "alice")).await;
    assert_eq!(done.login_result(), "connected");
    assert_eq!(browser.token("spotify").await["state"], "fresh");
    // So does not being connected.
    let missing = browser.get("/auth/soundcloud/token").await;
    is_problem(&missing, 404, "not_connected", "never connected");
    insta::assert_json_snapshot!(missing.json(), @r#"
    {
      "code": "not_connected",
      "detail": "Start a login at this provider.",
      "login_url": "http://127.0.0.1:8080/auth/soundcloud/login",
      "provider": "soundcloud",
      "status": 404,
      "title": "This provider is not connected.",
      "type": "/problems/not-connected"
    }
    "#);
}

#[tokio::test]
async fn a_provider_without_credentials_is_told_from_one_that_there_is_not() {
    let world = World::with(Setup { withheld: &["youtube"], ..Setup::default() }).await;
    let browser = connected(&world, &["soundcloud"]).await;
    for (method, path) in [
        (Method::POST, "/auth/youtube/login"),
        (Method::GET, "/auth/youtube/token"),
        (Method::POST, "/auth/youtube/refresh"),
    ] {
        is_problem(&browser.call(method.clone(), path).await, 404, "provider_not_configured", path);
        let path = path.replace("youtube", "nosuch");
        is_problem(&browser.call(method, &path).await, 404, "unknown_provider", &path);
    }
    insta::assert_json_snapshot!(browser.get("/auth/youtube/token").await.json(), @r#"
    {
      "code": "provider_not_configured",
      "detail": "The operator has to set the provider's client id, secret and redirect URI.",
      "provider": "youtube",
      "status": 404,
      "title": "This server does not offer this provider.",
      "type": "/problems/provider-not-configured"
    }
    "#);
    insta::assert_json_snapshot!(browser.get("/auth/nosuch/token").await.json(), @r#"
    {
      "code": "unknown_provider",
      "detail": "Use the id of a provider of the catalogue, as in /auth/spotify/login.",
      "status": 404,
      "title": "There is no such provider.",
      "type": "/problems/unknown-provider"
    }
    "#);
}

#[tokio::test]
async fn nobody_is_told_how_to_begin() {
    let world = World::new().await;
    let browser = world.browser();
    for (method, path) in [
        (Method::GET, "/auth/soundcloud/token"),
        (Method::GET, "/auth/tokens"),
        (Method::GET, "/auth/connections"),
        (Method::POST, "/auth/soundcloud/refresh"),
        (Method::POST, "/auth/logout"),
        (Method::DELETE, "/auth/soundcloud"),
        (Method::DELETE, "/auth/user"),
    ] {
        let answer = browser.call(method, path).await;
        is_problem(&answer, 401, "no_session", path);
        assert_eq!(
            answer.headers["www-authenticate"],
            "Cookie realm=\"multimusic\", cookie-name=\"__Host-mm_session\""
        );
    }
    insta::assert_json_snapshot!(browser.get("/auth/tokens").await.json(), @r#"
    {
      "code": "no_session",
      "detail": "Connect a provider: logging in there starts a session.",
      "status": 401,
      "title": "There is no live session.",
      "type": "/problems/no-session"
    }
    "#);
}

#[tokio::test]
async fn a_login_by_call_answers_one_address() {
    let world = World::new().await;
    let browser = world.browser();
    let answer = browser.post("/auth/soundcloud/login").await;
    is_dressed(&answer, "login");
    let document = answer.json();
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["authorization_url"]);
    assert!(!answer.headers.contains_key("location"));
}

#[tokio::test]
async fn an_answer_without_a_body_is_dressed_too() {
    let world = World::new().await;
    let browser = connected(&world, &["soundcloud"]).await;
    for (method, path) in
        [(Method::DELETE, "/auth/soundcloud"), (Method::POST, "/auth/logout"), (Method::DELETE, "/auth/user")]
    {
        browser.connect("soundcloud", "alice").await;
        let answer = browser.call(method, path).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""), "{path}");
        is_dressed(&answer, path);
    }
}
