//! Identifiers. Each is its own type, so that a user can never be passed where a provider is meant.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// Bytes of a random identifier: 128 bits, so that two never meet by chance.
pub const RANDOM_ID_BYTES: usize = 16;

/// Longest text identifier (user, account, issuer) in bytes. Provider account ids seen are under 64.
pub const TEXT_ID_BYTES_MAX: usize = 255;

/// A text that is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// 128 random bits, written as 22 characters of unpadded URL-safe base64.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; RANDOM_ID_BYTES]);

        impl $name {
            /// The identifier made of these random bytes.
            pub const fn from_bytes(bytes: [u8; RANDOM_ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// The random bytes.
            pub const fn as_bytes(&self) -> &[u8; RANDOM_ID_BYTES] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { kind: $kind, rule: "22 characters of unpadded URL-safe base64" };
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid.clone())?;
                Ok(Self(bytes.try_into().map_err(|_| invalid)?))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $valid:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidId { kind: $kind, rule: $rule }) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

fn printable(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_ID_BYTES_MAX && !text.chars().any(char::is_control)
}

fn slug(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

random_id! {
    /// The id of one token pair. Fresh at every login, commit, flag and disconnect; compared for equality only.
    Version, "version"
}

random_id! {
    /// One attempt to refresh: the owner of a lease. Per attempt and not per worker, so that a worker never mistakes a
    /// lease of its own earlier attempt for the present one.
    AttemptId, "attempt id"
}

random_id! {
    /// One session of one user; logging out ends every copy of it.
    SessionId, "session id"
}

text_id! {
    /// A person, as this product knows them.
    UserId, "user id",
    |text| printable(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
    "1 to 255 characters of A-Z a-z 0-9 _ -"
}

text_id! {
    /// A provider's id in paths, variables and rows: `spotify`, `soundcloud`, `youtube`.
    ProviderId, "provider id", slug, "1 to 32 characters of a-z 0-9 -, a letter first"
}

text_id! {
    /// The provider's own id of the account that was connected.
    AccountId, "account id", printable, "1 to 255 bytes without control characters"
}

text_id! {
    /// Who issued a grant: the token endpoint's origin and the client id, as `origin client_id`. A connection is only
    /// ever refreshed or revoked by the registration that issued it.
    Issuer, "issuer", printable, "1 to 255 bytes without control characters"
}

/// One person's connection to one provider: the key of its row.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ConnectionKey {
    /// The person.
    pub user: UserId,
    /// The provider.
    pub provider: ProviderId,
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.provider)
    }
}

/// Bytes as unpadded URL-safe base64, for serde.
pub mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Writes the bytes as text.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads the bytes from text; the error never quotes the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| D::Error::custom("expected unpadded URL-safe base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_survives_its_text() {
        let version = Version::from_bytes([7; RANDOM_ID_BYTES]);
        assert_eq!(version.to_string().parse(), Ok(version));
        assert!("short".parse::<Version>().is_err());
    }

    #[test]
    fn a_provider_id_is_a_slug() {
        for good in ["spotify", "a", "apple-music2"] {
            assert!(good.parse::<ProviderId>().is_ok(), "{good}");
        }
        for bad in ["", "Spotify", "2pac", "a/b", "a#b", "a_b", &"a".repeat(33)] {
            assert!(bad.parse::<ProviderId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_id_cannot_carry_a_row_key_separator() {
        for bad in ["", "a#b", "a b", "a\n", "ü"] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
    }
}
