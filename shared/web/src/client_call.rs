//! Calls by the frontend's script: everything but navigations and `/health`.
//!
//! The attack (cross-site request forgery): a foreign page makes the browser send a call, and the session cookie comes
//! along. The guard: a header that no form and no simple request can carry, so that a script of another origin must ask
//! by a CORS preflight first, which is answered only to the frontends; and the `Origin` header, which no script
//! can forge, compared exactly.

use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, header::ORIGIN, request::Parts};

use crate::{
    origins::Origins,
    problem::{Problem, ProblemKind},
};

/// The header that marks a call as one by our frontend's script.
pub const CLIENT_HEADER: &str = "x-multimusic-client";

/// Its only value: the version of the contract.
pub const CLIENT_HEADER_VALUE: &str = "1";

/// Proof that a request passed [`check`]; as an axum extractor, the first argument of every handler of a call.
#[derive(Clone, Copy, Debug)]
pub struct ClientCall(());

impl<S> FromRequestParts<S> for ClientCall
where
    Origins: FromRef<S>,
    S: Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check(&parts.headers, &Origins::from_ref(state))
    }
}

/// Checks that a request is a call by a frontend's script: the client header exactly once, and an Origin, if any, among
/// `PUBLIC_URL` and `FRONTEND_URL`. Browsers send no Origin with a GET to their own origin; programs send none at all,
/// and hold no cookie of anybody.
///
/// # Errors
/// The problem to answer with: `origin_not_allowed` or `missing_client_header`.
pub fn check(headers: &HeaderMap, origins: &Origins) -> Result<ClientCall, Problem> {
    let mut sent = headers.get_all(ORIGIN).iter();
    let allowed = match (sent.next(), sent.next()) {
        (None, _) => true,
        (Some(origin), None) => origins.allows(origin),
        (Some(_), Some(_)) => false,
    };
    if !allowed {
        return Err(Problem::new(ProblemKind::OriginNotAllowed));
    }
    let mut marks = headers.get_all(CLIENT_HEADER).iter();
    match (marks.next(), marks.next()) {
        (Some(mark), None) if mark == CLIENT_HEADER_VALUE => Ok(ClientCall(())),
        _ => Err(Problem::new(ProblemKind::MissingClientHeader)),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;
    use crate::origins::tests::example;

    fn checked(sent: &[(&'static str, &str)]) -> Result<(), ProblemKind> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        match check(&headers, &example()) {
            Ok(ClientCall(())) => Ok(()),
            Err(problem) => Err(problem.kind()),
        }
    }

    #[test]
    fn a_frontends_call_passes_with_and_without_an_origin() {
        let mark = (CLIENT_HEADER, "1");
        assert_eq!(checked(&[mark]), Ok(()));
        for origin in ["https://auth.example.com", "https://app.example.com", "https://beta.example.com"] {
            assert_eq!(checked(&[mark, ("origin", origin)]), Ok(()), "{origin}");
        }
    }

    #[test]
    fn attack_form_or_simple_request_without_the_header() {
        let missing = Err(ProblemKind::MissingClientHeader);
        assert_eq!(checked(&[]), missing);
        assert_eq!(checked(&[("origin", "https://app.example.com")]), missing);
        for value in ["", "0", "2", "1,1", "1, 1", "11", "true"] {
            assert_eq!(checked(&[(CLIENT_HEADER, value)]), missing, "{value}");
        }
        assert_eq!(checked(&[(CLIENT_HEADER, "1"), (CLIENT_HEADER, "1")]), missing);
    }

    #[test]
    fn attack_foreign_or_opaque_origin() {
        for origin in [
            "null",
            "",
            "https://evil.test",
            "http://app.example.com",
            "https://app.example.com.evil.test",
            "https://app.example.com:8443",
            "https://sibling.example.com",
        ] {
            let sent = [(CLIENT_HEADER, "1"), ("origin", origin)];
            assert_eq!(checked(&sent), Err(ProblemKind::OriginNotAllowed), "{origin}");
        }
        let twice = [(CLIENT_HEADER, "1"), ("origin", "https://app.example.com"), ("origin", "https://evil.test")];
        assert_eq!(checked(&twice), Err(ProblemKind::OriginNotAllowed));
    }

    #[tokio::test]
    async fn the_extractor_refuses_before_the_handler_runs() {
        let router: Router = Router::new().route("/", get(|_: ClientCall| async { "served" })).with_state(example());
        let call = |mark: &str| {
            let request = Request::get("/").header(CLIENT_HEADER, mark);
            router.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        assert_eq!(call("1").await.unwrap().status(), StatusCode::OK);
        assert_eq!(call("2").await.unwrap().status(), StatusCode::FORBIDDEN);
    }
}
