//! The client of the providers' endpoints: one HTTP client, four calls.

mod account;
mod attempt;
mod request;
mod revocation;
#[cfg(test)]
mod tests;
mod transport;

use std::time::Duration;

use mm_model::{RefreshToken, Timestamp};
use tokio::time::Instant;

pub use self::{
    account::AccountError,
    revocation::{RevocationOutcome, RevocationRefusal},
    transport::BODY_BYTES_MAX,
};
use self::{
    attempt::Credentials,
    request::{Grant, token_request},
    transport::{Reception, build_client},
};
use crate::{
    catalogue::Provider,
    registration::Registration,
    secret::{AuthorizationCode, ClientSecret, ClientSecrets, CodeVerifier},
    verdict::{ExchangeOutcome, Misconfiguration, Verdict, judge, judge_cut},
};

/// Every attempt with another client secret included. Leases are computed from it.
pub use mm_model::limits::PROVIDER_TIMEOUT;

/// How long a connection may take to stand, TLS included. Below [`PROVIDER_TIMEOUT`], so that a provider that cannot be
/// reached is told apart from one that was and said nothing: only the latter may have spent the token.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const _: () = assert!(CONNECT_TIMEOUT.as_millis() < PROVIDER_TIMEOUT.as_millis());

/// The deadlines of every call. They are sockets' deadlines: they run on the runtime's clock and not on an injected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the connection.
    pub connect: Duration,
    /// For the whole call.
    pub total: Duration,
}

impl Deadlines {
    /// [`CONNECT_TIMEOUT`] and [`PROVIDER_TIMEOUT`].
    pub const PROVIDER: Self = Self { connect: CONNECT_TIMEOUT, total: PROVIDER_TIMEOUT };
}

/// The HTTP client could not be made: no usable TLS roots on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client of the providers could not be made")]
pub struct ClientError {
    #[source]
    source: reqwest::Error,
}

/// The client of the providers' endpoints.
///
/// It follows no redirect, keeps no cookie, reads no proxy from the environment, retries nothing by itself, sends to
/// nothing but the catalogue's URLs, and reads at most [`BODY_BYTES_MAX`] of an answer. A future that is dropped closes
/// its connection; the provider may have acted all the same.
#[derive(Debug, Clone)]
pub struct ProviderClient {
    http: reqwest::Client,
    deadlines: Deadlines,
}

impl ProviderClient {
    /// A client with these deadlines; [`Deadlines::PROVIDER`] outside tests.
    pub fn new(deadlines: Deadlines) -> Result<Self, ClientError> {
        let http = build_client(deadlines).map_err(|source| ClientError { source })?;
        Ok(Self { http, deadlines })
    }

    /// Redeems an authorization code (RFC 6749 §4.1.3), once and with one secret.
    #[tracing::instrument(name = "oauth.code.exchange", skip_all, fields(provider = %provider.id))]
    pub async fn exchange(
        &self,
        provider: &Provider,
        registration: &Registration,
        secret: &ClientSecret,
        code: AuthorizationCode,
        verifier: &CodeVerifier,
        now: Timestamp,
    ) -> ExchangeOutcome {
        let grant = Grant::Code { code: &code, verifier };
        self.ask(provider, registration, secret, &grant, self.deadline(), now).await.into()
    }

    /// Redeems an authorization code; on `invalid_client` once more with each other secret that may be right.
    ///
    /// The same code is sent again only then: a client that was not accepted has not consumed it (RFC 6749 §4.1.2, §5.2).
    #[tracing::instrument(name = "oauth.code.exchange", skip_all, fields(provider = %provider.id))]
    pub async fn exchange_with(
        &self,
        provider: &Provider,
        registration: &Registration,
        secrets: &dyn ClientSecrets,
        code: AuthorizationCode,
        verifier: &CodeVerifier,
        now: Timestamp,
    ) -> ExchangeOutcome {
        let grant = Grant::Code { code: &code, verifier };
        self.ask_with(provider, registration, secrets, &grant, now).await.into()
    }

    /// Refreshes (RFC 6749 §6), once and with one secret.
    #[tracing::instrument(name = "oauth.token.refresh", skip_all, fields(provider = %provider.id))]
    pub async fn refresh(
        &self,
        provider: &Provider,
        registration: &Registration,
        secret: &ClientSecret,
        token: &RefreshToken,
        now: Timestamp,
    ) -> Verdict {
        self.ask(provider, registration, secret, &Grant::Refresh(token), self.deadline(), now).await
    }

    /// Refreshes; on `invalid_client` reloads the secrets and tries, each once, the current one if it is another, then the
    /// previous one. [`Verdict::Misconfigured`] is the answer only when none is left, and nobody is logged out by it.
    #[tracing::instrument(name = "oauth.token.refresh", skip_all, fields(provider = %provider.id))]
    pub async fn refresh_with(
        &self,
        provider: &Provider,
        registration: &Registration,
        secrets: &dyn ClientSecrets,
        token: &RefreshToken,
        now: Timestamp,
    ) -> Verdict {
        self.ask_with(provider, registration, secrets, &Grant::Refresh(token), now).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.deadlines.total
    }

    async fn ask_with(
        &self,
        provider: &Provider,
        registration: &Registration,
        secrets: &dyn ClientSecrets,
        grant: &Grant<'_>,
        now: Timestamp,
    ) -> Verdict {
        let mut credentials = Credentials::new(secrets, provider, self.deadline(), self.deadlines);
        let mut secret = match credentials.first().await {
            Ok(secret) => secret,
            Err(verdict) => return verdict,
        };
        loop {
            let verdict = self.ask(provider, registration, &secret, grant, credentials.deadline(), now).await;
            if !verdict.is_invalid_client() {
                return verdict;
            }
            match credentials.next().await {
                Some(other) => secret = other,
                None => return verdict,
            }
        }
    }

    async fn ask(
        &self,
        provider: &Provider,
        registration: &Registration,
        secret: &ClientSecret,
        grant: &Grant<'_>,
        deadline: Instant,
        now: Timestamp,
    ) -> Verdict {
        let Some(request) = token_request(provider, registration, secret, grant) else {
            return Verdict::Misconfigured { error: Misconfiguration::ForbiddenEndpoint };
        };
        let verdict = match self.send(request, deadline).await {
            Reception::Whole(answer) => {
                judge(provider, answer.status, answer.retry_after.as_deref(), &answer.body, now)
            }
            Reception::Cut { status, retry_after, cause } => judge_cut(status, retry_after.as_deref(), cause, now),
            Reception::Failed(failure) => failure.into(),
        };
        tracing::debug!(class = verdict.class(), detail = verdict.detail(), "the token endpoint was asked");
        verdict
    }
}
