//! This product's registration at a provider.

use mm_model::{Issuer, ProviderId};
use url::Url;

use crate::catalogue::{
    Provider,
    endpoint::{ENDPOINT_RULE, is_endpoint},
    is_scope,
};

/// Longest client id in bytes: with the token endpoint's origin it must fit into an [`Issuer`]. Those seen are under 80.
pub const CLIENT_ID_BYTES_MAX: usize = 150;

/// Most scopes of a registration: an authorization URL must stay well below the 8 KiB that servers accept.
pub const SCOPES_MAX: usize = 32;

/// A registration at one provider: everything about it but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    provider: ProviderId,
    client_id: String,
    redirect_uri: Url,
    scopes: Vec<String>,
    issuer: Issuer,
}

/// A registration that the provider would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRegistration {
    /// The client id is empty, too long or not printable ASCII.
    #[error("the client id must be 1 to {CLIENT_ID_BYTES_MAX} printable ASCII characters without spaces")]
    ClientId,
    /// The redirect URI is of a kind that no provider accepts (RFC 6749 §3.1.2).
    #[error("the redirect URI must be {ENDPOINT_RULE}")]
    RedirectUri,
    /// The redirect URI names `localhost`, and this provider refuses that.
    #[error("{provider} refuses redirect URIs on `localhost`: use http://127.0.0.1:PORT/… or http://[::1]:PORT/…")]
    LocalhostRedirect {
        /// The provider.
        provider: ProviderId,
    },
    /// A scope is not one (RFC 6749 §3.3), or there are too many.
    #[error(
        "scopes must be at most {SCOPES_MAX}, each of printable ASCII characters without space, comma, quote or backslash"
    )]
    Scopes,
    /// The token endpoint's origin and the client id together are too long.
    #[error("the token endpoint's origin and the client id together are too long")]
    Issuer,
}

impl Registration {
    /// The registration at `provider`. `scopes` replaces the catalogue's default ones; an empty list asks for none.
    pub fn new(
        provider: &Provider,
        client_id: String,
        redirect_uri: Url,
        scopes: Option<Vec<String>>,
    ) -> Result<Self, InvalidRegistration> {
        let printable = |byte| matches!(byte, 0x21..=0x7e);
        if client_id.is_empty() || client_id.len() > CLIENT_ID_BYTES_MAX || !client_id.bytes().all(printable) {
            return Err(InvalidRegistration::ClientId);
        }
        if !is_endpoint(&redirect_uri) {
            return Err(InvalidRegistration::RedirectUri);
        }
        let on_localhost = redirect_uri.scheme() == "http" && redirect_uri.host_str() == Some("localhost");
        if on_localhost && !provider.localhost_redirect {
            return Err(InvalidRegistration::LocalhostRedirect { provider: provider.id.clone() });
        }
        let scopes = scopes.unwrap_or_else(|| provider.scopes.clone());
        if scopes.len() > SCOPES_MAX || !scopes.iter().all(|scope| is_scope(scope)) {
            return Err(InvalidRegistration::Scopes);
        }
        let issuer = format!("{} {client_id}", provider.token.origin().ascii_serialization());
        let issuer = issuer.parse().map_err(|_| InvalidRegistration::Issuer)?;
        Ok(Self { provider: provider.id.clone(), client_id, redirect_uri, scopes, issuer })
    }

    /// The provider.
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The client id (RFC 6749 §2.2); not a secret.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Where the provider sends the browser back to. The same text goes into both requests (RFC 6749 §4.1.3).
    pub fn redirect_uri(&self) -> &Url {
        &self.redirect_uri
    }

    /// The scopes to ask for.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Who issues the grants of this registration: `<token endpoint origin> <client id>`.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn provider(id: &str) -> Provider {
        Catalogue::built_in().unwrap().get(&id.parse().unwrap()).unwrap().clone()
    }

    fn register(id: &str, client_id: &str, redirect_uri: &str) -> Result<Registration, InvalidRegistration> {
        Registration::new(&provider(id), client_id.to_owned(), Url::parse(redirect_uri).unwrap(), None)
    }

    #[test]
    fn the_issuer_is_the_token_endpoints_origin_and_the_client() {
        let registration = register("soundcloud", "app-1", "http://127.0.0.1:8080/auth/soundcloud/callback").unwrap();
        assert_eq!(registration.issuer().as_str(), "https://secure.soundcloud.com app-1");

        let twin = provider("soundcloud").rebased(&Url::parse("http://localhost:9000").unwrap());
        let twin = Registration::new(&twin, "app-1".to_owned(), registration.redirect_uri().clone(), None).unwrap();
        assert_eq!(twin.issuer().as_str(), "http://localhost:9000 app-1");
    }

    #[test]
    fn scopes_come_from_the_catalogue_unless_the_registration_names_some() {
        let uri = Url::parse("https://app.example/callback").unwrap();
        let youtube = provider("youtube");
        let with = |scopes| Registration::new(&youtube, "app".to_owned(), uri.clone(), scopes);
        assert_eq!(with(None).unwrap().scopes(), youtube.scopes);
        assert!(with(Some(Vec::new())).unwrap().scopes().is_empty());
        assert_eq!(with(Some(vec!["a b".to_owned()])), Err(InvalidRegistration::Scopes));
        assert_eq!(with(Some(vec!["a".to_owned(); SCOPES_MAX + 1])), Err(InvalidRegistration::Scopes));
    }

    #[test]
    fn redirect_uris_that_the_provider_would_refuse_are_refused_here() {
        assert!(register("soundcloud", "app", "http://localhost:8080/callback").is_ok());
        assert!(register("spotify", "app", "http://[::1]:8080/callback").is_ok());
        let refused = register("spotify", "app", "http://localhost:8080/callback").unwrap_err();
        assert!(refused.to_string().starts_with("spotify refuses redirect URIs on `localhost`: use "), "{refused}");
        for bad in ["http://app.example/callback", "https://app.example/callback#x", "app:/callback"] {
            assert_eq!(register("spotify", "app", bad), Err(InvalidRegistration::RedirectUri), "{bad}");
        }
    }

    #[test]
    fn a_client_id_is_printable_and_bounded() {
        for bad in ["", "a b", "a\nb", "ä", &"a".repeat(CLIENT_ID_BYTES_MAX + 1)] {
            assert_eq!(register("spotify", bad, "https://a.example/"), Err(InvalidRegistration::ClientId), "{bad}");
        }
    }
}
