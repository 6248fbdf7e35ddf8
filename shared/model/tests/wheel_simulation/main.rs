//! The wheel, simulated: what the design claims of it, measured. `-- --nocapture` prints a line for each claim.
#![expect(clippy::unwrap_used, reason = "clippy does not see that the helpers of an integration test are tests")]
#![expect(clippy::print_stdout, reason = "the measured figures are the simulation's result")]

mod grid;
mod lifetimes;
mod load;
mod skew;
mod world;
