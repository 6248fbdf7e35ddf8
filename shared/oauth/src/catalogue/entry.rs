//! A provider as it is written in the catalogue's TOML, and what every value must look like.
//!
//! Every form denies unknown fields: most fields are optional, so a misspelt `rotation_` or `idle_refresh_lifetime`
//! would otherwise be a silent default, and the first to notice would be a person whose grant died.

use std::{collections::BTreeMap, time::Duration};

use mm_model::ProviderId;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

use super::{
    endpoint::{ENDPOINT_RULE, is_endpoint},
    provider::{
        AccountSource, Api, AuthorizationScheme, CLIENT_ID_PLACEHOLDER, ClientAuth, ErrorMeaning, ErrorRule, Provider,
        Revokes, Rotation, ScopeSeparator,
    },
};

/// Longest lifetime that an entry may state, in seconds: ten years. Longer is a mistake of units.
const LIFETIME_S_MAX: u64 = 10 * 365 * 24 * 3600;

/// Most requests per second that an entry may allow: far above any provider's limit, so a larger one is a slip.
const REQUESTS_PER_SECOND_MAX: f64 = 1_000.0;

/// Longest free text of an entry (name, scope, parameter, issuer), in bytes: an authorization URL must stay well below
/// the 8 KiB that servers accept.
const TEXT_BYTES_MAX: usize = 256;

/// Statuses at which a rule holds unless it names others: those of RFC 6749 §5.2 and the one that gateways use.
const RULE_STATUSES: [u16; 3] = [400, 401, 403];

/// Parameters that this crate writes itself (RFC 6749 §4.1.1, RFC 7636 §4.3); a second one would be an invalid request.
const RESERVED_PARAMETERS: [&str; 7] =
    ["client_id", "code_challenge", "code_challenge_method", "redirect_uri", "response_type", "scope", "state"];

/// The document: `[provider.<id>]` tables.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) provider: BTreeMap<ProviderId, Entry>,
}

/// One `[provider.<id>]` table. The fields are explained at [`Provider`]; `_s` means seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    name: Text,
    authorize: Endpoint,
    token: Endpoint,
    revoke: Option<Endpoint>,
    revokes: Revokes,
    account: AccountEntry,
    client_auth: ClientAuth,
    scopes: Vec<Scope>,
    #[serde(default)]
    scope_separator: ScopeSeparator,
    #[serde(default)]
    auth_params: BTreeMap<ParameterName, Text>,
    #[serde(default)]
    reconsent_params: BTreeMap<ParameterName, Text>,
    default_expires_in_s: Seconds,
    refresh_tokens: bool,
    rotation: Rotation,
    grant_lifetime_s: Option<Seconds>,
    idle_refresh_lifetime_s: Option<Seconds>,
    issuer: Option<Text>,
    #[serde(default)]
    issuer_required: bool,
    requests_per_second: Rate,
    #[serde(default = "yes")]
    localhost_redirect: bool,
    api: ApiEntry,
    #[serde(default)]
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEntry {
    /// Absent: the id stands in the token answer.
    userinfo: Option<Endpoint>,
    pointer: Pointer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiEntry {
    base_url: Endpoint,
    authorization_scheme: AuthorizationScheme,
    #[serde(default)]
    headers: BTreeMap<ApiHeaderName, ApiHeaderValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorEntry {
    #[serde(default = "rule_statuses")]
    statuses: Vec<Status>,
    fields: Fields,
    means: ErrorMeaning,
}

impl Entry {
    /// The provider that this entry describes, or the field that contradicts another and what is expected of it.
    pub(super) fn into_provider(self, id: ProviderId) -> Result<Provider, (&'static str, &'static str)> {
        match (&self.revoke, self.revokes) {
            (Some(_), Revokes::None) => {
                return Err(("revokes", "expected `token` or `grant`, because `revoke` is given"));
            }
            (None, Revokes::Token | Revokes::Grant) => {
                return Err(("revoke", "expected the revocation endpoint's URL, because `revokes` is not `none`"));
            }
            (Some(_), Revokes::Token | Revokes::Grant) | (None, Revokes::None) => {}
        }
        if self.issuer_required && self.issuer.is_none() {
            return Err(("issuer", "expected the issuer's identifier, because `issuer_required` is true"));
        }
        let pointer = self.account.pointer.0;
        Ok(Provider {
            id,
            name: self.name.0,
            authorize: self.authorize.0,
            token: self.token.0,
            revoke: self.revoke.map(|endpoint| endpoint.0),
            revokes: self.revokes,
            account: match self.account.userinfo {
                Some(url) => AccountSource::Userinfo { url: url.0, pointer },
                None => AccountSource::TokenAnswer { pointer },
            },
            client_auth: self.client_auth,
            scopes: self.scopes.into_iter().map(|scope| scope.0).collect(),
            scope_separator: self.scope_separator,
            auth_params: texts(self.auth_params),
            reconsent_params: texts(self.reconsent_params),
            default_expires_in: self.default_expires_in_s.0,
            refresh_tokens: self.refresh_tokens,
            rotation: self.rotation,
            grant_lifetime: self.grant_lifetime_s.map(|seconds| seconds.0),
            idle_refresh_lifetime: self.idle_refresh_lifetime_s.map(|seconds| seconds.0),
            issuer: self.issuer.map(|text| text.0),
            issuer_required: self.issuer_required,
            requests_per_second: self.requests_per_second.0,
            localhost_redirect: self.localhost_redirect,
            api: Api {
                base_url: self.api.base_url.0,
                authorization_scheme: self.api.authorization_scheme,
                headers: self.api.headers.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
            },
            errors: self.errors.into_iter().map(ErrorEntry::into_rule).collect(),
        })
    }
}

impl ErrorEntry {
    fn into_rule(self) -> ErrorRule {
        ErrorRule {
            statuses: self.statuses.into_iter().map(|status| status.0).collect(),
            fields: self.fields.0.into_iter().map(|(pointer, text)| (pointer.0, text)).collect(),
            means: self.means,
        }
    }
}

fn texts(map: BTreeMap<ParameterName, Text>) -> BTreeMap<String, String> {
    map.into_iter().map(|(name, value)| (name.0, value.0)).collect()
}

const fn yes() -> bool {
    true
}

fn rule_statuses() -> Vec<Status> {
    RULE_STATUSES.map(Status).into()
}

/// Whether the text is one scope (RFC 6749 §3.3) that fits between commas too.
pub(crate) fn is_scope(text: &str) -> bool {
    let legal = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) && byte != b',';
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && text.bytes().all(legal)
}

/// A checked value of the document: its inner type, how it is written there, and what is expected of it.
///
/// The found value is never quoted: a URL with a password in it must not reach a log by way of its refusal.
macro_rules! checked {
    ($(#[$doc:meta])* $name:ident($inner:ty) from $form:ty, $read:expr, $expected:expr) => {
        $(#[$doc])*
        struct $name($inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let read: fn($form) -> Option<$inner> = $read;
                let form = <$form>::deserialize(deserializer)?;
                read(form).map(Self).ok_or_else(|| D::Error::custom(format_args!("expected {}", $expected)))
            }
        }
    };
}

checked! {
    /// A URL to which requests go.
    Endpoint(Url) from String,
    |text| Url::parse(&text).ok().filter(is_endpoint),
    ENDPOINT_RULE
}

checked! {
    /// Free text.
    Text(String) from String,
    |text| Some(text).filter(|text| is_text(text)),
    "1 to 256 bytes without control characters"
}

checked! {
    /// One scope.
    Scope(String) from String,
    |text| Some(text).filter(|text| is_scope(text)),
    "one scope of printable ASCII characters without space, comma, quote or backslash"
}

checked! {
    /// A span of time.
    Seconds(Duration) from u64,
    |seconds| Some(seconds).filter(|s| (1..=LIFETIME_S_MAX).contains(s)).map(Duration::from_secs),
    "a whole number of seconds, at least 1 and at most ten years"
}

checked! {
    /// Requests per second.
    Rate(f64) from f64,
    |rate| Some(rate).filter(|rate| *rate > 0.0 && *rate <= REQUESTS_PER_SECOND_MAX),
    "requests per second, above 0 and at most 1000"
}

checked! {
    /// A parameter that an authorization request may be given.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    ParameterName(String) from String,
    |name| Some(name).filter(|name| is_text(name) && !RESERVED_PARAMETERS.contains(&name.as_str())),
    format_args!("a parameter's name, and none of {}", RESERVED_PARAMETERS.join(", "))
}

checked! {
    /// A JSON pointer.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    Pointer(String) from String,
    |text| Some(text).filter(|text| text.starts_with('/') && is_text(text)),
    "a JSON pointer (RFC 6901) such as `/id`"
}

checked! {
    /// The name of a header that the API wants.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    ApiHeaderName(String) from String,
    |name| Some(name).filter(|name| HeaderName::try_from(name).is_ok_and(|name| name != AUTHORIZATION)),
    "the name of a header other than Authorization"
}

checked! {
    /// The value of such a header.
    ApiHeaderValue(String) from String,
    |value| Some(value).filter(|value| {
        let rest = value.replace(CLIENT_ID_PLACEHOLDER, "");
        is_text(value) && HeaderValue::try_from(value).is_ok() && !rest.contains(['{', '}'])
    }),
    "a header's value, with no placeholder but {client_id}"
}

checked! {
    /// An HTTP status that carries an answer.
    Status(u16) from u16,
    |status| Some(status).filter(|status| (200..=599).contains(status)),
    "an HTTP status from 200 to 599"
}

checked! {
    /// The fields that an error rule looks at; none would make it match every answer.
    Fields(BTreeMap<Pointer, String>) from BTreeMap<Pointer, String>,
    |fields| Some(fields).filter(|fields| !fields.is_empty()),
    "at least one JSON pointer and the text that it must find"
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}
