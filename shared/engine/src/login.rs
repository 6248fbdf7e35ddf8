//! The first half of a login: `state` and PKCE minted, the pending login kept, the provider's address answered.

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mm_model::{
    ProviderId, UserId,
    login::{Intent, PendingLogin, Person},
};
use mm_oauth::{CodeVerifier, authorization_url};
use url::Url;

use crate::{
    Engine, Offer, Session,
    ports::{Consistency, StateHash, StoreError},
};

/// How many people one browser's binding may have begun before a fresh id is drawn. More than a shared computer sees
/// within the binding's life.
const PROVISIONAL_TRIES: u8 = 4;

/// What the browser asks for.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// Where to log in.
    pub provider: ProviderId,
    /// The session that the browser has, if any; one that was ended counts as none.
    pub session: Option<Session>,
    /// SHA-256 of the browser's binding cookie (RFC 9700 §4.7).
    pub browser: [u8; 32],
    /// Where the browser goes afterwards: an address on a frontend, already checked.
    pub return_to: Url,
    /// What to do when accounts and people do not match.
    pub intent: Intent,
}

/// A login that has begun.
#[derive(Clone, Debug)]
pub struct LoginStarted {
    /// Where the browser goes now (RFC 6749 §4.1.1).
    pub authorization_url: Url,
}

/// A login could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartLoginError {
    /// The provider is not on offer.
    #[error("the provider is not on offer")]
    UnknownProvider,
    /// The table.
    #[error("the login could not be kept")]
    Store(#[from] StoreError),
}

impl Engine {
    /// Begins a login.
    pub async fn start_login(&self, request: LoginRequest) -> Result<LoginStarted, StartLoginError> {
        let offer = self.offers.get(&request.provider).ok_or(StartLoginError::UnknownProvider)?;
        let person = match &request.session {
            Some(session) if self.is_live(session).await? => {
                Person::Session { user: session.user.clone(), session: session.id }
            }
            _ => Person::Provisional { user: self.provisional_user(&request.browser).await? },
        };
        let login = PendingLogin {
            provider: request.provider,
            person,
            browser: request.browser.to_vec(),
            code_verifier: String::new(),
            redirect_uri: offer.registration.redirect_uri().to_string(),
            return_to: request.return_to.into(),
            intent: request.intent,
            reconsent: false,
            created_at: self.clock.now(),
        };
        Ok(LoginStarted { authorization_url: self.begin(offer, login).await? })
    }

    /// Keeps the login under a fresh `state` and verifier and returns the address that carries them.
    pub(crate) async fn begin(&self, offer: &Offer, login: PendingLogin) -> Result<Url, StoreError> {
        let state = URL_SAFE_NO_PAD.encode(self.rng.bytes::<32>());
        let verifier = CodeVerifier::from_random(self.rng.bytes());
        let login = PendingLogin { code_verifier: verifier.expose().to_owned(), ..login };
        self.store.begin_login(&state_hash(&state), &login).await?;
        Ok(authorization_url(&offer.provider, &offer.registration, &state, &verifier, login.reconsent))
    }

    /// Whether the session was not ended since its token was signed.
    pub(crate) async fn is_live(&self, session: &Session) -> Result<bool, StoreError> {
        let rows = self.store.person(&session.user, Consistency::Strong).await?;
        Ok(rows.user.is_some_and(|user| user.admits(session.id, session.began_at)))
    }

    /// The id that the browser's first connection gets: the same for all logins begun before there is a session, another
    /// one once somebody has become that person.
    async fn provisional_user(&self, browser: &[u8; 32]) -> Result<UserId, StoreError> {
        for round in 0..PROVISIONAL_TRIES {
            let Some(user) = provisional_id(browser, round) else { continue };
            if self.store.person(&user, Consistency::Strong).await?.user.is_none() {
                return Ok(user);
            }
        }
        Ok(self.fresh_user())
    }

    /// An id for a person nobody has seen yet.
    pub(crate) fn fresh_user(&self) -> UserId {
        loop {
            let random: [u8; 16] = self.rng.bytes();
            if let Some(user) = user_id(&random) {
                return user;
            }
        }
    }
}

fn provisional_id(browser: &[u8; 32], round: u8) -> Option<UserId> {
    let mut context = Context::new(&SHA256);
    context.update(b"multimusic provisional user");
    context.update(browser);
    context.update(&[round]);
    user_id(context.finish().as_ref().first_chunk()?)
}

fn user_id(random: &[u8; 16]) -> Option<UserId> {
    format!("u_{}", URL_SAFE_NO_PAD.encode(random)).parse().ok()
}

/// The hash under which the login with this `state` is kept: whoever reads the table cannot complete a login.
pub(crate) fn state_hash(state: &str) -> StateHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, state.as_bytes()).as_ref());
    StateHash(hash)
}
