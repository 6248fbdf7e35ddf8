//! What a provider's answer means: five classes, decided without I/O.

pub(crate) mod answer;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
mod retry_after;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use mm_model::Timestamp;

use self::answer::{Json, NoAnswer};
pub use self::{
    answer::{ACCESS_TOKEN_BYTES_MAX, EXPIRES_IN_MAX, REFRESH_TOKEN_BYTES_MAX, SCOPE_BYTES_MAX, TokenAnswer},
    retry_after::{RETRY_AFTER_MAX, retry_after},
};
use crate::catalogue::{ErrorRule, Meaning, Provider};

/// The class of a provider's answer to a refresh.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New tokens.
    Refreshed(TokenAnswer),
    /// The grant is dead: the provider said so in words that were parsed (RFC 6749 §5.2). Nothing else is this class,
    /// however much it looks like it: it logs a person out.
    Refused {
        /// Why.
        reason: RefusedReason,
    },
    /// This product's registration is wrong. Nobody is logged out (RFC 6749 §5.2, `invalid_client` and its like).
    Misconfigured {
        /// What is wrong.
        error: Misconfiguration,
    },
    /// Too many requests. Nothing was spent.
    Throttled {
        /// How long the provider wants to be left alone, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// No answer that means anything. The grant is kept.
    Unavailable {
        /// What happened.
        cause: UnavailableCause,
        /// Whether the provider may have processed the request, and so spent the refresh token or the code. `false` only
        /// where that is certain: nothing was sent, or the authorization server itself answered with an error.
        may_have_been_processed: bool,
        /// How long the provider wants to be left alone, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
}

impl Verdict {
    /// The class's name in metrics and rows.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Refreshed(_) => "refreshed",
            Self::Refused { .. } => "refused",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// What happened within the class, from a closed list; the class's own name where there is nothing to add.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::Refreshed(_) | Self::Throttled { .. } => self.class(),
            Self::Refused { reason } => reason.as_str(),
            Self::Misconfigured { error } => error.as_str(),
            Self::Unavailable { cause, .. } => cause.as_str(),
        }
    }

    /// Whether the provider refused the client's own credentials.
    pub(crate) const fn is_invalid_client(&self) -> bool {
        matches!(self, Self::Misconfigured { error: Misconfiguration::InvalidClient })
    }

    /// A request that never left.
    pub(crate) const fn not_sent(cause: UnavailableCause) -> Self {
        Self::Unavailable { cause, may_have_been_processed: false, retry_after: None }
    }

    /// A request whose fate is unknown.
    const fn unknown(cause: UnavailableCause, retry_after: Option<Duration>) -> Self {
        Self::Unavailable { cause, may_have_been_processed: true, retry_after }
    }
}

macro_rules! closed_list {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The name in metrics, rows and logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

closed_list! {
    /// Why a grant is dead.
    RefusedReason {
        /// Revoked, expired, spent, or never issued to this client (RFC 6749 §5.2).
        InvalidGrant = "invalid_grant",
        /// The grant's own life ended; logging in again starts a new one.
        GrantExpired = "grant_expired",
        /// An administrator's session length ended it; logging in again satisfies it.
        SessionPolicy = "session_policy",
        /// An administrator forbids the scopes; logging in again does not help.
        AdminPolicy = "admin_policy",
    }
}

closed_list! {
    /// What is wrong with this product's registration or requests.
    Misconfiguration {
        /// Client id or secret are not accepted (RFC 6749 §5.2).
        InvalidClient = "invalid_client",
        /// The client may not use this grant type (RFC 6749 §5.2).
        UnauthorizedClient = "unauthorized_client",
        /// The provider does not know this grant type (RFC 6749 §5.2).
        UnsupportedGrantType = "unsupported_grant_type",
        /// The request is not one that the provider understands (RFC 6749 §5.2).
        InvalidRequest = "invalid_request",
        /// A scope is unknown or exceeds the grant (RFC 6749 §5.2).
        InvalidScope = "invalid_scope",
        /// No client secret is configured here.
        NoSecret = "no_secret",
        /// The endpoint's URL or the registration does not belong to this provider; nothing was sent.
        ForbiddenEndpoint = "forbidden_endpoint",
    }
}

impl Misconfiguration {
    /// The codes of RFC 6749 §5.2 that concern the client and not the grant.
    fn from_code(code: &str) -> Option<Self> {
        [
            Self::InvalidClient,
            Self::UnauthorizedClient,
            Self::UnsupportedGrantType,
            Self::InvalidRequest,
            Self::InvalidScope,
        ]
        .into_iter()
        .find(|error| error.as_str() == code)
    }
}

closed_list! {
    /// What kept a provider from answering.
    UnavailableCause {
        /// No connection: name, route, port or TLS.
        Connect = "connect",
        /// The deadline passed after the request may have left.
        Timeout = "timeout",
        /// The connection ended before the whole answer was here.
        Interrupted = "interrupted",
        /// 5xx.
        ServerError = "server_error",
        /// A redirect, which is never followed: it would carry the credentials along.
        Redirected = "redirected",
        /// 2xx with a JSON object, or nothing, and no access token in it.
        NoToken = "no_token",
        /// 2xx whose body is not the JSON that it should be, or holds a token that cannot be used.
        Malformed = "malformed",
        /// 2xx with a token of a type that nobody here can use (RFC 6749 §7.1).
        UnknownTokenType = "unknown_token_type",
        /// The body is larger than the client reads.
        TooLarge = "too_large",
        /// 4xx without an OAuth error in it: gateways and bot defences answer so.
        UnexpectedStatus = "unexpected_status",
        /// 4xx with an error in JSON that has no meaning here.
        UnrecognisedError = "unrecognised_error",
        /// The client secret could not be read in time; nothing was sent.
        Secrets = "secrets",
    }
}

/// Judges one complete answer of the token endpoint to a refresh or an exchange.
///
/// `retry_after` is the header's value and `now` the moment it was received. The content type has no say: real errors
/// come as `text/html` with JSON in them and the other way round; the parsed body decides. In this order:
/// 1. 429 is a throttle, whatever its body says;
/// 2. a 2xx with a usable token is a refresh;
/// 3. the provider's own rules;
/// 4. the errors of RFC 6749 §5.2 at 4xx, `invalid_grant` only at 400, 401 and 403;
/// 5. everything else leaves the grant alone.
pub fn judge(provider: &Provider, status: u16, retry_after: Option<&str>, body: &[u8], now: Timestamp) -> Verdict {
    let wait = retry_after.and_then(|value| self::retry_after(value, now));
    if status == 429 {
        return Verdict::Throttled { retry_after: wait };
    }
    let json = Json::parse(body);
    let no_token = if (200..300).contains(&status) {
        match TokenAnswer::read(provider, body, json.as_ref()) {
            Ok(answer) => return Verdict::Refreshed(answer),
            Err(no_answer) => Some(no_answer),
        }
    } else {
        None
    };
    if let Some(rule) = json.as_ref().and_then(|json| matching_rule(provider, status, json)) {
        return match rule.means.into() {
            Meaning::Refused(reason) => Verdict::Refused { reason },
            Meaning::Misconfigured(error) => Verdict::Misconfigured { error },
            Meaning::Throttled => Verdict::Throttled { retry_after: wait },
            Meaning::Unavailable => Verdict::unknown(UnavailableCause::ServerError, wait),
        };
    }
    match (status, no_token) {
        (_, Some(NoAnswer::NoToken)) => Verdict::unknown(UnavailableCause::NoToken, wait),
        (_, Some(NoAnswer::Malformed)) => Verdict::unknown(UnavailableCause::Malformed, wait),
        (_, Some(NoAnswer::UnknownTokenType)) => Verdict::unknown(UnavailableCause::UnknownTokenType, wait),
        (300..400, None) => Verdict::unknown(UnavailableCause::Redirected, wait),
        (400..500, None) => judge_refusal(status, json.as_ref(), wait),
        (_, None) => Verdict::unknown(UnavailableCause::ServerError, wait),
    }
}

/// A 4xx that no rule of the provider explains.
fn judge_refusal(status: u16, json: Option<&Json>, wait: Option<Duration>) -> Verdict {
    let Some(json) = json else {
        return Verdict::unknown(UnavailableCause::UnexpectedStatus, wait);
    };
    let Some(code) = json.error_code() else {
        return Verdict::unknown(UnavailableCause::UnexpectedStatus, wait);
    };
    if code == RefusedReason::InvalidGrant.as_str() && matches!(status, 400 | 401 | 403) {
        return Verdict::Refused { reason: RefusedReason::InvalidGrant };
    }
    match Misconfiguration::from_code(code) {
        Some(error) => Verdict::Misconfigured { error },
        // The authorization server itself said no, so no token was spent.
        None => Verdict::Unavailable {
            cause: UnavailableCause::UnrecognisedError,
            may_have_been_processed: false,
            retry_after: wait,
        },
    }
}

fn matching_rule<'a>(provider: &'a Provider, status: u16, json: &Json) -> Option<&'a ErrorRule> {
    provider.errors.iter().find(|rule| {
        rule.statuses.contains(&status) && rule.fields.iter().all(|(pointer, text)| json.has_text(pointer, text))
    })
}

/// Judges an answer whose body did not arrive whole; `cause` says why.
pub(crate) fn judge_cut(status: u16, retry_after: Option<&str>, cause: UnavailableCause, now: Timestamp) -> Verdict {
    let wait = retry_after.and_then(|value| self::retry_after(value, now));
    match status {
        429 => Verdict::Throttled { retry_after: wait },
        500.. => Verdict::unknown(UnavailableCause::ServerError, wait),
        _ => Verdict::unknown(cause, wait),
    }
}

/// The class of a provider's answer to an authorization code (RFC 6749 §4.1.3).
///
/// A code is redeemed once: after [`Throttled`](Self::Throttled) or [`Unavailable`](Self::Unavailable) the person starts
/// a new login, for the same code may have been consumed (RFC 6749 §4.1.2).
#[derive(Debug, PartialEq, Eq)]
pub enum ExchangeOutcome {
    /// Tokens.
    Granted(TokenAnswer),
    /// The code is not accepted: expired, used, or of another client, redirect URI or verifier.
    Refused {
        /// Why.
        reason: RefusedReason,
    },
    /// This product's registration is wrong.
    Misconfigured {
        /// What is wrong.
        error: Misconfiguration,
    },
    /// Too many requests.
    Throttled {
        /// How long the provider wants to be left alone, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// No answer that means anything.
    Unavailable {
        /// What happened.
        cause: UnavailableCause,
        /// Whether tokens may have been issued that nobody holds.
        may_have_been_processed: bool,
        /// How long the provider wants to be left alone, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
}

impl From<Verdict> for ExchangeOutcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Refreshed(answer) => Self::Granted(answer),
            Verdict::Refused { reason } => Self::Refused { reason },
            Verdict::Misconfigured { error } => Self::Misconfigured { error },
            Verdict::Throttled { retry_after } => Self::Throttled { retry_after },
            Verdict::Unavailable { cause, may_have_been_processed, retry_after } => {
                Self::Unavailable { cause, may_have_been_processed, retry_after }
            }
        }
    }
}
