//! The wrapping key of one machine: in a file of its own, or given in `ENCRYPTION_KEY`.

mod file;
#[cfg(test)]
mod tests;
mod text;

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use mm_engine::ports::{BranchKey, KeyContext, KeyError, KeyService, Rng};
use zeroize::Zeroizing;

pub use file::KeyFileError;
pub use text::InvalidKey;

/// Bytes of the wrapping key: AES-256.
pub const WRAPPING_KEY_BYTES: usize = 32;

/// The first byte of a wrapped key.
const FORMAT: u8 = 1;

/// Format, nonce, key, tag.
const WRAPPED_BYTES: usize = 1 + NONCE_LEN + 32 + 16;

/// Wraps branch keys under one local key, by AES-256-GCM with the key's context as associated data. `Debug` shows nothing of
/// it.
pub struct KeyFile {
    key: LessSafeKey,
    derivation: hkdf::Prk,
    rng: Arc<dyn Rng>,
}

impl KeyFile {
    /// The wrapping key in the file `key` of `data_dir`. Where there is none it is made, if `may_create`: pass `false` once the
    /// database holds branch keys, since a new key opens none of them. An existing file is never written to. Reads and
    /// syncs files: for the start.
    ///
    /// # Errors
    ///
    /// One line each, with the remedy: no file, a file that others can read, a file that holds no key.
    pub fn open_or_create(data_dir: &Path, may_create: bool, rng: Arc<dyn Rng>) -> Result<Self, KeyFileError> {
        let key = file::open_or_create(data_dir, may_create, &*rng)?;
        Self::with(&key, rng).ok_or_else(|| KeyFileError::Unusable { path: file::path(data_dir) })
    }

    /// The wrapping key given as text: 32 bytes as base64 (either alphabet, padded or not) or hexadecimal. Never a password:
    /// what a person can remember, a machine can guess.
    ///
    /// # Errors
    ///
    /// The text is no such key. The error does not quote it.
    pub fn from_text(text: &str, rng: Arc<dyn Rng>) -> Result<Self, InvalidKey> {
        Self::with(&*text::parse(text)?, rng).ok_or(InvalidKey)
    }

    fn with(key: &[u8; WRAPPING_KEY_BYTES], rng: Arc<dyn Rng>) -> Option<Self> {
        let derivation = hkdf::Salt::new(hkdf::HKDF_SHA256, b"multimusic wrapping key").extract(key);
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self { key: LessSafeKey::new(key), derivation, rng })
    }

    /// A key for another purpose (HKDF-SHA-256, RFC 5869), such as signing sessions where no key for that is configured:
    /// the same for the same wrapping key and purpose, and of no use for telling the wrapping key.
    ///
    /// # Errors
    ///
    /// The cryptographic library refused.
    pub fn derive(&self, purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>, InvalidKey> {
        let mut derived = Zeroizing::new([0; 32]);
        let filled = self.derivation.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut *derived));
        filled.map_err(|_| InvalidKey)?;
        Ok(derived)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(…)")
    }
}

#[async_trait]
impl KeyService for KeyFile {
    async fn wrap(&self, context: &KeyContext, key: &BranchKey) -> Result<Vec<u8>, KeyError> {
        let nonce: [u8; NONCE_LEN] = self.rng.bytes();
        let mut sealed = Zeroizing::new(key.0.to_vec());
        let aad = Aad::from(associated_data(context));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *sealed)
            .map_err(|_| refused(context))?;
        let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
        wrapped.push(FORMAT);
        wrapped.extend(nonce);
        wrapped.extend_from_slice(&sealed);
        Ok(wrapped)
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8]) -> Result<BranchKey, KeyError> {
        self.open(context, wrapped).ok_or_else(|| refused(context))
    }
}

impl KeyFile {
    fn open(&self, context: &KeyContext, wrapped: &[u8]) -> Option<BranchKey> {
        let (format, rest) = wrapped.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *format != FORMAT {
            return None;
        }
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(associated_data(context));
        let key = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut buffer).ok()?;
        Some(BranchKey((&*key).try_into().ok()?))
    }
}

const fn refused(context: &KeyContext) -> KeyError {
    KeyError::Refused { family: context.family, number: context.number }
}

/// The context with each part's length before it, so that no two contexts have the same bytes.
fn associated_data(context: &KeyContext) -> Vec<u8> {
    let number = context.number.to_be_bytes();
    let parts: [&[u8]; 5] =
        [b"multimusic branch key", &[FORMAT], context.table.as_bytes(), context.family.as_str().as_bytes(), &number];
    let mut data = Vec::new();
    for part in parts {
        data.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}
