//! The bodies of successful answers: the frontend's contract.

use std::collections::BTreeMap;

use mm_engine::{ConnectionState, ConnectionView, TokenView};
use mm_model::{AccountId, Freshness, ProviderId, Timestamp, Version};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::problem::Problem;

/// A living access token (RFC 6750 §4's shape, extended). The only answers that hold a token are this one and
/// [`TokensAnswer`]; both are sent with `Cache-Control: no-store` (RFC 6749 §5.1).
#[derive(Serialize)]
pub struct TokenAnswer {
    access_token: Zeroizing<String>,
    token_id: Version,
    /// Always `Bearer` in the sense of RFC 6750; how the API wants it presented is in `api.headers`.
    token_type: &'static str,
    expires_at: Timestamp,
    expires_in: u64,
    refresh_in: u64,
    min_ttl: u64,
    scope: Option<String>,
    state: Freshness,
    reauth_by: Option<Timestamp>,
    api: ApiAnswer,
}

/// The provider's API: `headers` is complete, to be spread into `fetch`.
#[derive(Serialize)]
struct ApiAnswer {
    base_url: String,
    headers: BTreeMap<String, Zeroizing<String>>,
}

impl From<TokenView> for TokenAnswer {
    fn from(view: TokenView) -> Self {
        let access_token = Zeroizing::new(view.access_token.expose().to_owned());
        let authorization = Zeroizing::new(format!("{} {}", view.api_scheme, *access_token));
        let mut headers: BTreeMap<_, _> =
            view.api_headers.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect();
        headers.insert("Authorization".to_owned(), authorization);
        Self {
            access_token,
            token_id: view.token_id,
            token_type: "Bearer",
            expires_at: view.expires_at,
            expires_in: view.expires_in.as_secs(),
            refresh_in: view.refresh_in.as_secs(),
            min_ttl: view.min_ttl.as_secs(),
            scope: view.scope,
            state: view.state,
            reauth_by: view.reauth_by,
            // Without a slash at its end, whatever the catalogue has: the caller appends a path that begins with one.
            api: ApiAnswer { base_url: view.api_base_url.trim_end_matches('/').to_owned(), headers },
        }
    }
}

/// `GET /auth/tokens`: per provider the token, or the problem that the single call would answer.
#[derive(Serialize)]
#[serde(transparent)]
pub struct TokensAnswer(BTreeMap<ProviderId, TokenOrProblem>);

#[derive(Serialize)]
#[serde(untagged)]
enum TokenOrProblem {
    Token(Box<TokenAnswer>),
    Problem(Problem),
}

impl FromIterator<(ProviderId, Result<TokenView, Problem>)> for TokensAnswer {
    fn from_iter<T: IntoIterator<Item = (ProviderId, Result<TokenView, Problem>)>>(tokens: T) -> Self {
        let entry = |(provider, result): (ProviderId, Result<TokenView, Problem>)| {
            let entry = match result {
                Ok(view) => TokenOrProblem::Token(Box::new(view.into())),
                Err(problem) => TokenOrProblem::Problem(problem),
            };
            (provider, entry)
        };
        Self(tokens.into_iter().map(entry).collect())
    }
}

/// `GET /auth/connections`: what the person may know of their connections; no token.
#[derive(Serialize)]
pub struct ConnectionsAnswer {
    now: Timestamp,
    connections: Vec<ConnectionAnswer>,
}

#[derive(Serialize, Default)]
struct ConnectionAnswer {
    provider: Option<ProviderId>,
    status: &'static str,
    state: Option<Freshness>,
    token_id: Option<Version>,
    account_id: Option<AccountId>,
    scope: Option<String>,
    connected_at: Timestamp,
    updated_at: Timestamp,
    issued_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    lifetime: Option<u64>,
    next_refresh_at: Option<Timestamp>,
    attempts: u32,
    last_error: Option<mm_model::connection::RefreshError>,
    reason: Option<mm_model::connection::ReauthorizationReason>,
    reauth_by: Option<Timestamp>,
}

impl ConnectionsAnswer {
    /// The answer at `now`.
    pub fn new(now: Timestamp, connections: Vec<ConnectionView>) -> Self {
        Self { now, connections: connections.into_iter().map(connection).collect() }
    }
}

fn connection(view: ConnectionView) -> ConnectionAnswer {
    let base = ConnectionAnswer {
        provider: Some(view.provider),
        token_id: Some(view.token_id),
        account_id: Some(view.account),
        scope: view.scope,
        connected_at: view.connected_at,
        updated_at: view.updated_at,
        ..ConnectionAnswer::default()
    };
    match view.state {
        ConnectionState::Active {
            freshness,
            issued_at,
            expires_at,
            next_refresh_at,
            attempts,
            last_error,
            reauth_by,
        } => ConnectionAnswer {
            status: "active",
            state: Some(freshness),
            issued_at: Some(issued_at),
            expires_at: Some(expires_at),
            lifetime: Some(expires_at.since(issued_at).as_secs()),
            next_refresh_at: Some(next_refresh_at),
            attempts,
            last_error,
            reauth_by,
            ..base
        },
        ConnectionState::ReauthorizationRequired { reason, .. } => {
            ConnectionAnswer { status: "reauthorization_required", reason: Some(reason), ..base }
        }
    }
}

/// `POST /auth/{provider}/login`.
#[derive(Serialize)]
pub struct LoginAnswer {
    /// Where the browser goes now.
    pub authorization_url: url::Url,
}

/// `GET /health`.
#[derive(Serialize)]
pub struct HealthAnswer {
    /// Always `ok`: a server that cannot serve does not answer.
    pub status: &'static str,
    /// The build.
    pub version: &'static str,
    /// The engine's name.
    pub engine: &'static str,
}
