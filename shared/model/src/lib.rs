//! The nouns of the product and the pure rules of a connection's life.
//!
//! Nothing here is asynchronous, reads a clock or throws dice: every function is a rule that a test, a model checker or
//! a reader can follow with values alone. Start at [`Connection`] (one person's account at one provider), then
//! [`step`] (every conditional write that may change it) and [`wheel`] (when it is refreshed).

pub mod backoff;
pub mod circuit;
pub mod connection;
pub mod event;
pub mod grant;
pub mod id;
pub mod limits;
pub mod login;
pub mod refresh;
#[cfg(test)]
mod samples;
pub mod secret;
pub mod step;
pub mod time;
pub mod user;
pub mod wheel;

pub use circuit::Circuit;
pub use connection::{Connection, Freshness};
pub use id::{AccountId, AttemptId, ConnectionKey, InvalidId, Issuer, ProviderId, SessionId, UserId, Version};
pub use secret::{AccessToken, RefreshToken, Sealed};
pub use step::{Refusal, Step};
pub use time::{Minute, Timestamp};
pub use user::User;
pub use wheel::Seat;
