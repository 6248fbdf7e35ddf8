//! A wrapping key as text.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use super::WRAPPING_KEY_BYTES;

/// The text is not a wrapping key. Does not quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key must be 32 random bytes as base64 (44 characters) or hexadecimal (64): make one by `openssl rand -base64 32`"
)]
pub struct InvalidKey;

/// Reads 32 bytes written as base64 (either alphabet, padded or not) or hexadecimal.
pub(super) fn parse(text: &str) -> Result<Zeroizing<[u8; WRAPPING_KEY_BYTES]>, InvalidKey> {
    let text = text.trim();
    let mut key = Zeroizing::new([0; WRAPPING_KEY_BYTES]);
    if text.len() == 2 * WRAPPING_KEY_BYTES {
        hexadecimal(text, &mut key)?;
    } else {
        let digits = text.strip_suffix('=').unwrap_or(text);
        let engine = if digits.contains(['-', '_']) { URL_SAFE_NO_PAD } else { STANDARD_NO_PAD };
        let bytes = Zeroizing::new(engine.decode(digits).map_err(|_| InvalidKey)?);
        if bytes.len() != WRAPPING_KEY_BYTES {
            return Err(InvalidKey);
        }
        key.copy_from_slice(&bytes);
    }
    Ok(key)
}

/// The key as [`parse`] reads it, for the key file.
pub(super) fn write(key: &[u8; WRAPPING_KEY_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(key))
}

fn hexadecimal(text: &str, key: &mut [u8; WRAPPING_KEY_BYTES]) -> Result<(), InvalidKey> {
    let digit = |character: u8| char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = digit(pair[0]).zip(digit(pair[1])).ok_or(InvalidKey)?;
        *byte = high << 4 | low;
    }
    Ok(())
}
