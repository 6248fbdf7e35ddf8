//! The use cases and the ports they stand on.

pub mod ports;
