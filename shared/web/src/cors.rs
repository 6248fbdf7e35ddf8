//! Cross-origin resource sharing (WHATWG Fetch §3.2) for the frontends, and for nobody else.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use crate::{
    origins::Origins,
    problem::{Problem, ProblemKind},
};

/// How long a browser may remember a preflight, in seconds: two hours, the most that Chromium honours.
pub const PREFLIGHT_MAX_AGE_S: u32 = 7_200;

/// The methods of the contract.
const METHODS: &str = "GET, POST, DELETE";

/// What calls carry beyond the safelist: the client header, and the hash of the empty body that a signed CloudFront
/// origin needs. `content-type` for clients that set it on every request.
const HEADERS: &str = "x-multimusic-client, x-amz-content-sha256, content-type";

/// What scripts may read beyond the safelist: when to ask again.
const EXPOSED: &str = "Retry-After";

/// Middleware for `axum::middleware::from_fn_with_state`, the outermost layer but the security headers: it answers
/// preflights, and gives every answer that passes it, errors included, the headers without which a script sees only
/// "Failed to fetch".
///
/// The allowed origin is echoed only when it is one of the list, never `*`, never by pattern. Answers to other
/// origins carry no CORS header; whether such a request is served is for [`crate::client_call`] to say.
pub async fn cors(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let allowed = allowed_origin(request.headers(), &origins);
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (preflight, &allowed) {
        (false, _) => next.run(request).await,
        (true, Some(_)) => preflight_answer(),
        (true, None) => Problem::new(ProblemKind::OriginNotAllowed).into_response(),
    };
    let headers = response.headers_mut();
    // On every answer, also without an Origin: a cache must not serve one origin's answer to another.
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

fn allowed_origin(headers: &HeaderMap, origins: &Origins) -> Option<HeaderValue> {
    let mut sent = headers.get_all(ORIGIN).iter();
    match (sent.next(), sent.next()) {
        (Some(origin), None) if origins.allows(origin) => Some(origin.clone()),
        _ => None,
    }
}

fn preflight_answer() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_MAX_AGE_S));
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware, routing::get};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{client_call::ClientCall, origins::tests::example, problem};

    const APP: &str = "https://app.example.com";

    async fn send(method: Method, path: &str, sent: &[(&str, &str)]) -> Response {
        let origins = example();
        let router: Router = Router::new()
            .route("/served", get(|_: ClientCall| async { "served" }))
            .fallback(problem::not_found)
            .layer(middleware::from_fn_with_state(origins.clone(), cors))
            .with_state(example());
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in sent {
            request = request.header(*name, *value);
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn cors_headers(response: &Response) -> Vec<String> {
        let mut shown: Vec<String> = response
            .headers()
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("access-control") || *name == VARY)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        shown.sort();
        shown
    }

    #[tokio::test]
    async fn a_preflight_of_a_frontend_is_answered() {
        let preflight = [("origin", APP), ("access-control-request-method", "DELETE")];
        for path in ["/served", "/elsewhere"] {
            let response = send(Method::OPTIONS, path, &preflight).await;
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            assert_eq!(
                cors_headers(&response),
                [
                    "access-control-allow-credentials: true",
                    "access-control-allow-headers: x-multimusic-client, x-amz-content-sha256, content-type",
                    "access-control-allow-methods: GET, POST, DELETE",
                    "access-control-allow-origin: https://app.example.com",
                    "access-control-expose-headers: Retry-After",
                    "access-control-max-age: 7200",
                    "vary: Origin",
                ]
            );
        }
    }

    #[tokio::test]
    async fn attack_preflight_of_another_origin() {
        for origin in ["https://evil.test", "null", "*", "https://app.example.com.evil.test", ""] {
            let preflight = [("origin", origin), ("access-control-request-method", "GET")];
            let response = send(Method::OPTIONS, "/served", &preflight).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin}");
            assert_eq!(cors_headers(&response), ["vary: Origin"]);
        }
    }

    #[tokio::test]
    async fn answers_and_errors_can_be_read_by_a_frontend() {
        let call = [("origin", APP), ("x-multimusic-client", "1")];
        let served = send(Method::GET, "/served", &call).await;
        assert_eq!(served.status(), StatusCode::OK);
        let refused = send(Method::GET, "/served", &[("origin", APP)]).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let missing = send(Method::GET, "/elsewhere", &[("origin", APP)]).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        for response in [served, refused, missing] {
            assert_eq!(
                cors_headers(&response),
                [
                    "access-control-allow-credentials: true",
                    "access-control-allow-origin: https://app.example.com",
                    "access-control-expose-headers: Retry-After",
                    "vary: Origin",
                ]
            );
        }
    }

    #[tokio::test]
    async fn attack_reflection_of_an_origin_into_an_answer() {
        for sent in [
            &[("origin", "https://evil.test")][..],
            &[("origin", "null")],
            &[("origin", APP), ("origin", "https://evil.test")],
            &[],
        ] {
            let response = send(Method::GET, "/served", sent).await;
            assert_eq!(cors_headers(&response), ["vary: Origin"], "{sent:?}");
        }
    }

    #[tokio::test]
    async fn options_that_is_no_preflight_reaches_the_router() {
        let response = send(Method::OPTIONS, "/served", &[("origin", APP)]).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
