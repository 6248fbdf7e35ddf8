//! What a sandbox is built from: address, twins, registered clients, and where its state is kept.

use std::{fmt, path::PathBuf};

use url::Url;

use crate::profile::{GENERIC, Profile, SOUNDCLOUD, SPOTIFY, YOUTUBE};

/// Everything a [`Sandbox`](crate::Sandbox) is built from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Origin under which browsers and clients reach it, e.g. `http://localhost:8081`. Not the product's host name:
    /// cookies ignore ports, and the sandbox would be handed the product's session.
    pub base_url: Url,
    /// The providers that have a twin here.
    pub profiles: Vec<Profile>,
    /// The clients that they know at first; more can be registered later.
    pub clients: Vec<Client>,
    /// Origins of pages that may use the control interface from a browser, e.g. `http://127.0.0.1:8080`.
    pub allowed_origins: Vec<String>,
    /// File that keeps grants and logins across restarts. It holds hashes, never tokens. `None`: memory only.
    pub state_file: Option<PathBuf>,
}

impl Settings {
    /// All four built-in twins under `base_url`; no clients, no allowed origins, memory only.
    pub fn new(base_url: Url) -> Self {
        Self {
            base_url,
            profiles: vec![SOUNDCLOUD, SPOTIFY, YOUTUBE, GENERIC],
            clients: Vec::new(),
            allowed_origins: Vec::new(),
            state_file: None,
        }
    }
}

/// A client registered at one provider.
#[derive(Clone)]
pub struct Client {
    /// The provider's id.
    pub provider: String,
    /// The client's id.
    pub client_id: String,
    /// Secrets that are accepted; two while one is being rotated.
    pub secrets: Vec<String>,
    /// Redirect URIs, matched by the provider's rule.
    pub redirect_uris: Vec<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("provider", &self.provider)
            .field("client_id", &self.client_id)
            .field("secrets", &format_args!("{} of them", self.secrets.len()))
            .field("redirect_uris", &self.redirect_uris)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_shows_no_secret() {
        let client = Client {
            provider: "generic".into(),
            client_id: "id".into(),
            secrets: vec!["canary-secret".into()],
            redirect_uris: Vec::new(),
        };
        let shown = format!("{client:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("1 of them"), "{shown}");
    }
}
