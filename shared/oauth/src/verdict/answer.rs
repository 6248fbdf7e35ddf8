//! The token endpoint's successful answer (RFC 6749 §5.1), read tolerantly.
//!
//! The rule: an oddity in a field that only describes the token never costs the token, because at a rotating provider
//! the refresh token is spent by now and this answer is all there is. A token that is there and cannot be used does
//! cost it, loudly: keeping the spent one instead would hide the loss until the next refresh.

use std::time::Duration;

use mm_model::{AccessToken, AccountId, RefreshToken};
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use crate::catalogue::{AccountSource, Provider};

/// Longest access token in bytes. Google documents 2048; signed tokens with many claims of others reach 4 KiB.
pub const ACCESS_TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest refresh token in bytes. Google documents 512; encrypted ones of others reach 2 KiB.
pub const REFRESH_TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Longest scope in bytes: it is stored beside the tokens in a row that should stay small.
pub const SCOPE_BYTES_MAX: usize = 2 * 1024;

/// Longest life that an access token is believed to have: a year. Longer ones mean "forever", which no token is.
pub const EXPIRES_IN_MAX: Duration = Duration::from_hours(365 * 24);

/// Tokens from a provider.
#[derive(Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// The access token: 1 to [`ACCESS_TOKEN_BYTES_MAX`] printable ASCII characters.
    pub access_token: AccessToken,
    /// The refresh token that replaces the one sent. Absent: keep that one (RFC 6749 §6).
    pub refresh_token: Option<RefreshToken>,
    /// The access token's life from now: at least a second, at most [`EXPIRES_IN_MAX`].
    pub expires_in: Duration,
    /// The granted scopes, separated by single spaces. Absent: those asked for, or unchanged (RFC 6749 §5.1).
    pub scope: Option<String>,
    /// The account's id, where the provider's token answers carry it.
    pub account: Option<AccountId>,
}

/// Why a 2xx brought no usable tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nothing in it, or an object without an access token.
    NoToken,
    /// Not an object in JSON, or a token that cannot be used.
    Malformed,
    /// A token type that is not a bearer token's.
    UnknownTokenType,
}

impl TokenAnswer {
    /// Reads the body of a 2xx, of which `json` is the parsed form if there is one.
    pub(super) fn read(provider: &Provider, body: &[u8], json: Option<&Json>) -> Result<Self, NoAnswer> {
        let Some(json) = json else {
            let empty = body.iter().all(u8::is_ascii_whitespace);
            return Err(if empty { NoAnswer::NoToken } else { NoAnswer::Malformed });
        };
        let access_token = AccessToken::new(access_token(json.get("access_token"))?.to_owned());
        if !is_bearer(json.get("token_type")) {
            return Err(NoAnswer::UnknownTokenType);
        }
        let refresh_token = refresh_token(json.get("refresh_token"))?.map(|text| RefreshToken::new(text.to_owned()));
        Ok(Self {
            access_token,
            refresh_token,
            expires_in: expires_in(json.get("expires_in")).unwrap_or(provider.default_expires_in).min(EXPIRES_IN_MAX),
            scope: scope(json.get("scope"), provider.scope_separator.as_char()),
            account: match &provider.account {
                AccountSource::TokenAnswer { pointer } => json.pointer(pointer).and_then(account_id),
                AccountSource::Userinfo { .. } => None,
            },
        })
    }
}

/// The access token: what fits into a header (RFC 6749 appendix A.12).
fn access_token(value: Option<&Value>) -> Result<&str, NoAnswer> {
    let text = match value {
        None | Some(Value::Null) => return Err(NoAnswer::NoToken),
        Some(Value::String(text)) => text.as_str(),
        Some(_) => return Err(NoAnswer::Malformed),
    };
    let printable = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    let usable = !text.trim().is_empty() && text.len() <= ACCESS_TOKEN_BYTES_MAX && printable;
    if usable { Ok(text) } else { Err(NoAnswer::Malformed) }
}

/// The refresh token, if a new one came. An empty one is none.
fn refresh_token(value: Option<&Value>) -> Result<Option<&str>, NoAnswer> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() <= REFRESH_TOKEN_BYTES_MAX => Ok(Some(text)),
        Some(_) => Err(NoAnswer::Malformed),
    }
}

/// Whether the token can be used as a bearer token. The type is compared without case (RFC 6749 §5.1); `OAuth` is an
/// older name of the same thing. An absent type is taken as bearer, for the token is of no other use to anybody; one that
/// is there and unknown (`mac`, `DPoP`) needs a proof that nobody here can make (RFC 6749 §7.1).
fn is_bearer(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => ["bearer", "oauth"].iter().any(|known| text.eq_ignore_ascii_case(known)),
        Some(_) => false,
    }
}

/// The life that the answer states, in whole seconds; none where it states nothing usable.
///
/// Zero and negative ones are not usable: Deezer's 0 means "does not expire", others send it for "unknown", and taken by
/// the letter it would make every token dead at birth and every refresh the cause of the next one. With the provider's
/// usual life instead, a token that really is dead is found by its first 401.
fn expires_in(value: Option<&Value>) -> Option<Duration> {
    let seconds = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if seconds.is_nan() || seconds < 1.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds.floor()).unwrap_or(EXPIRES_IN_MAX))
}

/// The granted scopes with single spaces between them: from a string, or from an array as Twitch sends it.
fn scope(value: Option<&Value>, separator: char) -> Option<String> {
    let parts: Vec<&str> = match value? {
        Value::String(text) => text.split([' ', separator]).collect(),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let parts: Vec<&str> = parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect();
    let scope = parts.join(" ");
    let usable = !scope.is_empty() && scope.len() <= SCOPE_BYTES_MAX && !scope.chars().any(char::is_control);
    usable.then_some(scope)
}

/// An account's id: a text, or a whole number in decimal.
pub(crate) fn account_id(value: &Value) -> Option<AccountId> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return None,
    };
    AccountId::try_from(text).ok()
}

/// A parsed JSON object whose texts are wiped when it is dropped: some of them are tokens. No `Debug`.
///
/// Of a name that occurs twice the last value counts (RFC 8259 §4 leaves it open): so do the parsers of browsers and of
/// the libraries that providers test with.
pub(crate) struct Json(Map<String, Value>);

impl Json {
    /// The object that the body is; none for anything else. The parser's error, which may quote the body, is dropped. A
    /// byte order mark is ignored (RFC 8259 §8.1).
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Some(Self(map)),
            Ok(mut other) => {
                wipe(&mut other);
                None
            }
            Err(_) => None,
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value at a JSON pointer (RFC 6901) that starts with `/`.
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Value> {
        let (name, rest) = match pointer.strip_prefix('/')?.split_once('/') {
            Some((name, _)) => (name, &pointer[1 + name.len()..]),
            None => (&pointer[1..], ""),
        };
        self.0.get(&name.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
    }

    /// Whether the text, or the number written as text, stands at the pointer.
    pub(crate) fn has_text(&self, pointer: &str, text: &str) -> bool {
        match self.pointer(pointer) {
            Some(Value::String(found)) => found == text,
            Some(Value::Number(found)) => found.to_string() == text,
            _ => false,
        }
    }

    /// The error code of RFC 6749 §5.2.
    pub(crate) fn error_code(&self) -> Option<&str> {
        self.get("error")?.as_str()
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Overwrites every text in the value. The parser bounds the depth, so the recursion ends.
pub(super) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
