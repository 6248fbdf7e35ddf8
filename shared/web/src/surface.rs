//! What every HTTP handler stands on: the engine, the sessions, the origins; and the layers around every router.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    extract::{FromRef, FromRequestParts, Path},
    middleware::{from_fn, from_fn_with_state},
    response::Response,
};
use http::{HeaderMap, header::SET_COOKIE, request::Parts};
use mm_engine::{CipherError, Engine, FetchError, ports::StoreError};
use mm_model::{ProviderId, Timestamp};

use crate::{
    body::discard_body,
    cookies,
    cors::cors,
    origins::Origins,
    problem::{Problem, ProblemKind, method_not_allowed, not_found},
    security_headers::{SecurityHeaders, security_headers},
    session::{SESSION_AGE_MAX, Session, Sessions},
};

/// The state of every router; cheap to clone.
#[derive(Clone)]
pub struct Surface {
    /// The use cases.
    pub engine: Arc<Engine>,
    /// Signs and verifies sessions.
    pub sessions: Arc<Sessions>,
    /// Where this server and its frontends are.
    pub origins: Origins,
    /// Every provider of the catalogue, on offer or not.
    pub catalogue: Arc<BTreeSet<ProviderId>>,
    /// The engine's name, for `/health`.
    pub engine_name: &'static str,
}

impl FromRef<Surface> for Origins {
    fn from_ref(surface: &Surface) -> Self {
        surface.origins.clone()
    }
}

/// The path's provider as it was sent, unchecked; as an axum extractor, in place of `Path`, whose refusal of bytes that are
/// no text is not a problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for ProviderText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(Problem::new(ProblemKind::UnknownProvider)),
        }
    }
}

/// Puts the layers that every answer passes around a handler's routes: the body thrown away, CORS, security headers, and
/// problem documents for what no route answers.
pub fn app(routes: Router<Surface>, surface: Surface) -> Router {
    let origins = surface.origins.clone();
    let headers = SecurityHeaders::new(&origins);
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(discard_body))
        .layer(from_fn_with_state(origins, cors))
        .layer(from_fn_with_state(headers, security_headers))
        .with_state(surface)
}

impl Surface {
    /// Now, on the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// The provider that a path names.
    ///
    /// # Errors
    /// The problem to answer with: it is in no catalogue, or this server has no credentials for it.
    pub fn provider(&self, text: &str) -> Result<ProviderId, Problem> {
        let Ok(provider) = text.parse::<ProviderId>() else {
            return Err(Problem::new(ProblemKind::UnknownProvider));
        };
        if self.engine.offers().get(&provider).is_some() {
            Ok(provider)
        } else if self.catalogue.contains(&provider) {
            Err(Problem::new(ProblemKind::ProviderNotConfigured).with_provider(provider))
        } else {
            Err(Problem::new(ProblemKind::UnknownProvider))
        }
    }

    /// The request's session, if its cookie carries one that verifies. Whether it was ended since is the engine's to say.
    pub fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, Problem> {
        Ok(self.sessions.current(headers, self.now())?)
    }

    /// The same for a request that needs one.
    pub fn required_session(&self, headers: &HeaderMap) -> Result<Session, Problem> {
        self.sessions.required(headers, self.now())
    }

    /// Puts a fresh copy of the session on an answer, when the present one is over a day old.
    pub fn renew(&self, session: &Session, mut response: Response) -> Response {
        let now = self.now();
        if session.renewal_due(now) {
            let renewed = self.sessions.renew(session, now).ok().and_then(|signed| cookies::set_session(&signed).ok());
            if let Some(cookie) = renewed {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
        response
    }

    /// The problem to answer with when a use case gives no token.
    pub fn fetch_problem(&self, error: &FetchError, provider: Option<&ProviderId>) -> Problem {
        let problem = match error {
            FetchError::NoSession => Problem::new(ProblemKind::NoSession),
            FetchError::NotConnected => Problem::new(ProblemKind::NotConnected),
            FetchError::ReauthorizationRequired(_) => Problem::new(ProblemKind::ReauthorizationRequired),
            FetchError::RefreshPending { retry_after } => {
                Problem::new(ProblemKind::RefreshPending).with_retry_after(*retry_after)
            }
            FetchError::TooManyRequests { retry_after } => {
                Problem::new(ProblemKind::TooManyRequests).with_retry_after(*retry_after)
            }
            FetchError::Store(_) | FetchError::Cipher(_) => {
                tracing::error!(error = %mm_engine::chain(error), "the request could not be served");
                if is_lasting(error) { Problem::new(ProblemKind::Internal) } else { Problem::store_unavailable() }
            }
        };
        let needs_login = matches!(error, FetchError::ReauthorizationRequired(_) | FetchError::NotConnected);
        match provider {
            Some(provider) if needs_login => {
                problem.with_login_url(self.origins.login_url(provider)).with_provider(provider.clone())
            }
            Some(provider) => problem.with_provider(provider.clone()),
            None => problem,
        }
    }
}

/// Whether asking again is in vain: a row that is not what it should be stays so until the operator looks.
const fn is_lasting(error: &FetchError) -> bool {
    matches!(
        error,
        FetchError::Store(StoreError::Impossible { .. })
            | FetchError::Cipher(CipherError::NotThisRow { .. } | CipherError::NoKey { .. } | CipherError::Sealing)
    )
}

/// The session as the engine knows it.
impl From<&Session> for mm_engine::Session {
    fn from(session: &Session) -> Self {
        Self {
            user: session.user.clone(),
            id: session.sid,
            began_at: session.auth_time,
            ends_at: session.auth_time.plus(SESSION_AGE_MAX),
        }
    }
}
