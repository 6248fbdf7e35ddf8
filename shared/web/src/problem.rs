//! Error answers as problem documents (RFC 9457).

mod kind;

use std::{
    future::{Ready, ready},
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use mm_model::ProviderId;
use serde::{Serialize, Serializer};
use url::Url;

pub use kind::ProblemKind;

/// Media type of a problem document (RFC 9457 §3).
pub const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";

/// What a `401` says about how to authenticate. RFC 9110 §15.5.2 demands the header; no registered scheme describes a
/// session cookie, so the scheme is the one of the expired cookie-authentication draft, which browsers ignore.
const CHALLENGE: &str = r#"Cookie realm="multimusic", cookie-name="__Host-mm_session""#;

/// When to ask again where a use case knows no better time: a full disk or a provider's incident lasts longer than a
/// second, and people wait.
const RETRY_USUAL: Duration = Duration::from_secs(5);

/// When to ask again after the store did not answer: what passes by itself passes in about a second.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// One error answer.
///
/// Its texts are `&'static str` and its members typed: what a client sent cannot find its way into an answer,
/// for it may be an attacker's. The only text of a request that comes back is a provider's id, a checked slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: ProblemKind,
    detail: &'static str,
    parameter: Option<&'static str>,
    /// Boxed, so that a `Result` with a problem stays small.
    more: Option<Box<More>>,
}

/// The members that few problems have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More {
    provider: Option<ProviderId>,
    login_url: Option<Url>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// The problem of this kind with its standing detail.
    pub const fn new(kind: ProblemKind) -> Self {
        Self { kind, detail: kind.detail(), parameter: None, more: None }
    }

    /// A `400` about this parameter; `detail` says what it must look like.
    pub const fn parameter(name: &'static str, detail: &'static str) -> Self {
        Self { kind: ProblemKind::BadRequest, detail, parameter: Some(name), more: None }
    }

    /// The same with this detail: what to do.
    #[must_use]
    pub const fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    /// The same, about this provider.
    #[must_use]
    pub fn with_provider(mut self, provider: ProviderId) -> Self {
        self.more().provider = Some(provider);
        self
    }

    /// The same with an address that a person can be sent to (see [`crate::Origins::login_url`]).
    #[must_use]
    pub fn with_login_url(mut self, url: Url) -> Self {
        self.more().login_url = Some(url);
        self
    }

    /// The same with a time to wait: in the document and as `Retry-After` (RFC 9110 §10.2.3), in whole seconds,
    /// rounded up and at least one, so that a client never asks too early and never at once.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.more().retry_after = Some(wait);
        self
    }

    /// The store did not answer: ask again in a moment.
    pub fn store_unavailable() -> Self {
        Self::new(ProblemKind::StoreUnavailable).with_retry_after(STORE_RETRY)
    }

    /// What happened.
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// What to do about it.
    pub const fn detail(&self) -> &'static str {
        self.detail
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn retry_after_seconds(&self) -> Option<u64> {
        let known = self.more.as_ref().and_then(|more| more.retry_after);
        let wait = known.or_else(|| self.kind.is_temporary().then_some(RETRY_USUAL))?;
        let started = u64::from(wait.subsec_nanos() > 0);
        Some(wait.as_secs().saturating_add(started).max(1))
    }
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        Self::new(kind)
    }
}

/// The document's members, in the order in which they are written.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a ProviderId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<&'a Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// As the document itself, for answers that carry problems of several providers.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let more = self.more.as_deref();
        Document {
            r#type: self.kind.problem_type(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail,
            code: self.kind.code(),
            parameter: self.parameter,
            provider: more.and_then(|more| more.provider.as_ref()),
            login_url: more.and_then(|more| more.login_url.as_ref()),
            retry_after: self.retry_after_seconds(),
        }
        .serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Texts and numbers only: writing them cannot fail, and an empty body under the right status would still be true.
        let document = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (
            self.kind.status(),
            [
                (CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_PROBLEM)),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
            document,
        )
            .into_response();
        if let Some(seconds) = self.retry_after_seconds() {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(CHALLENGE);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// For `Router::fallback`: the answer for a path that no route has.
pub fn not_found() -> Ready<Problem> {
    ready(Problem::new(ProblemKind::NotFound))
}

/// For `Router::method_not_allowed_fallback`: the answer for a method that a route lacks. axum adds `Allow`.
pub fn method_not_allowed() -> Ready<Problem> {
    ready(Problem::new(ProblemKind::MethodNotAllowed))
}

#[cfg(test)]
mod tests;
