//! Misbehaviour on demand: what can go wrong, and the plan of what will.

mod wire;

use serde::{Deserialize, Serialize};

pub use wire::{FaultError, FaultSpec};

/// Faults that may be planned at once; more is a script gone wrong.
const MAX_FAULTS: usize = 64;

/// The endpoints that faults can be planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The token endpoint.
    Token,
    /// The revocation endpoint.
    Revoke,
    /// Where the account is read.
    Userinfo,
    /// The search for tracks.
    Api,
}

/// Which token requests a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// All of them, unreadable ones too.
    #[default]
    Any,
    /// Those with `grant_type=refresh_token`.
    Refresh,
    /// Those with `grant_type=authorization_code`.
    Code,
}

/// How a 429 says when to come back (RFC 9110 §10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// It does not.
    Absent,
    /// In seconds.
    Seconds(u64),
    /// As a date, this many seconds from the request.
    Date(u64),
}

/// One kind of misbehaviour. *Before*: nothing is spent, the request may be sent again. *After*: the request has its
/// full effect (a code or refresh token is spent, a new one exists) and only the answer is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// After: acts at once, answers properly, but this much later.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// After: acts and answers this much later, even if the client has gone by then.
    Late {
        /// Milliseconds.
        ms: u64,
    },
    /// Before: never answers.
    Hang,
    /// Before: closes the connection without a byte.
    ResetBefore,
    /// After: acts, then closes the connection without a byte.
    ResetAfter,
    /// After: acts, then closes the connection in the middle of the answer.
    ResetMidAnswer,
    /// Before: a 5xx page.
    Error5xxBefore {
        /// 500–599.
        status: u16,
    },
    /// After: acts, then a 5xx page.
    Error5xxAfter {
        /// 500–599.
        status: u16,
    },
    /// Before: 429.
    Throttle {
        /// When to come back.
        retry_after: RetryAfter,
        /// A page of HTML instead of the provider's JSON.
        html: bool,
    },
    /// Before: the 403 page of a content network's firewall.
    Html403,
    /// Before: 202 with an empty body and a bot challenge in a header.
    Empty202,
    /// Before: 200 with an error object.
    ErrorBody200,
    /// After: 200 with half the JSON.
    Malformed,
    /// After: 200 with an empty body.
    Empty200,
    /// After: an answer without its access token.
    MissingAccessToken,
    /// After: an answer without its lifetime; good otherwise.
    MissingExpiresIn,
    /// After: the lifetime as a string; good otherwise.
    StringExpiresIn,
    /// After: the scope as an array; good otherwise.
    ScopeArray,
    /// After: a good answer without a refresh token. The one presented is *not* spent and stays good, whatever the mode.
    NoRefreshTokenInAnswer,
}

impl FaultKind {
    /// Its name in the control interface and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slow { .. } => "slow",
            Self::Late { .. } => "late",
            Self::Hang => "hang",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::ResetMidAnswer => "reset_mid_answer",
            Self::Error5xxBefore { .. } => "error_5xx_before",
            Self::Error5xxAfter { .. } => "error_5xx_after",
            Self::Throttle { .. } => "throttle",
            Self::Html403 => "html_403",
            Self::Empty202 => "empty_202",
            Self::ErrorBody200 => "error_body_200",
            Self::Malformed => "malformed",
            Self::Empty200 => "empty_200",
            Self::MissingAccessToken => "missing_access_token",
            Self::MissingExpiresIn => "missing_expires_in",
            Self::StringExpiresIn => "string_expires_in",
            Self::ScopeArray => "scope_array",
            Self::NoRefreshTokenInAnswer => "no_refresh_token_in_answer",
        }
    }

    /// Whether it strikes before the request has any effect.
    pub const fn is_before(self) -> bool {
        match self {
            Self::Hang
            | Self::ResetBefore
            | Self::Error5xxBefore { .. }
            | Self::Throttle { .. }
            | Self::Html403
            | Self::Empty202
            | Self::ErrorBody200 => true,
            Self::Slow { .. }
            | Self::Late { .. }
            | Self::ResetAfter
            | Self::ResetMidAnswer
            | Self::Error5xxAfter { .. }
            | Self::Malformed
            | Self::Empty200
            | Self::MissingAccessToken
            | Self::MissingExpiresIn
            | Self::StringExpiresIn
            | Self::ScopeArray
            | Self::NoRefreshTokenInAnswer => false,
        }
    }

    /// Whether a tolerant client still gets a good access token out of the answer.
    pub(crate) const fn leaves_the_answer_usable(self) -> bool {
        matches!(
            self,
            Self::Slow { .. }
                | Self::Late { .. }
                | Self::MissingExpiresIn
                | Self::StringExpiresIn
                | Self::ScopeArray
                | Self::NoRefreshTokenInAnswer
        )
    }

    /// Whether it changes members of a token answer, and so means nothing elsewhere.
    pub(crate) const fn needs_a_token_answer(self) -> bool {
        matches!(
            self,
            Self::MissingAccessToken
                | Self::MissingExpiresIn
                | Self::StringExpiresIn
                | Self::ScopeArray
                | Self::NoRefreshTokenInAnswer
        )
    }
}

/// A planned misbehaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The provider's id.
    pub provider: String,
    /// The endpoint it strikes.
    pub endpoint: Endpoint,
    /// What happens.
    pub kind: FaultKind,
    /// How often; `None`: until cleared.
    pub times: Option<u32>,
    /// Which token requests.
    pub only: Only,
}

impl Fault {
    /// A fault at the provider's token endpoint that strikes every request until cleared.
    pub fn token(provider: &str, kind: FaultKind) -> Self {
        Self::at(provider, Endpoint::Token, kind)
    }

    /// A fault at any endpoint that strikes every request until cleared.
    pub fn at(provider: &str, endpoint: Endpoint, kind: FaultKind) -> Self {
        Self { provider: provider.to_owned(), endpoint, kind, times: None, only: Only::Any }
    }

    /// The same, `times` times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same, for some token requests only.
    #[must_use]
    pub fn only(self, only: Only) -> Self {
        Self { only, ..self }
    }
}

/// The faults to come, in the order in which they were planned.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    last_id: u64,
    planned: Vec<(u64, Fault)>,
}

impl FaultPlan {
    /// Plans a checked fault and answers its id.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<u64, FaultError> {
        wire::check(&fault)?;
        if self.planned.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany { max: MAX_FAULTS });
        }
        self.last_id += 1;
        self.planned.push((self.last_id, fault));
        Ok(self.last_id)
    }

    /// Forgets the provider's faults, or everyone's; answers how many there were.
    pub(crate) fn clear(&mut self, provider: Option<&str>) -> usize {
        let before = self.planned.len();
        self.planned.retain(|(_, fault)| provider.is_some_and(|provider| fault.provider != provider));
        before - self.planned.len()
    }

    /// What is planned, with ids and the times left.
    pub(crate) fn planned(&self) -> &[(u64, Fault)] {
        &self.planned
    }

    /// Takes one strike of the first fault that fits.
    pub(crate) fn strike(&mut self, provider: &str, endpoint: Endpoint, grant_type: Option<&str>) -> Option<FaultKind> {
        let at = self.planned.iter().position(|(_, fault)| {
            fault.provider == provider
                && fault.endpoint == endpoint
                && match fault.only {
                    Only::Any => true,
                    Only::Refresh => grant_type == Some("refresh_token"),
                    Only::Code => grant_type == Some("authorization_code"),
                }
        })?;
        let fault = &mut self.planned[at].1;
        let kind = fault.kind;
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.planned.remove(at);
            }
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_planned_and_where_planned() {
        let mut plan = FaultPlan::default();
        plan.add(Fault::token("a", FaultKind::Html403).times(2).only(Only::Refresh)).unwrap();
        assert_eq!(plan.strike("b", Endpoint::Token, Some("refresh_token")), None);
        assert_eq!(plan.strike("a", Endpoint::Api, None), None);
        assert_eq!(plan.strike("a", Endpoint::Token, Some("authorization_code")), None);
        assert_eq!(plan.strike("a", Endpoint::Token, Some("refresh_token")), Some(FaultKind::Html403));
        assert_eq!(plan.planned()[0].1.times, Some(1));
        assert_eq!(plan.strike("a", Endpoint::Token, Some("refresh_token")), Some(FaultKind::Html403));
        assert_eq!(plan.strike("a", Endpoint::Token, Some("refresh_token")), None);
    }

    #[test]
    fn the_first_planned_strikes_first_and_clearing_can_spare_other_providers() {
        let mut plan = FaultPlan::default();
        plan.add(Fault::token("a", FaultKind::Hang).times(1)).unwrap();
        plan.add(Fault::token("a", FaultKind::ResetAfter)).unwrap();
        plan.add(Fault::token("b", FaultKind::Malformed)).unwrap();
        assert_eq!(plan.strike("a", Endpoint::Token, None), Some(FaultKind::Hang));
        assert_eq!(plan.strike("a", Endpoint::Token, None), Some(FaultKind::ResetAfter));
        assert_eq!(plan.clear(Some("a")), 1);
        assert_eq!(plan.strike("a", Endpoint::Token, None), None);
        assert_eq!(plan.clear(None), 1);
        assert!(plan.planned().is_empty());
    }

    #[test]
    fn the_plan_is_bounded() {
        let mut plan = FaultPlan::default();
        for _ in 0..MAX_FAULTS {
            plan.add(Fault::token("a", FaultKind::Hang)).unwrap();
        }
        assert!(matches!(plan.add(Fault::token("a", FaultKind::Hang)), Err(FaultError::TooMany { .. })));
    }
}
