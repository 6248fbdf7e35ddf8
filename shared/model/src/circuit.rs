//! A provider's circuit: once a provider is known to be down, everybody stops asking but one probe at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AttemptId, Timestamp};

/// Failures in a row, within one process, that open the circuit.
pub const FAILURES_TO_OPEN: u32 = 5;

/// How long the circuit stays open at first; doubled at each failed probe.
pub const OPEN_FOR: Duration = Duration::from_secs(30);

/// How long it stays open at most: an outage's end is noticed within this, and a call every two minutes costs nobody anything.
pub const OPEN_FOR_MAX: Duration = Duration::from_mins(2);

/// Over how long those that an open circuit held back come back after it. They were many, and would be as many at once.
pub const OPEN_SPREAD: Duration = Duration::from_secs(30);

/// How long a probe may take before another one is allowed: longer than a provider call may last.
pub const PROBE_FOR: Duration = Duration::from_secs(30);

/// The circuit of one provider, as its row holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Circuit {
    /// Calls pass.
    #[default]
    Closed,
    /// No call passes before `until`.
    Open {
        /// When a probe may be sent.
        until: Timestamp,
        /// How often it has opened in a row.
        trips: u32,
    },
    /// One call is on its way to see whether the provider is back.
    Probing {
        /// Whose call.
        probe: AttemptId,
        /// When another probe may be sent.
        until: Timestamp,
        /// How often it has opened in a row.
        trips: u32,
    },
}

/// Whether an attempt may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Call.
    Free,
    /// Call as the probe, if this write succeeds first.
    Probe(Circuit),
    /// Do not call before then.
    Barred {
        /// When to look again.
        until: Timestamp,
    },
}

impl Circuit {
    /// Whether `attempt` may call now.
    pub fn passage(self, attempt: AttemptId, now: Timestamp) -> Passage {
        match self {
            Self::Closed => Passage::Free,
            Self::Probing { probe, .. } if probe == attempt => Passage::Free,
            Self::Open { until, .. } | Self::Probing { until, .. } if now < until => Passage::Barred { until },
            Self::Open { trips, .. } | Self::Probing { trips, .. } => {
                Passage::Probe(Self::Probing { probe: attempt, until: now.plus(PROBE_FOR), trips })
            }
        }
    }

    /// The circuit after one failure too many, or a failed probe.
    #[must_use]
    pub fn trip(self, now: Timestamp) -> Self {
        let trips = match self {
            Self::Closed => 0,
            Self::Open { trips, .. } | Self::Probing { trips, .. } => trips,
        };
        let open_for = OPEN_FOR.saturating_mul(1 << trips.min(8)).min(OPEN_FOR_MAX);
        Self::Open { until: now.plus(open_for), trips: trips.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

    fn attempt(n: u8) -> AttemptId {
        AttemptId::from_bytes([n; 16])
    }

    #[test]
    fn an_open_circuit_bars_everybody_then_lets_one_probe_through() {
        let open = Circuit::Closed.trip(NOW);
        let until = NOW.plus(OPEN_FOR);
        assert_eq!(open.passage(attempt(1), NOW), Passage::Barred { until });
        let Passage::Probe(probing) = open.passage(attempt(1), until) else { panic!("a probe is due") };
        assert_eq!(probing.passage(attempt(1), until), Passage::Free);
        assert_eq!(probing.passage(attempt(2), until), Passage::Barred { until: until.plus(PROBE_FOR) });
    }

    #[test]
    fn a_probe_that_never_answers_is_followed_by_another() {
        let Passage::Probe(probing) = Circuit::Closed.trip(NOW).passage(attempt(1), NOW.plus(OPEN_FOR)) else {
            panic!("a probe is due")
        };
        let later = NOW.plus(OPEN_FOR).plus(PROBE_FOR);
        assert!(matches!(probing.passage(attempt(2), later), Passage::Probe(_)));
    }

    #[test]
    fn it_stays_open_longer_each_time_up_to_a_bound() {
        let mut circuit = Circuit::Closed;
        let mut lengths = Vec::new();
        for _ in 0..6 {
            circuit = circuit.trip(NOW);
            let Circuit::Open { until, .. } = circuit else { panic!("tripped") };
            lengths.push(until.since(NOW).as_secs());
        }
        assert_eq!(lengths, [30, 60, 120, 120, 120, 120]);
    }
}
