//! What a frontend calls: reading tokens, forcing a refresh, listing and removing connections, logging out. Can open
//! access tokens only, reads no client secret, calls no provider.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use http::{HeaderMap, StatusCode, header::SET_COOKIE};
use mm_engine::{TokenRequest, WAIT_MAX};
use mm_model::Version;
use mm_web::{
    ClientCall, Problem, ProviderText, Query, Surface,
    answers::{ConnectionsAnswer, HealthAnswer, TokenAnswer, TokensAnswer},
    cookies,
    query::{Parameter, Unknown},
};

/// The routes of this function.
pub fn routes() -> Router<Surface> {
    Router::new()
        .route("/auth/{provider}/token", get(token))
        .route("/auth/{provider}/refresh", post(refresh))
        .route("/auth/{provider}", delete(disconnect))
        .route("/auth/tokens", get(tokens))
        .route("/auth/connections", get(connections))
        .route("/auth/user", delete(delete_user))
        .route("/auth/logout", post(logout))
        .route("/health", get(health))
}

const MIN_TTL: &str = "min_ttl";
const WAIT: &str = "wait";
const SEEN: &str = "seen";
const EVERYWHERE: &str = "everywhere";

/// Longest value of a number, switch or token id.
const WORD_BYTES_MAX: usize = 32;

/// The life that a token should have left, in seconds, unless the caller says otherwise.
const MIN_TTL_USUAL: u64 = 60;

/// The most that a caller may ask for, in seconds; the answer says how much of it can be promised.
const MIN_TTL_MAX: u64 = 86_400;

async fn token(
    _call: ClientCall,
    State(surface): State<Surface>,
    ProviderText(provider): ProviderText,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::parse(
        query.as_deref(),
        &[Parameter::new(MIN_TTL, WORD_BYTES_MAX), Parameter::new(WAIT, WORD_BYTES_MAX)],
        Unknown::Refuse,
    )?;
    let request = TokenRequest { min_ttl: min_ttl(&query)?, wait: wait(&query)? };
    let session = surface.required_session(&headers)?;
    let provider = surface.provider(&provider)?;
    let view = surface.engine.token(&(&session).into(), &provider, request).await;
    let view = view.map_err(|error| surface.fetch_problem(&error, Some(&provider)))?;
    Ok(surface.renew(&session, Json(TokenAnswer::from(view)).into_response()))
}

async fn tokens(
    _call: ClientCall,
    State(surface): State<Surface>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &[Parameter::new(MIN_TTL, WORD_BYTES_MAX)], Unknown::Refuse)?;
    let min_ttl = min_ttl(&query)?;
    let session = surface.required_session(&headers)?;
    let tokens = surface.engine.tokens(&(&session).into(), min_ttl).await;
    let tokens = tokens.map_err(|error| surface.fetch_problem(&error, None))?;
    let answer: TokensAnswer = tokens
        .into_iter()
        .map(|(provider, token)| {
            let token = token.map_err(|error| surface.fetch_problem(&error, Some(&provider)));
            (provider, token)
        })
        .collect();
    Ok(surface.renew(&session, Json(answer).into_response()))
}

async fn refresh(
    _call: ClientCall,
    State(surface): State<Surface>,
    ProviderText(provider): ProviderText,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &[Parameter::new(SEEN, WORD_BYTES_MAX)], Unknown::Refuse)?;
    let seen: Option<Version> = query.parsed(SEEN, "Send the token_id of the token that failed, or leave it out.")?;
    let session = surface.required_session(&headers)?;
    let provider = surface.provider(&provider)?;
    let view = surface.engine.refresh_now(&(&session).into(), &provider, seen).await;
    let view = view.map_err(|error| surface.fetch_problem(&error, Some(&provider)))?;
    Ok(surface.renew(&session, Json(TokenAnswer::from(view)).into_response()))
}

async fn connections(
    _call: ClientCall,
    State(surface): State<Surface>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = surface.required_session(&headers)?;
    let connections = surface.engine.connections(&(&session).into()).await;
    let connections = connections.map_err(|error| surface.fetch_problem(&error, None))?;
    Ok(surface.renew(&session, Json(ConnectionsAnswer::new(surface.now(), connections)).into_response()))
}

async fn disconnect(
    _call: ClientCall,
    State(surface): State<Surface>,
    ProviderText(provider): ProviderText,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let session = surface.required_session(&headers)?;
    // Not only those on offer: a connection outlives its provider's credentials here.
    let provider = provider.parse().map_err(|_| Problem::new(mm_web::ProblemKind::UnknownProvider))?;
    let gone = surface.engine.disconnect(&(&session).into(), &provider).await;
    gone.map_err(|error| surface.fetch_problem(&error, Some(&provider)))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_user(
    _call: ClientCall,
    State(surface): State<Surface>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = surface.required_session(&headers)?;
    let gone = surface.engine.delete_user(&(&session).into()).await;
    gone.map_err(|error| surface.fetch_problem(&error, None))?;
    Ok(signed_out())
}

async fn logout(
    _call: ClientCall,
    State(surface): State<Surface>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &[Parameter::new(EVERYWHERE, WORD_BYTES_MAX)], Unknown::Refuse)?;
    let everywhere = query.flag(EVERYWHERE)?;
    let session = surface.required_session(&headers)?;
    let session = (&session).into();
    if everywhere {
        surface.engine.logout_everywhere(&session).await.map_err(|error| surface.fetch_problem(&error, None))?;
    } else {
        let ended = surface.engine.logout(&session).await;
        ended.map_err(|error| surface.fetch_problem(&error.into(), None))?;
    }
    Ok(signed_out())
}

async fn health(State(surface): State<Surface>) -> Json<HealthAnswer> {
    Json(HealthAnswer { status: "ok", version: env!("CARGO_PKG_VERSION"), engine: surface.engine_name })
}

/// The answer after which this browser is nobody's.
fn signed_out() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    for cookie in [cookies::clear_session(), cookies::clear_binding()] {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn min_ttl(query: &Query) -> Result<Duration, Problem> {
    let seconds = query.whole_number(MIN_TTL, 0..=MIN_TTL_MAX, "Send whole seconds from 0 to 86400.")?;
    Ok(Duration::from_secs(seconds.unwrap_or(MIN_TTL_USUAL)))
}

fn wait(query: &Query) -> Result<Duration, Problem> {
    let seconds = query.whole_number(WAIT, 0..=WAIT_MAX.as_secs(), "Send whole seconds from 0 to 3.")?;
    Ok(seconds.map_or(WAIT_MAX, Duration::from_secs))
}
