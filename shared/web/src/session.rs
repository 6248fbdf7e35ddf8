//! The session: a JSON Web Token (RFC 7519) that travels in a cookie and nowhere else.
//!
//! Everything about the token is decided here and nothing by the token (RFC 8725): one algorithm, one `typ`, a header of
//! exactly three members, keys from a known set of at most two, issuer and audience this server. Whoever holds a copy of
//! the cookie is the person, so its life is bounded and stated: 30 days, renewed once a day, 180 days at most. Logging out
//! ends every copy: the user's row lists ended `sid`s, which is the engine's business.

use std::{fmt, time::Duration};

use aws_lc_rs::digest;
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use mm_model::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    cookies::{self, CookieError},
    origins::Origins,
    problem::{Problem, ProblemKind},
};

/// How long a session lives without being used. People return to a music player within weeks; a month is remembered.
pub const SESSION_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// How old a session must be to be renewed: once a day is enough to keep it alive, and most answers set no cookie.
pub const RENEWAL_AGE: Duration = Duration::from_hours(24);

/// How long a session may be renewed, counted from the login that started it: a stolen copy ends with it.
pub const SESSION_AGE_MAX: Duration = Duration::from_hours(180 * 24);

/// How far the clocks of two servers may differ (RFC 7519 §4.1.4: "some small leeway").
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Shortest key, 256 bits: as long as the hash (RFC 7518 §3.2, RFC 8725 §3.5).
pub const KEY_BYTES_MIN: usize = 32;

/// Longest token accepted, in bytes. Ours are under 900 with the longest user id and issuer; a longer one costs nothing.
pub const TOKEN_BYTES_MAX: usize = 2_048;

/// Explicit type (RFC 8725 §3.11): no other token that this key might sign is a session.
const TYP: &str = "mm-session+jwt";

/// Bytes of a key's id: enough to tell two keys apart.
const KID_BYTES: usize = 8;

/// What the hash of a key begins with, so that its id is of no use against another hash of the same key.
const KID_LABEL: &[u8] = b"multimusic session key id\0";

const _: () = assert!(RENEWAL_AGE.as_secs() < SESSION_LIFETIME.as_secs());
const _: () = assert!(SESSION_LIFETIME.as_secs() < SESSION_AGE_MAX.as_secs());

/// A key that is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session key needs at least {KEY_BYTES_MIN} bytes, as from `openssl rand -base64 48`")]
pub struct WeakKey;

/// One key: signs, verifies, and its id.
#[derive(Clone)]
struct Key {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Key {
    fn new(secret: &[u8]) -> Result<Self, WeakKey> {
        if secret.len() < KEY_BYTES_MIN {
            return Err(WeakKey);
        }
        let labelled = Zeroizing::new([KID_LABEL, secret].concat());
        let hash = digest::digest(&digest::SHA256, &labelled);
        let id: Vec<u8> = hash.as_ref().iter().copied().take(KID_BYTES).collect();
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(id),
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        })
    }
}

/// The keys of `JWT_SECRET`: the one that signs, and the one it replaced, which still verifies (rotation logs
/// nobody out). Keep the previous one for [`SESSION_LIFETIME`].
#[derive(Clone)]
pub struct SessionKeys {
    current: Key,
    previous: Option<Key>,
}

impl SessionKeys {
    /// Takes the secrets as bytes; each at least [`KEY_BYTES_MIN`] long.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Result<Self, WeakKey> {
        Ok(Self { current: Key::new(current)?, previous: previous.map(Key::new).transpose()? })
    }

    /// The key with this id. The id only selects among the keys held here: it is never a path, an address or a query.
    fn find(&self, id: &str) -> Option<&Key> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|key| key.id == id)
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous = self.previous.as_ref().map(|key| &key.id);
        write!(f, "SessionKeys({}, {previous:?})", self.current.id)
    }
}

/// Why a text is no session. For the log and for tests: a client learns of all of them the same way, `401`.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the session token is too long")]
    TooLong,
    /// Not three parts, or a header that is not JSON in base64, or one with members that ours never has (`crit`, `jku`, `jwk`).
    #[error("the session token's header is malformed")]
    Header,
    /// Another algorithm than HS256, `none` included.
    #[error("the session token names another algorithm")]
    Algorithm,
    /// Another `typ`.
    #[error("the token is not a session token")]
    Type,
    /// No `kid`, or one of a key that is not ours (any more).
    #[error("the session token names an unknown key")]
    UnknownKey,
    /// The signature, the issuer, the audience or the form of the claims is wrong.
    #[error("the session token does not verify")]
    Invalid,
    /// Signed by us and impossible: the times contradict each other or lie in the future.
    #[error("the session token's times contradict each other")]
    Times,
    /// Past `exp`.
    #[error("the session has expired")]
    Expired,
    /// Its login is [`SESSION_AGE_MAX`] ago: only a new login helps.
    #[error("the session is too old to be renewed")]
    TooOld,
    /// Signing failed.
    #[error("the session token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// The header, all of it. Anything else is refused, which is how unknown critical extensions must be treated (RFC 7515
/// §4.1.11) and why a key in the token (`jwk`, `jku`, `x5u`) is never looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: SessionId,
    iat: u64,
    exp: u64,
    auth_time: u64,
}

/// A verified session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is (`sub`).
    pub user: UserId,
    /// Which it is (`sid`): a fresh one at every login that begins a session. Connecting a further
    /// account is no such login: whoever does it is signed in already, and other tabs use the same copy.
    pub sid: SessionId,
    /// When this copy was signed (`iat`).
    pub issued_at: Timestamp,
    /// When it ends unless it is renewed (`exp`).
    pub expires_at: Timestamp,
    /// When the login happened that started it (`auth_time`, OpenID Connect Core §2).
    pub auth_time: Timestamp,
}

impl Session {
    /// Whether an answer should carry a fresh copy: this one is over a day old, and a fresh one would live longer.
    pub fn renewal_due(&self, now: Timestamp) -> bool {
        now.since(self.issued_at) > RENEWAL_AGE && self.expires_at < end(self.auth_time, now)
    }
}

/// When a session signed now ends.
fn end(auth_time: Timestamp, now: Timestamp) -> Timestamp {
    now.plus(SESSION_LIFETIME).min(auth_time.plus(SESSION_AGE_MAX))
}

/// A signed token, for [`cookies::set_session`] alone. Its Debug shows nothing of it.
pub struct SignedSession {
    token: Zeroizing<String>,
    max_age: Duration,
}

impl SignedSession {
    /// The token. Every caller of this is a place to review.
    pub fn expose(&self) -> &str {
        &self.token
    }

    /// How long the cookie lives: as long as the token.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }
}

impl fmt::Debug for SignedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedSession(…)")
    }
}

/// Signs and verifies sessions of one server.
#[derive(Clone, Debug)]
pub struct Sessions {
    keys: SessionKeys,
    issuer: String,
    validation: Validation,
}

impl Sessions {
    /// The sessions of the server at `PUBLIC_URL`, which is their issuer and their audience.
    pub fn new(keys: SessionKeys, origins: &Origins) -> Self {
        let issuer = origins.public_url().to_string();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The library reads the system's clock; `verify` takes the time and checks it itself.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { keys, issuer, validation }
    }

    /// Signs a session of this user. When a session begins, `sid` is fresh and `auth_time` is now.
    ///
    /// # Errors
    /// [`SessionError::TooOld`] when the login is [`SESSION_AGE_MAX`] ago, [`SessionError::Sign`].
    pub fn issue(
        &self,
        user: UserId,
        sid: SessionId,
        auth_time: Timestamp,
        now: Timestamp,
    ) -> Result<SignedSession, SessionError> {
        let expires_at = end(auth_time, now);
        if expires_at <= now {
            return Err(SessionError::TooOld);
        }
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(self.keys.current.id.clone());
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: user,
            sid,
            iat: now.unix(),
            exp: expires_at.unix(),
            auth_time: auth_time.unix(),
        };
        let token = jsonwebtoken::encode(&header, &claims, &self.keys.current.encoding).map_err(SessionError::Sign)?;
        Ok(SignedSession { token: Zeroizing::new(token), max_age: expires_at.since(now) })
    }

    /// Signs a fresh copy of a session, with the current key: same user, same `sid`, same login.
    pub fn renew(&self, session: &Session, now: Timestamp) -> Result<SignedSession, SessionError> {
        self.issue(session.user.clone(), session.sid, session.auth_time, now)
    }

    /// Verifies a token. Everything that the header says is compared with what we would have written before a key is used.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Session, SessionError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(SessionError::TooLong);
        }
        let header = strict_header(token)?;
        if header.alg != "HS256" {
            return Err(SessionError::Algorithm);
        }
        if header.typ.as_deref() != Some(TYP) {
            return Err(SessionError::Type);
        }
        let key = header.kid.and_then(|id| self.keys.find(&id));
        let key = key.ok_or(SessionError::UnknownKey)?;
        let verified = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation);
        let claims = verified.map_err(|_| SessionError::Invalid)?.claims;
        session(claims, now)
    }

    /// The live session of a request, if its cookie carries one. A token that does not verify is no session; the reason is
    /// logged, the token is not.
    pub fn current(&self, headers: &HeaderMap, now: Timestamp) -> Result<Option<Session>, CookieError> {
        let Some(token) = cookies::read_session(headers)? else {
            return Ok(None);
        };
        match self.verify(token, now) {
            Ok(session) => Ok(Some(session)),
            Err(error) => {
                tracing::debug!(%error, "a session cookie was not accepted");
                Ok(None)
            }
        }
    }

    /// The live session of a request that needs one.
    pub fn required(&self, headers: &HeaderMap, now: Timestamp) -> Result<Session, Problem> {
        let session = self.current(headers, now)?;
        session.ok_or_else(|| Problem::new(ProblemKind::NoSession))
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::TooLong
            | SessionError::Header
            | SessionError::Algorithm
            | SessionError::Type
            | SessionError::UnknownKey
            | SessionError::Invalid
            | SessionError::Times
            | SessionError::Expired
            | SessionError::TooOld => Self::new(ProblemKind::NoSession),
            SessionError::Sign(_) => Self::new(ProblemKind::Internal),
        }
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// The header of a token of three parts.
fn strict_header(token: &str) -> Result<StrictHeader, SessionError> {
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(SessionError::Header);
    };
    let json = URL_SAFE_NO_PAD.decode(header);
    let json = json.map_err(|_| SessionError::Header)?;
    serde_json::from_slice(&json).map_err(|_| SessionError::Header)
}

/// The session that signed claims describe, checked as they were when written: an impossible one was not written by this
/// code, whatever its signature says.
fn session(claims: Claims, now: Timestamp) -> Result<Session, SessionError> {
    let issued_at = Timestamp::from_unix(claims.iat);
    let expires_at = Timestamp::from_unix(claims.exp);
    let auth_time = Timestamp::from_unix(claims.auth_time);
    let possible =
        auth_time <= issued_at.plus(LEEWAY) && issued_at <= now.plus(LEEWAY) && expires_at <= end(auth_time, issued_at);
    if !possible {
        return Err(SessionError::Times);
    }
    if now >= expires_at.plus(LEEWAY) {
        return Err(SessionError::Expired);
    }
    Ok(Session { user: claims.sub, sid: claims.sid, issued_at, expires_at, auth_time })
}

#[cfg(test)]
mod tests;
