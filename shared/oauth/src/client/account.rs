//! Whose tokens these are.

use std::time::Duration;

use mm_model::{AccountId, Timestamp};
use oauth2::http::{
    Method, Request,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use url::Url;
use zeroize::Zeroizing;

use super::{
    ProviderClient,
    transport::{Answer, Reception},
};
use crate::{
    catalogue::{AccountSource, Provider, endpoint::is_endpoint},
    registration::Registration,
    verdict::{
        TokenAnswer, UnavailableCause,
        answer::{Json, account_id},
        retry_after,
    },
};

/// An account's id that could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The provider's API does not accept the new access token, or not for this: 401, or 403 with JSON in it.
    #[error("the provider's API refused the new access token with status {status}")]
    Refused {
        /// 401 or 403.
        status: u16,
    },
    /// Too many requests.
    #[error("the provider's API wants fewer requests")]
    Throttled {
        /// How long the provider wants to be left alone, at most [`RETRY_AFTER_MAX`](crate::RETRY_AFTER_MAX).
        retry_after: Option<Duration>,
    },
    /// No answer that means anything; asking again changes nothing at the provider.
    #[error("the provider's API did not answer: {cause}")]
    Unavailable {
        /// What happened.
        cause: UnavailableCause,
    },
    /// The answer has no text and no whole number where the catalogue says that the id is.
    #[error("the provider's answer names no account where the catalogue expects it")]
    Missing,
    /// The endpoint's URL or the registration does not belong to this provider; nothing was sent.
    #[error("the account endpoint does not belong to this provider")]
    ForbiddenEndpoint,
}

impl ProviderClient {
    /// The id of the account that these tokens belong to: out of the token answer, or asked for with the access token, as
    /// the catalogue says.
    #[tracing::instrument(name = "oauth.account.read", skip_all, fields(provider = %provider.id))]
    pub async fn account(
        &self,
        provider: &Provider,
        registration: &Registration,
        answer: &TokenAnswer,
        now: Timestamp,
    ) -> Result<AccountId, AccountError> {
        let (url, pointer) = match &provider.account {
            AccountSource::TokenAnswer { .. } => return answer.account.clone().ok_or(AccountError::Missing),
            AccountSource::Userinfo { url, pointer } => (url, pointer),
        };
        if !is_endpoint(url) || *registration.provider() != provider.id {
            return Err(AccountError::ForbiddenEndpoint);
        }
        let request = userinfo_request(provider, registration, answer, url).ok_or(AccountError::ForbiddenEndpoint)?;
        match self.send(request, self.deadline()).await {
            Reception::Whole(received) => read_account(&received, pointer, now),
            Reception::Cut { cause, .. } => Err(AccountError::Unavailable { cause }),
            Reception::Failed(failure) => Err(AccountError::Unavailable { cause: failure.cause }),
        }
    }
}

fn userinfo_request(
    provider: &Provider,
    registration: &Registration,
    answer: &TokenAnswer,
    url: &Url,
) -> Option<Request<Vec<u8>>> {
    let scheme = provider.api.authorization_scheme.as_str();
    let authorization = Zeroizing::new(format!("{scheme} {}", answer.access_token.expose()));
    let mut authorization = HeaderValue::from_str(&authorization).ok()?;
    authorization.set_sensitive(true);
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(url.as_str())
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(AUTHORIZATION, authorization);
    for (name, value) in provider.api.headers_for(registration.client_id()) {
        request = request.header(name, value);
    }
    request.body(Vec::new()).ok()
}

fn read_account(answer: &Answer, pointer: &str, now: Timestamp) -> Result<AccountId, AccountError> {
    let json = Json::parse(&answer.body);
    match (answer.status, json) {
        (200, Some(json)) => json.pointer(pointer).and_then(account_id).ok_or(AccountError::Missing),
        // SoundCloud's bot defence answers 202 with nothing in it.
        (200..300, _) => Err(AccountError::Unavailable { cause: UnavailableCause::Malformed }),
        (300..400, _) => Err(AccountError::Unavailable { cause: UnavailableCause::Redirected }),
        (401, _) | (403, Some(_)) => Err(AccountError::Refused { status: answer.status }),
        (429, _) => {
            let wait = answer.retry_after.as_deref().and_then(|value| retry_after(value, now));
            Err(AccountError::Throttled { retry_after: wait })
        }
        (400..500, _) => Err(AccountError::Unavailable { cause: UnavailableCause::UnexpectedStatus }),
        _ => Err(AccountError::Unavailable { cause: UnavailableCause::ServerError }),
    }
}
