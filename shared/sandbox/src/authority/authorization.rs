//! The authorization endpoint (RFC 6749 §4.1.1, RFC 7636 §4.3): what is asked, who is there, what they decide.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::{Authority, form, form::Form};
use crate::{
    dialect,
    hash::{Dice, TokenHash, mint},
    profile::RefreshIssue,
    refusal::Refusal,
};

/// Life of a code, in seconds: RFC 6749 §4.1.2 allows ten minutes, real providers give about one.
pub(super) const CODE_LIFETIME_S: u64 = 60;

/// Codes remembered, used ones too, so that their return is recognized; the oldest are forgotten.
const MAX_CODES: usize = 10_000;

/// Seconds that a login or consent page stays good (a day): people type in real time while the injected clock may run a
/// hundred times as fast.
pub(super) const TICKET_LIFETIME_S: u64 = 86_400;

/// Authorization requests under way; the oldest is forgotten.
pub(super) const MAX_TICKETS: usize = 1_000;

/// Browsers remembered; the oldest is forgotten.
const MAX_SESSIONS: usize = 1_000;

/// Longest account name, in characters.
const MAX_NAME_CHARS: usize = 64;

/// Longest state, scope or redirect URI taken, in bytes.
const MAX_VALUE_BYTES: usize = 2_048;

/// Length of an S256 challenge in characters: 32 bytes in base64url (RFC 7636 §4.2).
const CHALLENGE_CHARS: usize = 43;

/// Why the browser is shown an error page instead of being sent back (RFC 6749 §4.1.2.1).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum PageError {
    #[error("The request names no client, or one that is not registered here.")]
    UnknownClient,
    #[error("The redirect URI is not registered for this client, character by character.")]
    UnknownRedirect,
    #[error("A parameter that names the client or its redirect URI is given twice, or the request is unreadable.")]
    Unreadable,
    #[error("This login page has expired or was used already. Start again at the application.")]
    Expired,
    #[error("This login page was opened in another browser. Start again at the application.")]
    OtherBrowser,
    #[error("Choose an account name of 1 to 64 characters, without control characters.")]
    BadName,
}

/// A checked authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) challenge: Option<String>,
    pub(crate) scope: String,
    offline: bool,
    force_consent: bool,
}

/// A code that was issued.
#[derive(Debug)]
pub(crate) struct Code {
    pub(super) provider: &'static str,
    pub(super) request: AuthorizationRequest,
    pub(super) account: String,
    pub(super) username: String,
    pub(super) issued_at: u64,
    pub(super) issue_refresh: bool,
    pub(super) used: bool,
    /// What it gave.
    pub(super) grant: Option<u64>,
}

/// A browser: who is logged in at which provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) names: BTreeMap<String, String>,
}

/// An authorization request that waits for a person.
#[derive(Debug)]
pub(crate) struct Ticket {
    twin: usize,
    request: AuthorizationRequest,
    session: TokenHash,
    opened_at: u64,
}

/// What an authorization request leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Back to the client, with an error.
    Redirect(Url),
    /// A login or consent page for this ticket; `cookie` is a new session, if the browser had none.
    Ask { ticket: String, cookie: Option<String> },
}

/// What a login or consent page shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) provider: &'static str,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    /// Who is logged in.
    pub(crate) username: Option<String>,
}

impl Authority {
    /// Begins an authorization for the browser with this session cookie.
    pub(crate) fn begin(
        &mut self,
        now: u64,
        dice: Dice<'_>,
        twin: usize,
        query: &str,
        cookie: Option<&str>,
    ) -> Result<Begun, PageError> {
        let request = match self.check(twin, query)? {
            Ok(request) => request,
            Err(redirect) => return Ok(Begun::Redirect(redirect)),
        };
        let known = cookie.map(TokenHash::of).filter(|hash| self.sessions.contains_key(hash));
        let (session, cookie) = if let Some(hash) = known {
            (hash, None)
        } else {
            let cookie = mint(dice, "");
            let hash = TokenHash::of(&cookie);
            insert(&mut self.sessions, &mut self.session_order, MAX_SESSIONS, hash, Session::default());
            (hash, Some(cookie))
        };
        let ticket = mint(dice, "");
        let row = Ticket { twin, request, session, opened_at: now };
        insert(&mut self.tickets, &mut self.ticket_order, MAX_TICKETS, TokenHash::of(&ticket), row);
        Ok(Begun::Ask { ticket, cookie })
    }

    /// What the page for a ticket shows, in the browser that the ticket was made for.
    pub(crate) fn asked(&self, now: u64, ticket: &str, cookie: Option<&str>) -> Result<Question, PageError> {
        let ticket = self.ticket(now, ticket, cookie)?;
        let profile = &self.twins[ticket.twin].profile;
        Ok(Question {
            provider: profile.name,
            client_id: ticket.request.client_id.clone(),
            scope: ticket.request.scope.clone(),
            username: self.sessions.get(&ticket.session).and_then(|session| session.names.get(profile.id)).cloned(),
        })
    }

    /// Logs the browser in at the ticket's provider.
    pub(crate) fn sign_in(
        &mut self,
        now: u64,
        ticket: &str,
        cookie: Option<&str>,
        name: &str,
    ) -> Result<(), PageError> {
        let ticket = self.ticket(now, ticket, cookie)?;
        let (session, provider) = (ticket.session, self.twins[ticket.twin].profile.id);
        let name = account_name(name)?;
        if let Some(session) = self.sessions.get_mut(&session) {
            session.names.insert(provider.to_owned(), name);
            self.ledger.changed = true;
        }
        Ok(())
    }

    /// Takes the decision of the person behind a ticket, once, and answers where the browser goes.
    pub(crate) fn decide(
        &mut self,
        now: u64,
        dice: Dice<'_>,
        ticket: &str,
        cookie: Option<&str>,
        allow: bool,
    ) -> Result<Url, PageError> {
        let name = self.asked(now, ticket, cookie)?.username;
        let taken = self.tickets.remove(&TokenHash::of(ticket)).ok_or(PageError::Expired)?;
        match name {
            Some(name) if allow => self.allow(now, dice, taken.twin, taken.request, &name),
            None if allow => Err(PageError::BadName),
            _ => deny(&taken.request),
        }
    }

    /// Does in one step what a browser and its user do: log in under `name` and decide.
    pub(crate) fn consent(
        &mut self,
        now: u64,
        dice: Dice<'_>,
        twin: usize,
        query: &str,
        name: &str,
        allow: bool,
    ) -> Result<Url, PageError> {
        let name = account_name(name)?;
        match self.check(twin, query)? {
            Err(redirect) => Ok(redirect),
            Ok(request) if allow => self.allow(now, dice, twin, request, &name),
            Ok(request) => deny(&request),
        }
    }

    fn allow(
        &mut self,
        now: u64,
        dice: Dice<'_>,
        twin: usize,
        request: AuthorizationRequest,
        name: &str,
    ) -> Result<Url, PageError> {
        let profile = &self.twins[twin].profile;
        let account = dialect::account_id(profile, name);
        let issue_refresh = match profile.refresh_issue {
            RefreshIssue::Always => true,
            RefreshIssue::OfflineConsent => {
                let first = self.ledger.living(now, profile.id, &account, Some(&request.client_id)).is_empty();
                request.offline && (first || request.force_consent)
            }
        };
        let provider = profile.id;
        let code = mint(dice, "sbx-code-");
        let mut url = back(&request)?;
        url.query_pairs_mut().append_pair("code", &code);
        with_state(&mut url, &request);
        let row = Code {
            provider,
            request,
            account,
            username: name.to_owned(),
            issued_at: now,
            issue_refresh,
            used: false,
            grant: None,
        };
        insert(&mut self.codes, &mut self.code_order, MAX_CODES, TokenHash::of(&code), row);
        Ok(url)
    }

    fn ticket(&self, now: u64, ticket: &str, cookie: Option<&str>) -> Result<&Ticket, PageError> {
        let ticket = self.tickets.get(&TokenHash::of(ticket)).ok_or(PageError::Expired)?;
        if now >= ticket.opened_at.saturating_add(TICKET_LIFETIME_S) {
            return Err(PageError::Expired);
        }
        // Without this, a page elsewhere could have its own ticket decided by somebody else's browser.
        if cookie.map(TokenHash::of) != Some(ticket.session) {
            return Err(PageError::OtherBrowser);
        }
        Ok(ticket)
    }

    /// Checks a request. The outer error is a page: nobody may be redirected to an address that is not registered.
    fn check(&self, twin: usize, query: &str) -> Result<Result<AuthorizationRequest, Url>, PageError> {
        let twin = &self.twins[twin];
        for name in ["client_id", "redirect_uri"] {
            if url::form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known == name).count() > 1 {
                return Err(PageError::Unreadable);
            }
        }
        let value = |name| form::first(query.as_bytes(), name).filter(|value| !value.is_empty());
        let client_id = value("client_id").ok_or(PageError::UnknownClient)?;
        let client =
            twin.clients.iter().find(|client| client.client_id == client_id).ok_or(PageError::UnknownClient)?;
        let redirect_uri = value("redirect_uri").ok_or(PageError::UnknownRedirect)?;
        if !client.may_redirect_to(&redirect_uri, twin.profile.redirect) {
            return Err(PageError::UnknownRedirect);
        }
        let mut request = AuthorizationRequest {
            client_id,
            redirect_uri,
            state: value("state").filter(|state| state.len() <= MAX_VALUE_BYTES),
            challenge: None,
            scope: value("scope").unwrap_or_else(|| twin.profile.default_scope.to_owned()),
            offline: value("access_type").is_some_and(|kind| kind == "offline"),
            force_consent: value("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "consent")),
        };
        match challenge(query, twin.profile.pkce_required) {
            Ok(challenge) => request.challenge = challenge,
            Err((code, detail)) => return error_redirect(&request, code, detail).map(Err),
        }
        if request.scope.len() > MAX_VALUE_BYTES {
            return error_redirect(&request, "invalid_scope", "scope is too long").map(Err);
        }
        Ok(Ok(request))
    }
}

/// Checks what concerns neither client nor redirect URI, and answers the PKCE challenge.
fn challenge(query: &str, required: bool) -> Result<Option<String>, (&'static str, &'static str)> {
    let form = Form::parse(query.as_bytes()).map_err(|Refusal { detail, .. }| ("invalid_request", detail))?;
    match form.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(("unsupported_response_type", "only response_type=code")),
        None => return Err(("invalid_request", "response_type is missing")),
    }
    if form.get("state").is_some_and(|state| state.len() > MAX_VALUE_BYTES) {
        return Err(("invalid_request", "state is too long"));
    }
    match (form.get("code_challenge"), form.get("code_challenge_method")) {
        (None, None) if !required => Ok(None),
        (None, _) => Err(("invalid_request", "code_challenge is missing")),
        // Without a method RFC 7636 §4.3 means plain, which RFC 9700 §2.1.1 does away with.
        (Some(challenge), Some("S256")) => {
            let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if challenge.len() == CHALLENGE_CHARS && challenge.bytes().all(url_safe) {
                Ok(Some(challenge.to_owned()))
            } else {
                Err(("invalid_request", "code_challenge is not an S256 challenge"))
            }
        }
        (Some(_), _) => Err(("invalid_request", "code_challenge_method has to be S256")),
    }
}

/// An account name as it is kept: case and outer spaces do not make another account.
fn account_name(name: &str) -> Result<String, PageError> {
    let name = name.trim().to_lowercase();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(PageError::BadName);
    }
    Ok(name)
}

fn back(request: &AuthorizationRequest) -> Result<Url, PageError> {
    Url::parse(&request.redirect_uri).map_err(|_| PageError::UnknownRedirect)
}

fn with_state(url: &mut Url, request: &AuthorizationRequest) {
    if let Some(state) = &request.state {
        url.query_pairs_mut().append_pair("state", state);
    }
}

fn error_redirect(request: &AuthorizationRequest, code: &str, detail: &str) -> Result<Url, PageError> {
    let mut url = back(request)?;
    url.query_pairs_mut().append_pair("error", code).append_pair("error_description", detail);
    with_state(&mut url, request);
    Ok(url)
}

fn deny(request: &AuthorizationRequest) -> Result<Url, PageError> {
    error_redirect(request, "access_denied", "The user said no")
}

/// Inserts into a table that forgets its oldest row beyond `max`.
fn insert<V>(table: &mut HashMap<TokenHash, V>, order: &mut VecDeque<TokenHash>, max: usize, key: TokenHash, row: V) {
    while order.len() >= max {
        if let Some(oldest) = order.pop_front() {
            table.remove(&oldest);
        }
    }
    order.push_back(key);
    table.insert(key, row);
}
