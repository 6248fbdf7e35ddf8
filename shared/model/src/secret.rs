//! Values that must never be seen: tokens in the clear, and their sealed form.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Wiped when dropped; its `Debug` shows only its kind. Not `Clone`: a secret has one owner.
        #[derive(PartialEq, Eq, ZeroizeOnDrop)]
        pub struct $name(String);

        impl $name {
            /// Takes ownership of the secret.
            pub const fn new(secret: String) -> Self {
                Self(secret)
            }

            /// The secret itself. Every caller of this is a place to review.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

token! {
    /// An access token (RFC 6749 §1.4) in the clear.
    AccessToken
}

token! {
    /// A refresh token (RFC 6749 §1.5) in the clear.
    RefreshToken
}

/// A token as it is stored: authenticated ciphertext, bound to its user, provider, version and field.
///
/// Opaque here; `mm_engine`'s cipher makes and opens it. `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(#[serde(with = "crate::id::base64_bytes")] Vec<u8>);

impl Sealed {
    /// Wraps ciphertext read from a store or made by the cipher.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The ciphertext.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_nothing_of_itself() {
        let shown = format!("{:?} {:?}", AccessToken::new("canary-a".into()), RefreshToken::new("canary-r".into()));
        assert_eq!(shown, "AccessToken(…) RefreshToken(…)");
    }

    #[test]
    fn a_sealed_token_shows_its_length_and_travels_as_base64() {
        let sealed = Sealed::from_bytes(vec![0xfb, 0xff, 0x00]);
        assert_eq!(format!("{sealed:?}"), "Sealed(3 bytes)");
    }
}
