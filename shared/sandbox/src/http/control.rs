//! The control interface under `/_sandbox/`: JSON, from this machine only.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    body::to_bytes,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Json, Response},
    routing::{get, patch, post},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::MAX_BODY_BYTES;
use crate::{
    behaviour::BehaviourPatch,
    fault::{Fault, FaultSpec},
    log::LogEntry,
    profile::Profile,
    sandbox::Sandbox,
};

/// Log entries in one answer; the next page begins after the last one.
const MAX_LOG_PAGE: usize = 1_000;

/// The other end of a connection, put into each request by [`Sandbox::serve`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The control routes, behind their own door.
pub(super) fn routes(sandbox: &Sandbox) -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/log", get(log))
        .route("/_sandbox/grants", get(grants))
        .route("/_sandbox/grants/revoke", post(revoke))
        .route("/_sandbox/faults", get(faults).post(plan).delete(clear))
        .route("/_sandbox/providers", get(providers))
        .route("/_sandbox/providers/{provider}", patch(adjust))
        .layer(middleware::from_fn_with_state(sandbox.clone(), door))
}

/// Lets in this machine, and of the pages in its browsers only those whose origins are allowed.
async fn door(State(sandbox): State<Sandbox>, request: Request, next: Next) -> Response {
    let far = request.extensions().get::<Peer>().is_some_and(|Peer(peer)| !is_loopback(peer.ip()));
    // By another name it may be a page elsewhere whose own name was made to resolve to this machine.
    if far || !names_this_machine(request.headers()) {
        return problem(StatusCode::FORBIDDEN, "this machine only");
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.as_ref().is_none_or(|origin| {
        let own = sandbox.base_url().origin().ascii_serialization();
        sandbox.allowed_origins().iter().chain([&own]).any(|known| known.as_bytes() == origin.as_bytes())
    });
    if !allowed {
        return problem(StatusCode::FORBIDDEN, "this origin is not among the allowed ones");
    }
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PATCH, DELETE, OPTIONS"),
        );
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    }
    response
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether Host, if given, is a loopback name.
fn names_this_machine(headers: &HeaderMap) -> bool {
    headers.get(header::HOST).is_none_or(|host| {
        let host = host.to_str().unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        matches!(name, "localhost" | "127.0.0.1" | "[::1]")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    #[serde(default)]
    after: u64,
}

async fn log(State(sandbox): State<Sandbox>, Query(query): Query<LogQuery>) -> Response {
    sandbox.read(|authority, now| {
        let entries: Vec<&LogEntry> = authority.log.after(query.after).take(MAX_LOG_PAGE).collect();
        Json(json!({
            "now": now,
            "last_seq": authority.log.last_seq(),
            "entries": entries,
            "tokens_sent_twice": authority.log.tokens_sent_twice(),
        }))
        .into_response()
    })
}

async fn grants(State(sandbox): State<Sandbox>) -> Response {
    sandbox.read(|authority, now| {
        let grants: Vec<Value> = authority
            .ledger
            .grants
            .values()
            .map(|grant| {
                json!({
                    "id": grant.id,
                    "provider": grant.provider,
                    "client_id": grant.client_id,
                    "account": grant.account,
                    "username": grant.username,
                    "scope": grant.scope,
                    "authorized_at": grant.authorized_at,
                    "expires_at": grant.expires_at,
                    "ended": grant.ended,
                    "alive": grant.lives(now),
                    "refreshes": grant.refreshes,
                })
            })
            .collect();
        Json(json!({ "now": now, "grants": grants })).into_response()
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    provider: String,
    account: String,
}

async fn revoke(State(sandbox): State<Sandbox>, request: Request) -> Result<Response, Response> {
    let revocation: Revocation = read(request).await?;
    let ended = sandbox.revoke_account(&revocation.provider, &revocation.account);
    Ok(Json(json!({ "ended": ended })).into_response())
}

async fn faults(State(sandbox): State<Sandbox>) -> Response {
    let planned: Vec<Value> = sandbox
        .planned_faults()
        .iter()
        .map(|(id, fault)| json!({ "id": id, "fault": FaultSpec::from(fault) }))
        .collect();
    Json(json!({ "faults": planned })).into_response()
}

async fn plan(State(sandbox): State<Sandbox>, request: Request) -> Result<Response, Response> {
    let spec: FaultSpec = read(request).await?;
    let refused = |error: &dyn std::error::Error| problem(StatusCode::BAD_REQUEST, &error.to_string());
    let fault = Fault::try_from(spec).map_err(|error| refused(&error))?;
    let id = sandbox.plan(fault).map_err(|error| refused(&error))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    provider: Option<String>,
}

async fn clear(State(sandbox): State<Sandbox>, Query(whose): Query<Whose>) -> Response {
    Json(json!({ "cleared": sandbox.clear_faults(whose.provider.as_deref()) })).into_response()
}

async fn providers(State(sandbox): State<Sandbox>) -> Response {
    let described = |profile: &Profile| {
        json!({
            "id": profile.id,
            "name": profile.name,
            "authorize": profile.authorize.to_string(),
            "token": profile.token.to_string(),
            "revoke": profile.revoke.map(|place| place.to_string()),
            "userinfo": profile.userinfo.to_string(),
            "search": profile.search.to_string(),
            "behaviour": sandbox.behaviour(profile.id),
        })
    };
    let providers: Vec<Value> = sandbox.profiles().iter().map(described).collect();
    Json(json!({ "providers": providers })).into_response()
}

async fn adjust(
    State(sandbox): State<Sandbox>,
    Path(provider): Path<String>,
    request: Request,
) -> Result<Response, Response> {
    let patch: BehaviourPatch = read(request).await?;
    match sandbox.adjust(&provider, &patch) {
        Some(behaviour) => Ok(Json(behaviour).into_response()),
        None => Err(problem(StatusCode::NOT_FOUND, "no such provider")),
    }
}

/// Reads a JSON body. Its declared type matters: a page elsewhere can send anything but this without being asked first.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Response> {
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
        value.to_str().is_ok_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json"))
    });
    if !is_json {
        return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json"));
    }
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES)
        .await
        .map_err(|_| problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))?;
    serde_json::from_slice(&body).map_err(|error| problem(StatusCode::BAD_REQUEST, &error.to_string()))
}

fn problem(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({ "error": detail }))).into_response()
}
