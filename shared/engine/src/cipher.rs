//! Sealing and opening tokens.
//!
//! Two families of branch keys, wrapped by the key service and kept unwrapped in process for minutes. Each token has a key
//! of its own, derived (HKDF-SHA-256, RFC 5869) from the branch key and the version and field it is for, and is sealed by
//! AES-256-GCM with its user, provider, version and field as associated data: a row whose ciphertext was swapped with
//! another's does not open. Opening a token on the hot path calls nobody.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use mm_model::{AccessToken, ConnectionKey, RefreshToken, Sealed, Version};
use zeroize::Zeroizing;

use crate::{
    causes::chain,
    ports::{BranchKey, Clock, ConnectionStore, Family, KeyContext, KeyError, KeyService, Rng, StoreError, WrappedKey},
};

mod cache;

use cache::{Cache, Unwrapped};

/// The sealed form's first byte.
const FORMAT: u8 = 1;

/// Format, key number, nonce.
const HEADER_BYTES: usize = 1 + 4 + NONCE_LEN;

/// Which token of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The access token.
    AccessToken,
    /// The refresh token.
    RefreshToken,
}

impl Field {
    const fn family(self) -> Family {
        match self {
            Self::AccessToken => Family::Access,
            Self::RefreshToken => Family::Refresh,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "accessToken",
            Self::RefreshToken => "refreshToken",
        }
    }
}

/// Tokens could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum CipherError {
    /// The key service failed.
    #[error("branch keys of family {family:?} could not be unwrapped")]
    Keys {
        /// The family.
        family: Family,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The key rows could not be read.
    #[error("branch keys of family {family:?} could not be read")]
    Rows {
        /// The family.
        family: Family,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// There is no such branch key. Functions never make one: the operator's command does.
    #[error("there is no branch key {number} of family {family:?}; the operator has to create the first keys")]
    NoKey {
        /// The family.
        family: Family,
        /// The number asked for; 0 for "any".
        number: u32,
    },
    /// The sealed token is not this row's: it was swapped, altered, or sealed by something else.
    #[error("the sealed {field} of {key} does not open: it is not this row's")]
    NotThisRow {
        /// The row.
        key: ConnectionKey,
        /// The attribute.
        field: &'static str,
    },
    /// The cryptographic library refused.
    #[error("sealing failed")]
    Sealing,
}

impl CipherError {
    /// Whether keys or their rows are out of reach for now. A key service that refuses has been told to.
    const fn passes_by_itself(&self) -> bool {
        match self {
            Self::Keys { source, .. } => matches!(source, KeyError::Unavailable(_)),
            Self::Rows { source, .. } => matches!(source, StoreError::Unavailable { .. }),
            Self::NoKey { .. } | Self::NotThisRow { .. } | Self::Sealing => false,
        }
    }
}

/// Seals and opens tokens; see the module's description.
pub struct TokenCipher {
    table: String,
    keys: Arc<dyn KeyService>,
    store: Arc<dyn ConnectionStore>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    access: Cache,
    refresh: Cache,
}

impl fmt::Debug for TokenCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCipher").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Both families' newest keys at hand, so that sealing an answer needs nothing but the processor.
pub(crate) struct Sealer {
    access: Arc<Unwrapped>,
    refresh: Arc<Unwrapped>,
    rng: Arc<dyn Rng>,
}

impl TokenCipher {
    /// A cipher for the tokens of `table`.
    pub fn new(
        table: String,
        keys: Arc<dyn KeyService>,
        store: Arc<dyn ConnectionStore>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        Self { table, keys, store, clock, rng, access: Cache::default(), refresh: Cache::default() }
    }

    /// Makes the first branch key of each family where there is none. For the operator's command, and for the start of an
    /// installation that is one machine.
    pub async fn create_first_keys(&self) -> Result<(), CipherError> {
        for family in [Family::Access, Family::Refresh] {
            let rows = |source| CipherError::Rows { family, source };
            if self.store.branch_keys(family).await.map_err(rows)?.is_empty() {
                let key = BranchKey(self.rng.bytes());
                let context = self.context(family, 1);
                let wrapped =
                    self.keys.wrap(&context, &key).await.map_err(|source| CipherError::Keys { family, source })?;
                let row = WrappedKey { number: 1, wrapped, created_at: self.clock.now() };
                // Absent no more: somebody else made it, which is as good.
                let _made = self.store.add_branch_key(family, &row).await.map_err(rows)?;
            }
        }
        Ok(())
    }

    /// Unwraps both families' keys, so that the first request need not.
    pub async fn prime(&self) -> Result<(), CipherError> {
        self.unwrapped(Family::Access, None).await?;
        self.unwrapped(Family::Refresh, None).await.map(drop)
    }

    /// Opens the access token of a row.
    pub async fn open_access_token(
        &self,
        key: &ConnectionKey,
        version: Version,
        sealed: &Sealed,
    ) -> Result<AccessToken, CipherError> {
        self.open(key, version, Field::AccessToken, sealed).await.map(AccessToken::new)
    }

    /// Opens the refresh token of a row.
    pub async fn open_refresh_token(
        &self,
        key: &ConnectionKey,
        version: Version,
        sealed: &Sealed,
    ) -> Result<RefreshToken, CipherError> {
        self.open(key, version, Field::RefreshToken, sealed).await.map(RefreshToken::new)
    }

    /// Gets the newest keys of both families at hand.
    pub(crate) async fn sealer(&self) -> Result<Sealer, CipherError> {
        let access = self.unwrapped(Family::Access, None).await?;
        let refresh = self.unwrapped(Family::Refresh, None).await?;
        Ok(Sealer { access, refresh, rng: Arc::clone(&self.rng) })
    }

    async fn open(
        &self,
        key: &ConnectionKey,
        version: Version,
        field: Field,
        sealed: &Sealed,
    ) -> Result<String, CipherError> {
        let foreign = || CipherError::NotThisRow { key: key.clone(), field: field.name() };
        let (header, body) = sealed.as_bytes().split_at_checked(HEADER_BYTES).ok_or_else(foreign)?;
        let (number, nonce) = header[1..].split_at(4);
        if header[0] != FORMAT {
            return Err(foreign());
        }
        let number = u32::from_be_bytes(number.try_into().map_err(|_| foreign())?);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| foreign())?;
        let keys = self.unwrapped(field.family(), Some(number)).await?;
        let branch = keys.keys.get(&number).ok_or(CipherError::NoKey { family: field.family(), number })?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let aad = Aad::from(associated_data(key, version, field));
        let clear = item_key(branch, version, field)?.open_in_place(nonce, aad, &mut buffer).map_err(|_| foreign())?;
        String::from_utf8(clear.to_vec()).map_err(|_| foreign())
    }

    /// The family's keys, `wanted` among them if it exists.
    async fn unwrapped(&self, family: Family, wanted: Option<u32>) -> Result<Arc<Unwrapped>, CipherError> {
        let cache = match family {
            Family::Access => &self.access,
            Family::Refresh => &self.refresh,
        };
        let now = || self.clock.now();
        if let Some(keys) = cache.fresh(wanted, now()) {
            return Ok(keys);
        }
        let _loading = match (cache.loading.try_lock(), cache.old(wanted, now())) {
            (Ok(loading), _) => loading,
            // Somebody asks for new ones already, and may have to wait for them.
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => cache.loading.lock().await,
        };
        if let Some(keys) = cache.fresh(wanted, now()) {
            return Ok(keys);
        }
        let before = cache.fresh(None, now());
        match self.load(family, wanted, before.as_deref()).await {
            Ok(loaded) => Ok(cache.renew(loaded)),
            Err(error) if error.passes_by_itself() => {
                let Some(keys) = cache.old(wanted, now()) else { return Err(error) };
                tracing::warn!(?family, error = %chain(&error), "cipher.reload: failed, going on with the keys at hand");
                cache.put_off(now());
                Ok(keys)
            }
            Err(error) => {
                if before.is_none() {
                    // They were taken away, not just out of reach.
                    cache.clear();
                }
                Err(error)
            }
        }
    }

    /// Unwraps the newest key, the wanted one, and those that were at hand before.
    async fn load(
        &self,
        family: Family,
        wanted: Option<u32>,
        before: Option<&Unwrapped>,
    ) -> Result<Unwrapped, CipherError> {
        let rows = self.store.branch_keys(family).await.map_err(|source| CipherError::Rows { family, source })?;
        let newest = rows.last().ok_or(CipherError::NoKey { family, number: 0 })?.number;
        let mut keys = BTreeMap::new();
        for row in &rows {
            let held = before.is_some_and(|before| before.keys.contains_key(&row.number));
            if row.number == newest || wanted == Some(row.number) || held {
                let context = self.context(family, row.number);
                let unwrapped = self.keys.unwrap(&context, &row.wrapped).await;
                keys.insert(row.number, unwrapped.map_err(|source| CipherError::Keys { family, source })?);
            }
        }
        Ok(Unwrapped { newest, keys, loaded_at: self.clock.now() })
    }

    fn context(&self, family: Family, number: u32) -> KeyContext {
        KeyContext { table: self.table.clone(), family, number }
    }
}

impl Sealer {
    /// Seals an access token for the row's `version`.
    pub(crate) fn access_token(
        &self,
        key: &ConnectionKey,
        version: Version,
        token: &AccessToken,
    ) -> Result<Sealed, CipherError> {
        self.seal(&self.access, key, version, Field::AccessToken, token.expose())
    }

    /// Seals a refresh token for the row's `version`.
    pub(crate) fn refresh_token(
        &self,
        key: &ConnectionKey,
        version: Version,
        token: &RefreshToken,
    ) -> Result<Sealed, CipherError> {
        self.seal(&self.refresh, key, version, Field::RefreshToken, token.expose())
    }

    fn seal(
        &self,
        keys: &Unwrapped,
        key: &ConnectionKey,
        version: Version,
        field: Field,
        clear: &str,
    ) -> Result<Sealed, CipherError> {
        let branch = keys.keys.get(&keys.newest).ok_or(CipherError::Sealing)?;
        let nonce: [u8; NONCE_LEN] = self.rng.bytes();
        let mut sealed = Vec::with_capacity(HEADER_BYTES + clear.len() + AES_256_GCM.tag_len());
        sealed.push(FORMAT);
        sealed.extend(keys.newest.to_be_bytes());
        sealed.extend(nonce);
        let mut body = Zeroizing::new(clear.as_bytes().to_vec());
        let aad = Aad::from(associated_data(key, version, field));
        item_key(branch, version, field)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *body)
            .map_err(|_| CipherError::Sealing)?;
        sealed.extend_from_slice(&body);
        Ok(Sealed::from_bytes(sealed))
    }
}

fn item_key(branch: &BranchKey, version: Version, field: Field) -> Result<LessSafeKey, CipherError> {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"multimusic token").extract(&branch.0);
    let info = [field.name().as_bytes(), version.as_bytes()];
    let unbound: UnboundKey = prk.expand(&info, &AES_256_GCM).map_err(|_| CipherError::Sealing)?.into();
    Ok(LessSafeKey::new(unbound))
}

/// Each part with its length before it, so that no two rows have the same data.
fn associated_data(key: &ConnectionKey, version: Version, field: Field) -> Vec<u8> {
    let parts: [&[u8]; 5] = [
        &[FORMAT],
        key.user.as_str().as_bytes(),
        key.provider.as_str().as_bytes(),
        version.as_bytes(),
        field.name().as_bytes(),
    ];
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
    parts
        .into_iter()
        .flat_map(|part| length(part).into_iter().chain(part.iter().copied()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests;
