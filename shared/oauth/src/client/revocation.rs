//! Ending a grant at the provider (RFC 7009).

use std::time::Duration;

use mm_model::{RefreshToken, Timestamp};
use tokio::time::Instant;

use super::{
    ProviderClient,
    attempt::Credentials,
    request::revocation_request,
    transport::{Answer, Reception},
};
use crate::{
    catalogue::Provider,
    registration::Registration,
    secret::{ClientSecret, ClientSecrets},
    verdict::{Misconfiguration, RefusedReason, Verdict, answer::Json, judge, retry_after},
};

/// What became of a revocation. The connection here is gone whatever it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationOutcome {
    /// The token does not work any more; it may have been dead before (RFC 7009 §2.2).
    Revoked,
    /// The provider will not revoke it, now or later.
    Refused {
        /// Why.
        reason: RevocationRefusal,
    },
    /// No answer that means anything: try again (RFC 7009 §2.2.1).
    Retry {
        /// How long the provider wants to be left alone.
        after: Option<Duration>,
    },
}

/// Why a token is not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationRefusal {
    /// The provider has no revocation endpoint, or it is not there (404, 405, 410, 501).
    NoEndpoint,
    /// `unsupported_token_type` (RFC 7009 §2.2.1).
    UnsupportedTokenType,
    /// This product's registration is wrong.
    Misconfigured(Misconfiguration),
    /// An OAuth error that has no meaning here.
    UnrecognisedError,
}

impl RevocationOutcome {
    const fn refused(reason: RevocationRefusal) -> Self {
        Self::Refused { reason }
    }

    const fn is_invalid_client(self) -> bool {
        matches!(self, Self::Refused { reason: RevocationRefusal::Misconfigured(Misconfiguration::InvalidClient) })
    }
}

impl ProviderClient {
    /// Revokes the refresh token, once and with one secret.
    #[tracing::instrument(name = "oauth.token.revoke", skip_all, fields(provider = %provider.id))]
    pub async fn revoke(
        &self,
        provider: &Provider,
        registration: &Registration,
        secret: &ClientSecret,
        token: &RefreshToken,
        now: Timestamp,
    ) -> RevocationOutcome {
        self.revoke_until(provider, registration, secret, token, self.deadline(), now).await
    }

    /// Revokes the refresh token; on `invalid_client` once more with each other secret that may be right, as
    /// [`refresh_with`](Self::refresh_with) does.
    #[tracing::instrument(name = "oauth.token.revoke", skip_all, fields(provider = %provider.id))]
    pub async fn revoke_with(
        &self,
        provider: &Provider,
        registration: &Registration,
        secrets: &dyn ClientSecrets,
        token: &RefreshToken,
        now: Timestamp,
    ) -> RevocationOutcome {
        if provider.revoke.is_none() {
            return RevocationOutcome::refused(RevocationRefusal::NoEndpoint);
        }
        let mut credentials = Credentials::new(secrets, provider, self.deadline(), self.deadlines);
        let mut secret = match credentials.first().await {
            Ok(secret) => secret,
            Err(Verdict::Misconfigured { error }) => {
                return RevocationOutcome::refused(RevocationRefusal::Misconfigured(error));
            }
            Err(_) => return RevocationOutcome::Retry { after: None },
        };
        loop {
            let outcome = self.revoke_until(provider, registration, &secret, token, credentials.deadline(), now).await;
            if !outcome.is_invalid_client() {
                return outcome;
            }
            match credentials.next().await {
                Some(other) => secret = other,
                None => return outcome,
            }
        }
    }

    async fn revoke_until(
        &self,
        provider: &Provider,
        registration: &Registration,
        secret: &ClientSecret,
        token: &RefreshToken,
        deadline: Instant,
        now: Timestamp,
    ) -> RevocationOutcome {
        let Some(endpoint) = &provider.revoke else {
            return RevocationOutcome::refused(RevocationRefusal::NoEndpoint);
        };
        let Some(request) = revocation_request(provider, registration, secret, endpoint, token) else {
            let error = Misconfiguration::ForbiddenEndpoint;
            return RevocationOutcome::refused(RevocationRefusal::Misconfigured(error));
        };
        match self.send(request, deadline).await {
            Reception::Whole(answer) => judge_revocation(provider, &answer, now),
            // RFC 7009 §2.2: the status alone says it; the body is of no interest.
            Reception::Cut { status: 200, .. } => RevocationOutcome::Revoked,
            Reception::Cut { retry_after: header, .. } => wait(header.as_deref(), now),
            Reception::Failed(_) => RevocationOutcome::Retry { after: None },
        }
    }
}

fn wait(header: Option<&str>, now: Timestamp) -> RevocationOutcome {
    RevocationOutcome::Retry { after: header.and_then(|value| retry_after(value, now)) }
}

/// What the answer to a revocation means. Codes that say "this token does not work" are a success, whatever their status:
/// RFC 7009 §2.2 wants 200 for unknown tokens, and Google answers 400 `invalid_token` (unverified: memory).
fn judge_revocation(provider: &Provider, answer: &Answer, now: Timestamp) -> RevocationOutcome {
    match answer.status {
        200 | 204 => return RevocationOutcome::Revoked,
        404 | 405 | 410 | 501 => return RevocationOutcome::refused(RevocationRefusal::NoEndpoint),
        400..=499 if answer.status != 429 => {}
        _ => return wait(answer.retry_after.as_deref(), now),
    }
    let json = Json::parse(&answer.body);
    match json.as_ref().and_then(Json::error_code) {
        Some("invalid_token") => return RevocationOutcome::Revoked,
        Some("unsupported_token_type") => {
            return RevocationOutcome::refused(RevocationRefusal::UnsupportedTokenType);
        }
        Some("temporarily_unavailable" | "server_error") => return wait(answer.retry_after.as_deref(), now),
        _ => {}
    }
    match judge(provider, answer.status, answer.retry_after.as_deref(), &answer.body, now) {
        Verdict::Refused {
            reason: RefusedReason::InvalidGrant | RefusedReason::GrantExpired | RefusedReason::SessionPolicy,
        } => RevocationOutcome::Revoked,
        Verdict::Misconfigured { error } => RevocationOutcome::refused(RevocationRefusal::Misconfigured(error)),
        // An administrator's policy keeps the token from working here, yet the grant may still stand.
        Verdict::Refused { reason: RefusedReason::AdminPolicy }
        | Verdict::Unavailable { may_have_been_processed: false, .. } => {
            RevocationOutcome::refused(RevocationRefusal::UnrecognisedError)
        }
        Verdict::Throttled { retry_after } | Verdict::Unavailable { retry_after, .. } => {
            RevocationOutcome::Retry { after: retry_after }
        }
        // A 4xx never refreshes; were it so, asking again is the safe side.
        Verdict::Refreshed(_) => RevocationOutcome::Retry { after: None },
    }
}
