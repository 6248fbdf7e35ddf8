//! What is held back, by real rows, circuit and budget: who calls when, and who is told of it.

use std::collections::BTreeMap;

use mm_model::{
    Circuit, Sealed,
    circuit::{OPEN_SPREAD, PROBE_FOR, Passage},
    connection::{Active, Lease, Status},
    event::EventMark,
    grant::Grant,
    limits::{LEASE_REUSABLE, LEASE_STRICT},
};

use super::{
    gate::{outlives_a_call, spread_after},
    *,
};
use crate::{budget::Budget, ports::Rng, testing::SeededRng};

const START: u64 = 1_800_000_000;

const RATE: f64 = 10.0;

fn provider() -> ProviderId {
    "spotify".parse().unwrap()
}

/// A connection that is due, after `attempts` failures.
fn due(n: u32, attempts: u32) -> Connection {
    let now = Timestamp::from_unix(START);
    let key = ConnectionKey { user: format!("person-{n}").parse().unwrap(), provider: provider() };
    let active = Active {
        access_token: Sealed::from_bytes(vec![1]),
        refresh_token: Some(Sealed::from_bytes(vec![2])),
        expires_at: now.plus(Duration::from_mins(10)),
        lifetime: 3600,
        seat: Some(Seat::fast(&key, Duration::from_hours(1))),
        misfits: 0,
        next_refresh_at: now,
        soon: None,
        lease: None,
        unknown_outcomes: 0,
        attempts,
        last_error: (attempts > 0).then_some(RefreshError::Unavailable),
        seen_at: now,
        grant: Grant::new(now, None),
    };
    Connection {
        key,
        version: Version::from_bytes([1; 16]),
        issuer: "https://provider.example#client".parse().unwrap(),
        account: "account".parse().unwrap(),
        scope: None,
        created_at: now,
        updated_at: now,
        event: None,
        revocations: Vec::new(),
        status: Status::Active(Box::new(active)),
    }
}

/// One process at the gate. Time is in milliseconds since the start.
struct Gate {
    circuit: Circuit,
    budget: Budget,
    rng: SeededRng,
    attempts: u32,
    events: Vec<EventMark>,
    calls: Vec<u64>,
}

impl Gate {
    fn new(circuit: Circuit) -> Self {
        Self {
            circuit,
            budget: Budget::new(1),
            rng: SeededRng::new(7),
            attempts: 0,
            events: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// What `Engine::gate` says, and the row's step: `None` when the call is made, else the row and when its message is back.
    fn arrive(&mut self, row: Connection, millis: u64) -> Option<(Connection, u64)> {
        let now = Timestamp::from_unix(START + millis / 1000);
        let rng: &dyn Rng = &self.rng;
        self.attempts += 1;
        let attempt = AttemptId::from_bytes(u128::from(self.attempts).to_be_bytes());
        let claim = Claim { attempt, now, lease: LEASE_REUSABLE, awake_window: Duration::from_hours(24) };
        let claimed = Claimed::new(Step::Claim(claim).apply(row).expect("its message is late enough")).unwrap();
        let taken = self.budget.take(&provider(), RATE, Lane::Due, Duration::from_millis(millis));
        let (error, until) = match (taken, self.circuit.passage(attempt, now)) {
            (Err(wait), _) => (RefreshError::BudgetExhausted, now.plus(wait)),
            (Ok(()), Passage::Barred { until }) => {
                self.budget.give_back(&provider());
                (RefreshError::CircuitOpen, spread_after(until, rng.dice()))
            }
            (Ok(()), Passage::Probe(_)) => {
                // The provider is back, and the probe finds it so.
                self.circuit = Circuit::Closed;
                self.calls.push(millis);
                return None;
            }
            (Ok(()), Passage::Free) => {
                self.calls.push(millis);
                return None;
            }
        };
        let row = Step::Release(claimed.release(error, until)).apply(claimed.row().clone()).unwrap();
        assert_eq!(row.check(), Ok(()));
        self.events.extend(row.event);
        let delay = until.since(now) + CLOCK_SKEW_MAX;
        Some((row, millis + u64::try_from(delay.as_millis()).unwrap()))
    }

    /// Lets them all come until each has called; when the last one did.
    fn run(&mut self, rows: impl Iterator<Item = (Connection, u64)>) -> Duration {
        let mut coming: BTreeMap<(u64, usize), Connection> = BTreeMap::new();
        for (number, (row, millis)) in rows.enumerate() {
            coming.insert((millis, number), row);
        }
        while let Some(((millis, number), row)) = coming.pop_first() {
            if let Some((row, back)) = self.arrive(row, millis) {
                coming.insert((back, number), row);
            }
        }
        let seconds = self.calls.iter().fold(BTreeMap::<u64, usize>::new(), |mut seconds, call| {
            *seconds.entry(call / 1000).or_default() += 1;
            seconds
        });
        assert!(seconds.values().all(|calls| *calls <= 20), "the rate and a burst: {seconds:?}");
        Duration::from_millis(self.calls.last().copied().unwrap())
    }
}

#[test]
fn a_thousand_due_at_once_are_spread_over_the_rate_and_none_is_degraded() {
    let mut gate = Gate::new(Circuit::Closed);
    let last = gate.run((0..1000).map(|n| (due(n, 0), 0)));
    assert_eq!(gate.calls.len(), 1000);
    assert!(last <= Duration::from_secs(140), "{last:?}");
    assert_eq!(gate.events, []);
    assert!(gate.attempts <= 2200, "most come back once: {} claims", gate.attempts);
}

#[test]
fn after_an_outage_all_are_back_within_a_minute_and_a_half() {
    // They have failed eight times each: their own back-off would be ten minutes.
    let until = Timestamp::from_unix(START + 60);
    for circuit in
        [Circuit::Open { until, trips: 6 }, Circuit::Probing { probe: AttemptId::from_bytes([9; 16]), until, trips: 6 }]
    {
        let mut gate = Gate::new(circuit);
        let last = gate.run((0..300).map(|n| (due(n, 8), u64::from(n) * 200)));
        let closed = gate.calls[0];
        assert!((60_000..100_000).contains(&closed), "by the first who comes after the circuit's time: {closed}");
        assert!(last <= Duration::from_secs(60 + 90), "{last:?}");
        assert_eq!((gate.calls.len(), gate.events.as_slice()), (300, [].as_slice()));
    }
}

#[test]
fn those_whom_a_circuit_holds_back_are_spread_over_half_a_minute() {
    let until = Timestamp::from_unix(START);
    assert_eq!(spread_after(until, 0), until);
    assert_eq!(spread_after(until, 1 << 31), until.plus(Duration::from_secs(15)));
    assert_eq!(spread_after(until, u32::MAX), until.plus(Duration::from_secs(29)));
    assert!(OPEN_SPREAD <= PROBE_FOR, "who is told to come back finds the probe answered, or barred by nobody");
}

#[test]
fn nothing_is_sent_that_may_outlive_its_lease() {
    let claimed_at = Timestamp::from_unix(START);
    let owner = AttemptId::from_bytes([1; 16]);
    for (spends, length, latest) in [(true, LEASE_STRICT, 120 - 68), (false, LEASE_REUSABLE, 45 - 8)] {
        let lease = Lease { owner, expires_at: claimed_at.plus(length) };
        let at = |seconds| outlives_a_call(lease, spends, claimed_at.plus(Duration::from_secs(seconds)));
        assert!(at(0) && at(latest), "{length:?}");
        assert!(!at(latest + 1) && !at(3600), "a laptop slept: {length:?}");
    }
}
