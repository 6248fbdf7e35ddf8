use std::collections::BTreeSet;

use axum::{Router, body::Body, routing::get};
use http::{Request, header::ALLOW};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_problem_is_a_document_with_its_own_media_type_that_nobody_caches() {
    let problem = Problem::new(ProblemKind::ReauthorizationRequired)
        .with_provider("spotify".parse().unwrap())
        .with_login_url("https://auth.example.com/auth/spotify/login".parse().unwrap());
    let response = problem.into_response();
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert!(!response.headers().contains_key(RETRY_AFTER));
    insta::assert_snapshot!(text(response).await, @r#"{"type":"/problems/reauthorization-required","title":"The provider asks for a new authorization.","status":409,"detail":"Send the person to login_url; the connection works again after that login.","code":"reauthorization_required","provider":"spotify","login_url":"https://auth.example.com/auth/spotify/login"}"#);
}

#[test]
fn a_wait_is_rounded_up_and_never_zero() {
    let waits = [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (90_000, 90)];
    for (milliseconds, seconds) in waits {
        let response = Problem::new(ProblemKind::RefreshPending)
            .with_retry_after(Duration::from_millis(milliseconds))
            .into_response();
        assert_eq!(response.headers()[RETRY_AFTER], seconds.to_string().as_str());
    }
}

#[test]
fn a_parameter_is_named_and_its_shape_given() {
    let problem = Problem::parameter("wait", "wait is a whole number of seconds from 0 to 3.");
    let document = serde_json::to_value(&problem).unwrap();
    assert_eq!(document["parameter"], "wait");
    assert_eq!(document["status"], 400);
    assert_eq!(document["detail"], "wait is a whole number of seconds from 0 to 3.");
}

#[test]
fn every_401_carries_a_challenge_and_nothing_else_does() {
    for &kind in ProblemKind::ALL {
        let response = Problem::new(kind).into_response();
        assert_eq!(
            response.headers().contains_key(WWW_AUTHENTICATE),
            response.status() == StatusCode::UNAUTHORIZED,
            "{kind:?}"
        );
    }
}

#[test]
fn types_and_codes_are_distinct_agree_and_say_what_to_do() {
    let kinds = ProblemKind::ALL.iter().copied();
    let codes: BTreeSet<&str> = kinds.clone().map(ProblemKind::code).collect();
    assert_eq!(codes.len(), ProblemKind::ALL.len());
    for kind in kinds {
        let type_of_code = format!("/problems/{}", kind.code().replace('_', "-"));
        assert_eq!(kind.problem_type(), type_of_code);
        assert!(kind.title().ends_with('.'), "{kind:?}");
        assert!(Problem::new(kind).detail().ends_with('.'), "{kind:?}");
        assert!(kind.status().is_client_error() || kind.status().is_server_error());
    }
}

#[test]
fn the_table_of_statuses() {
    let rows = ProblemKind::ALL.iter().map(|kind| format!("{} {}", kind.status().as_u16(), kind.code()));
    let table = rows.collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(table, @r"
    401 no_session
    404 not_connected
    404 unknown_provider
    404 provider_not_configured
    409 reauthorization_required
    503 refresh_pending
    503 store_unavailable
    429 too_many_requests
    400 bad_request
    403 missing_client_header
    403 origin_not_allowed
    400 not_a_navigation
    413 payload_too_large
    431 headers_too_large
    404 not_found
    405 method_not_allowed
    500 internal
    ");
}

#[tokio::test]
async fn the_fallbacks_answer_with_problems_and_keep_allow() {
    let router: Router = Router::new()
        .route("/known", get(|| async {}))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    let request = |method: &str, path: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let missing = router.clone().oneshot(request("GET", "/x")).await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(missing.headers()[CONTENT_TYPE], CONTENT_TYPE_PROBLEM);
    let wrong = router.oneshot(request("PATCH", "/known")).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()[ALLOW], "GET,HEAD");
    assert!(text(wrong).await.contains("/problems/method-not-allowed"));
}

#[test]
fn what_passes_by_itself_says_when_to_ask_again() {
    for kind in ProblemKind::ALL {
        let response = Problem::new(*kind).into_response();
        let promised = kind.detail().contains("after the time given");
        assert_eq!(response.headers().contains_key(RETRY_AFTER), promised, "{kind:?}");
    }
}
