//! Tokens, codes and session ids: how they are minted, and the hashes under which they are kept.
//!
//! The sandbox never keeps what it hands out: every table, the log and the state file hold SHA-256 hashes only.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes of randomness in everything minted: 256 bits, twice what RFC 6749 §10.10 asks for.
const MINTED_BYTES: usize = 32;

/// Bytes of a hash that are shown (16 hexadecimal digits): enough to tell tokens apart, too few to be of use.
const SHOWN_BYTES: usize = 8;

/// A source of random bytes, injected by the caller.
pub(crate) type Dice<'a> = &'a mut (dyn FnMut(&mut [u8]) + Send);

/// The SHA-256 hash of a token, code, secret or session id.
///
/// Its `Debug`, [`TokenHash::short`] and the log show the first 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of `token`, so that a test can find its own tokens in the log.
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// The first 16 hexadecimal digits, as the log shows them.
    pub fn short(&self) -> String {
        hex(&self.0[..SHOWN_BYTES])
    }

    /// The bytes, for derived ids.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|bytes| D::Error::invalid_length(bytes.len(), &"32 bytes"))?;
        Ok(Self(bytes))
    }
}

/// Mints a token: `prefix` and 256 random bits in base64url. The prefix says what a string found somewhere is.
pub(crate) fn mint(dice: Dice<'_>, prefix: &str) -> String {
    let mut bytes = [0; MINTED_BYTES];
    dice(&mut bytes);
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The S256 code challenge of `verifier` (RFC 7636 §4.2).
pub(crate) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref())
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_rfc_7636_appendix_b() {
        assert_eq!(
            challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn a_hash_survives_json_and_shows_sixteen_digits() {
        let hash = TokenHash::of("abc");
        let text = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<TokenHash>(&text).unwrap(), hash);
        assert_eq!(format!("{hash:?}"), "ba7816bf8f01cfea");
        assert!(serde_json::from_str::<TokenHash>("\"YWJj\"").is_err());
    }

    #[test]
    fn what_is_minted_depends_on_the_dice_alone() {
        let mut next = 0_u8;
        let mut dice = |bytes: &mut [u8]| {
            next += 1;
            bytes.fill(next);
        };
        let first = mint(&mut dice, "x-");
        let second = mint(&mut dice, "x-");
        assert_ne!(first, second);
        assert_eq!(first.len(), 2 + 43);
    }
}
