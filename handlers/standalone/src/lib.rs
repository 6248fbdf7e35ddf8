//! The product as one process: every handler on the embedded engine, fed with the same events that Lambda would bring.
//!
//! - [`backend`] puts an engine together over a data directory; the journeys under `tests` put theirs together by the same
//!   function, with a clock and dice of their own; the other tests there run the binary.
//! - [`pump`] turns ticks, changes and messages into the events of EventBridge, DynamoDB Streams and SQS, and hands them to
//!   the handlers.
//! - [`server`] listens; [`page`] is what a developer sees at `/`; [`twins`] are the sandbox's providers.

pub mod backend;
pub mod page;
pub mod pump;
pub mod routes;
pub mod server;
pub mod twins;

pub use backend::{Backend, Blueprint, StartError};
