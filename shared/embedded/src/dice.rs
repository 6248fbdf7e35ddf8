//! The operating system's randomness.

use mm_engine::ports::Rng;

/// Cryptographically secure random bytes from the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the system's dice enter")]
    fn fill(&self, bytes: &mut [u8]) {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // Whoever goes on without randomness hands out keys, nonces and versions that others can guess or that repeat.
            tracing::error!("the system has no randomness to give; ending at once");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_throws_differ() {
        let rng: &dyn Rng = &SystemRng;
        assert_ne!(rng.bytes::<32>(), rng.bytes::<32>());
    }
}
