//! The provider's whole logic, without sockets, clock or dice of its own.
//!
//! Start at [`Authority::token`] for the token endpoint and at `authorization` for what the browser sees.

mod authorization;
mod client;
mod form;
mod resource;
mod revocation;
mod token;

use std::collections::{HashMap, VecDeque};

use crate::{
    answer::{Answer, Ending, Reply},
    behaviour::Behaviour,
    dialect,
    fault::{Endpoint, FaultKind, FaultPlan, RetryAfter},
    hash::TokenHash,
    ledger::Ledger,
    log::{Log, LogEntry, Outcome},
    profile::Profile,
};

pub(crate) use authorization::{Begun, Code, PageError, Question, Session, Ticket};
pub(crate) use client::Registered;

/// The parts of an HTTP request that the logic looks at.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    /// Content-Type.
    pub content_type: Option<&'a str>,
    /// Authorization.
    pub authorization: Option<&'a str>,
    /// The query string, without `?`.
    pub query: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// A provider's twin as it runs.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) profile: Profile,
    pub(crate) behaviour: Behaviour,
    pub(crate) clients: Vec<Registered>,
}

/// All twins and everything that they remember.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    pub(crate) twins: Vec<Twin>,
    pub(crate) ledger: Ledger,
    pub(crate) codes: HashMap<TokenHash, Code>,
    /// Codes in the order of their issue.
    pub(crate) code_order: VecDeque<TokenHash>,
    pub(crate) sessions: HashMap<TokenHash, Session>,
    pub(crate) session_order: VecDeque<TokenHash>,
    pub(crate) tickets: HashMap<TokenHash, Ticket>,
    pub(crate) ticket_order: VecDeque<TokenHash>,
    pub(crate) faults: FaultPlan,
    pub(crate) log: Log,
}

impl Authority {
    /// The number of a provider's twin.
    pub(crate) fn twin(&self, provider: &str) -> Option<usize> {
        self.twins.iter().position(|twin| twin.profile.id == provider)
    }

    /// The fault that strikes this request, if one is planned: to be asked once per request, before anything else.
    pub(crate) fn strike(&mut self, twin: usize, endpoint: Endpoint, request: &Request<'_>) -> Option<FaultKind> {
        let grant_type = form::first(request.body, "grant_type");
        self.faults.strike(self.twins[twin].profile.id, endpoint, grant_type.as_deref())
    }

    /// The answer that a *before* fault gives in the endpoint's place.
    fn answer_before(&self, twin: usize, endpoint: Endpoint, now: u64, kind: FaultKind) -> Ending {
        let profile = &self.twins[twin].profile;
        Ending::Answer(match kind {
            FaultKind::Hang => return Ending::Hang,
            FaultKind::ResetBefore => return Ending::Reset,
            FaultKind::Error5xxBefore { status } => Answer::html(status, BAD_GATEWAY_PAGE),
            FaultKind::Html403 => Answer::html(403, FIREWALL_PAGE),
            FaultKind::Empty202 => Answer::empty(202).with("x-amzn-waf-action", "challenge"),
            FaultKind::ErrorBody200 => Answer::json(
                200,
                &serde_json::json!({ "error": "server_error", "error_description": "Something went wrong" }),
            ),
            FaultKind::Throttle { retry_after, html } => {
                let retry_in = match retry_after {
                    RetryAfter::Absent => None,
                    RetryAfter::Seconds(seconds) | RetryAfter::Date(seconds) => Some(seconds),
                };
                let answer = if html {
                    Answer::html(429, THROTTLE_PAGE)
                } else {
                    Answer::json(429, &dialect::throttled(profile, endpoint == Endpoint::Token, now, retry_in))
                };
                match retry_after {
                    RetryAfter::Absent => answer,
                    RetryAfter::Seconds(seconds) => answer.with("retry-after", seconds.to_string()),
                    RetryAfter::Date(seconds) => answer.with("retry-after", http_date(now.saturating_add(seconds))),
                }
            }
            // The *after* kinds never come here; a loud answer shows it if they do.
            _ => Answer::empty(500),
        })
    }

    /// Spoils a finished answer as an *after* fault asks.
    fn spoil(answer: Answer, kind: Option<FaultKind>) -> (u64, Ending) {
        match kind {
            Some(FaultKind::Slow { ms }) => (ms, Ending::Answer(answer)),
            Some(FaultKind::ResetAfter) => (0, Ending::Reset),
            Some(FaultKind::ResetMidAnswer) => (0, Ending::Half(answer)),
            Some(FaultKind::Error5xxAfter { status }) => (0, Ending::Answer(Answer::html(status, BAD_GATEWAY_PAGE))),
            Some(FaultKind::Empty200) => (0, Ending::Answer(Answer::empty(200))),
            Some(FaultKind::Malformed) => {
                let mut answer = answer;
                answer.body.truncate(answer.body.len() / 2);
                (0, Ending::Answer(answer))
            }
            _ => (0, Ending::Answer(answer)),
        }
    }

    /// Writes an entry down, its outcome corrected by the fault that struck, and makes the reply.
    fn finish(&mut self, mut entry: LogEntry, fault: Option<FaultKind>, (after_ms, ending): (u64, Ending)) -> Reply {
        if let Some(kind) = fault {
            entry.fault = Some(kind.name());
            if matches!(kind, FaultKind::Throttle { .. }) {
                entry.outcome = Outcome::Throttled;
            } else if !kind.leaves_the_answer_usable() {
                entry.outcome = Outcome::Fault(kind.name());
            }
        }
        Reply { seq: Some(self.log.push(entry)), after_ms, ending }
    }
}

/// The date `at` as HTTP writes it (RFC 9110 §5.6.7).
fn http_date(at: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at))
}

/// The page of a gateway whose backend failed.
const BAD_GATEWAY_PAGE: &str =
    "<!doctype html><title>Gateway error</title><h1>Gateway error</h1><p>The upstream server did not answer properly.";

/// The page of a content network that takes the client for a robot.
const FIREWALL_PAGE: &str = "<!doctype html><title>ERROR: The request could not be satisfied</title>\
<h1>403 ERROR</h1><p>Request blocked. We can't connect to the server for this app or website at this time.";

/// The page of a throttling gateway.
const THROTTLE_PAGE: &str = "<!doctype html><title>Too many requests</title><h1>429 Too many requests</h1>";

#[cfg(test)]
mod tests;
