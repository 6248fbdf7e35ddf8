//! The ports on one machine: one process, one directory.
//!
//! | port | here | in the data directory |
//! |---|---|---|
//! | `ConnectionStore` | [`store`]: SQLite, durable before it answers | see there |
//! | `RefreshQueue`, lanes `due` and `urgent` | [`queue::InProcessQueue`]: memory; the wheel finds again what a restart forgets | – |
//! | `RefreshQueue`, the ordered lane | [`journal::JournalLane`]: a journal, durable before it answers | `lane.journal`, `lane.lock` |
//! | `KeyService` | [`keys::KeyFile`]: wraps branch keys under one local key | `key`, unless the key is given |
//! | `Clock` | [`clock::SystemClock`], and [`clock::ScaledClock`] for showing hours in minutes | – |
//! | `Rng` | [`dice::SystemRng`] | – |
//!
//! What a port promises is written at the port, and the conformance suite of `mm_engine` holds these to it. Nothing here
//! reads configuration, and only [`clock`] and [`dice`] read the machine's clock and dice.

pub mod clock;
pub mod dice;
mod directory;
pub mod journal;
pub mod keys;
pub mod queue;
pub mod store;
