//! The sandbox as other crates hold it: one lock around the provider's logic, the clock, the dice and the state file.

mod script;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;
use url::Url;

use crate::{
    answer::Reply,
    authority::{Authority, Begun, PageError, Request, Twin},
    fault::{Endpoint, FaultKind},
    hash::Dice,
    log::{LogEntry, Outcome},
    profile::Profile,
    settings::Settings,
    snapshot::{self, StateError},
};

pub use script::{ConsentError, UnknownClient};

/// The injected clock: Unix seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The injected source of random bytes.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// Why a sandbox could not be built.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Two profiles share an id or an address, or an address is not a plain path.
    #[error("the profile `{id}` shares its id or an address with another, or an address of it is malformed")]
    Profile {
        /// The profile's id.
        id: &'static str,
    },
    /// A client is registered at a provider that has no twin.
    #[error("client `{client_id}` is registered at `{provider}`, which has no twin here")]
    Client {
        /// The client's id.
        client_id: String,
        /// The provider's id.
        provider: String,
    },
    /// The base URL is not an `http` origin on `localhost` or a loopback address.
    #[error("the sandbox's base URL has to be http://localhost:PORT or another loopback origin, not {base_url}")]
    BaseUrl {
        /// What was given.
        base_url: Url,
    },
    /// The state file could not be used.
    #[error("the sandbox's memory of earlier runs could not be read")]
    State(#[from] StateError),
}

/// What one lock holds.
struct Inner {
    authority: Authority,
    random: Random,
}

struct Shared {
    settings: Settings,
    clock: Clock,
    inner: Mutex<Inner>,
}

/// An OAuth provider on the loopback interface. Clones share everything.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("base_url", &self.shared.settings.base_url.as_str()).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Builds a sandbox, with the state of an earlier run if the settings name a state file that exists.
    ///
    /// `clock` gives Unix seconds; `random` fills a buffer with random bytes.
    pub fn new(settings: Settings, clock: Clock, random: Random) -> Result<Self, SandboxError> {
        if !is_loopback_origin(&settings.base_url) {
            return Err(SandboxError::BaseUrl { base_url: settings.base_url });
        }
        let mut authority = Authority::default();
        let mut taken = HashSet::new();
        for profile in &settings.profiles {
            let fresh = authority.twin(profile.id).is_none()
                && profile.places().all(|place| {
                    place.path.starts_with('/')
                        && !place.to_string().contains(['{', '}', '*', '?', '#'])
                        && taken.insert(place.to_string())
                });
            if !fresh {
                return Err(SandboxError::Profile { id: profile.id });
            }
            authority.twins.push(Twin { profile: *profile, behaviour: profile.behaviour, clients: Vec::new() });
        }
        for client in settings.clients.iter().cloned() {
            let Some(twin) = authority.twin(&client.provider) else {
                return Err(SandboxError::Client { client_id: client.client_id, provider: client.provider });
            };
            authority.twins[twin].clients.push(client.into());
        }
        if let Some(path) = &settings.state_file {
            snapshot::load(&mut authority, path)?;
        }
        let inner = Mutex::new(Inner { authority, random });
        Ok(Self { shared: Arc::new(Shared { settings, clock, inner }) })
    }

    /// The origin under which it answers.
    pub fn base_url(&self) -> &Url {
        &self.shared.settings.base_url
    }

    /// The twins that it has.
    pub fn profiles(&self) -> &[Profile] {
        &self.shared.settings.profiles
    }

    pub(crate) fn allowed_origins(&self) -> &[String] {
        &self.shared.settings.allowed_origins
    }

    /// The fault that strikes a request, if one is planned. To be asked once per request, before [`Sandbox::act`].
    ///
    /// A caller without sockets waits [`FaultKind::Late`]'s delay between the two, and honours the reply's delay itself.
    /// `None` also when the provider has no twin.
    pub fn strike(&self, provider: &str, endpoint: Endpoint, request: &Request<'_>) -> Option<FaultKind> {
        let mut inner = self.lock();
        let twin = inner.authority.twin(provider)?;
        inner.authority.strike(twin, endpoint, request)
    }

    /// Does what an endpoint does with a request that `fault` strikes; `None` when the provider has no twin.
    pub fn act(
        &self,
        provider: &str,
        endpoint: Endpoint,
        request: &Request<'_>,
        fault: Option<FaultKind>,
    ) -> Option<Reply> {
        self.change(|authority, now, dice| {
            let twin = authority.twin(provider)?;
            Some(match endpoint {
                Endpoint::Token => authority.token(now, dice, twin, request, fault),
                Endpoint::Revoke => authority.revoke(now, twin, request, fault),
                Endpoint::Userinfo | Endpoint::Api => authority.resource(now, twin, endpoint, request, fault),
            })
        })
    }

    /// Notes that the whole answer to request `seq` was handed over.
    pub fn mark_answered(&self, seq: u64) {
        self.lock().authority.log.mark_answered(seq);
    }

    /// Notes a request that carried somebody else's cookie.
    pub(crate) fn note_foreign_cookie(&self, provider: &str, endpoint: &'static str) {
        self.change(|authority, now, _| {
            authority.log.push(LogEntry::new(now, provider, endpoint, Outcome::ForeignCookie));
        });
    }

    pub(crate) fn begin(&self, provider: &str, query: &str, cookie: Option<&str>) -> Result<Begun, PageError> {
        self.change(|authority, now, dice| {
            let twin = authority.twin(provider).ok_or(PageError::Unreadable)?;
            authority.begin(now, dice, twin, query, cookie)
        })
    }

    /// Runs `f` with the logic, the time and the dice, and writes the state file if something in it changed.
    pub(crate) fn change<T>(&self, f: impl FnOnce(&mut Authority, u64, Dice<'_>) -> T) -> T {
        let mut guard = self.lock();
        let Inner { authority, random } = &mut *guard;
        let now = (self.shared.clock)();
        let result = f(authority, now, random.as_mut());
        if std::mem::take(&mut authority.ledger.changed)
            && let Some(path) = &self.shared.settings.state_file
            // Under the lock and before the answer leaves: no client holds a token that a restart would not know.
            && let Err(error) = snapshot::save(authority, path)
        {
            tracing::error!(error = &error as &dyn std::error::Error, "sandbox state not saved: a restart will forget");
        }
        result
    }

    /// Reads without changing anything.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Authority, u64) -> T) -> T {
        let guard = self.lock();
        f(&guard.authority, (self.shared.clock)())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code under the lock panics half-way through a change that matters more than a test's own failure.
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a URL is a bare `http` origin on this machine.
fn is_loopback_origin(url: &Url) -> bool {
    url.scheme() == "http"
        && matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
}
