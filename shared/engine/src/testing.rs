//! Time, dice and a store that lags, for tests and simulations, behind the feature `testing`: no binary contains them.

mod clock;
mod dice;
mod late;

pub use clock::ManualClock;
pub use dice::SeededRng;
pub use late::LateReader;
