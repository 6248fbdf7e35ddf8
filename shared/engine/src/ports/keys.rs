//! Keys that seal tokens, and the service that wraps them.

use std::fmt;

use async_trait::async_trait;
use mm_model::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

/// Which tokens a branch key seals. Whoever may open one family may not open the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Access tokens: what the public function may open.
    Access,
    /// Refresh tokens: what only worker and callback may open.
    Refresh,
}

impl Family {
    /// The family's name in rows, contexts and associated data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// 256 random bits from which item keys are derived. Wiped when dropped; never shown.
#[derive(ZeroizeOnDrop)]
pub struct BranchKey(pub [u8; 32]);

impl fmt::Debug for BranchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BranchKey(…)")
    }
}

/// A branch key as its row holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// Its number within the family, from 1.
    pub number: u32,
    /// The key, wrapped by the key service.
    #[serde(with = "mm_model::id::base64_bytes")]
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a wrapped key is bound to: unwrapping under another context fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyContext {
    /// The table's name.
    pub table: String,
    /// The family.
    pub family: Family,
    /// The key's number.
    pub number: u32,
}

/// The key service failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It did not answer.
    #[error("the key service is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refuses: the wrapped key is another table's, family's or number's, or was tampered with, or we may not use it.
    #[error("the key service refuses to unwrap branch key {family:?} {number}")]
    Refused {
        /// The family.
        family: Family,
        /// The number.
        number: u32,
    },
}

/// Wraps branch keys: KMS on AWS, a key file on one machine.
#[async_trait]
pub trait KeyService: Send + Sync {
    /// Wraps a new branch key under its context.
    async fn wrap(&self, context: &KeyContext, key: &BranchKey) -> Result<Vec<u8>, KeyError>;

    /// Unwraps a branch key; fails under any other context than it was wrapped under.
    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8]) -> Result<BranchKey, KeyError>;
}
