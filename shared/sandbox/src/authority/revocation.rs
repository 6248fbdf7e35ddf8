//! The revocation endpoint (RFC 7009), and revocation by the user.

use super::{
    Authority, Request,
    client::authenticate,
    form::{self, Form},
};
use crate::{
    answer::{Answer, Ending, Reply},
    behaviour::Revokes,
    dialect,
    fault::{Endpoint, FaultKind},
    hash::TokenHash,
    ledger::EndReason,
    log::{LogEntry, Outcome},
    refusal::{OAuthError, Refusal},
};

impl Authority {
    /// Handles a revocation request that `fault` strikes.
    pub(crate) fn revoke(&mut self, now: u64, twin: usize, request: &Request<'_>, fault: Option<FaultKind>) -> Reply {
        if self.twins[twin].behaviour.revokes == Revokes::Nothing {
            return Reply { seq: None, after_ms: 0, ending: Ending::Answer(Answer::empty(404)) };
        }
        let mut entry = LogEntry::new(now, self.twins[twin].profile.id, "revoke", Outcome::Refused("invalid_request"));
        if let Some(token) = form::first(request.body, "token").filter(|token| !token.is_empty()) {
            entry.presented = Some(TokenHash::of(&token).short());
            entry.grant = self.ledger.owner(&token);
        }
        self.note_account(&mut entry);
        if let Some(kind) = fault.filter(|kind| kind.is_before()) {
            let ending = self.answer_before(twin, Endpoint::Revoke, now, kind);
            return self.finish(entry, fault, (0, ending));
        }
        let answer = match self.revoke_token(now, twin, request) {
            Ok(()) => {
                entry.outcome = Outcome::Revoked;
                Answer::empty(200)
            }
            Err(refusal) => {
                entry.outcome = Outcome::Refused(refusal.error.code());
                dialect::token_refusal(&self.twins[twin].profile, &refusal)
            }
        };
        self.finish(entry, fault, Self::spoil(answer, fault))
    }

    fn revoke_token(&mut self, now: u64, twin: usize, request: &Request<'_>) -> Result<(), Refusal> {
        let profile = &self.twins[twin].profile;
        if !form::is_form(request.content_type) {
            return Err(Refusal::request("the body has to be application/x-www-form-urlencoded"));
        }
        let form = Form::parse(request.body)?;
        // Google's takes the token alone, and credentials do no harm; where they are demanded they have to be right.
        let client_id = if profile.revoke_authenticates {
            Some(authenticate(&self.twins[twin].clients, profile.client_auth, request, &form)?.client_id.clone())
        } else {
            None
        };
        let token = form.get("token").ok_or(Refusal::request("token is missing"))?;
        let grant = self.ledger.owner(token).and_then(|id| self.ledger.grants.get(&id)).filter(|grant| {
            grant.provider == profile.id && client_id.as_ref().is_none_or(|client_id| grant.client_id == *client_id)
        });
        let Some(grant) = grant else {
            // Unknown is as good as revoked: RFC 7009 §2.2. Without client authentication the provider says so instead.
            return if client_id.is_some() {
                Ok(())
            } else {
                Err(Refusal::new(OAuthError::InvalidToken, "unknown token"))
            };
        };
        let ending = match self.twins[twin].behaviour.revokes {
            Revokes::Nothing => Vec::new(),
            Revokes::Token => vec![grant.id],
            Revokes::Grant => self.ledger.living(now, profile.id, &grant.account, Some(&grant.client_id)),
        };
        for id in ending {
            self.ledger.end(id, now, EndReason::Client);
        }
        Ok(())
    }

    /// The user revokes everything that an account (id or name) has given; answers how many grants ended.
    pub(crate) fn revoke_account(&mut self, now: u64, provider: &str, account: &str) -> usize {
        let living = self.ledger.living(now, provider, account, None);
        for &id in &living {
            self.ledger.end(id, now, EndReason::User);
        }
        living.len()
    }
}
