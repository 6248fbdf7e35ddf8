//! An OAuth provider on the loopback interface with every misbehaviour seen in the wild.
//!
//! A [`Sandbox`] holds *twins*: SoundCloud, Spotify, YouTube and a generic provider. The twin of the provider host `H`
//! answers at `http://localhost:PORT/H/…`, with the provider's own paths, demands and shapes of answers, so that a
//! client is pointed at it by its base URL alone. It is strict where the real one is: what that would refuse is refused.
//!
//! Where to start:
//! - [`Sandbox::serve`] runs it on a socket. [`Sandbox::router`] is the same without the power to cut connections.
//! - [`Sandbox::consent`] is a browser with a willing user, in process.
//! - [`Sandbox::plan`] plans a [`Fault`], [`Sandbox::adjust`] changes a twin's [`Behaviour`]; both also over HTTP under
//!   `/_sandbox/`, from this machine only.
//! - [`Sandbox::log`] tells every token request, by hashes of the tokens, and judges the client.
//! - [`Sandbox::strike`] and [`Sandbox::act`] are the endpoints without sockets, for a simulator.
//!
//! What is absent: it keeps no token, code or secret, only hashes; it reads no clock and no dice of its own (socket
//! deadlines aside); it takes no cookie but its own, and says so loudly when it is handed another.
//!
//! To add a provider: a value of [`Profile`] in `profile/twins.rs`, a [`Dialect`](profile::Dialect) if its answers look
//! like nobody else's, one line in [`Settings::new`].

mod answer;
mod authority;
mod behaviour;
mod dialect;
mod fault;
mod hash;
mod http;
mod ledger;
mod log;
pub mod profile;
mod refusal;
mod sandbox;
mod serve;
mod settings;
mod snapshot;

pub use answer::{Answer, Ending, Reply};
pub use authority::Request;
pub use behaviour::{Behaviour, BehaviourPatch, GrantLifetime, Mode, Revokes};
pub use fault::{Endpoint, Fault, FaultError, FaultKind, FaultSpec, Only, RetryAfter};
pub use hash::TokenHash;
pub use ledger::{EndReason, Ended, Grant};
pub use log::{Log, LogEntry, MAX_LOG_ENTRIES, Outcome};
pub use profile::Profile;
pub use sandbox::{Clock, ConsentError, Random, Sandbox, SandboxError, UnknownClient};
pub use settings::{Client, Settings};
pub use snapshot::StateError;
