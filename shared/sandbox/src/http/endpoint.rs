//! The endpoints that clients call: token, revocation, userinfo, search.

use std::{future::pending, sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    MAX_BODY_BYTES,
    outgoing::{Receipt, respond},
};
use crate::{
    answer::{Ending, Reply},
    authority,
    fault::{Endpoint, FaultKind},
    sandbox::Sandbox,
    serve::Wire,
};

/// Longest that a hanging request holds its connection: past every client's patience, and still an end.
const HANG_LIMIT: Duration = Duration::from_mins(10);

/// Longest that a request's body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// A request that owns its parts, so that it can outlive the connection.
struct Incoming {
    content_type: Option<String>,
    authorization: Option<String>,
    query: Option<String>,
    body: Bytes,
}

impl Incoming {
    fn borrowed(&self) -> authority::Request<'_> {
        authority::Request {
            content_type: self.content_type.as_deref(),
            authorization: self.authorization.as_deref(),
            query: self.query.as_deref(),
            body: &self.body,
        }
    }
}

/// Answers one request, with whatever fault is planned for it.
pub(super) async fn call(sandbox: Sandbox, provider: &'static str, endpoint: Endpoint, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match timeout(BODY_DEADLINE, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let incoming = Incoming {
        content_type: single(&parts.headers, &header::CONTENT_TYPE),
        authorization: single(&parts.headers, &header::AUTHORIZATION),
        query: parts.uri.query().map(str::to_owned),
        body,
    };
    let fault = sandbox.strike(provider, endpoint, &incoming.borrowed());
    let reply = match fault {
        Some(FaultKind::Late { ms }) => act_late(&sandbox, provider, endpoint, incoming, ms).await,
        _ => sandbox.act(provider, endpoint, &incoming.borrowed(), fault),
    };
    let Some(reply) = reply else { return StatusCode::NOT_FOUND.into_response() };
    sleep(Duration::from_millis(reply.after_ms)).await;
    if reply.ending == Ending::Hang {
        // The connection closing ends this earlier.
        let _ = timeout(HANG_LIMIT, pending::<()>()).await;
    }
    let wire = parts.extensions.get::<Arc<Wire>>().cloned();
    let mut response = respond(reply.ending, Receipt { sandbox, wire, seq: reply.seq });
    if matches!(endpoint, Endpoint::Userinfo | Endpoint::Api) {
        open_to_pages(response.headers_mut());
    }
    response
}

/// Acts later, whether the client still waits or not.
async fn act_late(
    sandbox: &Sandbox,
    provider: &'static str,
    endpoint: Endpoint,
    incoming: Incoming,
    ms: u64,
) -> Option<Reply> {
    let sandbox = sandbox.clone();
    // A task of its own: the handler is dropped with its connection, and the provider would act all the same.
    let acting = tokio::spawn(async move {
        sleep(Duration::from_millis(ms)).await;
        sandbox.act(provider, endpoint, &incoming.borrowed(), Some(FaultKind::Late { ms }))
    });
    acting.await.ok().flatten()
}

/// A path that the API does not have.
pub(super) async fn unknown() -> Response {
    let mut response = (StatusCode::NOT_FOUND, Json(json!({ "error": "not_found" }))).into_response();
    open_to_pages(response.headers_mut());
    response
}

/// Lets any page call the API with an access token, and none with cookies.
pub(super) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    open_to_pages(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, OPTIONS"));
    // By name: `*` does not cover Authorization (Fetch standard).
    headers
        .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, accept"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn open_to_pages(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after, www-authenticate"));
}

/// A header field's value; an empty one when it is given twice or is no text, which no endpoint takes for good.
fn single(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().unwrap_or_default();
    Some(if values.next().is_some() { String::new() } else { first.to_owned() })
}
