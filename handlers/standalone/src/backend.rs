//! An engine over a data directory.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use mm_embedded::{
    journal::{JournalError, JournalLane},
    keys::{InvalidKey, KeyFile, KeyFileError},
    queue::{EmbeddedQueue, InProcessQueue, QueueSettings},
    store::{OpenError, SqliteEvents, SqliteStore},
};
use mm_engine::{
    CipherError, Engine, Offers, Parts, TokenCipher,
    ports::{Clock, ConnectionStore as _, Family, Lane, QueueError, RefreshQueue as _, Rng, StoreError},
};
use mm_model::{ProviderId, limits::NUDGE_SLACK};
use mm_oauth::{ClientSecrets, ProviderClient};
use mm_web::{Origins, SessionKeys, Sessions, Surface, session::WeakKey};

/// The table's name, part of what branch keys are wrapped under.
const TABLE: &str = "multimusic-tokens";

/// How far ahead of now the nudges reach that a restart may have lost: the longest delay of a message.
const LOST_NUDGES_HORIZON: Duration = mm_engine::ports::NUDGE_DELAY_MAX;

/// What a backend is built from.
pub struct Blueprint {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The dice.
    pub rng: Arc<dyn Rng>,
    /// Calls the providers.
    pub client: ProviderClient,
    /// The providers on offer.
    pub offers: Offers,
    /// Their secrets.
    pub secrets: Arc<dyn ClientSecrets>,
    /// Every provider that the catalogue knows.
    pub catalogue: BTreeSet<ProviderId>,
    /// Where this server and its frontends are.
    pub origins: Origins,
    /// What signs sessions; derived from the wrapping key where it is not given.
    pub session_keys: Option<SessionKeys>,
    /// The wrapping key's text, where it is not kept in a file.
    pub encryption_key: Option<String>,
    /// How long a connection that nobody reads is kept fresh.
    pub awake_window: Duration,
    /// How the queue behaves.
    pub queue: QueueSettings,
}

/// A running product without a socket.
#[derive(Clone)]
pub struct Backend {
    /// The use cases.
    pub engine: Arc<Engine>,
    /// The table.
    pub store: Arc<SqliteStore>,
    /// The queues.
    pub queue: Arc<EmbeddedQueue>,
    /// The state of the routers.
    pub surface: Surface,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
}

/// A backend that could not be put together. Display says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The table.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The lane's journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The wrapping key.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// `ENCRYPTION_KEY`.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The branch keys.
    #[error("the branch keys in the data directory cannot be used: was its key file or ENCRYPTION_KEY changed?")]
    Cipher(#[from] CipherError),
    /// The session key.
    #[error("the session key is too short")]
    Session(#[from] WeakKey),
    /// What the last process left could not be read.
    #[error("the data directory cannot be read")]
    Rows(#[from] StoreError),
    /// What the last process left could not be queued.
    #[error("the queue does not take what the last process left")]
    Queue(#[from] QueueError),
}

impl Backend {
    /// Opens the data directory and puts everything together. A restart forgets nobody: what the queue in memory lost is
    /// queued again, from the rows.
    pub async fn open(blueprint: Blueprint) -> Result<Self, StartError> {
        let Blueprint { data_dir, clock, rng, client, offers, secrets, catalogue, origins, .. } = blueprint;
        let store = Arc::new(SqliteStore::open(&data_dir)?);
        // A new wrapping key would open none of the branch keys that are there.
        let may_create = store.branch_keys(Family::Access).await?.is_empty();
        let keys = match &blueprint.encryption_key {
            Some(text) => KeyFile::from_text(text, Arc::clone(&rng))?,
            None => KeyFile::open_or_create(&data_dir, may_create, Arc::clone(&rng))?,
        };
        let session_keys = match blueprint.session_keys {
            Some(keys) => keys,
            None => SessionKeys::new(&*keys.derive(b"multimusic session")?, None)?,
        };
        let cipher = TokenCipher::new(
            TABLE.to_owned(),
            Arc::new(keys),
            Arc::clone(&store) as _,
            Arc::clone(&clock),
            Arc::clone(&rng),
        );
        cipher.create_first_keys().await?;
        cipher.prime().await?;
        let nudges = InProcessQueue::new(Arc::clone(&clock), blueprint.queue);
        let lane = JournalLane::open(&data_dir, Arc::clone(&clock))?;
        let queue = Arc::new(EmbeddedQueue::new(nudges, lane));
        let engine = Arc::new(Engine::new(Parts {
            store: Arc::clone(&store) as _,
            queue: Arc::clone(&queue) as _,
            cipher,
            events: Arc::new(SqliteEvents::new(Arc::clone(&store))),
            clock: Arc::clone(&clock),
            rng,
            client,
            secrets,
            offers,
            awake_window: blueprint.awake_window,
            processes: 1,
        }));
        let surface = Surface {
            engine: Arc::clone(&engine),
            sessions: Arc::new(Sessions::new(session_keys, &origins)),
            origins,
            catalogue: Arc::new(catalogue),
            engine_name: "embedded",
        };
        let backend = Self { engine, store, queue, surface, clock, data_dir };
        backend.queue_what_a_restart_lost().await?;
        Ok(backend)
    }

    async fn queue_what_a_restart_lost(&self) -> Result<(), StartError> {
        let lost = self.store.nudges_lost_by_restart(self.clock.now(), LOST_NUDGES_HORIZON + NUDGE_SLACK).await?;
        if !lost.is_empty() {
            tracing::info!(nudges = lost.len(), "restart: queued again what the last process had in memory");
            self.queue.nudge(Lane::Due, lost).await?;
        }
        Ok(())
    }

    /// Ends every wait for messages; what is under way can finish.
    pub fn close(&self) {
        self.queue.close();
    }
}
