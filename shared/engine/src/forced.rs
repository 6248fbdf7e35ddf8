//! Refreshing because the frontend saw a 401: at most once for any number of tabs.

use std::time::Duration;

use mm_model::{ProviderId, Version, limits::FORCED_REFRESH_INTERVAL, user::ForcedAdmission};

use crate::{
    Engine, FetchError, Session, TokenRequest, TokenView,
    fetch::{Reading, WAIT_MAX, hopeless, read},
    ports::{Consistency, Trigger},
};

impl Engine {
    /// A token pair other than `seen`. If the row is past `seen`, its token is answered at once and uncounted; without
    /// `seen`, a pair younger than [`FORCED_REFRESH_INTERVAL`] is. Otherwise the worker refreshes and the reader waits.
    pub async fn refresh_now(
        &self,
        session: &Session,
        provider: &ProviderId,
        seen: Option<Version>,
    ) -> Result<TokenView, FetchError> {
        let offer = self.offers.get(provider).ok_or(FetchError::NotConnected)?;
        let now = self.clock.now();
        let rows = self.store.person(&session.user, Consistency::Strong).await?;
        let (row, active) = match read(&rows, session, offer, now) {
            Reading::Alive(row, active) => {
                let newer = match seen {
                    Some(seen) => row.version != seen,
                    None => now.since(row.updated_at) < FORCED_REFRESH_INTERVAL,
                };
                if newer {
                    return self.view(offer, row, active, Duration::ZERO).await;
                }
                (row, active)
            }
            Reading::Expired(row, active) => (row, active),
            reading => return self.answer(offer, reading, Duration::ZERO).await,
        };
        if active.refresh_token.is_none() {
            let reason = mm_model::connection::ReauthorizationReason::NoRefreshToken;
            return Err(FetchError::ReauthorizationRequired(reason));
        }
        if let Some(retry_after) = hopeless(offer, active, now) {
            return Err(FetchError::RefreshPending { retry_after });
        }
        match self.store.force(&session.user, row.version, now).await? {
            None => return Err(FetchError::NoSession),
            Some(ForcedAdmission::Exceeded { until }) => {
                return Err(FetchError::TooManyRequests { retry_after: until.since(now) });
            }
            Some(ForcedAdmission::Counted | ForcedAdmission::Joined) => {}
        }
        self.nudge(row, Trigger::Forced { version: row.version }).await;
        let request = TokenRequest { min_ttl: Duration::ZERO, wait: WAIT_MAX };
        self.wait_for_refresh(session, offer, row.version, request).await
    }
}
