//! Credentials of the providers: `<ID>_CLIENT_ID`, `<ID>_CLIENT_SECRET`, `<ID>_REDIRECT_URI`, with the id in capitals.

use mm_model::ProviderId;
use mm_oauth::Catalogue;
use url::Url;

use super::{ConfigError, Secret};
use crate::Environment;

/// This installation's credentials at one provider.
#[derive(Debug)]
pub struct Credentials {
    /// The provider.
    pub provider: ProviderId,
    /// `<ID>_CLIENT_ID`.
    pub client_id: String,
    /// `<ID>_CLIENT_SECRET`.
    pub client_secret: Secret,
    /// `<ID>_CLIENT_SECRET_PREVIOUS`: still tried while a rotation is under way.
    pub previous_secret: Option<Secret>,
    /// `<ID>_REDIRECT_URI`; the callback under `PUBLIC_URL` where it is left out.
    pub redirect_uri: Url,
    /// `<ID>_SCOPES`, separated by spaces; the catalogue's where it is left out.
    pub scopes: Option<Vec<String>>,
}

pub(super) fn read(
    env: &Environment,
    catalogue: &Catalogue,
    public_url: &Url,
) -> Result<Vec<Credentials>, ConfigError> {
    catalogue.iter().filter_map(|provider| credentials(env, &provider.id, public_url).transpose()).collect()
}

impl Credentials {
    /// The name of one of the provider's variables.
    pub fn variable(&self, suffix: &str) -> String {
        variable(&self.provider, suffix)
    }
}

/// `apple-music` has `APPLE_MUSIC_CLIENT_ID`.
fn variable(provider: &ProviderId, suffix: &str) -> String {
    format!("{}_{suffix}", provider.as_str().to_ascii_uppercase().replace('-', "_"))
}

/// What is worth nothing without credentials.
const FURTHER: [&str; 3] = ["CLIENT_SECRET_PREVIOUS", "REDIRECT_URI", "SCOPES"];

fn credentials(env: &Environment, provider: &ProviderId, public_url: &Url) -> Result<Option<Credentials>, ConfigError> {
    let name = |suffix: &str| variable(provider, suffix);
    let (id, secret) = (env.get(&name("CLIENT_ID")), env.get(&name("CLIENT_SECRET")));
    let missing = |suffix: &str| {
        let shape = format!("the {provider} application's, as its developer page shows it");
        ConfigError::new(&name(suffix), &shape, "set it, or remove the provider's other variables")
    };
    let (client_id, client_secret) = match (id, secret) {
        (None, None) => {
            let stray = FURTHER.iter().any(|suffix| env.get(&name(suffix)).is_some());
            return if stray { Err(missing("CLIENT_ID")) } else { Ok(None) };
        }
        (Some(_), None) => return Err(missing("CLIENT_SECRET")),
        (None, Some(_)) => return Err(missing("CLIENT_ID")),
        (Some(id), Some(secret)) => (id.to_owned(), Secret::from(secret)),
    };
    let default = public_url.join(&format!("auth/{provider}/callback")).ok();
    let redirect_uri = match env.get(&name("REDIRECT_URI")) {
        Some(text) => Url::parse(text.trim()).ok(),
        None => default,
    };
    // Any other path is answered by nobody here, and no two providers may share one (RFC 9700 §4.4.2).
    let callback = format!("/auth/{provider}/callback");
    let ours = |url: &Url| url.path() == callback && url.query().is_none() && url.fragment().is_none();
    let redirect_uri = redirect_uri.filter(ours).ok_or_else(|| {
        let shape = format!("{public_url}auth/{provider}/callback, exactly as registered at the provider");
        ConfigError::new(&name("REDIRECT_URI"), &shape, "leave it out for just that")
    })?;
    Ok(Some(Credentials {
        provider: provider.clone(),
        client_id,
        client_secret,
        previous_secret: env.get(&name("CLIENT_SECRET_PREVIOUS")).map(Secret::from),
        redirect_uri,
        scopes: env.get(&name("SCOPES")).map(|text| text.split_whitespace().map(str::to_owned).collect()),
    }))
}
