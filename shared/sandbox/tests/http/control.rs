//! The control interface.

use mm_sandbox::Mode;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{PAGE, Stage, header, tokens};

async fn call(stage: &Stage, method: Method, path: &str, body: Value) -> (u16, Value) {
    let answer = stage.http.request(method, stage.url(path)).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn read(stage: &Stage, path: &str) -> Value {
    stage.get(path).await.json().await.unwrap()
}

#[tokio::test]
async fn a_fault_is_planned_seen_struck_and_cleared() {
    let stage = Stage::new().await;
    let fault = json!({ "provider": "generic", "endpoint": "token", "kind": "html_403", "times": 3 });
    let (status, planned) = call(&stage, Method::POST, "/_sandbox/faults", fault).await;
    assert_eq!((status, &planned["id"]), (201, &1.into()));
    assert_eq!(stage.refresh("generic", "x").await.unwrap().status(), 403);
    let seen = read(&stage, "/_sandbox/faults").await;
    assert_eq!(seen["faults"][0]["fault"]["times"], 2);
    assert_eq!(seen["faults"][0]["fault"]["kind"], "html_403");
    let (_, cleared) = call(&stage, Method::DELETE, "/_sandbox/faults?provider=generic", Value::Null).await;
    assert_eq!(cleared["cleared"], 1);
    assert_eq!(stage.refresh("generic", "x").await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_fault_that_cannot_be_meant_is_refused_with_the_reason() {
    let stage = Stage::new().await;
    let cases = [
        (json!({ "provider": "nobody", "endpoint": "token", "kind": "hang" }), "no such provider"),
        (json!({ "provider": "generic", "endpoint": "token", "kind": "explode" }), "the kinds are"),
        (json!({ "provider": "generic", "endpoint": "token", "kind": "hang", "tmies": 1 }), "tmies"),
        (json!({ "provider": "generic", "endpoint": "api", "kind": "scope_array" }), "token endpoint"),
        (json!([]), ""),
    ];
    for (fault, reason) in cases {
        let (status, answer) = call(&stage, Method::POST, "/_sandbox/faults", fault.clone()).await;
        assert_eq!(status, 400, "{fault}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{fault}: {answer}");
    }
    assert!(stage.sandbox.planned_faults().is_empty());
}

#[tokio::test]
async fn behaviour_changes_while_it_runs() {
    let stage = Stage::new().await;
    let patch = json!({ "mode": "reusable", "access_lifetime_s": 20, "grant_lifetime_s": 60 });
    let (status, behaviour) = call(&stage, Method::PATCH, "/_sandbox/providers/generic", patch).await;
    assert_eq!((status, &behaviour["mode"]), (200, &"reusable".into()));
    assert_eq!(stage.sandbox.behaviour("generic").unwrap().mode, Mode::Reusable);
    let code = stage.code("generic");
    let answer: Value = stage.redeem("generic", &code).await.unwrap().json().await.unwrap();
    assert_eq!(answer["expires_in"], 20);
    stage.advance(60);
    let token = answer["refresh_token"].as_str().unwrap();
    assert_eq!(stage.refresh("generic", token).await.unwrap().status(), 400);

    let grace = json!({ "mode": { "rotating_with_grace": { "grace_s": 5 } } });
    assert_eq!(call(&stage, Method::PATCH, "/_sandbox/providers/generic", grace).await.0, 200);
    assert_eq!(call(&stage, Method::PATCH, "/_sandbox/providers/nobody", json!({})).await.0, 404);
    assert_eq!(call(&stage, Method::PATCH, "/_sandbox/providers/generic", json!({ "mood": 1 })).await.0, 400);
    let providers = read(&stage, "/_sandbox/providers").await;
    assert_eq!(providers["providers"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn the_user_revokes_at_the_provider_and_soundcloud_says_it_the_long_way() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("soundcloud").await;
    let revocation = json!({ "provider": "soundcloud", "account": "alice" });
    let (_, ended) = call(&stage, Method::POST, "/_sandbox/grants/revoke", revocation).await;
    assert_eq!(ended["ended"], 1);
    let refused = stage.refresh("soundcloud", &token).await.unwrap();
    assert_eq!(refused.status(), 401);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!((&refused["error"], &refused["error_code"]), (&Value::Null, &"invalid_grant".into()));
    let grants = read(&stage, "/_sandbox/grants").await;
    assert_eq!(grants["grants"][0]["alive"], false);
    assert_eq!(grants["grants"][0]["ended"]["reason"], "user");
}

#[tokio::test]
async fn the_log_is_read_in_parts_and_holds_no_token() {
    let stage = Stage::new().await;
    let (access, first) = stage.tokens("generic").await;
    let (_, second) = tokens(stage.refresh("generic", &first).await.unwrap()).await;
    stage.refresh("generic", &first).await.unwrap();
    let whole = read(&stage, "/_sandbox/log").await;
    assert_eq!(whole["last_seq"], 3);
    assert_eq!(whole["tokens_sent_twice"].as_array().map(Vec::len), Some(1));
    let outcomes: Vec<&Value> = whole["entries"].as_array().unwrap().iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["issued", "issued", "reuse_killed_grant"]);
    let rest = read(&stage, "/_sandbox/log?after=2").await;
    assert_eq!(rest["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest["entries"][0]["seq"], 3);

    let everything = format!("{whole} {}", read(&stage, "/_sandbox/grants").await);
    for secret in [&access, &first, &second] {
        assert!(!everything.contains(secret.as_str()));
    }
}

#[tokio::test]
async fn an_allowed_page_may_control_it_and_another_may_not() {
    let stage = Stage::new().await;
    let from = |method: Method, origin: &str| {
        stage.http.request(method, stage.url("/_sandbox/faults")).header("origin", origin).send()
    };
    let preflight = from(Method::OPTIONS, PAGE).await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(header(&preflight, "access-control-allow-origin"), PAGE);
    assert!(header(&preflight, "access-control-allow-methods").contains("DELETE"));
    assert_eq!(header(&preflight, "access-control-allow-headers"), "content-type");
    assert_eq!(from(Method::GET, PAGE).await.unwrap().status(), 200);

    for method in [Method::OPTIONS, Method::GET, Method::DELETE] {
        let refused = from(method.clone(), "http://evil.example").await.unwrap();
        assert_eq!(refused.status(), 403, "{method}");
        assert_eq!(header(&refused, "access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn a_name_that_was_made_to_resolve_here_and_a_simple_request_are_refused() {
    let stage = Stage::new().await;
    let rebound = stage.http.get(stage.url("/_sandbox/log")).header("host", "evil.example:8081").send().await.unwrap();
    assert_eq!(rebound.status(), 403);
    let fault = r#"{"provider":"generic","endpoint":"token","kind":"hang"}"#;
    let simple = stage.http.post(stage.url("/_sandbox/faults")).header("content-type", "text/plain").body(fault);
    assert_eq!(simple.send().await.unwrap().status(), 415);
    assert!(stage.sandbox.planned_faults().is_empty());
}

#[tokio::test]
async fn a_secret_is_rotated_while_both_are_good_for_a_time() {
    let stage = Stage::new().await;
    let status = async |secret: &str| {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
            ("client_id", "client"),
            ("client_secret", secret),
        ];
        let request = stage.http.post(stage.url("/provider.test/token")).form(&fields);
        request.send().await.unwrap().status().as_u16()
    };
    // 400 is `invalid_grant`: the client was let in. 401 is `invalid_client`.
    assert_eq!((status("secret").await, status("new").await), (400, 401));
    stage.sandbox.add_secret("generic", "client", "new").unwrap();
    assert_eq!((status("secret").await, status("new").await), (400, 400));
    stage.sandbox.remove_secret("generic", "client", "secret").unwrap();
    assert_eq!((status("secret").await, status("new").await), (401, 400));
    assert!(stage.sandbox.add_secret("generic", "nobody", "x").is_err());
}

#[tokio::test]
async fn oversized_requests_are_refused() {
    let stage = Stage::new().await;
    let body = "x".repeat(17 * 1024);
    let token = stage.http.post(stage.url("/provider.test/token")).body(body.clone()).send().await.unwrap();
    assert_eq!(token.status(), 413);
    let fault = stage.http.post(stage.url("/_sandbox/faults")).header("content-type", "application/json").body(body);
    assert_eq!(fault.send().await.unwrap().status(), 413);
    let query = format!("/provider.test/tracks?q={}", "x".repeat(9 * 1024));
    assert_eq!(stage.get(&query).await.status(), 414);
}
