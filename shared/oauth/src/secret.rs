//! What must stay secret on the way to a provider: client secrets, authorization codes, PKCE verifiers.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mm_model::ProviderId;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// Longest authorization code in bytes. Google documents 256, signed codes of others reach 2 KiB.
pub const CODE_BYTES_MAX: usize = 4096;

/// Shortest PKCE verifier in characters (RFC 7636 §4.1).
pub const VERIFIER_CHARS_MIN: usize = 43;

/// Longest PKCE verifier in characters (RFC 7636 §4.1).
pub const VERIFIER_CHARS_MAX: usize = 128;

/// Random bytes of a verifier: 256 bits, the entropy that RFC 7636 §7.1 recommends.
pub const VERIFIER_RANDOM_BYTES: usize = 32;

/// A registration's secret (RFC 6749 §2.3.1). Wiped when the last copy is dropped; `Debug` shows only the kind.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(Arc<Zeroizing<String>>);

impl ClientSecret {
    /// Takes ownership of the secret.
    pub fn new(secret: String) -> Self {
        Self(Arc::new(Zeroizing::new(secret)))
    }

    /// The secret itself. Every caller of this is a place to review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// A registration's secret, and the one before it while a rotation is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPair {
    /// The secret that is tried first.
    pub current: ClientSecret,
    /// The one before, which the provider may still want: the new one is stored here before it is known everywhere.
    pub previous: Option<ClientSecret>,
}

/// Client secrets that could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// No secret is configured for the provider.
    #[error("no client secret is configured for {provider}")]
    Unknown {
        /// The provider.
        provider: ProviderId,
    },
    /// The place that holds the secrets did not answer.
    #[error("the client secret of {provider} could not be read")]
    Unavailable {
        /// The provider.
        provider: ProviderId,
        /// What the place said; never the secret.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where client secrets come from.
#[async_trait]
pub trait ClientSecrets: Send + Sync {
    /// The secrets as they are known here, from a cache where there is one.
    async fn current(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError>;

    /// The secrets as they are now at their source: asked after a provider refused the ones known here.
    async fn reload(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError>;
}

/// Client secrets that a process was started with.
#[derive(Debug, Clone, Default)]
pub struct StaticSecrets(BTreeMap<ProviderId, SecretPair>);

impl FromIterator<(ProviderId, SecretPair)> for StaticSecrets {
    fn from_iter<T: IntoIterator<Item = (ProviderId, SecretPair)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[async_trait]
impl ClientSecrets for StaticSecrets {
    async fn current(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        self.0.get(provider).cloned().ok_or_else(|| SecretsError::Unknown { provider: provider.clone() })
    }

    /// The same ones: the environment does not change under a running process.
    async fn reload(&self, provider: &ProviderId) -> Result<SecretPair, SecretsError> {
        self.current(provider).await
    }
}

/// Text from outside that is not the secret it should be. The text itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}")]
pub struct InvalidSecret {
    expected: &'static str,
}

/// An authorization code (RFC 6749 §4.1.2). Not `Clone`: it is redeemed once.
#[derive(PartialEq, Eq, ZeroizeOnDrop)]
pub struct AuthorizationCode(String);

impl AuthorizationCode {
    /// The code of a callback: 1 to [`CODE_BYTES_MAX`] printable ASCII characters (RFC 6749 appendix A.11).
    pub fn from_callback(mut code: String) -> Result<Self, InvalidSecret> {
        let legal = |byte| matches!(byte, 0x20..=0x7e);
        if !code.is_empty() && code.len() <= CODE_BYTES_MAX && code.bytes().all(legal) {
            return Ok(Self(code));
        }
        code.zeroize();
        Err(InvalidSecret { expected: "an authorization code of 1 to 4096 printable ASCII characters" })
    }

    /// The code itself. Every caller of this is a place to review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AuthorizationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizationCode(…)")
    }
}

/// A PKCE code verifier (RFC 7636 §4.1), fresh for every login. Not `Clone`: it proves one code.
#[derive(PartialEq, Eq, ZeroizeOnDrop)]
pub struct CodeVerifier(String);

impl CodeVerifier {
    /// The verifier of these random bytes: 43 characters of unpadded URL-safe base64 (RFC 7636 §4.1, appendix A).
    pub fn from_random(mut bytes: [u8; VERIFIER_RANDOM_BYTES]) -> Self {
        let text = URL_SAFE_NO_PAD.encode(bytes);
        bytes.zeroize();
        Self(text)
    }

    /// A verifier that was stored at the login: 43 to 128 unreserved characters.
    pub fn from_stored(mut text: String) -> Result<Self, InvalidSecret> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if (VERIFIER_CHARS_MIN..=VERIFIER_CHARS_MAX).contains(&text.len()) && text.bytes().all(unreserved) {
            return Ok(Self(text));
        }
        text.zeroize();
        Err(InvalidSecret { expected: "a code verifier of 43 to 128 unreserved characters" })
    }

    /// The verifier itself. Every caller of this is a place to review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeVerifier(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let secret = ClientSecret::new("canary-secret".to_owned());
        let pair = SecretPair { current: secret.clone(), previous: Some(secret) };
        let secrets = StaticSecrets::from_iter([("spotify".parse().unwrap(), pair)]);
        let code = AuthorizationCode::from_callback("canary-code".to_owned()).unwrap();
        let verifier = CodeVerifier::from_stored("canary-".repeat(8)).unwrap();
        let refused = AuthorizationCode::from_callback("canary\n".to_owned()).unwrap_err();
        let shown = format!("{secrets:?} {code:?} {verifier:?} {refused:?} {refused}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("ClientSecret(…)") && shown.contains("AuthorizationCode(…) CodeVerifier(…)"), "{shown}");
    }

    #[test]
    fn a_verifier_is_43_to_128_unreserved_characters() {
        for good in ["a".repeat(43), "~".repeat(128), "-._~".repeat(11)] {
            assert!(CodeVerifier::from_stored(good.clone()).is_ok(), "{good}");
        }
        for bad in [String::new(), "a".repeat(42), "a".repeat(129), "+".repeat(43), "a b".repeat(20), "ä".repeat(30)] {
            assert!(CodeVerifier::from_stored(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_random_verifier_is_the_example_of_rfc_7636_appendix_b() {
        let bytes = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191,
            240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        let verifier = CodeVerifier::from_random(bytes);
        assert_eq!(verifier.expose(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert!(CodeVerifier::from_stored(verifier.expose().to_owned()).is_ok());
    }

    #[test]
    fn a_code_is_printable_and_bounded() {
        assert!(AuthorizationCode::from_callback("x".repeat(CODE_BYTES_MAX)).is_ok());
        for bad in [String::new(), "x".repeat(CODE_BYTES_MAX + 1), "a\r\nb".to_owned(), "é".to_owned()] {
            assert!(AuthorizationCode::from_callback(bad.clone()).is_err(), "{bad}");
        }
    }
}
