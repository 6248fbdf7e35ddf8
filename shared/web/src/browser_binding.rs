//! What ties a login to the browser that started it.
//!
//! The attack (login CSRF, RFC 6749 §10.12): somebody starts a login, keeps the callback's address, and makes another
//! person's browser open it. That browser would then be connected to the attacker's account. The guard: the callback
//! counts only in a browser whose cookie hashes to the value that the pending login was stored with.

use std::fmt;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes of a binding: 256 random bits, so that its hash may be stored and shown.
pub const BINDING_BYTES: usize = 32;

/// Keeps the hash apart from every other use of the same bytes.
const HASH_LABEL: &[u8] = b"multimusic browser binding\0";

/// One browser's secret, kept in its cookie for about an hour and shared by all of its logins, so that any number of
/// tabs may log in at once. Wiped when dropped; its Debug shows nothing of it.
pub struct BrowserBinding([u8; BINDING_BYTES]);

impl BrowserBinding {
    /// The binding made of these random bytes.
    pub const fn from_random(bytes: [u8; BINDING_BYTES]) -> Self {
        Self(bytes)
    }

    /// The binding in a cookie's value, `None` when the value is not one of ours: 43 characters of unpadded URL-safe
    /// base64 in their only spelling.
    pub fn parse(value: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(value).ok()?);
        bytes.as_slice().try_into().ok().map(Self)
    }

    /// The cookie's value. Every caller of this is a place to review.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0))
    }

    /// What a pending login stores: SHA-256 over a label and the binding.
    pub fn hash(&self) -> [u8; BINDING_BYTES] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(HASH_LABEL);
        context.update(&self.0);
        let mut hash = [0; BINDING_BYTES];
        // Equal lengths by the type of the algorithm: SHA-256 is 32 bytes.
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }

    /// Whether a pending login with this stored hash was started by this browser, in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.hash().as_slice().ct_eq(stored).into()
    }
}

impl Drop for BrowserBinding {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for BrowserBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserBinding(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_binding_survives_its_cookie_and_shows_nothing() {
        let binding = BrowserBinding::from_random([0xfb; 32]);
        let value = binding.expose();
        assert_eq!(value.len(), 43);
        let read = BrowserBinding::parse(&value).unwrap();
        assert!(read.matches(&binding.hash()));
        assert_eq!(format!("{read:?}"), "BrowserBinding(…)");
    }

    #[test]
    fn a_binding_matches_no_other_hash() {
        let binding = BrowserBinding::from_random([1; 32]);
        let hash = binding.hash();
        assert!(!BrowserBinding::from_random([2; 32]).matches(&hash));
        assert!(!binding.matches(&hash[..31]));
        assert!(!binding.matches(&[]));
        assert!(!binding.matches(&[1; 32]));
    }

    #[test]
    fn every_bit_of_a_binding_counts() {
        let hash = BrowserBinding::from_random([0; 32]).hash();
        for bit in 0..256 {
            let mut bytes = [0; 32];
            bytes[bit / 8] = 1 << (bit % 8);
            assert!(!BrowserBinding::from_random(bytes).matches(&hash), "{bit}");
        }
    }

    #[test]
    fn other_spellings_are_no_binding() {
        let value = "A".repeat(43);
        assert!(BrowserBinding::parse(&value).is_some());
        // The last character carries two unused bits: B decodes to the same bytes as A where a decoder is lenient.
        let sloppy = format!("{}B", &value[..42]);
        for other in ["", &value[..42], &format!("{value}A"), &format!("{value}="), &sloppy, "\"\""] {
            assert!(BrowserBinding::parse(other).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,64}") {
            if let Some(binding) = BrowserBinding::parse(&text) {
                let spelt = binding.expose();
                prop_assert_eq!(spelt.as_str(), text.as_str());
            }
        }
    }
}
