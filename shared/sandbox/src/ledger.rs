//! Grants and their tokens: who may still use what. Pure: time and dice come with each call.

mod rotation;

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::hash::{Dice, TokenHash, mint};

pub(crate) use rotation::RefreshRefusal;

/// Grants kept; beyond it the oldest ended one is forgotten, else the oldest. The largest simulation has 20,000 users.
const MAX_GRANTS: usize = 50_000;

/// Living access tokens of one grant; the oldest is dropped. More than any client needs between two expiries.
const MAX_ACCESS_TOKENS_PER_GRANT: usize = 16;

/// Refresh tokens of one grant that were never used; the oldest is dropped. They only pile up in rotating mode.
const MAX_CURRENT_PER_GRANT: usize = 16;

/// Exchanged refresh tokens remembered in all, so that their return is recognized; the oldest are forgotten.
const MAX_EXCHANGED: usize = 200_000;

/// Exchanged refresh tokens that the state file keeps: a client that restarts brings its last few, not last month's.
pub(crate) const MAX_EXCHANGED_IN_FILE: usize = 2_000;

/// What an access token begins with.
const ACCESS_PREFIX: &str = "sbx-access-";

/// What a refresh token begins with.
const REFRESH_PREFIX: &str = "sbx-refresh-";

/// Why a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// A spent refresh token came back.
    Reuse,
    /// A spent code came back.
    CodeReplay,
    /// The user revoked it at the provider.
    User,
    /// The client revoked it.
    Client,
    /// The account gave more grants than the provider keeps.
    Crowded,
}

/// When and why a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Unix seconds.
    pub at: u64,
    /// Why.
    pub reason: EndReason,
}

/// What one user's consent gave one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number.
    pub id: u64,
    /// The provider's id.
    pub provider: String,
    /// The client's id.
    pub client_id: String,
    /// The account's id, as the userinfo endpoint gives it.
    pub account: String,
    /// The name chosen at login.
    pub username: String,
    /// Scope granted, separated by spaces.
    pub scope: String,
    /// When the user consented, in Unix seconds.
    pub authorized_at: u64,
    /// When it ends by itself, in Unix seconds.
    pub expires_at: Option<u64>,
    /// When and why it ended.
    pub ended: Option<Ended>,
    /// Refreshes so far.
    pub refreshes: u64,
    /// Refresh tokens that were not exchanged yet.
    #[serde(default)]
    pub(crate) current: Vec<TokenHash>,
    /// Living access tokens, oldest first.
    #[serde(default)]
    pub(crate) access: Vec<TokenHash>,
}

impl Grant {
    /// Whether its refresh tokens are good at `now`.
    pub(crate) fn lives(&self, now: u64) -> bool {
        self.ended.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// What a grant is made from.
pub(crate) struct NewGrant {
    pub(crate) provider: String,
    pub(crate) client_id: String,
    pub(crate) account: String,
    pub(crate) username: String,
    pub(crate) scope: String,
    pub(crate) authorized_at: u64,
    pub(crate) lifetime_s: Option<u64>,
}

/// A refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefreshRow {
    pub(crate) grant: u64,
    /// The token it was issued for.
    pub(crate) predecessor: Option<TokenHash>,
    pub(crate) state: RefreshState,
}

/// Where a refresh token is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefreshState {
    /// Never exchanged.
    Current,
    /// Exchanged, but perhaps still accepted.
    Replaced { at: u64 },
    /// Exchanged, and good for nothing.
    Spent { at: u64 },
}

/// An access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessRow {
    pub(crate) grant: u64,
    pub(crate) expires_at: u64,
}

/// All grants of all twins.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) last_grant: u64,
    pub(crate) grants: BTreeMap<u64, Grant>,
    pub(crate) refresh: HashMap<TokenHash, RefreshRow>,
    /// Exchanged tokens in the order of their exchange.
    pub(crate) exchanged: VecDeque<TokenHash>,
    pub(crate) access: HashMap<TokenHash, AccessRow>,
    /// Whether there is something that the state file does not have.
    pub(crate) changed: bool,
}

impl Ledger {
    /// Writes down a new grant. With `keep`, the account's oldest living grants to this client end silently beyond it.
    pub(crate) fn open(&mut self, now: u64, new: NewGrant, keep: Option<usize>) -> u64 {
        self.make_room();
        self.last_grant += 1;
        let id = self.last_grant;
        let grant = Grant {
            id,
            provider: new.provider,
            client_id: new.client_id,
            account: new.account,
            username: new.username,
            scope: new.scope,
            authorized_at: new.authorized_at,
            expires_at: new.lifetime_s.map(|life| new.authorized_at.saturating_add(life)),
            ended: None,
            refreshes: 0,
            current: Vec::new(),
            access: Vec::new(),
        };
        if let Some(keep) = keep {
            let living = self.living(now, &grant.provider, &grant.account, Some(&grant.client_id));
            let surplus = (living.len() + 1).saturating_sub(keep);
            for old in living.into_iter().take(surplus) {
                self.end(old, now, EndReason::Crowded);
            }
        }
        self.grants.insert(id, grant);
        self.changed = true;
        id
    }

    /// Living grants of an account (id or name), oldest first; of one client, or of all.
    pub(crate) fn living(&self, now: u64, provider: &str, account: &str, client_id: Option<&str>) -> Vec<u64> {
        self.grants
            .values()
            .filter(|grant| {
                grant.provider == provider
                    && (grant.account == account || grant.username == account)
                    && client_id.is_none_or(|client_id| grant.client_id == client_id)
                    && grant.lives(now)
            })
            .map(|grant| grant.id)
            .collect()
    }

    /// Ends a grant with all its tokens; a second reason does not overwrite the first.
    pub(crate) fn end(&mut self, id: u64, at: u64, reason: EndReason) {
        let Some(grant) = self.grants.get_mut(&id) else { return };
        if grant.ended.is_none() {
            grant.ended = Some(Ended { at, reason });
            for token in grant.access.drain(..) {
                self.access.remove(&token);
            }
            self.changed = true;
        }
    }

    /// Issues an access token of a grant.
    pub(crate) fn issue_access(&mut self, now: u64, dice: Dice<'_>, id: u64, lifetime_s: u64) -> String {
        let token = mint(dice, ACCESS_PREFIX);
        let hash = TokenHash::of(&token);
        if let Some(grant) = self.grants.get_mut(&id) {
            let (dead, living): (Vec<_>, Vec<_>) =
                grant.access.drain(..).partition(|hash| self.access.get(hash).is_none_or(|row| row.expires_at <= now));
            grant.access = living;
            let surplus = (grant.access.len() + 1).saturating_sub(MAX_ACCESS_TOKENS_PER_GRANT);
            for hash in dead.into_iter().chain(grant.access.drain(..surplus)) {
                self.access.remove(&hash);
            }
            grant.access.push(hash);
            self.access.insert(hash, AccessRow { grant: id, expires_at: now.saturating_add(lifetime_s) });
            self.changed = true;
        }
        token
    }

    /// Issues a refresh token of a grant, as `predecessor`'s successor if there is one.
    pub(crate) fn issue_refresh(&mut self, dice: Dice<'_>, id: u64, predecessor: Option<TokenHash>) -> String {
        let token = mint(dice, REFRESH_PREFIX);
        let hash = TokenHash::of(&token);
        if let Some(grant) = self.grants.get_mut(&id) {
            let surplus = (grant.current.len() + 1).saturating_sub(MAX_CURRENT_PER_GRANT);
            for hash in grant.current.drain(..surplus) {
                self.refresh.remove(&hash);
            }
            grant.current.push(hash);
            self.refresh.insert(hash, RefreshRow { grant: id, predecessor, state: RefreshState::Current });
            self.changed = true;
        }
        token
    }

    /// The living grant that a living access token belongs to.
    pub(crate) fn bearer(&self, now: u64, token: &str) -> Option<&Grant> {
        let row = self.access.get(&TokenHash::of(token)).filter(|row| now < row.expires_at)?;
        self.grants.get(&row.grant).filter(|grant| grant.ended.is_none())
    }

    /// The grant that a token of either kind belongs to, living or not.
    pub(crate) fn owner(&self, token: &str) -> Option<u64> {
        let hash = TokenHash::of(token);
        self.refresh.get(&hash).map(|row| row.grant).or_else(|| self.access.get(&hash).map(|row| row.grant))
    }

    fn make_room(&mut self) {
        if self.grants.len() < MAX_GRANTS {
            return;
        }
        let ended = self.grants.values().find(|grant| grant.ended.is_some()).map(|grant| grant.id);
        let Some(id) = ended.or_else(|| self.grants.keys().next().copied()) else { return };
        if let Some(grant) = self.grants.remove(&id) {
            // Its exchanged tokens leave with the queue; until then they belong to no grant, and so are unknown.
            for hash in grant.current {
                self.refresh.remove(&hash);
            }
            for hash in grant.access {
                self.access.remove(&hash);
            }
        }
    }

    /// Notes that a token left the state `Current`.
    fn note_exchanged(&mut self, hash: TokenHash) {
        if self.exchanged.len() >= MAX_EXCHANGED
            && let Some(oldest) = self.exchanged.pop_front()
        {
            self.refresh.remove(&oldest);
        }
        self.exchanged.push_back(hash);
    }
}

#[cfg(test)]
mod tests;
