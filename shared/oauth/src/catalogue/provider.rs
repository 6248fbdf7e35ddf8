//! One provider, as the rest of the product sees it.

use std::{collections::BTreeMap, time::Duration};

use mm_model::ProviderId;
use serde::Deserialize;
use url::Url;

use super::endpoint::rebase;
use crate::verdict::{Misconfiguration, RefusedReason};

/// One streaming service: where it is, what it demands, and how it misbehaves.
///
/// Made by [`Catalogue::parse`](super::Catalogue::parse), which is why every URL in it is `https`, or `http` on loopback.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Provider {
    /// The id in paths, variables and rows.
    pub id: ProviderId,
    /// The name shown to people.
    pub name: String,
    /// The authorization endpoint (RFC 6749 §3.1).
    pub authorize: Url,
    /// The token endpoint (RFC 6749 §3.2).
    pub token: Url,
    /// The revocation endpoint (RFC 7009 §2), where there is one.
    pub revoke: Option<Url>,
    /// What revoking one token ends. [`Revokes::None`] exactly when `revoke` is absent.
    pub revokes: Revokes,
    /// Where the account's id is found after a login.
    pub account: AccountSource,
    /// How the client authenticates at the token and revocation endpoints (RFC 6749 §2.3.1).
    pub client_auth: ClientAuth,
    /// Scopes asked for unless the registration names others; none means that no `scope` parameter is sent.
    pub scopes: Vec<String>,
    /// What stands between two scopes, in requests and in answers.
    pub scope_separator: ScopeSeparator,
    /// Parameters added to every authorization request.
    pub auth_params: BTreeMap<String, String>,
    /// Parameters added as well when a refresh token is missing and the person must consent once more; they replace
    /// those of the same name in `auth_params`.
    pub reconsent_params: BTreeMap<String, String>,
    /// The access token's life where the answer does not say a usable `expires_in` (RFC 6749 §5.1). Never "forever".
    pub default_expires_in: Duration,
    /// Whether a login normally brings a refresh token. A provider without them is a normal state.
    pub refresh_tokens: bool,
    /// Whether a refresh may spend the refresh token.
    pub rotation: Rotation,
    /// Life of the grant from the person's authorization, which refreshing does not extend.
    pub grant_lifetime: Option<Duration>,
    /// How long a refresh token lives without being used.
    pub idle_refresh_lifetime: Option<Duration>,
    /// The issuer that the callback's `iss` must equal (RFC 9207 §2.4). Kept as text, for the comparison is exact.
    pub issuer: Option<String>,
    /// Whether a callback without `iss` is refused: the provider's metadata promises it.
    pub issuer_required: bool,
    /// Requests per second that the whole deployment may send to the token endpoint; above 0.
    pub requests_per_second: f64,
    /// Whether a redirect URI may name `localhost`; where it may not, 127.0.0.1 and `[::1]` still may.
    pub localhost_redirect: bool,
    /// What the frontend needs for the provider's API.
    pub api: Api,
    /// Errors of the token endpoint beyond RFC 6749 §5.2; the first that matches decides.
    pub errors: Vec<ErrorRule>,
}

impl Provider {
    /// The provider's twin in a sandbox: every URL `https://HOST/path` becomes `{base}/HOST/path`, and the name says so.
    ///
    /// Nothing else changes, `issuer` included: it is an identifier and not an address, and the twin sends what the real
    /// one sends. `base` is trusted: it comes from configuration, and the client checks every URL again before it sends.
    #[must_use]
    pub fn rebased(&self, base: &Url) -> Self {
        let account = match &self.account {
            AccountSource::Userinfo { url, pointer } => {
                AccountSource::Userinfo { url: rebase(url, base), pointer: pointer.clone() }
            }
            AccountSource::TokenAnswer { pointer } => AccountSource::TokenAnswer { pointer: pointer.clone() },
        };
        Self {
            name: format!("{} (sandbox)", self.name),
            authorize: rebase(&self.authorize, base),
            token: rebase(&self.token, base),
            revoke: self.revoke.as_ref().map(|url| rebase(url, base)),
            account,
            api: Api { base_url: rebase(&self.api.base_url, base), ..self.api.clone() },
            ..self.clone()
        }
    }
}

/// What the revocation of one token ends (RFC 7009 §2.1 leaves it to the provider).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revokes {
    /// Nothing can be revoked here.
    None,
    /// That token, and what was issued with it.
    Token,
    /// The person's whole authorization of this client, a newer login's tokens included.
    Grant,
}

/// How the client authenticates (RFC 6749 §2.3.1): one way, never both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic, id and secret form-urlencoded first.
    Basic,
    /// `client_id` and `client_secret` in the request's body.
    Body,
}

/// What stands between two scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeSeparator {
    /// A space (RFC 6749 §3.3).
    #[default]
    Space,
    /// A comma, which some providers document.
    Comma,
}

impl ScopeSeparator {
    /// The separating character.
    pub const fn as_char(self) -> char {
        match self {
            Self::Space => ' ',
            Self::Comma => ',',
        }
    }
}

/// Whether a refresh may spend the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// Never: a retry with the same token is harmless.
    None,
    /// It may, at any refresh: the same token is never sent twice while an answer may still come.
    Strict,
}

/// Where the account's id is found. Pointers are JSON pointers (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountSource {
    /// In the answer to a GET with the access token.
    Userinfo {
        /// The address that is asked.
        url: Url,
        /// Where the id stands in its answer.
        pointer: String,
    },
    /// In the token answer itself.
    TokenAnswer {
        /// Where the id stands in it.
        pointer: String,
    },
}

/// What a caller of the provider's API needs; the frontend is given it with the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The API's address.
    pub base_url: Url,
    /// The scheme in `Authorization: SCHEME TOKEN`.
    pub authorization_scheme: AuthorizationScheme,
    /// Further headers; `{client_id}` in a value stands for the registration's client id.
    pub headers: BTreeMap<String, String>,
}

impl Api {
    /// The further headers with the client id filled in.
    pub fn headers_for<'a>(&'a self, client_id: &'a str) -> impl Iterator<Item = (&'a str, String)> {
        self.headers.iter().map(move |(name, value)| (name.as_str(), value.replace(CLIENT_ID_PLACEHOLDER, client_id)))
    }
}

/// What stands for the client id in the API's headers.
pub const CLIENT_ID_PLACEHOLDER: &str = "{client_id}";

/// The scheme of the `Authorization` header at the provider's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AuthorizationScheme {
    /// `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
    Bearer,
    /// `Authorization: OAuth TOKEN`, SoundCloud's.
    OAuth,
}

impl AuthorizationScheme {
    /// The scheme as it is written in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::OAuth => "OAuth",
        }
    }
}

/// An error answer that RFC 6749 §5.2 does not explain, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRule {
    /// Statuses at which the rule holds.
    pub statuses: Vec<u16>,
    /// JSON pointers into the parsed body and the text (or number, as text) that each must find; at least one.
    pub fields: BTreeMap<String, String>,
    /// What such an answer means.
    pub means: ErrorMeaning,
}

/// What an error answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorMeaning {
    /// [`RefusedReason::InvalidGrant`].
    InvalidGrant,
    /// [`RefusedReason::GrantExpired`].
    GrantExpired,
    /// [`RefusedReason::SessionPolicy`].
    SessionPolicy,
    /// [`RefusedReason::AdminPolicy`].
    AdminPolicy,
    /// [`Misconfiguration::InvalidClient`].
    InvalidClient,
    /// [`Misconfiguration::UnauthorizedClient`].
    UnauthorizedClient,
    /// The provider wants fewer requests.
    Throttled,
    /// The provider could not answer; the grant is kept.
    Unavailable,
}

/// The class that an [`ErrorMeaning`] belongs to.
pub(crate) enum Meaning {
    Refused(RefusedReason),
    Misconfigured(Misconfiguration),
    Throttled,
    Unavailable,
}

impl From<ErrorMeaning> for Meaning {
    fn from(meaning: ErrorMeaning) -> Self {
        match meaning {
            ErrorMeaning::InvalidGrant => Self::Refused(RefusedReason::InvalidGrant),
            ErrorMeaning::GrantExpired => Self::Refused(RefusedReason::GrantExpired),
            ErrorMeaning::SessionPolicy => Self::Refused(RefusedReason::SessionPolicy),
            ErrorMeaning::AdminPolicy => Self::Refused(RefusedReason::AdminPolicy),
            ErrorMeaning::InvalidClient => Self::Misconfigured(Misconfiguration::InvalidClient),
            ErrorMeaning::UnauthorizedClient => Self::Misconfigured(Misconfiguration::UnauthorizedClient),
            ErrorMeaning::Throttled => Self::Throttled,
            ErrorMeaning::Unavailable => Self::Unavailable,
        }
    }
}
