//! The token endpoint (RFC 6749 §4.1.3, §5, §6; RFC 7636 §4.6).

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::{
    Authority, Request, Twin,
    authorization::CODE_LIFETIME_S,
    client::authenticate,
    form::{self, Form},
};
use crate::{
    answer::{Answer, Reply},
    behaviour::Mode,
    dialect,
    fault::{Endpoint, FaultKind},
    hash::{Dice, TokenHash, challenge_of},
    ledger::{EndReason, NewGrant, RefreshRefusal},
    log::{LogEntry, Outcome},
    refusal::{Asked, OAuthError, Refusal},
};

/// Shortest and longest code verifier (RFC 7636 §4.1).
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;

/// Tokens on their way into an answer.
struct Issued {
    access: String,
    expires_in: u64,
    refresh: Option<String>,
    scope: String,
}

/// A token request whose client is known.
struct Case<'a> {
    now: u64,
    twin: usize,
    client_id: &'a str,
    form: &'a Form,
    /// No refresh token shall be in the answer, and so none may be used up.
    keep: bool,
}

impl Authority {
    /// Handles a token request that `fault` strikes.
    pub(crate) fn token(
        &mut self,
        now: u64,
        dice: Dice<'_>,
        twin: usize,
        request: &Request<'_>,
        fault: Option<FaultKind>,
    ) -> Reply {
        let mut entry = self.token_entry(now, twin, request);
        if let Some(kind) = fault.filter(|kind| kind.is_before()) {
            let ending = self.answer_before(twin, Endpoint::Token, now, kind);
            return self.finish(entry, fault, (0, ending));
        }
        let keep = fault == Some(FaultKind::NoRefreshTokenInAnswer);
        let answer = match self.redeem(now, dice, twin, request, keep, &mut entry) {
            Ok(issued) => {
                entry.outcome = Outcome::Issued;
                entry.issued = issued.refresh.as_deref().map(|token| TokenHash::of(token).short());
                issued.into_answer(fault)
            }
            Err(refusal) => {
                entry.outcome = if refusal.killed_grant {
                    Outcome::ReuseKilledGrant
                } else {
                    Outcome::Refused(refusal.error.code())
                };
                dialect::token_refusal(&self.twins[twin].profile, &refusal)
            }
        };
        self.note_account(&mut entry);
        self.finish(entry, fault, Self::spoil(answer, fault))
    }

    /// What the log can say of a request before anything is done with it.
    fn token_entry(&self, now: u64, twin: usize, request: &Request<'_>) -> LogEntry {
        let mut entry = LogEntry::new(now, self.twins[twin].profile.id, "token", Outcome::Refused("invalid_request"));
        entry.grant_type = form::first(request.body, "grant_type").map(|grant_type| match grant_type.as_str() {
            "authorization_code" => "authorization_code",
            "refresh_token" => "refresh_token",
            _ => "other",
        });
        if let Some(token) = form::first(request.body, "refresh_token").filter(|token| !token.is_empty()) {
            let hash = TokenHash::of(&token);
            entry.presented = Some(hash.short());
            (entry.grant, entry.presented_again) = self.ledger.look(hash);
        }
        self.note_account(&mut entry);
        entry
    }

    pub(super) fn note_account(&self, entry: &mut LogEntry) {
        entry.account = entry.grant.and_then(|id| self.ledger.grants.get(&id)).map(|grant| grant.account.clone());
    }

    fn redeem(
        &mut self,
        now: u64,
        dice: Dice<'_>,
        twin: usize,
        request: &Request<'_>,
        keep: bool,
        entry: &mut LogEntry,
    ) -> Result<Issued, Refusal> {
        if request.query.is_some_and(|query| !query.is_empty()) {
            return Err(Refusal::request("parameters belong into the body"));
        }
        if !form::is_form(request.content_type) {
            return Err(Refusal::request("the body has to be application/x-www-form-urlencoded"));
        }
        let form = Form::parse(request.body)?;
        let demanded = self.twins[twin].profile.client_auth;
        let client_id = authenticate(&self.twins[twin].clients, demanded, request, &form)?.client_id.clone();
        let case = Case { now, twin, client_id: &client_id, form: &form, keep };
        match form.get("grant_type") {
            Some("authorization_code") => self.redeem_code(dice, &case, entry),
            Some("refresh_token") => self.redeem_refresh(dice, &case, entry),
            Some(_) => Err(Refusal::new(OAuthError::UnsupportedGrantType, "no such grant type here")),
            None => Err(Refusal::request("grant_type is missing")),
        }
    }

    fn redeem_code(&mut self, dice: Dice<'_>, case: &Case<'_>, entry: &mut LogEntry) -> Result<Issued, Refusal> {
        let presented = case.form.get("code").ok_or(Refusal::request("code is missing"))?;
        let redirect_uri = case.form.get("redirect_uri").ok_or(Refusal::request("redirect_uri is missing"))?;
        let refused = |detail| Refusal::grant(detail, Asked::Code);

        let Twin { profile, behaviour, .. } = &self.twins[case.twin];
        let code = self.codes.get_mut(&TokenHash::of(presented)).filter(|code| code.provider == profile.id);
        let code = code.ok_or(refused("unknown code"))?;
        if code.request.client_id != case.client_id {
            return Err(refused("the code was issued to another client"));
        }
        if code.used {
            // A code that comes back may have been stolen, so whatever it gave is taken away: RFC 6749 §4.1.2.
            entry.grant = code.grant;
            let refusal = refused("the code was used before");
            return Err(match code.grant {
                Some(grant) => {
                    self.ledger.end(grant, case.now, EndReason::CodeReplay);
                    refusal.killing()
                }
                None => refusal,
            });
        }
        // From here on the code is used up, whatever is wrong with the rest: nobody may try a second verifier.
        code.used = true;
        if case.now >= code.issued_at.saturating_add(CODE_LIFETIME_S) {
            return Err(refused("the code has expired"));
        }
        if code.request.redirect_uri != redirect_uri {
            return Err(refused("redirect_uri differs from the one of the authorization request"));
        }
        if !is_proved(code.request.challenge.as_deref(), case.form.get("code_verifier")) {
            return Err(refused("code_verifier does not fit"));
        }

        let new = NewGrant {
            provider: profile.id.to_owned(),
            client_id: case.client_id.to_owned(),
            account: code.account.clone(),
            username: code.username.clone(),
            scope: code.request.scope.clone(),
            authorized_at: code.issued_at,
            lifetime_s: behaviour.grant_lifetime_s,
        };
        let scope = new.scope.clone();
        let issue_refresh = code.issue_refresh && behaviour.mode != Mode::NoRefreshToken && !case.keep;
        let grant = self.ledger.open(case.now, new, profile.grants_per_account);
        code.grant = Some(grant);
        entry.grant = Some(grant);
        let access = self.ledger.issue_access(case.now, dice, grant, behaviour.access_lifetime_s);
        let refresh = issue_refresh.then(|| self.ledger.issue_refresh(dice, grant, None));
        Ok(Issued { access, expires_in: behaviour.access_lifetime_s, refresh, scope })
    }

    fn redeem_refresh(&mut self, dice: Dice<'_>, case: &Case<'_>, entry: &mut LogEntry) -> Result<Issued, Refusal> {
        let token = case.form.get("refresh_token").ok_or(Refusal::request("refresh_token is missing"))?;
        let hash = TokenHash::of(token);
        let Twin { profile, behaviour, .. } = &self.twins[case.twin];
        let granted = entry.grant.and_then(|id| self.ledger.grants.get(&id)).map(|grant| grant.scope.clone());
        let scope = match (case.form.get("scope"), granted) {
            // Before the token is judged: a request that is wrong in itself spends nothing.
            (Some(asked), Some(granted)) if !is_within(asked, &granted) => {
                return Err(Refusal::new(OAuthError::InvalidScope, "more scope than was granted"));
            }
            (Some(asked), _) => asked.to_owned(),
            (None, granted) => granted.unwrap_or_default(),
        };
        let presentation = self.ledger.present(case.now, hash, profile.id, case.client_id, behaviour.mode);
        let refused = |detail| Refusal::grant(detail, Asked::Refresh);
        presentation.verdict.map_err(|refusal| match refusal {
            RefreshRefusal::Unknown => refused("unknown refresh token"),
            RefreshRefusal::OtherClient => refused("the refresh token was issued to another client"),
            RefreshRefusal::Ended(EndReason::User) => Refusal::grant("refresh token revoked", Asked::RefreshOfRevoked),
            RefreshRefusal::Ended(_) => refused("refresh token revoked"),
            RefreshRefusal::Expired => refused("refresh token expired"),
            RefreshRefusal::Spent => refused("the refresh token was used before"),
            RefreshRefusal::SpentAndKilled => refused("the refresh token was used before").killing(),
        })?;
        let Some(grant) = presentation.grant else { return Err(refused("unknown refresh token")) };

        let refresh = if case.keep {
            self.ledger.keep(hash);
            None
        } else {
            self.ledger.exchange(case.now, dice, hash, behaviour.mode)
        };
        entry.spent = refresh.is_some();
        let access = self.ledger.issue_access(case.now, dice, grant, behaviour.access_lifetime_s);
        Ok(Issued { access, expires_in: behaviour.access_lifetime_s, refresh, scope })
    }
}

/// Whether the verifier proves what the challenge asked for (RFC 7636 §4.6).
fn is_proved(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (Some(challenge), Some(verifier)) => {
            VERIFIER_LENGTHS.contains(&verifier.len())
                && verify_slices_are_equal(challenge.as_bytes(), challenge_of(verifier).as_bytes()).is_ok()
        }
        (None, None) => true,
        // A verifier without a challenge is a request whose challenge was stripped on the way: RFC 9700 §4.8.2.
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether every scope asked for was granted.
fn is_within(asked: &str, granted: &str) -> bool {
    asked.split(' ').all(|wanted| granted.split(' ').any(|given| given == wanted))
}

impl Issued {
    /// The answer, with the members that a fault leaves out or writes oddly.
    fn into_answer(self, fault: Option<FaultKind>) -> Answer {
        let scope: Vec<String> = self.scope.split_whitespace().map(str::to_owned).collect();
        let lifetime = self.expires_in.to_string();
        let mut members = dialect::token_answer(self.access, self.expires_in, self.refresh, &self.scope);
        match fault {
            Some(FaultKind::MissingAccessToken) => {
                members.remove("access_token");
            }
            Some(FaultKind::MissingExpiresIn) => {
                members.remove("expires_in");
            }
            Some(FaultKind::StringExpiresIn) => {
                members.insert("expires_in".to_owned(), lifetime.into());
            }
            Some(FaultKind::ScopeArray) => {
                members.insert("scope".to_owned(), scope.into());
            }
            _ => {}
        }
        Answer::json(200, &members)
    }
}
