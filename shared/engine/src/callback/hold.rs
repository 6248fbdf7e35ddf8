//! Keeping revocations back while a login makes a grant that they would end.

use std::time::Duration;

use mm_model::{
    Connection, ConnectionKey, Refusal, Timestamp,
    limits::{AFTER_LEASE, LOGIN_MAX, PROVIDER_TIMEOUT, REVOCATION_HOLD},
    login::Candidate,
    step::{HoldRevocations, Step},
};
use mm_oauth::Revokes;

use crate::{
    Engine, Offer,
    ports::{Consistency, Lane, NUDGE_DELAY_MAX, Nudge, Outcome, StoreError, Trigger},
    refresh::chain,
};

/// How often a revocation under way is looked at while a login waits for it.
const REVOCATION_POLL: Duration = Duration::from_millis(200);

const _: () = assert!(
    REVOCATION_HOLD.as_secs() + AFTER_LEASE.as_secs() <= NUDGE_DELAY_MAX.as_secs(),
    "a nudge must be able to wait for the end of a hold"
);

impl Engine {
    /// Where revoking one token ends the whole authorization, none may be under way when the code is redeemed: it would
    /// end the grant that is about to be made. They are held, not withdrawn: this login may fail, and then they have to be
    /// carried out, by nudges that come when the hold is over. When it succeeds, its row says what is still owed.
    pub(super) async fn hold_revocations(&self, offer: &Offer, candidate: &Candidate) -> Result<(), StoreError> {
        let user = match candidate {
            Candidate::Known { user } | Candidate::Stranger { user: Some(user) } => user,
            Candidate::Stranger { user: None } => return Ok(()),
        };
        if offer.provider.revokes != Revokes::Grant {
            return Ok(());
        }
        let key = ConnectionKey { user: user.clone(), provider: offer.provider.id.clone() };
        let rows = self.store.person(user, Consistency::Strong).await?;
        if rows.connection(&key.provider).is_none_or(|row| row.revocations.is_empty()) {
            return Ok(());
        }
        let attempt = self.new_attempt();
        let mut waited = Duration::ZERO;
        loop {
            let hold = HoldRevocations { attempt, now: self.clock.now(), lease: REVOCATION_HOLD };
            match self.write(&key, &Step::HoldRevocations(hold)).await? {
                Outcome::Applied(row) | Outcome::Refused(Refusal::AlreadyMine, Some(row)) => {
                    self.carry_out_after_hold(&row).await;
                    return Ok(());
                }
                Outcome::Refused(Refusal::Leased { .. }, Some(row)) if outlast_a_login(&row, hold.now) => return Ok(()),
                // Answered in the meantime, or past its deadline: it can end nothing any more.
                Outcome::Refused(Refusal::Leased { .. }, _) if waited < PROVIDER_TIMEOUT => {
                    self.clock.sleep_real(REVOCATION_POLL).await;
                    waited += REVOCATION_POLL;
                }
                Outcome::Refused(..) => return Ok(()),
            }
        }
    }

    /// One nudge for each intent held. Should they be lost, the login goes on all the same: when it succeeds, the stream
    /// sends its own.
    async fn carry_out_after_hold(&self, row: &Connection) {
        let nudges = row.revocations.iter().map(|owed| {
            let trigger = Trigger::Revoke { revocation: owed.version };
            (Nudge { key: row.key.clone(), trigger }, REVOCATION_HOLD + AFTER_LEASE)
        });
        if let Err(error) = self.queue.nudge(Lane::Due, nudges.collect()).await {
            tracing::error!(connection = %row.key, error = %chain(&error), "login.hold: what is held has no nudge");
        }
    }
}

/// Whether every intent has a lease that ends after this login must have. It is another login's hold, then, for a
/// revocation's own lease is shorter: nothing is under way, nothing begins before this login is over, and there is nothing
/// to wait for. A provider that leaves out the refresh token is asked again at once, and finds its first round's hold.
fn outlast_a_login(row: &Connection, now: Timestamp) -> bool {
    let end = now.plus(LOGIN_MAX);
    row.revocations.iter().all(|owed| owed.lease.is_some_and(|lease| lease.expires_at > end))
}
