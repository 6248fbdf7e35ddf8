//! The twins: facts of the real providers as far as they are known, and one provider that is nobody's.

use super::{ClientAuth, Dialect, Place, Profile, RedirectRule, RefreshIssue};
use crate::behaviour::{Behaviour, Mode, Revokes};

/// Seconds of an hour: the life of an access token at all three real providers.
const HOUR_S: u64 = 3600;

/// Life of a Spotify grant, in seconds: six months of the user's authorization, counted as 182 days.
const SPOTIFY_GRANT_S: u64 = 182 * 24 * HOUR_S;

/// Living refresh tokens that Google keeps for one account and client; the oldest is dropped silently.
const GOOGLE_GRANTS_PER_ACCOUNT: usize = 100;

/// SoundCloud: body credentials, PKCE demanded, single-use refresh tokens, no revocation endpoint known.
/// <https://developers.soundcloud.com/docs>
pub const SOUNDCLOUD: Profile = Profile {
    id: "soundcloud",
    name: "SoundCloud",
    authorize: Place { host: "secure.soundcloud.com", path: "/authorize" },
    token: Place { host: "secure.soundcloud.com", path: "/oauth/token" },
    revoke: None,
    revoke_authenticates: true,
    userinfo: Place { host: "api.soundcloud.com", path: "/me" },
    search: Place { host: "api.soundcloud.com", path: "/tracks" },
    account_member: "urn",
    account_prefix: "soundcloud:users:",
    client_auth: ClientAuth::Body,
    pkce_required: true,
    redirect: RedirectRule::Exact,
    refresh_issue: RefreshIssue::Always,
    grants_per_account: None,
    default_scope: "",
    api_scheme: "OAuth",
    dialect: Dialect::SoundCloud,
    behaviour: Behaviour {
        mode: Mode::Strict,
        access_lifetime_s: HOUR_S,
        grant_lifetime_s: None,
        revokes: Revokes::Nothing,
    },
};

/// Spotify: Basic credentials, a refresh token that stays, six months from the user's authorization.
/// <https://developer.spotify.com/blog/2026-06-18-refresh-token-expiration>
pub const SPOTIFY: Profile = Profile {
    id: "spotify",
    name: "Spotify",
    authorize: Place { host: "accounts.spotify.com", path: "/authorize" },
    token: Place { host: "accounts.spotify.com", path: "/api/token" },
    revoke: None,
    revoke_authenticates: true,
    userinfo: Place { host: "api.spotify.com", path: "/v1/me" },
    search: Place { host: "api.spotify.com", path: "/v1/search" },
    account_member: "id",
    account_prefix: "sandbox",
    client_auth: ClientAuth::Basic,
    pkce_required: false,
    redirect: RedirectRule::ExactButLoopbackPort,
    refresh_issue: RefreshIssue::Always,
    grants_per_account: None,
    default_scope: "",
    api_scheme: "Bearer",
    dialect: Dialect::Spotify,
    behaviour: Behaviour {
        mode: Mode::Reusable,
        access_lifetime_s: HOUR_S,
        grant_lifetime_s: Some(SPOTIFY_GRANT_S),
        revokes: Revokes::Nothing,
    },
};

/// Google for YouTube: a refresh token at the first consent only, never rotated; revoking ends the authorization.
/// <https://developers.google.com/identity/protocols/oauth2>
pub const YOUTUBE: Profile = Profile {
    id: "youtube",
    name: "YouTube",
    authorize: Place { host: "accounts.google.com", path: "/o/oauth2/v2/auth" },
    token: Place { host: "oauth2.googleapis.com", path: "/token" },
    revoke: Some(Place { host: "oauth2.googleapis.com", path: "/revoke" }),
    revoke_authenticates: false,
    userinfo: Place { host: "openidconnect.googleapis.com", path: "/v1/userinfo" },
    search: Place { host: "www.googleapis.com", path: "/youtube/v3/search" },
    account_member: "sub",
    account_prefix: "1",
    client_auth: ClientAuth::Either,
    pkce_required: false,
    redirect: RedirectRule::Exact,
    refresh_issue: RefreshIssue::OfflineConsent,
    grants_per_account: Some(GOOGLE_GRANTS_PER_ACCOUNT),
    default_scope: "openid",
    api_scheme: "Bearer",
    dialect: Dialect::Google,
    behaviour: Behaviour {
        mode: Mode::Reusable,
        access_lifetime_s: HOUR_S,
        grant_lifetime_s: None,
        revokes: Revokes::Grant,
    },
};

/// Nobody's provider, by the letter of the RFCs, with every endpoint: for tests that set its behaviour themselves.
pub const GENERIC: Profile = Profile {
    id: "generic",
    name: "Generic",
    authorize: Place { host: "provider.test", path: "/authorize" },
    token: Place { host: "provider.test", path: "/token" },
    revoke: Some(Place { host: "provider.test", path: "/revoke" }),
    revoke_authenticates: true,
    userinfo: Place { host: "provider.test", path: "/userinfo" },
    search: Place { host: "provider.test", path: "/tracks" },
    account_member: "sub",
    account_prefix: "",
    client_auth: ClientAuth::Either,
    pkce_required: true,
    redirect: RedirectRule::Exact,
    refresh_issue: RefreshIssue::Always,
    grants_per_account: None,
    default_scope: "music",
    api_scheme: "Bearer",
    dialect: Dialect::Plain,
    behaviour: Behaviour {
        mode: Mode::Strict,
        access_lifetime_s: HOUR_S,
        grant_lifetime_s: None,
        revokes: Revokes::Token,
    },
};
