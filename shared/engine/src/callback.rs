//! The second half of a login: the code redeemed, the person decided, the connection written.

use std::time::Duration;

use mm_model::{
    AccountId, Connection, ConnectionKey, ProviderId, RefreshToken, Timestamp, User, UserId,
    connection::Active,
    limits::{LOGIN_MAX, PROVIDER_TIMEOUT},
    login::{Candidate, Conflict, Consent, PendingLogin, Person, Placement, Standing, person, place},
};
use mm_oauth::{
    AccountError, AuthorizationCode, CodeVerifier, ExchangeOutcome, Revokes, Rotation, TokenAnswer, check_issuer,
};
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::{
    CipherError, Engine, Offer, Session,
    causes::chain,
    login::state_hash,
    ports::{Consistency, Expected, Link, LinkOutcome, PersonRows, StoreError, TakenFrom},
};

mod hold;

/// How long after its callback a login may still redeem its code: what [`LOGIN_MAX`] leaves besides the provider's two
/// answers.
const REDEEM_WITHIN: Duration = LOGIN_MAX.saturating_sub(Duration::from_secs(2 * PROVIDER_TIMEOUT.as_secs()));

/// Tries to write a login whose rows others are changing.
const LINK_TRIES: u32 = 5;

/// What the provider's redirect brought (RFC 6749 §4.1.2, RFC 9207), each parameter once.
#[derive(Debug, Default)]
pub struct CallbackQuery {
    /// The login's key.
    pub state: Option<String>,
    /// The authorization code.
    pub code: Option<AuthorizationCode>,
    /// The provider's error code.
    pub error: Option<String>,
    /// The authorization server's name for itself.
    pub iss: Option<String>,
}

/// A callback.
#[derive(Debug)]
pub struct CallbackRequest {
    /// The provider in the path.
    pub provider: ProviderId,
    /// The parameters.
    pub query: CallbackQuery,
    /// SHA-256 of the browser's binding cookie, if it brought one.
    pub browser: Option<[u8; 32]>,
    /// The session that the browser has.
    pub session: Option<Session>,
}

/// What came of a callback.
#[derive(Debug)]
pub enum CallbackOutcome {
    /// The account is connected.
    Connected {
        /// Whose it is.
        user: UserId,
        /// Whether a session begins with it.
        standing: Standing,
        /// When a session that begins now begins.
        session_start: Timestamp,
        /// Where the browser goes.
        return_to: String,
    },
    /// The provider left out a refresh token that it normally issues: the person is asked once more, with the parameters
    /// that bring one.
    Again {
        /// Where the browser goes.
        authorization_url: Url,
    },
    /// Nothing was written.
    Failed {
        /// Why.
        failure: LoginFailure,
        /// Where the browser goes, when the login was known.
        return_to: Option<String>,
    },
}

/// Why a login failed: the closed list that frontends know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The person said no.
    AccessDenied,
    /// The login is unknown, over, or used.
    LoginExpired,
    /// Another browser began it.
    LoginOtherBrowser,
    /// The account belongs to somebody else here.
    AccountInUse,
    /// Another account of the provider is connected.
    AccountMismatch,
    /// The provider, or something here, did not answer: try again.
    ProviderUnavailable,
    /// The provider refused.
    ProviderRefused,
    /// This installation's registration at the provider is wrong or missing.
    NotConfigured,
}

impl Engine {
    /// Completes a login. The order of the checks matters: nothing is sent to the provider before the login is taken, and
    /// taken once, and belongs to this provider and this browser.
    pub async fn complete_login(&self, request: CallbackRequest) -> CallbackOutcome {
        let Some(offer) = self.offers.get(&request.provider) else {
            return CallbackOutcome::Failed { failure: LoginFailure::NotConfigured, return_to: None };
        };
        let pending = match self.take(&request).await {
            Ok(Some(pending)) => pending,
            Ok(None) => return CallbackOutcome::Failed { failure: LoginFailure::LoginExpired, return_to: None },
            Err(error) => {
                tracing::error!(error = %chain(&error), "login.callback: the pending login could not be taken");
                return CallbackOutcome::Failed { failure: LoginFailure::ProviderUnavailable, return_to: None };
            }
        };
        let return_to = pending.return_to.clone();
        match self.complete(offer, pending, request).await {
            Ok(outcome) => outcome,
            Err(stop) => {
                stop.log_cause();
                let failure = stop.failure();
                tracing::info!(provider = %offer.provider.id, ?failure, "login.failed");
                CallbackOutcome::Failed { failure, return_to: Some(return_to) }
            }
        }
    }

    async fn take(&self, request: &CallbackRequest) -> Result<Option<PendingLogin>, StoreError> {
        match &request.query.state {
            Some(state) => self.store.take_login(&state_hash(state), self.clock.now()).await,
            None => Ok(None),
        }
    }

    async fn complete(
        &self,
        offer: &Offer,
        pending: PendingLogin,
        request: CallbackRequest,
    ) -> Result<CallbackOutcome, Stop> {
        // Mix-up (RFC 9700 §4.4): a state made for one provider is worth nothing at another's callback.
        if pending.provider != request.provider {
            return Err(Stop::Failure(LoginFailure::LoginExpired));
        }
        // Login CSRF (RFC 9700 §4.7): whoever sends a victim to a callback of their own login has another browser.
        let same_browser = request.browser.is_some_and(|browser| bool::from(browser.ct_eq(&pending.browser)));
        if !same_browser {
            return Err(Stop::Failure(LoginFailure::LoginOtherBrowser));
        }
        // Rule 23 (RFC 6749 §4.1.3): the token request has to repeat the redirect URI of this login's authorization request. The
        // present registration would send another one.
        if pending.redirect_uri != offer.registration.redirect_uri().as_str() {
            tracing::warn!(provider = %offer.provider.id, "login.callback: the redirect URI changed since the login began");
            return Err(Stop::Failure(LoginFailure::LoginExpired));
        }
        check_issuer(&offer.provider, request.query.iss.as_deref())
            .map_err(|_| Stop::Failure(LoginFailure::ProviderRefused))?;
        if let Some(error) = &request.query.error {
            return Err(Stop::Failure(denied(error)));
        }
        let code = request.query.code.ok_or(Stop::Failure(LoginFailure::ProviderRefused))?;

        let began_at = self.clock.now();
        let candidate = self.candidate(&pending, request.session.as_ref()).await?;
        self.hold_revocations(offer, &candidate).await?;
        let verifier = CodeVerifier::from_stored(pending.code_verifier.clone())
            .map_err(|_| Stop::Failure(LoginFailure::LoginExpired))?;
        // A machine that stood still meanwhile: what is held might be let go before the new grant's row is written.
        if self.clock.now().since(began_at) > REDEEM_WITHIN {
            tracing::warn!(provider = %offer.provider.id, "login.callback: not redeemed, too much time has passed");
            return Err(Stop::Failure(LoginFailure::ProviderUnavailable));
        }
        let answer = self.redeem(offer, code, &verifier).await?;
        let now = self.clock.now();
        let account =
            self.client.account(&offer.provider, &offer.registration, &answer, now).await.map_err(Stop::Account)?;
        self.link(offer, &pending, &candidate, &answer, &account).await
    }

    /// Who the callback speaks for.
    async fn candidate(&self, pending: &PendingLogin, session: Option<&Session>) -> Result<Candidate, Stop> {
        let live = match session {
            Some(session) if self.is_live(session).await? => Some(&session.user),
            _ => None,
        };
        let provisional = match (&pending.person, live) {
            (Person::Provisional { user }, None) => self.store.person(user, Consistency::Strong).await?.user,
            _ => None,
        };
        person(pending, live, provisional.as_ref(), self.clock.now()).map_err(Stop::Conflict)
    }

    async fn redeem(
        &self,
        offer: &Offer,
        code: AuthorizationCode,
        verifier: &CodeVerifier,
    ) -> Result<TokenAnswer, Stop> {
        let now = self.clock.now();
        let outcome =
            self.client.exchange_with(&offer.provider, &offer.registration, &*self.secrets, code, verifier, now).await;
        match outcome {
            ExchangeOutcome::Granted(answer) => Ok(answer),
            ExchangeOutcome::Refused { .. } => Err(Stop::Failure(LoginFailure::ProviderRefused)),
            ExchangeOutcome::Misconfigured { error } => {
                tracing::error!(provider = %offer.provider.id, %error, "login.misconfigured: the provider refuses this registration");
                Err(Stop::Failure(LoginFailure::NotConfigured))
            }
            ExchangeOutcome::Throttled { .. } | ExchangeOutcome::Unavailable { .. } => {
                Err(Stop::Failure(LoginFailure::ProviderUnavailable))
            }
        }
    }

    /// Decides whose connection it becomes and writes it; again from the start of the decision when a row changed under it.
    async fn link(
        &self,
        offer: &Offer,
        pending: &PendingLogin,
        candidate: &Candidate,
        answer: &TokenAnswer,
        account: &AccountId,
    ) -> Result<CallbackOutcome, Stop> {
        let provider = &offer.provider.id;
        let fresh = self.fresh_user();
        for _ in 0..LINK_TRIES {
            let owner = self.store.owner(provider, account).await?;
            let present = self.rows_of(candidate).await?;
            let present = present.connection(provider).filter(|row| row.is_connected()).map(|row| &row.account);
            let placement = place(candidate, owner.as_ref(), present, account, pending.intent, &fresh);
            let (user, from, standing) = match placement {
                Placement::Under { user, from, standing } => (user, from, standing),
                Placement::Conflict(conflict) => return Err(Stop::Conflict(conflict)),
            };
            let rows = self.store.person(&user, Consistency::Strong).await?;
            if rows.user.is_none() && matches!(candidate, Candidate::Known { user: known } if *known == user) {
                // They deleted themselves while the provider was asked: nothing of them comes back.
                return Err(Stop::Conflict(Conflict::PersonChanged));
            }
            let previous = rows.connection(provider);
            let kept = self.kept_refresh_token(offer, previous, answer, account).await?;
            if kept.is_none() && answer.refresh_token.is_none() && offer.provider.refresh_tokens && !pending.reconsent {
                let again = PendingLogin { reconsent: true, created_at: self.clock.now(), ..pending.clone() };
                return Ok(CallbackOutcome::Again { authorization_url: self.begin(offer, again).await? });
            }
            let Some(taken_from) = self.taken_from(offer, from.as_ref(), account).await? else { continue };
            let connection = self.establish(offer, &user, previous, answer, kept.as_ref(), account).await?;
            let now = connection.updated_at;
            let link = Link {
                expected: previous.map_or(Expected::Absent, |row| Expected::Version(row.version)),
                released: previous
                    .filter(|row| row.is_connected() && row.account != *account)
                    .map(|row| row.account.clone()),
                // Written only if there is none: never the row that was read, which would bring its sessions back.
                user: User::new(user.clone(), now),
                taken_from,
                connection,
            };
            if self.store.link(&link).await? == LinkOutcome::Done {
                tracing::info!(connection = %link.connection.key, ?standing, "login.connected");
                let session_start = self.session_start(&user, rows.user.as_ref(), now).await?;
                return Ok(CallbackOutcome::Connected {
                    user,
                    standing,
                    session_start,
                    return_to: pending.return_to.clone(),
                });
            }
        }
        tracing::error!(%provider, "login.link: the rows kept changing");
        Err(Stop::Failure(LoginFailure::ProviderUnavailable))
    }

    /// When a session of this person begins that begins now. A person who had no row when the login looked may have been
    /// made by a sibling login in the meantime: the row that is there now decides.
    async fn session_start(&self, user: &UserId, row: Option<&User>, now: Timestamp) -> Result<Timestamp, StoreError> {
        if let Some(row) = row {
            return Ok(row.session_start(now));
        }
        let rows = self.store.person(user, Consistency::Strong).await?;
        Ok(rows.user.map_or(now, |row| row.session_start(now)))
    }

    async fn rows_of(&self, candidate: &Candidate) -> Result<PersonRows, StoreError> {
        match candidate {
            Candidate::Known { user } | Candidate::Stranger { user: Some(user) } => {
                self.store.person(user, Consistency::Strong).await
            }
            Candidate::Stranger { user: None } => Ok(PersonRows::default()),
        }
    }

    /// The refresh token kept from before, where the answer left it out and the account is the same. One that a refresh may
    /// have spent, or is spending, is none: kept, it would be sent a second time, which kills the grant.
    async fn kept_refresh_token(
        &self,
        offer: &Offer,
        previous: Option<&Connection>,
        answer: &TokenAnswer,
        account: &AccountId,
    ) -> Result<Option<RefreshToken>, Stop> {
        let same = |row: &&Connection| row.account == *account && row.issuer == *offer.issuer();
        let Some(row) = previous.filter(same).filter(|_| answer.refresh_token.is_none()) else { return Ok(None) };
        let spends = offer.provider.rotation == Rotation::Strict;
        let unspent = |active: &&Active| !(spends && (active.lease.is_some() || active.unknown_outcomes > 0));
        let active = row.active().filter(unspent);
        let Some(sealed) = active.and_then(|active| active.refresh_token.as_ref()) else { return Ok(None) };
        Ok(Some(self.cipher.open_refresh_token(&row.key, row.version, sealed).await?))
    }

    /// The other side of a move. `None`: the other person's row is not as the identity says; look again.
    async fn taken_from(
        &self,
        offer: &Offer,
        from: Option<&UserId>,
        account: &AccountId,
    ) -> Result<Option<Option<TakenFrom>>, Stop> {
        let Some(from) = from else { return Ok(Some(None)) };
        let rows = self.store.person(from, Consistency::Strong).await?;
        let Some(row) = rows.connection(&offer.provider.id).filter(|row| row.account == *account) else {
            return Ok(None);
        };
        let expected = row.version;
        // The grant lives on here: only where tokens are revoked one by one may the old pair be.
        let revoke = offer.provider.revokes == Revokes::Token;
        let tombstone = row.clone().disconnect(self.new_version(), self.clock.now(), revoke);
        Ok(Some(Some(TakenFrom { tombstone, expected })))
    }

    async fn establish(
        &self,
        offer: &Offer,
        user: &UserId,
        previous: Option<&Connection>,
        answer: &TokenAnswer,
        kept: Option<&RefreshToken>,
        account: &AccountId,
    ) -> Result<Connection, Stop> {
        let key = ConnectionKey { user: user.clone(), provider: offer.provider.id.clone() };
        let sealer = self.cipher.sealer().await?;
        let version = self.new_version();
        let now = self.clock.now();
        let refresh_token = answer.refresh_token.as_ref().or(kept);
        let consent = Consent {
            issuer: offer.issuer().clone(),
            account: account.clone(),
            version,
            access_token: sealer.access_token(&key, version, &answer.access_token)?,
            refresh_token: refresh_token.map(|token| sealer.refresh_token(&key, version, token)).transpose()?,
            lifetime: answer.expires_in.as_secs(),
            expires_at: now.plus(answer.expires_in),
            scope: answer.scope.clone().or_else(|| Some(offer.registration.scopes().join(" "))),
            grant_lifetime: offer.provider.grant_lifetime,
            now,
        };
        let revokes = offer.provider.revokes;
        let connection = Connection::establish(key, consent, previous, revokes != Revokes::None);
        Ok(if revokes == Revokes::Grant { connection.sparing_its_grant() } else { connection })
    }
}

/// Why a login stops.
enum Stop {
    Failure(LoginFailure),
    Conflict(Conflict),
    Account(AccountError),
    Store(StoreError),
    Cipher(CipherError),
}

impl Stop {
    /// What the frontend is told.
    fn failure(&self) -> LoginFailure {
        match self {
            Self::Failure(failure) => *failure,
            Self::Conflict(Conflict::AccountInUse) => LoginFailure::AccountInUse,
            Self::Conflict(Conflict::AccountMismatch) => LoginFailure::AccountMismatch,
            Self::Conflict(Conflict::PersonChanged) => LoginFailure::LoginExpired,
            Self::Account(error) => account_failure(error),
            Self::Store(_) | Self::Cipher(_) => LoginFailure::ProviderUnavailable,
        }
    }

    /// Logs what is no fault of the person's: what they are told does not say it.
    fn log_cause(&self) {
        match self {
            Self::Failure(_) | Self::Conflict(_) => {}
            Self::Account(error) => {
                tracing::error!(error = %chain(error), "login.account: the provider did not say whose account it is");
            }
            Self::Store(error) => {
                tracing::error!(error = %chain(error), "login.callback: the table did not do its part");
            }
            Self::Cipher(error) => {
                tracing::error!(error = %chain(error), "login.callback: the tokens could not be sealed or opened");
            }
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CipherError> for Stop {
    fn from(error: CipherError) -> Self {
        Self::Cipher(error)
    }
}

/// What the provider's own error code means for the person (RFC 6749 §4.1.2.1).
fn denied(error: &str) -> LoginFailure {
    match error {
        "access_denied" => LoginFailure::AccessDenied,
        "temporarily_unavailable" | "server_error" => LoginFailure::ProviderUnavailable,
        "unauthorized_client" | "invalid_scope" | "unsupported_response_type" => LoginFailure::NotConfigured,
        _ => LoginFailure::ProviderRefused,
    }
}

fn account_failure(error: &AccountError) -> LoginFailure {
    match error {
        AccountError::Refused { .. } => LoginFailure::ProviderRefused,
        AccountError::ForbiddenEndpoint => LoginFailure::NotConfigured,
        // Throttled, unavailable, missing; and whatever else the client learns to tell apart, for its enum is non-exhaustive.
        _ => LoginFailure::ProviderUnavailable,
    }
}
