//! The providers, which are data: a new one is an entry in TOML and no code.

pub(crate) mod endpoint;
mod entry;
mod provider;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mm_model::ProviderId;

pub use self::provider::{
    AccountSource, Api, AuthorizationScheme, CLIENT_ID_PLACEHOLDER, ClientAuth, ErrorMeaning, ErrorRule, Provider,
    Revokes, Rotation, ScopeSeparator,
};
pub(crate) use self::{entry::is_scope, provider::Meaning};

/// Largest catalogue text in bytes: some hundred entries with their evidence, and far below what could exhaust memory.
pub const CATALOGUE_BYTES_MAX: usize = 256 * 1024;

/// Most providers that one catalogue may hold: a page of connections, and the budgets kept for them, stay small.
pub const PROVIDERS_MAX: usize = 64;

/// The catalogue's own entries, one file per provider.
const BUILT_IN: [&str; 3] = [
    include_str!("../catalogue/soundcloud.toml"),
    include_str!("../catalogue/spotify.toml"),
    include_str!("../catalogue/youtube.toml"),
];

/// The known providers, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    providers: BTreeMap<ProviderId, Provider>,
}

/// A catalogue that cannot be used. The messages name provider, field and expectation, and never quote a URL: somebody may
/// have written a password into one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The text is larger than [`CATALOGUE_BYTES_MAX`].
    #[error("the provider catalogue has {bytes} bytes, at most {CATALOGUE_BYTES_MAX} are read")]
    TooLarge {
        /// The text's size in bytes.
        bytes: usize,
    },
    /// The text is not TOML.
    #[error("the provider catalogue is not TOML: line {line}: {reason}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What the parser expected.
        reason: String,
    },
    /// A field has a wrong value, is missing or is not known.
    #[error("the provider catalogue is wrong at `{field}` (line {line}): {reason}")]
    Field {
        /// The path of the field: `provider.<id>.<field>`.
        field: String,
        /// The line, counted from 1.
        line: usize,
        /// What is expected there.
        reason: String,
    },
    /// A field contradicts another one of the same entry.
    #[error("the provider catalogue is wrong at `provider.{provider}.{field}`: {expected}")]
    Contradiction {
        /// The entry.
        provider: ProviderId,
        /// The field.
        field: &'static str,
        /// What is expected there.
        expected: &'static str,
    },
    /// Two catalogues describe the same provider.
    #[error("the provider `{provider}` is described twice; a further catalogue may not replace an entry")]
    Duplicate {
        /// The provider.
        provider: ProviderId,
    },
    /// There would be more than [`PROVIDERS_MAX`] providers.
    #[error("the provider catalogue has {count} providers, at most {PROVIDERS_MAX} are read")]
    TooMany {
        /// The number of providers.
        count: usize,
    },
}

impl Catalogue {
    /// The entries that come with the product: Spotify, SoundCloud and YouTube Music.
    pub fn built_in() -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        for text in BUILT_IN {
            catalogue.extend(Self::parse(text)?)?;
        }
        Ok(catalogue)
    }

    /// Reads `[provider.<id>]` tables, the format of the files in `catalogue/` and of `PROVIDERS_FILE`.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        if text.len() > CATALOGUE_BYTES_MAX {
            return Err(CatalogueError::TooLarge { bytes: text.len() });
        }
        let line_of = |error: &toml::de::Error| error.span().map_or(1, |span| line_at(text, span.start));
        let deserializer = toml::Deserializer::parse(text)
            .map_err(|error| CatalogueError::Syntax { line: line_of(&error), reason: error.message().to_owned() })?;
        let document: entry::Document = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let field = error.path().to_string();
            let cause = error.into_inner();
            CatalogueError::Field { field, line: line_of(&cause), reason: cause.message().to_owned() }
        })?;
        let mut catalogue = Self::default();
        for (id, entry) in document.provider {
            let provider = entry
                .into_provider(id.clone())
                .map_err(|(field, expected)| CatalogueError::Contradiction { provider: id.clone(), field, expected })?;
            catalogue.insert(provider)?;
        }
        Ok(catalogue)
    }

    /// Adds another catalogue's providers. An id that is known already is an error, so that a file of further providers
    /// cannot quietly send a known provider's codes and tokens elsewhere; this catalogue is unusable afterwards.
    pub fn extend(&mut self, other: Self) -> Result<(), CatalogueError> {
        other.providers.into_values().try_for_each(|provider| self.insert(provider))
    }

    /// The provider with this id.
    pub fn get(&self, id: &ProviderId) -> Option<&Provider> {
        self.providers.get(id)
    }

    /// All providers in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.providers.values()
    }

    fn insert(&mut self, provider: Provider) -> Result<(), CatalogueError> {
        if self.providers.contains_key(&provider.id) {
            return Err(CatalogueError::Duplicate { provider: provider.id });
        }
        self.providers.insert(provider.id.clone(), provider);
        if self.providers.len() > PROVIDERS_MAX {
            return Err(CatalogueError::TooMany { count: self.providers.len() });
        }
        Ok(())
    }
}

/// The line of a byte offset, counted from 1.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
