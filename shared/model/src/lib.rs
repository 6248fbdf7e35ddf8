//! The nouns of the product and the pure rules of a connection's life.
//!
//! Nothing here is asynchronous, reads a clock or throws dice: every function is a rule that a test, a model checker or
//! a reader can follow with values alone. Start at [`Connection`] (one person's account at one provider), then
//! [`Step`] (every conditional write that may change it) and [`wheel`] (when it is refreshed).

pub mod id;
pub mod secret;
pub mod time;

pub use id::{AccountId, AttemptId, ConnectionKey, InvalidId, Issuer, ProviderId, SessionId, UserId, Version};
pub use secret::{AccessToken, RefreshToken, Sealed};
pub use time::{Minute, Timestamp};
