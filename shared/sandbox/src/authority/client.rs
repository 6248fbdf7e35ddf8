//! Who the client is (RFC 6749 §2.3).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::{Url, form_urlencoded};

use super::{Request, form::Form};
use crate::{
    hash::TokenHash,
    profile::{ClientAuth, RedirectRule},
    refusal::Refusal,
    settings::Client,
};

/// A registered client; its secrets are kept as hashes.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) client_id: String,
    pub(crate) secrets: Vec<TokenHash>,
    pub(crate) redirect_uris: Vec<String>,
}

impl From<Client> for Registered {
    fn from(client: Client) -> Self {
        Self {
            client_id: client.client_id,
            secrets: client.secrets.iter().map(|secret| TokenHash::of(secret)).collect(),
            redirect_uris: client.redirect_uris,
        }
    }
}

impl Registered {
    /// Whether `uri` is one of its redirect URIs by the provider's rule.
    pub(super) fn may_redirect_to(&self, uri: &str, rule: RedirectRule) -> bool {
        match rule {
            RedirectRule::Exact => self.redirect_uris.iter().any(|known| known == uri),
            RedirectRule::ExactButLoopbackPort => {
                let Ok(asked) = Url::parse(uri) else { return false };
                if asked.scheme() == "http" && !is_loopback_literal(&asked) {
                    return false;
                }
                self.redirect_uris.iter().any(|known| known == uri || same_but_port(known, asked.clone()))
            }
        }
    }
}

fn is_loopback_literal(url: &Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "[::1]"))
}

/// Whether two URLs on a loopback address differ in their ports alone (RFC 8252 §7.3).
fn same_but_port(known: &str, mut asked: Url) -> bool {
    let Ok(known) = Url::parse(known) else { return false };
    is_loopback_literal(&known) && asked.set_port(known.port()).is_ok() && asked == known
}

/// Names the client of a token or revocation request, or says why it is nobody.
pub(super) fn authenticate<'a>(
    clients: &'a [Registered],
    demanded: ClientAuth,
    request: &Request<'_>,
    form: &Form,
) -> Result<&'a Registered, Refusal> {
    let in_body = form.get("client_secret").is_some();
    let (id, secret, basic) = match request.authorization {
        Some(_) if in_body => return Err(Refusal::request("credentials in the header and in the body")),
        Some(header) => {
            let (id, secret) = basic(header).ok_or(Refusal::client("unreadable Authorization header", true))?;
            if form.get("client_id").is_some_and(|in_body| in_body != id) {
                return Err(Refusal::request("two client ids"));
            }
            (id, secret, true)
        }
        None => match (form.get("client_id"), form.get("client_secret")) {
            (Some(id), Some(secret)) => (id.to_owned(), secret.to_owned(), false),
            _ => return Err(Refusal::client("client credentials are missing", false)),
        },
    };
    match demanded {
        ClientAuth::Basic if !basic => return Err(Refusal::client("this provider wants HTTP Basic", false)),
        ClientAuth::Body if basic => return Err(Refusal::client("this provider wants credentials in the body", true)),
        ClientAuth::Basic | ClientAuth::Body | ClientAuth::Either => {}
    }
    let presented = TokenHash::of(&secret);
    clients
        .iter()
        .find(|client| client.client_id == id)
        .filter(|client| {
            client.secrets.iter().any(|known| verify_slices_are_equal(known.bytes(), presented.bytes()).is_ok())
        })
        .ok_or(Refusal::client("unknown client or wrong secret", basic))
}

/// Reads HTTP Basic credentials, each part form-urlencoded (RFC 6749 §2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

/// One form-urlencoded value.
fn decoded(value: &str) -> String {
    // A value alone parses as a name without a value; a raw `&` or `=` in it would have to be encoded by the client.
    form_urlencoded::parse(value.as_bytes()).map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(uris: &[&str]) -> Registered {
        Registered {
            client_id: "id".into(),
            secrets: Vec::new(),
            redirect_uris: uris.iter().map(|&uri| uri.to_owned()).collect(),
        }
    }

    #[test]
    fn basic_credentials_are_urlencoded_inside() {
        let header = format!("basic {}", STANDARD.encode("a%3Ab:s%2B%25+x"));
        assert_eq!(basic(&header), Some(("a:b".into(), "s+% x".into())));
        assert_eq!(basic("Bearer abc"), None);
        assert_eq!(basic("Basic !!!"), None);
    }

    #[test]
    fn an_exact_redirect_is_exact() {
        let client = client(&["http://127.0.0.1:8080/cb"]);
        let may = |uri| client.may_redirect_to(uri, RedirectRule::Exact);
        assert!(may("http://127.0.0.1:8080/cb"));
        for other in ["http://127.0.0.1:8080/cb/", "http://127.0.0.1:8081/cb", "http://127.0.0.1:8080/cb?x=1"] {
            assert!(!may(other), "{other}");
        }
    }

    #[test]
    fn spotify_lets_the_loopback_port_vary_and_refuses_the_name_localhost() {
        let client = client(&["http://127.0.0.1:8080/cb", "https://app.example/cb", "http://localhost:8080/cb"]);
        let may = |uri| client.may_redirect_to(uri, RedirectRule::ExactButLoopbackPort);
        assert!(may("http://127.0.0.1:9999/cb"));
        assert!(may("https://app.example/cb"));
        for other in [
            "http://localhost:8080/cb",
            "http://127.0.0.1:9999/other",
            "https://app.example:444/cb",
            "http://evil.example/cb",
        ] {
            assert!(!may(other), "{other}");
        }
    }
}
