//! Journeys through the whole product at its HTTP surface: the real handlers, store and queue, a provider on a real socket,
//! a clock and dice that the tests own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy does not see that the helpers of an integration test are tests"
)]

mod attacks;
mod canaries;
mod contract;
mod counts;
mod duplicates;
mod events;
mod faults;
mod first;
mod holds;
mod lane;
mod leases;
mod lives;
mod login;
mod people;
mod races;
mod readers;
mod secrets;
mod sessions;
mod skew;
mod sleep;
mod world;
