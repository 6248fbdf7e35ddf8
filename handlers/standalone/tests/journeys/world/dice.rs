//! Dice that a seed repeats, and that may remember their throws.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use mm_engine::{ports::Rng, testing::SeededRng};

/// Every throw of the dice so far: whatever is secret in a test was made of one of them.
#[derive(Clone, Default)]
pub(crate) struct Drawn(Arc<Mutex<Vec<Vec<u8>>>>);

impl Drawn {
    /// The throws of this many bytes.
    pub(crate) fn of(&self, bytes: usize) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().iter().filter(|throw| throw.len() == bytes).cloned().collect()
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drawn(…)")
    }
}

/// Dice for one part of the world.
pub(super) fn seeded(seed: u64, drawn: Option<&Drawn>) -> Arc<dyn Rng> {
    let dice = SeededRng::new(seed);
    match drawn {
        Some(drawn) => Arc::new(Remembering { dice, drawn: drawn.clone() }),
        None => Arc::new(dice),
    }
}

struct Remembering {
    dice: SeededRng,
    drawn: Drawn,
}

impl Rng for Remembering {
    fn fill(&self, bytes: &mut [u8]) {
        self.dice.fill(bytes);
        self.drawn.0.lock().unwrap().push(bytes.to_vec());
    }
}
