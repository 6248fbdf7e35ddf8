//! The requests, as oauth2 builds them. It never sees an answer: its parse error holds the whole body, tokens included.

use std::{borrow::Cow, fmt};

use mm_model::RefreshToken;
use oauth2::{
    AuthType, ClientId, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RequestTokenError, RevocationUrl,
    StandardRevocableToken, TokenUrl, basic::BasicClient,
};
use url::Url;

use crate::{
    catalogue::{ClientAuth, Provider, endpoint::is_endpoint},
    registration::Registration,
    secret::{AuthorizationCode, ClientSecret, CodeVerifier},
};

/// What is given for tokens.
pub(super) enum Grant<'a> {
    /// RFC 6749 §4.1.3 with RFC 7636 §4.5.
    Code { code: &'a AuthorizationCode, verifier: &'a CodeVerifier },
    /// RFC 6749 §6. No scope is sent: the grant's own stays.
    Refresh(&'a RefreshToken),
}

/// oauth2's "HTTP client": it hands the built request back as an error, and so ends there. No secret in `Debug`.
struct Built(Box<HttpRequest>);

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Built(…)")
    }
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was built and not sent")
    }
}

impl std::error::Error for Built {}

fn build(request: HttpRequest) -> Result<HttpResponse, Built> {
    Err(Built(Box::new(request)))
}

/// The request to the token endpoint; none if the provider's URL is not an endpoint, or the registration is another
/// provider's.
pub(super) fn token_request(
    provider: &Provider,
    registration: &Registration,
    secret: &ClientSecret,
    grant: &Grant<'_>,
) -> Option<HttpRequest> {
    if !may_send(provider, registration, &provider.token) {
        return None;
    }
    let client = client(provider, registration, secret).set_token_uri(TokenUrl::from_url(provider.token.clone()));
    let built = match grant {
        Grant::Code { code, verifier } => client
            .exchange_code(oauth2::AuthorizationCode::new(code.expose().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
            .set_redirect_uri(Cow::Owned(RedirectUrl::from_url(registration.redirect_uri().clone())))
            .request(&build),
        Grant::Refresh(token) => {
            client.exchange_refresh_token(&oauth2::RefreshToken::new(token.expose().to_owned())).request(&build)
        }
    };
    match built {
        Err(RequestTokenError::Request(Built(request))) => Some(*request),
        Ok(_) | Err(_) => None,
    }
}

/// The request to the revocation endpoint (RFC 7009 §2.1); none under the conditions of [`token_request`].
pub(super) fn revocation_request(
    provider: &Provider,
    registration: &Registration,
    secret: &ClientSecret,
    endpoint: &Url,
    token: &RefreshToken,
) -> Option<HttpRequest> {
    if !may_send(provider, registration, endpoint) {
        return None;
    }
    // oauth2 builds revocations for https alone. The sandbox's is http on loopback, so the address is put in afterwards.
    let mut https = endpoint.clone();
    https.set_scheme("https").ok()?;
    let client = client(provider, registration, secret).set_revocation_url(RevocationUrl::from_url(https));
    let token = StandardRevocableToken::RefreshToken(oauth2::RefreshToken::new(token.expose().to_owned()));
    match client.revoke_token(token).ok()?.request(&build) {
        Err(RequestTokenError::Request(Built(mut request))) => {
            *request.uri_mut() = endpoint.as_str().parse().ok()?;
            Some(*request)
        }
        Ok(()) | Err(_) => None,
    }
}

/// The last guard before credentials leave: a [`Provider`]'s fields are public, and a registration is a value of its own.
fn may_send(provider: &Provider, registration: &Registration, endpoint: &Url) -> bool {
    is_endpoint(endpoint) && *registration.provider() == provider.id
}

fn client(provider: &Provider, registration: &Registration, secret: &ClientSecret) -> BasicClient {
    let auth_type = match provider.client_auth {
        ClientAuth::Basic => AuthType::BasicAuth,
        ClientAuth::Body => AuthType::RequestBody,
    };
    BasicClient::new(ClientId::new(registration.client_id().to_owned()))
        .set_client_secret(oauth2::ClientSecret::new(secret.expose().to_owned()))
        .set_auth_type(auth_type)
}
