//! What is SQLite's own about the store. What the port promises is the conformance suite's to test.

mod durability;
mod fixture;
mod log;
mod opening;
mod rows;
mod upkeep;
mod writing;
