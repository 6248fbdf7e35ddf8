//! A reader of an expired token waits for its refresh.

use std::{pin::pin, time::Duration};

use futures_util::future::{Either, select};
use mm_model::Version;

use super::{FetchError, RETRY_USUAL, Reading, TokenRequest, TokenView, WAIT_MAX, hopeless, read};
use crate::{Engine, Offer, Session, ports::Consistency};

/// The first look after a nudge; doubled up to [`LOOK_AGAIN_MAX`].
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two looks.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(400);

impl Engine {
    /// Waits for a token pair other than `seen`, in real time: a table that is slow to answer does not make the wait longer,
    /// but for a last look that is under way.
    pub(crate) async fn wait_for_refresh(
        &self,
        session: &Session,
        offer: &Offer,
        seen: Version,
        request: TokenRequest,
    ) -> Result<TokenView, FetchError> {
        let patience = request.wait.min(WAIT_MAX);
        if patience.is_zero() {
            return Err(FetchError::RefreshPending { retry_after: RETRY_USUAL });
        }
        // Not by `elapsed`, which runs ahead of the naps where the clock is fast.
        let over = self.clock.sleep_real(patience + LOOK_AGAIN_FIRST);
        let looks = pin!(self.look_until_refreshed(session, offer, seen, patience, request.min_ttl));
        match select(looks, over).await {
            Either::Left((seen, _)) => seen,
            Either::Right(((), _)) => Err(FetchError::RefreshPending { retry_after: RETRY_USUAL }),
        }
    }

    async fn look_until_refreshed(
        &self,
        session: &Session,
        offer: &Offer,
        seen: Version,
        patience: Duration,
        min_ttl: Duration,
    ) -> Result<TokenView, FetchError> {
        let (mut waited, mut pause) = (Duration::ZERO, LOOK_AGAIN_FIRST);
        while waited < patience {
            let nap = pause.min(patience.saturating_sub(waited));
            self.clock.sleep_real(nap).await;
            waited += nap;
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
            let rows = self.store.person(&session.user, Consistency::Strong).await?;
            let now = self.clock.now();
            match read(&rows, session, offer, now) {
                Reading::Alive(row, active) | Reading::Expired(row, active) if row.version == seen => {
                    if let Some(retry_after) = hopeless(offer, active, now) {
                        return Err(FetchError::RefreshPending { retry_after });
                    }
                }
                reading => return self.answer(offer, reading, min_ttl).await,
            }
        }
        Err(FetchError::RefreshPending { retry_after: RETRY_USUAL })
    }
}
