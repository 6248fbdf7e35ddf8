//! The use cases of the product and the ports they stand on.
//!
//! Start at [`Engine`]. Each use case is one method in a file of its own, which does the I/O and holds the `match`es; what
//! it decides with is pure and lives in `mm_model`:
//!
//! - [`Engine::start_login`] and [`Engine::complete_login`]: from a browser to a row.
//! - [`Engine::tick`], [`Engine::on_changes`], [`Engine::on_nudge`], [`Engine::on_lane`]: from due to fresh.
//! - [`Engine::token`], [`Engine::tokens`], [`Engine::refresh_now`], [`Engine::connections`]: from a row to a reader.
//! - [`Engine::disconnect`], [`Engine::delete_user`], [`Engine::logout`]: the way out.
//!
//! What is absent: no use case names a database, a queue service, an HTTP status or a thread.

mod after_lease;
mod answer;
mod budget;
mod callback;
mod causes;
mod cipher;
mod circuits;
#[cfg(feature = "conformance")]
pub mod conformance;
mod disconnect;
mod fetch;
mod forced;
mod lane;
mod login;
mod offers;
pub mod ports;
mod recent;
mod refresh;
mod revoke;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod tick;

use std::sync::Arc;
use std::time::Duration;

use mm_model::{AttemptId, ConnectionKey, Refusal, SessionId, Step, Timestamp, UserId, Version};
use mm_oauth::{ClientSecrets, ProviderClient};

pub use callback::{CallbackOutcome, CallbackQuery, CallbackRequest, LoginFailure};
pub use causes::chain;
pub use cipher::{CipherError, Field, TokenCipher};
pub use fetch::{ConnectionState, ConnectionView, FetchError, TokenRequest, TokenView, WAIT_MAX};
pub use login::{LoginRequest, LoginStarted, StartLoginError};
pub use offers::{Offer, Offers};
pub use stream::ChangeError;
pub use tick::TickReport;

use after_lease::PendingReturns;
use budget::Budget;
use circuits::Circuits;
use ports::{Clock, ConnectionStore, EventError, EventSink, Outcome, QueueError, RefreshQueue, Rng, StoreError};
use recent::RecentNudges;

/// The use cases over their ports. Cheap to share behind an `Arc`; holds no state that another process would miss.
pub struct Engine {
    store: Arc<dyn ConnectionStore>,
    queue: Arc<dyn RefreshQueue>,
    cipher: TokenCipher,
    events: Arc<dyn EventSink>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    client: ProviderClient,
    secrets: Arc<dyn ClientSecrets>,
    offers: Offers,
    awake_window: Duration,
    budget: Budget,
    circuits: Circuits,
    recent: RecentNudges,
    returns: PendingReturns,
}

/// What an [`Engine`] is made of.
pub struct Parts {
    /// The table.
    pub store: Arc<dyn ConnectionStore>,
    /// The queues.
    pub queue: Arc<dyn RefreshQueue>,
    /// Seals and opens tokens.
    pub cipher: TokenCipher,
    /// Where connection events go.
    pub events: Arc<dyn EventSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The dice.
    pub rng: Arc<dyn Rng>,
    /// Calls the providers.
    pub client: ProviderClient,
    /// The registrations' secrets.
    pub secrets: Arc<dyn ClientSecrets>,
    /// The providers on offer.
    pub offers: Offers,
    /// How long a connection that nobody reads is kept fresh.
    pub awake_window: Duration,
    /// How many processes share the providers' rates: each takes its part.
    pub processes: u32,
}

/// A use case could not be carried out for reasons of ours. The message or request may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The table.
    #[error("the table did not do its part")]
    Store(#[from] StoreError),
    /// The queue.
    #[error("the queue did not do its part")]
    Queue(#[from] QueueError),
    /// The keys.
    #[error("the tokens could not be sealed or opened")]
    Cipher(#[from] CipherError),
    /// The event sink.
    #[error("the event sink did not do its part")]
    Event(#[from] EventError),
}

/// A session as its signed token tells it; whether it was ended since is on its person's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub user: UserId,
    /// Which one.
    pub id: SessionId,
    /// When it began.
    pub began_at: Timestamp,
    /// When it can be renewed no more.
    pub ends_at: Timestamp,
}

/// How long the present invocation may still work, on the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    ends_at: Duration,
}

impl Engine {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self {
            budget: Budget::new(parts.processes),
            circuits: Circuits::default(),
            recent: RecentNudges::default(),
            returns: PendingReturns::default(),
            store: parts.store,
            queue: parts.queue,
            cipher: parts.cipher,
            events: parts.events,
            clock: parts.clock,
            rng: parts.rng,
            client: parts.client,
            secrets: parts.secrets,
            offers: parts.offers,
            awake_window: parts.awake_window,
        }
    }

    /// The engine's clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The providers on offer.
    pub const fn offers(&self) -> &Offers {
        &self.offers
    }

    /// A fresh session id.
    pub fn new_session_id(&self) -> SessionId {
        SessionId::from_bytes(self.rng.bytes())
    }

    /// Random bytes, for what the HTTP surface mints (the browser binding).
    pub fn random<const N: usize>(&self) -> [u8; N] {
        self.rng.bytes()
    }

    /// An invocation that starts now and may work for `limit`.
    pub fn invocation(&self, limit: Duration) -> Invocation {
        Invocation { ends_at: self.clock.elapsed() + limit }
    }

    fn remaining(&self, invocation: Invocation) -> Duration {
        invocation.ends_at.saturating_sub(self.clock.elapsed())
    }

    fn new_version(&self) -> Version {
        Version::from_bytes(self.rng.bytes())
    }

    fn new_attempt(&self) -> AttemptId {
        AttemptId::from_bytes(self.rng.bytes())
    }

    /// A conditional write, repeated while the table does not answer: the condition recognises a write that had been
    /// applied although its answer was lost. A row that keeps changing is no refusal: nobody has said what it is by now.
    async fn write(&self, key: &ConnectionKey, step: &Step) -> Result<Outcome, StoreError> {
        let mut pause = WRITE_RETRY_FIRST;
        for _ in 1..WRITE_TRIES {
            match self.store.apply(key, step).await {
                Err(error @ StoreError::Unavailable { .. }) => {
                    // Told here too: the last try may fail for another reason, or succeed.
                    tracing::debug!(connection = %key, error = %chain(&error), "store.write: tried again");
                }
                Ok(Outcome::Refused(Refusal::Raced, _)) => {}
                settled => return settled,
            }
            self.clock.sleep_real(pause).await;
            pause *= 2;
        }
        match self.store.apply(key, step).await? {
            Outcome::Refused(Refusal::Raced, _) => Err(StoreError::Contended { doing: "apply a step of the protocol" }),
            settled => Ok(settled),
        }
    }
}

/// Tries of one conditional write within an invocation; the message's redelivery goes on from there.
const WRITE_TRIES: u32 = 3;

/// The wait before a write is repeated, doubled each time.
const WRITE_RETRY_FIRST: Duration = Duration::from_millis(50);
