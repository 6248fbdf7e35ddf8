//! Faults as JSON: one flat object, unknown members refused, every number with a limit.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Endpoint, Fault, FaultKind, Only, RetryAfter};

/// Longest planned delay, in milliseconds (10 min): past every deadline of a client, and still an end.
const MAX_DELAY_MS: u64 = 600_000;

/// Delay of `slow` and `late` when none is given, in milliseconds: long enough to be seen, within a client's deadline.
const DEFAULT_DELAY_MS: u64 = 3_000;

/// Furthest that a Retry-After points, in seconds (a year): beyond any cap a client may have.
const MAX_RETRY_AFTER_S: u64 = 31_536_000;

/// Why a fault is not planned.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FaultError {
    /// The kind is none of the known ones.
    #[error("there is no fault of that kind; the kinds are: {}", KINDS.join(", "))]
    UnknownKind,
    /// The provider has no twin here.
    #[error("no such provider")]
    UnknownProvider,
    /// A member is given that its kind has no use for.
    #[error("`{member}` means nothing for this kind")]
    UselessMember {
        /// The member.
        member: &'static str,
    },
    /// A number is outside its range.
    #[error("`{member}` has to lie between {min} and {max}")]
    OutOfRange {
        /// The member.
        member: &'static str,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// The kind or `only` concerns token answers, and the endpoint gives none.
    #[error("this kind, or `only`, has a meaning at the token endpoint alone")]
    TokenEndpointOnly,
    /// The plan is full.
    #[error("{max} faults are planned; clear some first")]
    TooMany {
        /// The plan's size.
        max: usize,
    },
}

/// The names of every kind.
const KINDS: [&str; 19] = [
    "slow",
    "late",
    "hang",
    "reset_before",
    "reset_after",
    "reset_mid_answer",
    "error_5xx_before",
    "error_5xx_after",
    "throttle",
    "html_403",
    "empty_202",
    "error_body_200",
    "malformed",
    "empty_200",
    "missing_access_token",
    "missing_expires_in",
    "string_expires_in",
    "scope_array",
    "no_refresh_token_in_answer",
];

/// How a Retry-After is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfterForm {
    /// In seconds.
    #[default]
    Seconds,
    /// As an HTTP date.
    Date,
}

/// A fault as the control interface reads and writes it.
///
/// Unknown members are refused: a misspelt limit would strike more than the script meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// The provider's id.
    pub provider: String,
    /// The endpoint it strikes.
    pub endpoint: Endpoint,
    /// The kind's name, see [`FaultKind::name`].
    pub kind: String,
    /// How often; absent: until cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Which token requests; all by default.
    #[serde(default)]
    pub only: Only,
    /// `slow`, `late`: milliseconds; 3000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// `error_5xx_before`, `error_5xx_after`: the status; 503 and 504 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `throttle`: seconds until one may come back; absent: no Retry-After.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// `throttle`: how Retry-After is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_form: Option<RetryAfterForm>,
    /// `throttle`: a page of HTML instead of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<bool>,
}

impl TryFrom<FaultSpec> for Fault {
    type Error = FaultError;

    fn try_from(spec: FaultSpec) -> Result<Self, FaultError> {
        let kind = spec.kind()?;
        let fault = Self { provider: spec.provider, endpoint: spec.endpoint, kind, times: spec.times, only: spec.only };
        check(&fault)?;
        Ok(fault)
    }
}

impl FaultSpec {
    fn kind(&self) -> Result<FaultKind, FaultError> {
        let ms = self.ms.unwrap_or(DEFAULT_DELAY_MS);
        let retry_after = match (self.retry_after, self.retry_after_form.unwrap_or_default()) {
            (None, _) => RetryAfter::Absent,
            (Some(seconds), RetryAfterForm::Seconds) => RetryAfter::Seconds(seconds),
            (Some(seconds), RetryAfterForm::Date) => RetryAfter::Date(seconds),
        };
        let kind = match self.kind.as_str() {
            "slow" => FaultKind::Slow { ms },
            "late" => FaultKind::Late { ms },
            "hang" => FaultKind::Hang,
            "reset_before" => FaultKind::ResetBefore,
            "reset_after" => FaultKind::ResetAfter,
            "reset_mid_answer" => FaultKind::ResetMidAnswer,
            "error_5xx_before" => FaultKind::Error5xxBefore { status: self.status.unwrap_or(503) },
            "error_5xx_after" => FaultKind::Error5xxAfter { status: self.status.unwrap_or(504) },
            "throttle" => FaultKind::Throttle { retry_after, html: self.html.unwrap_or(false) },
            "html_403" => FaultKind::Html403,
            "empty_202" => FaultKind::Empty202,
            "error_body_200" => FaultKind::ErrorBody200,
            "malformed" => FaultKind::Malformed,
            "empty_200" => FaultKind::Empty200,
            "missing_access_token" => FaultKind::MissingAccessToken,
            "missing_expires_in" => FaultKind::MissingExpiresIn,
            "string_expires_in" => FaultKind::StringExpiresIn,
            "scope_array" => FaultKind::ScopeArray,
            "no_refresh_token_in_answer" => FaultKind::NoRefreshTokenInAnswer,
            _ => return Err(FaultError::UnknownKind),
        };
        let delayed = matches!(kind, FaultKind::Slow { .. } | FaultKind::Late { .. });
        let broken = matches!(kind, FaultKind::Error5xxBefore { .. } | FaultKind::Error5xxAfter { .. });
        let throttled = matches!(kind, FaultKind::Throttle { .. });
        let useless = [
            ("ms", self.ms.is_some() && !delayed),
            ("status", self.status.is_some() && !broken),
            ("retry_after", self.retry_after.is_some() && !throttled),
            ("retry_after_form", self.retry_after_form.is_some() && !throttled),
            ("html", self.html.is_some() && !throttled),
        ];
        match useless.into_iter().find(|(_, useless)| *useless) {
            Some((member, _)) => Err(FaultError::UselessMember { member }),
            None => Ok(kind),
        }
    }
}

impl From<&Fault> for FaultSpec {
    fn from(fault: &Fault) -> Self {
        let mut spec = Self {
            provider: fault.provider.clone(),
            endpoint: fault.endpoint,
            kind: fault.kind.name().to_owned(),
            times: fault.times,
            only: fault.only,
            ms: None,
            status: None,
            retry_after: None,
            retry_after_form: None,
            html: None,
        };
        match fault.kind {
            FaultKind::Slow { ms } | FaultKind::Late { ms } => spec.ms = Some(ms),
            FaultKind::Error5xxBefore { status } | FaultKind::Error5xxAfter { status } => spec.status = Some(status),
            FaultKind::Throttle { retry_after, html } => {
                spec.html = Some(html);
                (spec.retry_after, spec.retry_after_form) = match retry_after {
                    RetryAfter::Absent => (None, None),
                    RetryAfter::Seconds(seconds) => (Some(seconds), Some(RetryAfterForm::Seconds)),
                    RetryAfter::Date(seconds) => (Some(seconds), Some(RetryAfterForm::Date)),
                };
            }
            _ => {}
        }
        spec
    }
}

/// Holds every number to its range and every kind to the endpoints where it means something.
pub(super) fn check(fault: &Fault) -> Result<(), FaultError> {
    if fault.endpoint != Endpoint::Token && (fault.kind.needs_a_token_answer() || fault.only != Only::Any) {
        return Err(FaultError::TokenEndpointOnly);
    }
    within("times", u64::from(fault.times.unwrap_or(1)), 1, u64::from(u32::MAX))?;
    match fault.kind {
        FaultKind::Slow { ms } | FaultKind::Late { ms } => within("ms", ms, 1, MAX_DELAY_MS),
        FaultKind::Error5xxBefore { status } | FaultKind::Error5xxAfter { status } => {
            within("status", u64::from(status), 500, 599)
        }
        FaultKind::Throttle { retry_after: RetryAfter::Seconds(seconds) | RetryAfter::Date(seconds), .. } => {
            within("retry_after", seconds, 0, MAX_RETRY_AFTER_S)
        }
        _ => Ok(()),
    }
}

fn within(member: &'static str, value: u64, min: u64, max: u64) -> Result<(), FaultError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(FaultError::OutOfRange { member, min, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Fault, FaultError> {
        Fault::try_from(serde_json::from_str::<FaultSpec>(json).unwrap())
    }

    #[test]
    fn every_kind_is_reached_by_its_name_and_comes_back_as_written() {
        for name in KINDS {
            let fault = parse(&format!(r#"{{"provider":"p","endpoint":"token","kind":"{name}"}}"#)).unwrap();
            assert_eq!(fault.kind.name(), name);
            assert_eq!(Fault::try_from(FaultSpec::from(&fault)).unwrap(), fault);
        }
    }

    #[test]
    fn a_throttle_says_when_to_come_back_in_both_forms() {
        let seconds = parse(r#"{"provider":"p","endpoint":"api","kind":"throttle","retry_after":7}"#).unwrap();
        assert_eq!(seconds.kind, FaultKind::Throttle { retry_after: RetryAfter::Seconds(7), html: false });
        let date = r#"{"provider":"p","endpoint":"token","kind":"throttle","retry_after":7,"retry_after_form":"date","html":true}"#;
        let date = parse(date).unwrap();
        assert_eq!(date.kind, FaultKind::Throttle { retry_after: RetryAfter::Date(7), html: true });
        assert_eq!(Fault::try_from(FaultSpec::from(&date)).unwrap(), date);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |json: &str| parse(json).unwrap_err();
        assert_eq!(refused(r#"{"provider":"p","endpoint":"token","kind":"reset"}"#), FaultError::UnknownKind);
        assert_eq!(
            refused(r#"{"provider":"p","endpoint":"token","kind":"hang","ms":5}"#),
            FaultError::UselessMember { member: "ms" }
        );
        assert_eq!(
            refused(r#"{"provider":"p","endpoint":"token","kind":"hang","times":0}"#),
            FaultError::OutOfRange { member: "times", min: 1, max: u64::from(u32::MAX) }
        );
        assert_eq!(
            refused(r#"{"provider":"p","endpoint":"token","kind":"error_5xx_after","status":404}"#),
            FaultError::OutOfRange { member: "status", min: 500, max: 599 }
        );
        assert_eq!(refused(r#"{"provider":"p","endpoint":"api","kind":"scope_array"}"#), FaultError::TokenEndpointOnly);
        assert_eq!(
            refused(r#"{"provider":"p","endpoint":"api","kind":"hang","only":"refresh"}"#),
            FaultError::TokenEndpointOnly
        );
        assert!(
            serde_json::from_str::<FaultSpec>(r#"{"provider":"p","endpoint":"token","kind":"hang","time":1}"#).is_err()
        );
    }
}
