//! Keeping revocations back while a login makes a grant that they would end.

use std::time::Duration;

use mm_model::{
    AttemptId, Connection, ConnectionKey, Refusal, Timestamp, Version,
    connection::Revocation,
    limits::{AFTER_LEASE, CLOCK_SKEW_MAX, FUNCTION_LIMIT, LOGIN_MAX, PROVIDER_TIMEOUT, REVOCATION_HOLD},
    login::Candidate,
    step::{HoldRevocations, Step},
};
use mm_oauth::Revokes;

use crate::{
    Engine, Offer,
    causes::chain,
    ports::{Consistency, NUDGE_DELAY_MAX, Outcome, StoreError, Trigger},
    revoke::ANSWERED_WITHIN,
};

/// How often a revocation under way is looked at while a login waits for it.
const REVOCATION_POLL: Duration = Duration::from_millis(200);

const _: () = assert!(
    REVOCATION_HOLD.as_secs() + AFTER_LEASE.as_secs() + CLOCK_SKEW_MAX.as_secs() <= NUDGE_DELAY_MAX.as_secs(),
    "a nudge must be able to wait for the end of a hold"
);

const _: () = assert!(
    ANSWERED_WITHIN.as_secs() + 2 * PROVIDER_TIMEOUT.as_secs() < FUNCTION_LIMIT.as_secs(),
    "a login that waited must still be able to redeem its code and ask for the account"
);

impl Engine {
    /// Where revoking one token ends the whole authorization, none may be under way when the code is redeemed: it would
    /// end the grant that is about to be made. Those that are free are held, not withdrawn: this login may fail, and then
    /// they have to be carried out, by nudges that come when the hold is over. When it succeeds, its row says what is still
    /// owed. Those under way are waited for, until they are answered or can end nothing any more.
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
        let mut nudged = Vec::new();
        let mut waited = Duration::ZERO;
        loop {
            let hold = HoldRevocations { attempt, now: self.clock.now(), lease: REVOCATION_HOLD };
            let row = match self.write(&key, &Step::HoldRevocations(hold)).await? {
                Outcome::Applied(row) | Outcome::Refused(Refusal::AlreadyMine | Refusal::Leased { .. }, Some(row)) => {
                    row
                }
                // Nothing is owed any more.
                Outcome::Refused(..) => return Ok(()),
            };
            self.carry_out_after_hold(&row, attempt, &mut nudged).await;
            let under_way = row.revocations.iter().any(|owed| may_end_this_login(owed, attempt, hold.now));
            if !under_way || waited >= ANSWERED_WITHIN {
                return Ok(());
            }
            self.clock.sleep_real(REVOCATION_POLL).await;
            waited += REVOCATION_POLL;
        }
    }

    /// One nudge for each intent held, as soon as it is: the login may die while it waits for the others. Should they be
    /// lost, the login goes on all the same: when it succeeds, the stream sends its own.
    async fn carry_out_after_hold(&self, row: &Connection, attempt: AttemptId, nudged: &mut Vec<Version>) {
        for owed in &row.revocations {
            let Some(lease) = owed.lease.filter(|lease| lease.owner == attempt) else { continue };
            if nudged.contains(&owed.version) {
                continue;
            }
            nudged.push(owed.version);
            let trigger = Trigger::Revoke { revocation: owed.version };
            if let Err(error) = self.nudge_after_lease(&row.key, trigger, lease.expires_at).await {
                tracing::error!(connection = %row.key, error = %chain(&error), "login.hold: what is held has no nudge");
            }
        }
    }
}

/// Whether the intent is under way. A lease that ends after this login must have is another login's hold, for a
/// revocation's own lease is shorter: nothing begins before this login is over, and there is nothing to wait for. A provider
/// that leaves out the refresh token is asked again at once, and finds its first round's hold.
fn may_end_this_login(owed: &Revocation, attempt: AttemptId, now: Timestamp) -> bool {
    let end = now.plus(LOGIN_MAX);
    owed.lease.is_some_and(|lease| lease.owner != attempt && lease.is_live(now) && lease.expires_at <= end)
}
