//! The sandbox's providers, offered where there are no credentials: twins of the real ones on this machine. Their sandbox
//! runs in this process, or, for development, in another one ([`TwinOffers`] alone).

use std::{path::Path, sync::Arc};

use mm_engine::{
    Offer,
    ports::{Clock, Rng},
};
use mm_model::ProviderId;
use mm_oauth::{Catalogue, ClientSecret, InvalidRegistration, Registration, SecretPair, StaticSecrets};
use mm_sandbox::{BehaviourPatch, Client, Sandbox, SandboxError, Settings};
use mm_web::Origins;
use url::Url;

/// This installation's name at the twins.
const CLIENT_ID: &str = "multimusic-dev";

/// Its secret there. Not one: the twins are reached from this machine only.
const CLIENT_SECRET: &str = "not-a-secret";

/// The file that keeps the twins' grants: the product's rows survive a restart, so their grants have to.
const STATE_FILE: &str = "sandbox.json";

/// Twins that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TwinsError {
    /// The sandbox.
    #[error("the sandbox could not be set up")]
    Sandbox(#[from] SandboxError),
    /// A registration at a twin.
    #[error("the registration at a sandbox twin could not be made")]
    Registration(#[from] InvalidRegistration),
    /// The address.
    #[error("the address of the sandbox could not be written")]
    Address(#[from] url::ParseError),
}

/// The twins and what the product needs to use them.
pub struct Twins {
    /// The providers' side.
    pub sandbox: Sandbox,
    /// The product's side.
    pub offers: Vec<Offer>,
    /// The registrations' secrets.
    pub secrets: StaticSecrets,
}

/// What the product needs to use a sandbox's twins, wherever that runs.
pub struct TwinOffers {
    /// One for every provider of the catalogue that the sandbox knows.
    pub offers: Vec<Offer>,
    /// The registrations' secrets.
    pub secrets: StaticSecrets,
}

impl TwinOffers {
    /// The offers of the sandbox that answers at `base_url`.
    pub fn new(catalogue: &Catalogue, base_url: &Url, origins: &Origins) -> Result<Self, TwinsError> {
        let known = Settings::new(base_url.clone());
        let known: Vec<&str> = known.profiles.iter().map(|profile| profile.id).collect();
        let mut offers = Vec::new();
        for provider in catalogue.iter().filter(|provider| known.contains(&provider.id.as_str())) {
            let provider = provider.rebased(base_url);
            let registration =
                Registration::new(&provider, CLIENT_ID.to_owned(), redirect_uri(origins, &provider.id)?, None)?;
            offers.push(Offer { provider, registration });
        }
        let secret = SecretPair { current: ClientSecret::new(CLIENT_SECRET.to_owned()), previous: None };
        let ids = offers.iter().map(|offer: &Offer| offer.provider.id.clone());
        let secrets = ids.map(|id: ProviderId| (id, secret.clone())).collect();
        Ok(Self { offers, secrets })
    }
}

fn redirect_uri(origins: &Origins, provider: &ProviderId) -> Result<Url, url::ParseError> {
    origins.public_url().join(&format!("auth/{provider}/callback"))
}

/// What a sandbox is set up from.
pub struct TwinsPlan<'a> {
    /// The address under which it answers, on another loopback name than the product.
    pub base_url: Url,
    /// The product's address and its frontends, whose pages may script the sandbox.
    pub origins: &'a Origins,
    /// Where its grants are kept; `None` for memory only.
    pub data_dir: Option<&'a Path>,
    /// Life of its access tokens in seconds, where it differs from the real ones'.
    pub token_lifetime: Option<u64>,
    /// The product's clock: both run at the same speed.
    pub clock: Arc<dyn Clock>,
    /// The dice.
    pub rng: Arc<dyn Rng>,
}

impl Twins {
    /// Sets up a twin for every provider of the catalogue that the sandbox knows.
    pub fn new(catalogue: &Catalogue, plan: TwinsPlan<'_>) -> Result<Self, TwinsError> {
        let TwinOffers { offers, secrets } = TwinOffers::new(catalogue, &plan.base_url, plan.origins)?;
        let mut clients = Vec::new();
        for offer in &offers {
            clients.push(Client {
                provider: offer.provider.id.to_string(),
                client_id: CLIENT_ID.to_owned(),
                secrets: vec![CLIENT_SECRET.to_owned()],
                redirect_uris: vec![redirect_uri(plan.origins, &offer.provider.id)?.to_string()],
            });
        }
        let settings = Settings {
            clients,
            allowed_origins: pages(plan.origins),
            state_file: plan.data_dir.map(|dir| dir.join(STATE_FILE)),
            ..Settings::new(plan.base_url)
        };
        let (clock, rng) = (plan.clock, plan.rng);
        let sandbox = Sandbox::new(
            settings,
            Arc::new(move || clock.now().unix()),
            Box::new(move |bytes: &mut [u8]| rng.fill(bytes)),
        )?;
        if let Some(seconds) = plan.token_lifetime {
            for offer in &offers {
                let patch = BehaviourPatch { access_lifetime_s: Some(seconds), ..BehaviourPatch::default() };
                sandbox.adjust(offer.provider.id.as_str(), &patch);
            }
        }
        Ok(Self { sandbox, offers, secrets })
    }
}

fn pages(origins: &Origins) -> Vec<String> {
    let urls = origins.frontends().iter().chain([origins.public_url()]);
    urls.map(|url| url.origin().ascii_serialization()).collect()
}
