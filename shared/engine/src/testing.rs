//! Time and dice for tests and simulations, behind the feature `testing`: no binary contains them.

mod clock;
mod dice;

pub use clock::ManualClock;
pub use dice::SeededRng;
