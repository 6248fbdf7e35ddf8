//! The real process: its command line, its signals, its files and its sockets, from outside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy does not see that the helpers of an integration test are tests"
)]
#![expect(clippy::print_stdout, reason = "how long things took is told")]

mod configuration;
mod departures;
mod directory;
mod disk;
mod hostile;
mod kills;
mod page;
mod person;
mod ports;
mod product;
mod provider;
mod restart;
mod stop;
