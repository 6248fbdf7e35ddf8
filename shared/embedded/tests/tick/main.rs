//! The wheel's tick and the stream's batches over the store and the queue of one machine: missed, late, doubled and failing.
#![expect(clippy::unwrap_used, reason = "clippy does not see that the helpers of an integration test are tests")]

mod faulty;
mod missed;
mod round;
mod stream;
mod world;
