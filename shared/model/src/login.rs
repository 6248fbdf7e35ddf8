//! Logging in: what is remembered between the two halves, who the person is, and the row that comes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Connection, ConnectionKey, Issuer, ProviderId, Sealed, SessionId, Timestamp, UserId, Version,
    connection::{Active, Status},
    event::EventMark,
    grant::Grant,
    limits::{PENDING_LOGIN_LIFETIME, REVOCATIONS_MAX},
    user::User,
    wheel,
};

/// A login between its start and its callback. Taken once, by the hash of its `state` (RFC 6749 §10.12, RFC 9700 §4.7).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLogin {
    /// The provider it was made for: a callback of another one is refused (RFC 9700 §4.4).
    pub provider: ProviderId,
    /// Who the person was when they began.
    pub person: Person,
    /// SHA-256 of the browser's binding cookie.
    #[serde(with = "crate::id::base64_bytes")]
    pub browser: Vec<u8>,
    /// The PKCE verifier (RFC 7636 §4.1); never leaves the back end but for the token request.
    pub code_verifier: String,
    /// The redirect URI that the token request has to repeat (RFC 6749 §4.1.3).
    pub redirect_uri: String,
    /// Where the browser goes afterwards: an address on a frontend, checked when the login began.
    pub return_to: String,
    /// What to do when accounts and people do not match.
    pub intent: Intent,
    /// Whether this round already asks with the provider's re-consent parameters.
    pub reconsent: bool,
    /// When the login began.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingLogin")
            .field("provider", &self.provider)
            .field("person", &self.person)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

impl PendingLogin {
    /// When the login can no longer be completed.
    pub const fn expires_at(&self) -> Timestamp {
        self.created_at.plus(PENDING_LOGIN_LIFETIME)
    }
}

/// Who began a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Person {
    /// Somebody with a session.
    Session {
        /// Whose.
        user: UserId,
        /// Which one.
        session: SessionId,
    },
    /// Nobody yet: the id that the browser's first connection will get. All logins that one browser begins before it has
    /// a session share it, so that they land on one person.
    Provisional {
        /// The id to be.
        user: UserId,
    },
}

/// What the person wants done when the account turns out to be someone else's, or another one than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Refuse and tell.
    #[default]
    Plain,
    /// Another account of the same provider takes the place of the present one (`replace=1`).
    Replace,
    /// The session becomes that of the account's owner (`on_conflict=switch`).
    Switch,
    /// The account leaves its owner and is connected here (`on_conflict=move`).
    Move,
}

/// Whose connection a completed consent becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Under this person; `from` loses it.
    Under {
        /// The person.
        user: UserId,
        /// The person who had the account, when it moves.
        from: Option<UserId>,
        /// How the person came to be that one.
        standing: Standing,
    },
    /// Nothing is written.
    Conflict(Conflict),
}

/// How the person of a completed login stands to the session they came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They had a session and keep it.
    SignedIn,
    /// They had none, or another person's: a new session begins.
    SignsIn,
}

/// Why a completed consent cannot become a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The account belongs to another person.
    AccountInUse,
    /// Another account of that provider is connected.
    AccountMismatch,
    /// The person who began the login is not the one who ended it.
    PersonChanged,
}

/// How long after a person's first login a sibling of it may join them without their session. The answer that carries the
/// session is on its way for as long as a callback takes; whoever has received it needs no joining.
pub const SIBLING_WINDOW: Duration = Duration::from_secs(30);

/// The person that a callback speaks for, before the account is known. `session` is the callback's own live session.
///
/// A provisional person is taken up by whoever is signed in by now in that browser. Without a session it is good only
/// while nobody else can have come between: the person's row does not exist, or it was made a moment ago by a sibling
/// login after this one began, and nobody has logged out of it. On a shared computer this keeps the second person out of
/// the first one's rows, however the first left; and whoever carried the browser's binding away cannot wait at the provider
/// for somebody to become that person.
pub fn person(
    pending: &PendingLogin,
    session: Option<&UserId>,
    provisional_row: Option<&User>,
    now: Timestamp,
) -> Result<Candidate, Conflict> {
    match (&pending.person, session) {
        (Person::Session { user, .. }, Some(session)) if user == session => Ok(Candidate::Known { user: user.clone() }),
        (Person::Session { .. }, Some(_)) => Err(Conflict::PersonChanged),
        (Person::Session { .. }, None) => Ok(Candidate::Stranger { user: None }),
        (Person::Provisional { .. }, Some(session)) => Ok(Candidate::Known { user: session.clone() }),
        (Person::Provisional { user }, None) => {
            let sibling =
                |row: &User| row.created_at >= pending.created_at && now.since(row.created_at) <= SIBLING_WINDOW;
            let untouched = provisional_row.is_none_or(|row| sibling(row) && row.last_logout_at.is_none());
            Ok(Candidate::Stranger { user: Some(user.clone()).filter(|_| untouched) })
        }
    }
}

/// The outcome of [`person`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A person with a live session.
    Known {
        /// Who.
        user: UserId,
    },
    /// A person without one, and the id that is theirs if the account is nobody's; `None` asks for a fresh id.
    Stranger {
        /// The provisional id.
        user: Option<UserId>,
    },
}

/// Decides whose connection it becomes: the five cases of a callback.
///
/// `owner` is whoever has the account now; `present` the account connected at this provider under the candidate;
/// `fresh` an id for a person nobody has seen yet.
pub fn place(
    candidate: &Candidate,
    owner: Option<&UserId>,
    present: Option<&AccountId>,
    account: &AccountId,
    intent: Intent,
    fresh: &UserId,
) -> Placement {
    let under = |user: &UserId, from: Option<&UserId>, standing| Placement::Under {
        user: user.clone(),
        from: from.cloned(),
        standing,
    };
    let occupied = present.is_some_and(|present| present != account);
    match (candidate, owner) {
        (Candidate::Stranger { .. }, Some(owner)) => under(owner, None, Standing::SignsIn),
        (Candidate::Known { user }, Some(owner)) if owner != user => match intent {
            Intent::Switch => under(owner, None, Standing::SignsIn),
            Intent::Move if !occupied => under(user, Some(owner), Standing::SignedIn),
            Intent::Move => Placement::Conflict(Conflict::AccountMismatch),
            Intent::Plain | Intent::Replace => Placement::Conflict(Conflict::AccountInUse),
        },
        (Candidate::Known { .. } | Candidate::Stranger { .. }, _) if occupied && intent != Intent::Replace => {
            Placement::Conflict(Conflict::AccountMismatch)
        }
        (Candidate::Known { user }, _) => under(user, None, Standing::SignedIn),
        (Candidate::Stranger { user }, None) => under(user.as_ref().unwrap_or(fresh), None, Standing::SignsIn),
    }
}

/// What a completed consent brought, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The registration that it was given to.
    pub issuer: Issuer,
    /// The provider's account.
    pub account: AccountId,
    /// The new token pair's id.
    pub version: Version,
    /// Sealed under [`Self::version`].
    pub access_token: Sealed,
    /// Sealed under [`Self::version`]: the answer's, or the one kept from before.
    pub refresh_token: Option<Sealed>,
    /// The access token's life in seconds.
    pub lifetime: u64,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The scope granted.
    pub scope: Option<String>,
    /// How long the provider lets the grant live, where that is fixed.
    pub grant_lifetime: Option<Duration>,
    /// When the answer came.
    pub now: Timestamp,
}

impl Connection {
    /// The row that a login writes over `previous`. Intents to revoke are carried over; where the account is another one
    /// than before, its grant is added to them when `revoke_previous` says so.
    pub fn establish(key: ConnectionKey, consent: Consent, previous: Option<&Self>, revoke_previous: bool) -> Self {
        let mut revocations = previous.map(|previous| previous.revocations.clone()).unwrap_or_default();
        let replaced = previous.filter(|previous| previous.account != consent.account && revoke_previous);
        revocations.extend(replaced.and_then(Self::owed_revocation));
        revocations.drain(..revocations.len().saturating_sub(REVOCATIONS_MAX));
        let now = consent.now;
        let seat = previous.and_then(Self::active).and_then(|active| active.seat);
        let lifetime = Duration::from_secs(consent.lifetime);
        // A login wakes: whoever had a slow seat gets one on the fast wheel.
        let seat = seat.filter(|seat| seat.wheel() == wheel::Wheel::Fast);
        let plan = wheel::plan(&key, seat, 0, lifetime, now, consent.expires_at);
        let renewable = consent.refresh_token.is_some();
        let active = Active {
            access_token: consent.access_token,
            refresh_token: consent.refresh_token,
            expires_at: consent.expires_at,
            lifetime: consent.lifetime,
            seat: plan.reseat.or(seat),
            misfits: plan.misfits,
            // Without a refresh token the pass after expiry finds it and tells.
            next_refresh_at: if renewable { plan.next_refresh_at } else { consent.expires_at },
            soon: plan.soon.filter(|_| renewable),
            lease: None,
            unknown_outcomes: 0,
            attempts: 0,
            last_error: None,
            seen_at: now,
            grant: Grant::new(now, consent.grant_lifetime),
        };
        let created_at =
            previous.filter(|previous| previous.is_connected()).map_or(now, |previous| previous.created_at);
        Self {
            key,
            version: consent.version,
            issuer: consent.issuer,
            account: consent.account,
            scope: consent.scope,
            created_at: created_at.min(now),
            updated_at: now,
            event: Some(EventMark::Connected),
            revocations,
            status: Status::Active(Box::new(active)),
        }
    }

    /// For a provider where revoking one token ends the whole authorization: what would end the grant just made is owed no
    /// more, and what the login held of other accounts is free to be carried out.
    #[must_use]
    pub fn sparing_its_grant(mut self) -> Self {
        self.revocations.retain(|owed| owed.account != self.account);
        for owed in &mut self.revocations {
            owed.lease = None;
        }
        self
    }
}

#[cfg(test)]
mod tests;
