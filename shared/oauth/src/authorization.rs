//! The way to the provider and back: the authorization request, and the callback's `iss`.

use std::collections::BTreeMap;

use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient,
};
use url::Url;

use crate::{catalogue::Provider, registration::Registration, secret::CodeVerifier};

/// The URL that starts a login (RFC 6749 §4.1.1, RFC 7636 §4.3).
///
/// Always `response_type=code` and the S256 challenge of `verifier`; the verifier itself is not in it. `reconsent` adds
/// the provider's parameters for a person who consented before and whose refresh token this product does not have.
pub fn authorization_url(
    provider: &Provider,
    registration: &Registration,
    state: &str,
    verifier: &CodeVerifier,
    reconsent: bool,
) -> Url {
    let client = BasicClient::new(ClientId::new(registration.client_id().to_owned()))
        .set_auth_uri(AuthUrl::from_url(provider.authorize.clone()))
        .set_redirect_uri(RedirectUrl::from_url(registration.redirect_uri().clone()));
    // `CodeVerifier` holds what oauth2 asserts here: 43 to 128 characters.
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.expose().to_owned()));
    let mut request = client.authorize_url(|| CsrfToken::new(state.to_owned())).set_pkce_challenge(challenge);
    if !registration.scopes().is_empty() {
        // One "scope" for all of them: oauth2 would always join by spaces.
        let separator = provider.scope_separator.as_char().to_string();
        request = request.add_scope(Scope::new(registration.scopes().join(&separator)));
    }
    let mut params: BTreeMap<&str, &str> = pairs(&provider.auth_params).collect();
    if reconsent {
        params.extend(pairs(&provider.reconsent_params));
    }
    for (name, value) in params {
        request = request.add_extra_param(name.to_owned(), value.to_owned());
    }
    request.url().0
}

fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// A callback that came from another authorization server than the login went to (RFC 9207 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerMismatch {
    /// The provider always sends `iss`, and this callback has none.
    #[error("the callback does not name its issuer, which this provider always does")]
    Missing,
    /// The callback names another issuer.
    #[error("the callback names another issuer than this provider's")]
    Different,
}

/// Checks the callback's `iss` against the provider's issuer, byte by byte (RFC 9207 §2.4, RFC 3986 §6.2.1).
///
/// Where the catalogue knows no issuer, an `iss` is a parameter that is not recognized, and those are ignored (RFC 6749
/// §4.1.2); such a provider is told apart by its own redirect URI (RFC 9700 §4.4.2).
pub fn check_issuer(provider: &Provider, iss: Option<&str>) -> Result<(), IssuerMismatch> {
    match (&provider.issuer, iss) {
        (Some(expected), Some(iss)) if expected == iss => Ok(()),
        (Some(_), Some(_)) => Err(IssuerMismatch::Different),
        (_, None) if provider.issuer_required => Err(IssuerMismatch::Missing),
        (None, Some(_)) | (_, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, ScopeSeparator};

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn provider(id: &str) -> Provider {
        Catalogue::built_in().unwrap().get(&id.parse().unwrap()).unwrap().clone()
    }

    /// The parameters of the authorization URL, in order of their names.
    fn params(provider: &Provider, reconsent: bool) -> Vec<(String, String)> {
        let redirect_uri = Url::parse("http://127.0.0.1:8080/auth/x/callback?keep=1").unwrap();
        let registration = Registration::new(provider, "app id&1".replace(' ', "+"), redirect_uri, None).unwrap();
        let verifier = CodeVerifier::from_stored(VERIFIER.to_owned()).unwrap();
        let url = authorization_url(provider, &registration, "state-1", &verifier, reconsent);
        assert!(url.as_str().starts_with(provider.authorize.as_str()), "{url}");
        assert!(!url.as_str().contains(VERIFIER), "{url}");
        let mut params: Vec<_> = url.query_pairs().into_owned().collect();
        params.sort();
        params
    }

    fn value<'a>(params: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        params.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn a_login_asks_for_a_code_with_an_s256_challenge() {
        let params = params(&provider("soundcloud"), false);
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            params,
            [
                ("client_id", "app+id&1"),
                // RFC 7636 appendix B.
                ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
                ("code_challenge_method", "S256"),
                ("redirect_uri", "http://127.0.0.1:8080/auth/x/callback?keep=1"),
                ("response_type", "code"),
                ("state", "state-1"),
            ]
        );
    }

    #[test]
    fn consent_is_asked_for_again_only_when_needed() {
        let youtube = provider("youtube");
        let (first, again) = (params(&youtube, false), params(&youtube, true));
        assert_eq!((value(&first, "access_type"), value(&first, "prompt")), (vec!["offline"], vec![]));
        assert_eq!((value(&again, "access_type"), value(&again, "prompt")), (vec!["offline"], vec!["consent"]));
        assert_eq!(value(&first, "scope"), ["openid https://www.googleapis.com/auth/youtube.readonly"]);
    }

    #[test]
    fn a_parameter_for_consent_replaces_the_usual_one() {
        let mut youtube = provider("youtube");
        youtube.auth_params.insert("prompt".to_owned(), "none".to_owned());
        assert_eq!(value(&params(&youtube, false), "prompt"), ["none"]);
        assert_eq!(value(&params(&youtube, true), "prompt"), ["consent"]);
    }

    #[test]
    fn scopes_are_joined_as_the_provider_wants_them() {
        let mut spotify = provider("spotify");
        spotify.scopes.truncate(2);
        spotify.scope_separator = ScopeSeparator::Comma;
        assert_eq!(value(&params(&spotify, false), "scope"), ["user-read-private,playlist-read-private"]);
    }

    #[test]
    fn the_issuer_is_compared_exactly() {
        let mut youtube = provider("youtube");
        assert_eq!(check_issuer(&youtube, Some("https://accounts.google.com")), Ok(()));
        for other in ["https://accounts.google.com/", "https://ACCOUNTS.google.com", "https://evil.example", ""] {
            assert_eq!(check_issuer(&youtube, Some(other)), Err(IssuerMismatch::Different), "{other}");
        }
        assert_eq!(check_issuer(&youtube, None), Ok(()));
        youtube.issuer_required = true;
        assert_eq!(check_issuer(&youtube, None), Err(IssuerMismatch::Missing));
        assert_eq!(check_issuer(&provider("spotify"), Some("https://anything.example")), Ok(()));
    }
}
