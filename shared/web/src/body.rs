//! Requests carry no body: every parameter is in the address. One that comes is read up to a small limit and dropped.

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::problem::{Problem, ProblemKind};

/// Most bytes of a body that are read and ignored: some clients send `{}` or an empty form with every POST.
pub const BODY_BYTES_MAX: usize = 1_024;

/// Middleware for `axum::middleware::from_fn`: handlers see an empty body. A longer one is refused before a handler runs,
/// by its declared length where it has one. A body that never ends is ended by the server, with an error: this only waits.
pub async fn discard_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // `Limited` counts what arrives: who announces too much need not send it to be refused.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Problem::new(ProblemKind::PayloadTooLarge).into_response();
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(_) => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(error) if error.is::<LengthLimitError>() => Problem::new(ProblemKind::PayloadTooLarge).into_response(),
        Err(_) => Problem::new(ProblemKind::BadRequest)
            .with_detail("Send no body: the one sent ended too early, or not in time.")
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Bytes, middleware, routing::post};
    use futures_util::stream;
    use http::StatusCode;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(body: Body) -> Response {
        let handler = |body: Bytes| async move { body.len().to_string() };
        let router: Router = Router::new().route("/", post(handler)).layer(middleware::from_fn(discard_body));
        router.oneshot(http::Request::post("/").body(body).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_small_body_is_ignored() {
        for body in ["", "{}", &"a".repeat(BODY_BYTES_MAX)] {
            let response = answer(Body::from(body.to_owned())).await;
            assert_eq!(response.status(), StatusCode::OK);
            let seen = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(seen, "0");
        }
    }

    #[tokio::test]
    async fn a_large_body_is_refused() {
        let response = answer(Body::from("a".repeat(BODY_BYTES_MAX + 1))).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn attack_endless_body_in_small_pieces() {
        let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 100])));
        let response = answer(Body::from_stream(pieces)).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_a_bad_request() {
        let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("reset"))]);
        let response = answer(Body::from_stream(broken)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
}
