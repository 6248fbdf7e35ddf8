//! What a process does before it serves: configuration and telemetry.
//!
//! The environment is read here and nowhere else. Only `main.rs` files may use this crate, so that no use case and no
//! adapter can depend on a variable.

pub mod config;
pub mod environment;
pub mod telemetry;

pub use config::{Config, ConfigError};
pub use environment::Environment;
