//! Dice whose throws a seed repeats.

use std::sync::{Mutex, PoisonError};

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use crate::ports::Rng;

/// Random bytes from a seed: the same on every platform and in every version of the generator.
#[derive(Debug)]
pub struct SeededRng(Mutex<ChaCha12Rng>);

impl SeededRng {
    /// Dice that `seed` repeats.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha12Rng::seed_from_u64(seed)))
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_throws_and_no_other_seed_does() {
        let throws = |seed| {
            let rng = SeededRng::new(seed);
            let rng: &dyn Rng = &rng;
            (rng.bytes::<32>(), rng.dice())
        };
        assert_eq!(throws(1), throws(1));
        assert_ne!(throws(1), throws(2));
    }
}
