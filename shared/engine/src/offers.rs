//! The providers on offer: a catalogue entry together with this installation's registration there.

use std::{collections::BTreeMap, time::Duration};

use mm_model::{
    Issuer, ProviderId,
    limits::{LEASE_REUSABLE, LEASE_STRICT},
};
use mm_oauth::{Provider, Registration, Rotation};

/// A provider that people can connect.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The provider's facts.
    pub provider: Provider,
    /// This installation's registration.
    pub registration: Registration,
}

impl Offer {
    /// Who issues this installation's grants: rows of another issuer are left alone.
    pub fn issuer(&self) -> &Issuer {
        self.registration.issuer()
    }

    /// How long an attempt to refresh keeps others out.
    pub const fn lease(&self) -> Duration {
        match self.provider.rotation {
            Rotation::None => LEASE_REUSABLE,
            Rotation::Strict => LEASE_STRICT,
        }
    }
}

/// Every provider on offer.
#[derive(Clone, Debug, Default)]
pub struct Offers(BTreeMap<ProviderId, Offer>);

impl Offers {
    /// The offer of this provider, if there is one.
    pub fn get(&self, provider: &ProviderId) -> Option<&Offer> {
        self.0.get(provider)
    }

    /// All offers, by provider id.
    pub fn iter(&self) -> impl Iterator<Item = &Offer> {
        self.0.values()
    }
}

impl FromIterator<Offer> for Offers {
    fn from_iter<T: IntoIterator<Item = Offer>>(offers: T) -> Self {
        Self(offers.into_iter().map(|offer| (offer.provider.id.clone(), offer)).collect())
    }
}
