//! Headers that every answer carries.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{
    HeaderMap, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};

use crate::origins::Origins;

/// An answer of this server is data: nothing in it runs, loads or is framed. The demonstration page brings its own.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A year, in seconds: the least that browsers' preload lists ask for. Without `includeSubDomains`: this server's host is
/// its operator's, the names below it are not ours to decide over.
const HSTS: &str = "max-age=31536000";

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// State of [`security_headers`]: what depends on the deployment.
#[derive(Clone, Copy, Debug)]
pub struct SecurityHeaders {
    https: bool,
}

impl SecurityHeaders {
    /// For the server at this `PUBLIC_URL`.
    pub fn new(origins: &Origins) -> Self {
        Self { https: origins.is_https() }
    }

    fn apply(self, headers: &mut HeaderMap) {
        // Tokens, problems and redirects alike: nothing is kept by a cache (RFC 6749 §5.1).
        or_insert(headers, CACHE_CONTROL, "no-store");
        or_insert(headers, CONTENT_SECURITY_POLICY, POLICY);
        // The callback's address holds a code and a state (RFC 9700 §4.2).
        insert(headers, REFERRER_POLICY, "no-referrer");
        insert(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
        // For browsers without frame-ancestors.
        insert(headers, X_FRAME_OPTIONS, "DENY");
        // Not `same-origin`: a frontend on a sibling subdomain reads our answers.
        insert(headers, CROSS_ORIGIN_RESOURCE_POLICY, "same-site");
        if self.https {
            insert(headers, STRICT_TRANSPORT_SECURITY, HSTS);
        }
    }
}

/// Middleware for `axum::middleware::from_fn_with_state`, the outermost layer of all. `Cache-Control` and the content
/// security policy are left alone where an answer has its own.
pub async fn security_headers(State(state): State<SecurityHeaders>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    state.apply(response.headers_mut());
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

fn or_insert(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware, routing::get};
    use http::StatusCode;
    use tower::ServiceExt as _;

    use super::*;
    use crate::origins::tests::origins;

    async fn answer(public_url: &str, path: &str) -> Response {
        let state = SecurityHeaders::new(&origins(public_url, &[]));
        let page = [(CACHE_CONTROL, "no-cache"), (CONTENT_SECURITY_POLICY, "default-src 'self'")];
        let router: Router = Router::new()
            .route("/api", get(|| async {}))
            .route("/page", get(move || async move { page }))
            .layer(middleware::from_fn_with_state(state, security_headers));
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap()
    }

    fn shown(response: &Response) -> String {
        let mut lines: Vec<String> = response
            .headers()
            .iter()
            .filter(|(name, _)| *name != http::header::CONTENT_LENGTH)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines.join("\n")
    }

    #[tokio::test]
    async fn every_answer_carries_them_errors_too() {
        let found = answer("https://auth.example.com", "/api").await;
        let missing = answer("https://auth.example.com", "/none").await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert_eq!(shown(&found), shown(&missing));
        insta::assert_snapshot!(shown(&found), @r"
        cache-control: no-store
        content-security-policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'
        cross-origin-resource-policy: same-site
        referrer-policy: no-referrer
        strict-transport-security: max-age=31536000
        x-content-type-options: nosniff
        x-frame-options: DENY
        ");
    }

    #[tokio::test]
    async fn plain_http_on_loopback_promises_no_https() {
        let response = answer("http://127.0.0.1:8080", "/api").await;
        assert!(!response.headers().contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[tokio::test]
    async fn a_page_keeps_its_own_policy_and_caching() {
        let response = answer("https://auth.example.com", "/page").await;
        assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
        assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
    }
}
