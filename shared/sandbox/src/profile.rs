//! What differs between providers, as a value: addresses, demands, dialect and first behaviour.

mod twins;

use std::fmt;

use crate::behaviour::Behaviour;

pub use twins::{GENERIC, SOUNDCLOUD, SPOTIFY, YOUTUBE};

/// A real endpoint's host and path; its twin answers at `/{host}{path}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The real host, without a port.
    pub host: &'static str,
    /// The real path, with its leading slash.
    pub path: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}{}", self.host, self.path)
    }
}

/// How clients have to authenticate at the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// HTTP Basic, id and secret form-urlencoded.
    Basic,
    /// `client_id` and `client_secret` in the body.
    Body,
    /// Either, but never both in one request (RFC 6749 §2.3).
    Either,
}

/// When a redirect URI equals a registered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectRule {
    /// Character by character (RFC 9700 §2.1).
    Exact,
    /// The same, but on `http://127.0.0.1` and `http://[::1]` the port may differ, and `http://localhost` is refused (Spotify).
    ExactButLoopbackPort,
}

/// When an authorization brings a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshIssue {
    /// Always, unless the mode says never.
    Always,
    /// Only with `access_type=offline`, and then only at an account's first consent or with `prompt=consent` (Google).
    OfflineConsent,
}

/// The shapes of a provider's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 6749 §5.2 and RFC 6750 §3, to the letter.
    Plain,
    /// SoundCloud: the long error object of its API, which its token endpoint uses too for some refusals.
    SoundCloud,
    /// Spotify: `{"error": {"status", "message"}}` at its API.
    Spotify,
    /// Google: `{"error": {"code", "message", "status"}}` at its API.
    Google,
}

/// One provider's twin. All of it is data: a further provider is a further value.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The provider's id, as in the product's paths.
    pub id: &'static str,
    /// The provider's name, for people.
    pub name: &'static str,
    /// Authorization endpoint.
    pub authorize: Place,
    /// Token endpoint.
    pub token: Place,
    /// Revocation endpoint (RFC 7009), if there is one.
    pub revoke: Option<Place>,
    /// Whether the revocation endpoint demands client authentication, as RFC 7009 §2.1 does; Google's does not.
    pub revoke_authenticates: bool,
    /// Where the account is read.
    pub userinfo: Place,
    /// Where tracks are searched with `?q=`.
    pub search: Place,
    /// Member of the userinfo answer that holds the account id.
    pub account_member: &'static str,
    /// What account ids begin with.
    pub account_prefix: &'static str,
    /// How clients authenticate.
    pub client_auth: ClientAuth,
    /// Whether an authorization request without PKCE is refused. `plain` is refused everywhere.
    pub pkce_required: bool,
    /// When a redirect URI equals a registered one.
    pub redirect: RedirectRule,
    /// When an authorization brings a refresh token.
    pub refresh_issue: RefreshIssue,
    /// Living grants that one account may have given one client; the oldest ends silently when there are more.
    pub grants_per_account: Option<usize>,
    /// Scope granted when none is asked for.
    pub default_scope: &'static str,
    /// Scheme of the API's Authorization header.
    pub api_scheme: &'static str,
    /// The shapes of its answers.
    pub dialect: Dialect,
    /// How it treats refresh tokens at first.
    pub behaviour: Behaviour,
}

impl Profile {
    /// Every place that the twin answers at.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        [Some(self.authorize), Some(self.token), self.revoke, Some(self.userinfo), Some(self.search)]
            .into_iter()
            .flatten()
    }
}
