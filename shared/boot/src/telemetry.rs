//! Logs. Readable lines on a terminal, JSON elsewhere; the level by `LOG` (`info` unless set), in the syntax of
//! `tracing-subscriber`'s filter.
//!
//! Never logged, by anything in this workspace: tokens, codes, verifiers, states, secrets, cookies, bodies of requests, answers and
//! messages, stream records. Every type that holds one of them hides it in its `Debug`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::{ConfigError, Environment};

/// Installs the process's log.
///
/// # Errors
///
/// `LOG` is not a filter.
pub fn install(env: &Environment) -> Result<(), ConfigError> {
    let filter = env.get("LOG").unwrap_or("info");
    let filter = EnvFilter::try_new(filter).map_err(|_| ConfigError {
        variable: "LOG".to_owned(),
        shape: "a filter such as info or warn,mm_engine=debug".to_owned(),
        remedy: "leave it out for info".to_owned(),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if std::io::stderr().is_terminal() {
        builder.compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // A second installation in one process keeps the first.
    drop(installed);
    Ok(())
}
