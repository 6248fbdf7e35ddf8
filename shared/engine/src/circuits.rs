//! The providers' circuits: the row, cached, and this process's count of failures in a row.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mm_model::{
    AttemptId, Circuit, ProviderId, Timestamp,
    circuit::{FAILURES_TO_OPEN, Passage},
};

use crate::{Engine, causes::chain, ports::StoreError};

/// How long a circuit's row is believed without looking: a read per provider and this span.
const CACHED_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Circuits(Mutex<HashMap<ProviderId, Seen>>);

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    circuit: Circuit,
    read_at: Option<Timestamp>,
    failures: u32,
}

impl Circuits {
    fn seen(&self, provider: &ProviderId) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(provider).copied().unwrap_or_default()
    }

    fn note(&self, provider: &ProviderId, change: impl FnOnce(&mut Seen)) {
        let mut circuits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(circuits.entry(provider.clone()).or_default());
    }
}

impl Engine {
    /// Whether `attempt` may call the provider now; if it is to be the probe, that is written first. `Err`: when to come back.
    pub(crate) async fn pass_circuit(
        &self,
        provider: &ProviderId,
        attempt: AttemptId,
    ) -> Result<Result<(), Timestamp>, StoreError> {
        let now = self.clock.now();
        let seen = self.circuits.seen(provider);
        let circuit = match seen.read_at {
            Some(read_at) if now.since(read_at) < CACHED_FOR => seen.circuit,
            _ => self.read_circuit(provider).await?,
        };
        match circuit.passage(attempt, now) {
            Passage::Free => Ok(Ok(())),
            Passage::Barred { until } => Ok(Err(until)),
            Passage::Probe(probing) => {
                if self.store.swap_circuit(provider, circuit, probing).await? {
                    self.circuits.note(provider, |seen| seen.circuit = probing);
                    return Ok(Ok(()));
                }
                // Somebody else probes, or has already found the provider well.
                match self.read_circuit(provider).await?.passage(attempt, now) {
                    Passage::Free => Ok(Ok(())),
                    Passage::Barred { until } => Ok(Err(until)),
                    Passage::Probe(_) => Ok(Err(now.plus(CACHED_FOR))),
                }
            }
        }
    }

    async fn read_circuit(&self, provider: &ProviderId) -> Result<Circuit, StoreError> {
        let circuit = self.store.circuit(provider).await?;
        let now = self.clock.now();
        self.circuits.note(provider, |seen| {
            // Somebody else's probe was answered since: the failures before it are over here too.
            if circuit == Circuit::Closed && seen.circuit != Circuit::Closed {
                seen.failures = 0;
            }
            seen.circuit = circuit;
            seen.read_at = Some(now);
        });
        Ok(circuit)
    }

    /// Notes that the provider answered as an OAuth server does. Writes only when the circuit was not closed.
    pub(crate) async fn provider_answered(&self, provider: &ProviderId) {
        let seen = self.circuits.seen(provider);
        self.circuits.note(provider, |seen| seen.failures = 0);
        if seen.circuit != Circuit::Closed && self.move_circuit(provider, seen.circuit, Circuit::Closed).await {
            tracing::info!(%provider, "circuit closed");
        }
    }

    /// Notes that the provider did not answer. Writes only when that opens the circuit.
    pub(crate) async fn provider_failed(&self, provider: &ProviderId) {
        self.circuits.note(provider, |seen| seen.failures = seen.failures.saturating_add(1));
        let seen = self.circuits.seen(provider);
        let opens = match seen.circuit {
            Circuit::Closed => seen.failures >= FAILURES_TO_OPEN,
            Circuit::Probing { .. } => true,
            Circuit::Open { .. } => false,
        };
        if opens {
            let open = seen.circuit.trip(self.clock.now());
            if self.move_circuit(provider, seen.circuit, open).await {
                tracing::warn!(%provider, failures = seen.failures, "circuit opened: the provider does not answer");
            }
        }
    }

    /// Says whether the row was moved by us. A lost race leaves it to the winner; what it is now is read at the next call,
    /// and so it is after a write that failed, which may have been applied all the same.
    async fn move_circuit(&self, provider: &ProviderId, old: Circuit, new: Circuit) -> bool {
        let moved = match self.store.swap_circuit(provider, old, new).await {
            Ok(moved) => moved,
            Err(error) => {
                tracing::warn!(%provider, error = %chain(&error), "circuit: its row could not be written");
                false
            }
        };
        self.circuits.note(provider, |seen| {
            seen.circuit = new;
            if !moved {
                seen.read_at = None;
            }
            if new == Circuit::Closed {
                seen.failures = 0;
            }
        });
        moved
    }
}

#[cfg(test)]
mod tests;
