//! The small music API, as a page in a browser calls it.

use mm_sandbox::{Endpoint, Fault, FaultKind, RetryAfter};
use reqwest::Method;
use serde_json::Value;

use crate::stage::{Stage, header};

#[tokio::test]
async fn soundclouds_api_wants_its_own_scheme_and_tells_the_account() {
    let stage = Stage::new().await;
    let (access, _) = stage.tokens("soundcloud").await;
    let call = |path: &str, authorization: String| {
        stage.http.get(stage.url(path)).header("authorization", authorization).send()
    };
    let me = call("/api.soundcloud.com/me", format!("OAuth {access}")).await.unwrap();
    assert_eq!(header(&me, "access-control-allow-origin"), "*");
    assert_eq!(header(&me, "access-control-allow-credentials"), "");
    let me: Value = me.json().await.unwrap();
    assert_eq!(me["username"], "alice");
    assert_eq!(me["urn"].as_str().map(str::to_owned), stage.sandbox.account_id("soundcloud", "Alice"));

    let tracks = call("/api.soundcloud.com/tracks?q=lullaby", format!("OAuth {access}")).await.unwrap();
    let tracks: Value = tracks.json().await.unwrap();
    assert_eq!(tracks.as_array().map(Vec::len), Some(1));

    let refused = call("/api.soundcloud.com/me", format!("Bearer {access}")).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(header(&refused, "access-control-allow-origin"), "*");
    let refused: Value = refused.json().await.unwrap();
    assert_eq!((&refused["code"], &refused["status"]), (&401.into(), &"401 - Unauthorized".into()));
}

#[tokio::test]
async fn an_access_token_dies_with_its_time_and_with_its_grant() {
    let stage = Stage::new().await;
    let (access, _) = stage.tokens("generic").await;
    let status = async || {
        let request = stage.http.get(stage.url("/provider.test/userinfo")).bearer_auth(&access);
        request.send().await.unwrap().status().as_u16()
    };
    stage.advance(3_599);
    assert_eq!(status().await, 200);
    stage.advance(1);
    assert_eq!(status().await, 401);
}

#[tokio::test]
async fn a_preflight_allows_authorization_from_anywhere_without_cookies() {
    let stage = Stage::new().await;
    for path in ["/api.soundcloud.com/me", "/api.spotify.com/v1/search", "/provider.test/userinfo"] {
        let request = stage.http.request(Method::OPTIONS, stage.url(path));
        let answer = request.header("origin", "http://anywhere.example").send().await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        assert!(header(&answer, "access-control-allow-headers").contains("authorization"));
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
    }
    let token = stage.http.request(Method::OPTIONS, stage.url("/provider.test/token")).send().await.unwrap();
    assert_eq!(header(&token, "access-control-allow-origin"), "", "the token endpoint is not for browsers");
}

#[tokio::test]
async fn faults_at_the_api_stay_readable_to_the_page() {
    let stage = Stage::new().await;
    let kind = FaultKind::Throttle { retry_after: RetryAfter::Seconds(3), html: false };
    stage.sandbox.plan(Fault::at("generic", Endpoint::Api, kind).times(1)).unwrap();
    let throttled = stage.get("/provider.test/tracks").await;
    assert_eq!((throttled.status().as_u16(), header(&throttled, "retry-after")), (429, "3"));
    assert_eq!(header(&throttled, "access-control-allow-origin"), "*");
    assert!(header(&throttled, "access-control-expose-headers").contains("retry-after"));
    assert_eq!(stage.get("/provider.test/tracks").await.status(), 401);
}

#[tokio::test]
async fn spotify_and_youtube_answer_in_their_own_words() {
    let stage = Stage::new().await;
    let code = stage.code("spotify");
    let token_url = stage.sandbox.endpoint_url("spotify", Endpoint::Token).unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", crate::stage::CALLBACK),
        ("code_verifier", crate::stage::VERIFIER),
    ];
    let answer = stage.http.post(token_url).basic_auth("client", Some("secret")).form(&fields).send().await.unwrap();
    let (access, _) = crate::stage::tokens(answer).await;
    let me = stage.http.get(stage.url("/api.spotify.com/v1/me")).bearer_auth(&access).send().await.unwrap();
    let me: Value = me.json().await.unwrap();
    assert_eq!(me["id"].as_str().map(str::to_owned), stage.sandbox.account_id("spotify", "alice"));
    let found = stage.http.get(stage.url("/api.spotify.com/v1/search?q=grace&type=track"));
    let found: Value = found.bearer_auth(&access).send().await.unwrap().json().await.unwrap();
    assert_eq!(found["tracks"]["items"][0]["name"], "Grace Period");

    let refused: Value = stage.get("/www.googleapis.com/youtube/v3/search").await.json().await.unwrap();
    assert_eq!(refused["error"]["status"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_path_that_an_api_does_not_have_is_an_answer_that_a_page_can_read() {
    let stage = Stage::new().await;
    for path in ["/api.soundcloud.com/mee", "/www.googleapis.com/youtube/v3/channels", "/api.spotify.com/v1/x/y"] {
        let answer = stage.http.get(stage.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.text().await.unwrap(), r#"{"error":"not_found"}"#);
    }
    let pages = stage.http.get(stage.url("/accounts.spotify.com/nothing")).send().await.unwrap();
    assert_eq!((pages.status().as_u16(), header(&pages, "access-control-allow-origin")), (404, ""), "a page's host");
}
