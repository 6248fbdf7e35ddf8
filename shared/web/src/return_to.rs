//! Where a login returns to, and what it says there.
//!
//! The attack (open redirect, RFC 9700 §4.11): a link to this server, which people trust, that ends on the attacker's
//! page. The guard: a [`ReturnTo`] can only be made by [`ReturnTo::parse`], and it is an absolute address on the origin
//! of a frontend. It is sent as an absolute address too, so that no browser gets to resolve anything.

use std::fmt;

use axum::response::{IntoResponse, Response};
use mm_model::ProviderId;
use percent_encoding::percent_decode_str;
use url::{Url, form_urlencoded};

use crate::{origins::Origins, problem::Problem};

/// Longest `return_to` in bytes: any address of a frontend's page, and a pending login stays a small row.
pub const RETURN_TO_BYTES_MAX: usize = 1_024;

/// The query parameters that a callback adds; older ones of the same name are dropped.
const RESULT: &str = "mm_result";
const PROVIDER: &str = "mm_provider";
const CODE: &str = "mm_code";

/// Why an address is no place to return to. It never quotes the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReturnTo {
    /// Longer than [`RETURN_TO_BYTES_MAX`].
    #[error("return_to is longer than {RETURN_TO_BYTES_MAX} bytes")]
    TooLong,
    /// A control character, a space or a backslash, which browsers drop or read as a slash.
    #[error("return_to has a character that browsers rewrite")]
    Character,
    /// Neither a path nor an address on a frontend's origin.
    #[error("return_to is not on a frontend")]
    Elsewhere,
    /// A route of this server: a login must not end in the next one.
    #[error("return_to is a route of this server")]
    Route,
}

impl From<InvalidReturnTo> for Problem {
    fn from(error: InvalidReturnTo) -> Self {
        let detail = match error {
            InvalidReturnTo::TooLong => "Send an address of at most 1024 bytes.",
            InvalidReturnTo::Character => "Percent-encode spaces, control characters and backslashes in the address.",
            InvalidReturnTo::Elsewhere => {
                "Send a path like /library, or a full address on one of the origins in FRONTEND_URL."
            }
            InvalidReturnTo::Route => "Send an address of a page of the frontend, not of /auth.",
        };
        Self::parameter("return_to", detail)
    }
}

impl IntoResponse for InvalidReturnTo {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// How a callback ended when it did not connect: `mm_code`, a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultCode {
    /// The person declined at the provider.
    AccessDenied,
    /// The login is unknown, used or older than 10 minutes.
    LoginExpired,
    /// The login was started in another browser.
    LoginOtherBrowser,
    /// The account belongs to another user of this server.
    AccountInUse,
    /// The provider is connected with another account.
    AccountMismatch,
    /// The provider did not answer, or answered nonsense.
    ProviderUnavailable,
    /// The provider answered with an error.
    ProviderRefused,
    /// This server has no credentials for the provider.
    NotConfigured,
}

impl ResultCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 8] = [
        Self::AccessDenied,
        Self::LoginExpired,
        Self::LoginOtherBrowser,
        Self::AccountInUse,
        Self::AccountMismatch,
        Self::ProviderUnavailable,
        Self::ProviderRefused,
        Self::NotConfigured,
    ];

    /// The code as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::LoginExpired => "login_expired",
            Self::LoginOtherBrowser => "login_other_browser",
            Self::AccountInUse => "account_in_use",
            Self::AccountMismatch => "account_mismatch",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::ProviderRefused => "provider_refused",
            Self::NotConfigured => "not_configured",
        }
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a callback tells the frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `mm_result=connected`, without a code.
    Connected,
    /// `mm_result=error` with the code.
    Failed(ResultCode),
}

/// An address on a frontend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnTo(Url);

impl ReturnTo {
    /// Reads an address: a path (resolved against the first frontend), or the full address of a page on one of the
    /// frontends' origins, spelt as browsers spell it. What was stored is read back by the same function.
    pub fn parse(text: &str, origins: &Origins) -> Result<Self, InvalidReturnTo> {
        if text.len() > RETURN_TO_BYTES_MAX {
            return Err(InvalidReturnTo::TooLong);
        }
        // Browsers drop tabs and newlines inside an address and read a backslash as a slash: "/\t/evil" and "/\evil" are
        // both //evil to them.
        if text.chars().any(|c| c.is_control() || c == ' ' || c == '\\') {
            return Err(InvalidReturnTo::Character);
        }
        let url = if text.starts_with('/') && !text.starts_with("//") {
            origins.default_frontend().join(text)
        } else if begins_with_frontend(text, origins) {
            Url::parse(text)
        } else {
            return Err(InvalidReturnTo::Elsewhere);
        };
        let url = url.map_err(|_| InvalidReturnTo::Elsewhere)?;
        // Percent-encoding makes an address longer, and what is stored must be readable again.
        if url.as_str().len() > RETURN_TO_BYTES_MAX {
            return Err(InvalidReturnTo::TooLong);
        }
        // The pair of the checks above, on what the parser made of the text: no text is known that passes those and fails
        // this, and a parser that changes must not be the first to find one.
        let named = !url.username().is_empty() || url.password().is_some();
        if named || !origins.is_frontend(&url) {
            return Err(InvalidReturnTo::Elsewhere);
        }
        check_path(&url, origins)?;
        Ok(Self(url))
    }

    /// Where a login returns to that says nothing else: the first frontend.
    pub fn frontend(origins: &Origins) -> Self {
        Self(origins.default_frontend().clone())
    }

    /// The address.
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// The address as text, for the pending login's row.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address with the callback's result in its query. The rest of the query stays byte by byte, the fragment too:
    /// single-page applications keep their own state in both. No token, code or session is ever part of it.
    pub fn with_result(&self, provider: &ProviderId, outcome: Outcome) -> Url {
        let mut query = String::new();
        for pair in self.0.query().unwrap_or_default().split('&') {
            if pair.is_empty() || is_result(pair) {
                continue;
            }
            query.push_str(pair);
            query.push('&');
        }
        let result = match outcome {
            Outcome::Connected => "connected",
            Outcome::Failed(_) => "error",
        };
        let mut added = form_urlencoded::Serializer::new(String::new());
        added.append_pair(RESULT, result);
        added.append_pair(PROVIDER, provider.as_str());
        if let Outcome::Failed(code) = outcome {
            added.append_pair(CODE, code.as_str());
        }
        query.push_str(&added.finish());
        let mut url = self.0.clone();
        url.set_query(Some(&query));
        url
    }
}

/// Whether a text begins with the very spelling of a frontend's origin and the origin ends there. So `https:evil`,
/// `https:///evil`, `https://app.example.com@evil`, `https://app.example.com.evil` and other spellings of a host (dots of
/// other alphabets, upper case, default ports) are none, whatever a parser would make of them.
fn begins_with_frontend(text: &str, origins: &Origins) -> bool {
    origins.frontends().iter().any(|frontend| {
        let origin = frontend.origin().ascii_serialization();
        text.strip_prefix(origin.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    })
}

/// A path is checked as a page's own script would see it after decoding: many redirect to their `location.pathname` or to
/// a part of it, where `//evil` would be another host again.
fn check_path(url: &Url, origins: &Origins) -> Result<(), InvalidReturnTo> {
    let path: Vec<u8> = percent_decode_str(url.path()).collect();
    if path.iter().any(u8::is_ascii_control) {
        return Err(InvalidReturnTo::Character);
    }
    if matches!(path.as_slice(), [b'/', b'/' | b'\\', ..]) {
        return Err(InvalidReturnTo::Elsewhere);
    }
    let path = path.to_ascii_lowercase();
    let route = path == b"/auth" || path.starts_with(b"/auth/");
    if route && origins.is_public(url) {
        return Err(InvalidReturnTo::Route);
    }
    Ok(())
}

/// Whether a raw pair of a query is one that a callback writes, however its name is encoded.
fn is_result(pair: &str) -> bool {
    form_urlencoded::parse(pair.as_bytes())
        .next()
        .is_some_and(|(name, _)| [RESULT, PROVIDER, CODE].contains(&name.as_ref()))
}

#[cfg(test)]
mod tests;
