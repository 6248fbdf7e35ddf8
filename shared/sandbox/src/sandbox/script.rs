//! What a test or a demo scripts: consent, faults, behaviour, clients, and a look at what happened.

use thiserror::Error;
use url::Url;

use super::Sandbox;
use crate::{
    authority::PageError,
    behaviour::{Behaviour, BehaviourPatch},
    dialect,
    fault::{Endpoint, Fault, FaultError},
    hash::TokenHash,
    ledger::Grant,
    log::Log,
    settings::Client,
};

/// Why [`Sandbox::consent`] brought nobody back to the client.
#[derive(Debug, Error)]
pub enum ConsentError {
    /// The URL is no authorization endpoint of this sandbox.
    #[error("not the authorization endpoint of a twin under {base_url}")]
    NotHere {
        /// The sandbox's base URL.
        base_url: Url,
    },
    /// The browser would be shown an error page instead of being redirected.
    #[error("the provider would show an error page: {shown}")]
    Page {
        /// What it says.
        shown: String,
    },
}

/// No such client is registered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no such client is registered at that provider")]
pub struct UnknownClient;

impl Sandbox {
    /// Does in process what a browser does whose user logs in as `username` and allows: answers the URL it is sent back
    /// to, with `code` and `state`, or with the `error` that the provider reports by redirect.
    pub fn consent(&self, authorize_url: &str, username: &str) -> Result<Url, ConsentError> {
        self.decide(authorize_url, username, true)
    }

    /// The same for a user who denies: the URL carries `error=access_denied` and `state`.
    pub fn deny(&self, authorize_url: &str, username: &str) -> Result<Url, ConsentError> {
        self.decide(authorize_url, username, false)
    }

    fn decide(&self, authorize_url: &str, username: &str, allow: bool) -> Result<Url, ConsentError> {
        let not_here = || ConsentError::NotHere { base_url: self.base_url().clone() };
        let url = Url::parse(authorize_url).map_err(|_| not_here())?;
        if url.origin() != self.base_url().origin() {
            return Err(not_here());
        }
        let result = self.change(|authority, now, dice| {
            let twin = authority.twins.iter().position(|twin| twin.profile.authorize.to_string() == url.path())?;
            Some(authority.consent(now, dice, twin, url.query().unwrap_or_default(), username, allow))
        });
        result.ok_or_else(not_here)?.map_err(|error: PageError| ConsentError::Page { shown: error.to_string() })
    }

    /// The URL of a twin's authorization endpoint.
    pub fn authorize_url(&self, provider: &str) -> Option<Url> {
        let place = self.profiles().iter().find(|profile| profile.id == provider)?.authorize;
        self.base_url().join(&place.to_string()).ok()
    }

    /// The URL of a twin's endpoint; `None` when the provider or the endpoint does not exist.
    pub fn endpoint_url(&self, provider: &str, endpoint: Endpoint) -> Option<Url> {
        let profile = self.profiles().iter().find(|profile| profile.id == provider)?;
        let place = match endpoint {
            Endpoint::Token => profile.token,
            Endpoint::Revoke => profile.revoke?,
            Endpoint::Userinfo => profile.userinfo,
            Endpoint::Api => profile.search,
        };
        self.base_url().join(&place.to_string()).ok()
    }

    /// The id of the account that `username` names at a provider, as its userinfo endpoint gives it.
    pub fn account_id(&self, provider: &str, username: &str) -> Option<String> {
        let profile = self.profiles().iter().find(|profile| profile.id == provider)?;
        Some(dialect::account_id(profile, &username.trim().to_lowercase()))
    }

    /// Plans a fault and answers its id.
    pub fn plan(&self, fault: Fault) -> Result<u64, FaultError> {
        self.change(|authority, _, _| {
            authority.twin(&fault.provider).ok_or(FaultError::UnknownProvider)?;
            authority.faults.add(fault)
        })
    }

    /// Forgets the faults planned for a provider, or all; answers how many there were.
    pub fn clear_faults(&self, provider: Option<&str>) -> usize {
        self.change(|authority, _, _| authority.faults.clear(provider))
    }

    /// The faults still to come, with their ids and the times left.
    pub fn planned_faults(&self) -> Vec<(u64, Fault)> {
        self.read(|authority, _| authority.faults.planned().to_vec())
    }

    /// How a twin behaves now.
    pub fn behaviour(&self, provider: &str) -> Option<Behaviour> {
        self.read(|authority, _| authority.twin(provider).map(|twin| authority.twins[twin].behaviour))
    }

    /// Changes how a twin behaves from now on, and answers the whole behaviour.
    pub fn adjust(&self, provider: &str, patch: &BehaviourPatch) -> Option<Behaviour> {
        self.change(|authority, _, _| {
            let twin = authority.twin(provider)?;
            let twin = &mut authority.twins[twin];
            twin.behaviour = twin.behaviour.patched(patch);
            Some(twin.behaviour)
        })
    }

    /// The user revokes, at the provider, what an account (its id or its name) has given; answers how many grants ended.
    pub fn revoke_account(&self, provider: &str, account: &str) -> usize {
        self.change(|authority, now, _| authority.revoke_account(now, provider, account))
    }

    /// Every grant remembered, ended ones too, oldest first.
    pub fn grants(&self) -> Vec<Grant> {
        self.read(|authority, _| authority.ledger.grants.values().cloned().collect())
    }

    /// The log so far.
    pub fn log(&self) -> Log {
        self.read(|authority, _| authority.log.clone())
    }

    /// Registers a client, in place of one with the same id; `false` when the provider has no twin.
    pub fn register(&self, client: Client) -> bool {
        self.change(|authority, _, _| {
            let Some(twin) = authority.twin(&client.provider) else { return false };
            let clients = &mut authority.twins[twin].clients;
            clients.retain(|known| known.client_id != client.client_id);
            clients.push(client.into());
            true
        })
    }

    /// Accepts one more secret of a client: the first step of rotating it.
    pub fn add_secret(&self, provider: &str, client_id: &str, secret: &str) -> Result<(), UnknownClient> {
        self.with_secrets(provider, client_id, |secrets| secrets.push(TokenHash::of(secret)))
    }

    /// Accepts a secret of a client no longer.
    pub fn remove_secret(&self, provider: &str, client_id: &str, secret: &str) -> Result<(), UnknownClient> {
        self.with_secrets(provider, client_id, |secrets| secrets.retain(|known| *known != TokenHash::of(secret)))
    }

    fn with_secrets(
        &self,
        provider: &str,
        client_id: &str,
        f: impl FnOnce(&mut Vec<TokenHash>),
    ) -> Result<(), UnknownClient> {
        self.change(|authority, _, _| {
            let twin = authority.twin(provider).ok_or(UnknownClient)?;
            let mut clients = authority.twins[twin].clients.iter_mut();
            f(&mut clients.find(|client| client.client_id == client_id).ok_or(UnknownClient)?.secrets);
            Ok(())
        })
    }
}
