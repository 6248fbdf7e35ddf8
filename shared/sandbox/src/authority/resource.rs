//! What an access token opens: the account and a small catalogue of music.

use super::{Authority, Request, form};
use crate::{
    answer::{Answer, Reply},
    dialect,
    fault::{Endpoint, FaultKind},
};

impl Authority {
    /// Handles a request to the userinfo or search endpoint that `fault` strikes.
    pub(crate) fn resource(
        &self,
        now: u64,
        twin: usize,
        endpoint: Endpoint,
        request: &Request<'_>,
        fault: Option<FaultKind>,
    ) -> Reply {
        let (after_ms, ending) = match fault.filter(|kind| kind.is_before()) {
            Some(kind) => (0, self.answer_before(twin, endpoint, now, kind)),
            None => Self::spoil(self.read(now, twin, endpoint, request), fault),
        };
        Reply { seq: None, after_ms, ending }
    }

    fn read(&self, now: u64, twin: usize, endpoint: Endpoint, request: &Request<'_>) -> Answer {
        let profile = &self.twins[twin].profile;
        let token = request
            .authorization
            .and_then(|header| header.split_once(' '))
            .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case(profile.api_scheme).then(|| token.trim()));
        let grant = token.and_then(|token| self.ledger.bearer(now, token)).filter(|grant| grant.provider == profile.id);
        let Some(grant) = grant else { return dialect::unauthorized(profile) };
        if endpoint == Endpoint::Userinfo {
            return Answer::json(200, &dialect::userinfo(profile, grant));
        }
        let q = form::first(request.query.unwrap_or_default().as_bytes(), "q").unwrap_or_default();
        Answer::json(200, &dialect::search(profile, &q))
    }
}
