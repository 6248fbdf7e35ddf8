//! Between a claim and its request: whether there is time, whether the provider may be called, and if not, when again.

use std::time::Duration;

use mm_model::{
    AttemptId, Timestamp, backoff,
    circuit::OPEN_SPREAD,
    connection::{Lease, RefreshError},
    limits::{COMMIT_RESERVE, PROVIDER_PROCESSING_MAX, PROVIDER_TIMEOUT},
    refresh::Claimed,
};

use super::{Way, spends};
use crate::{Engine, Invocation, Offer, causes::chain};

/// Why a call may not be made, and until when.
pub(super) struct Wait {
    pub(super) error: RefreshError,
    pub(super) until: Timestamp,
}

impl Engine {
    /// Whether a request sent now is over, its answer stored, before the invocation ends; and over at the provider before the
    /// lease ends. The lease is looked at too, by the clock on the wall: a laptop that slept since the claim counts its sleep
    /// by no other clock, and another attempt may have sent the same token since.
    pub(super) fn has_time_to_send(&self, offer: &Offer, claimed: &Claimed, invocation: Invocation) -> bool {
        let in_time = self.remaining(invocation) >= PROVIDER_TIMEOUT + COMMIT_RESERVE;
        let leased = outlives_a_call(claimed.lease(), spends(offer), self.clock.now());
        if !(in_time && leased) {
            tracing::warn!(connection = %claimed.row().key, in_time, leased, "refresh.attempt: not sent, too late");
        }
        in_time && leased
    }

    /// Budget and circuit: whether the call may be made, and if not, until when not. What is held back comes back soon, and
    /// spread: it has not failed, so its own back-off says nothing.
    pub(super) async fn gate(&self, offer: &Offer, attempt: AttemptId, way: Way, claimed: &Claimed) -> Option<Wait> {
        let provider = &offer.provider.id;
        let now = self.clock.now();
        let rate = offer.provider.requests_per_second;
        if let Err(wait) = self.budget.take(provider, rate, way.lane(), self.clock.elapsed()) {
            return Some(Wait { error: RefreshError::BudgetExhausted, until: now.plus(wait) });
        }
        let wait = match self.pass_circuit(provider, attempt).await {
            Ok(Ok(())) => return None,
            Ok(Err(until)) => Wait { error: RefreshError::CircuitOpen, until: spread_after(until, self.rng.dice()) },
            Err(error) => {
                tracing::warn!(%provider, error = %chain(&error), "refresh.gate: the circuit's row could not be read or written");
                Wait { error: RefreshError::NotSent, until: now.plus(self.back_off(claimed)) }
            }
        };
        self.budget.give_back(provider);
        Some(wait)
    }
}

/// Whether a request sent at `now` is over before others may claim: here, and where it spends the token at the provider too.
pub(super) fn outlives_a_call(lease: Lease, spends: bool, now: Timestamp) -> bool {
    let there = if spends { PROVIDER_PROCESSING_MAX } else { Duration::ZERO };
    lease.expires_at.since(now) >= PROVIDER_TIMEOUT + there
}

/// When one of those whom a circuit bars `until` comes back.
pub(super) fn spread_after(until: Timestamp, dice: u32) -> Timestamp {
    until.plus(backoff::fraction(OPEN_SPREAD, dice))
}
