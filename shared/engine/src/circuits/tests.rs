use std::sync::Arc;

use async_trait::async_trait;
use mm_model::{
    circuit::{OPEN_FOR, PROBE_FOR},
    event::ConnectionEvent,
    limits::AWAKE_WINDOW,
};
use mm_oauth::{Deadlines, ProviderClient, StaticSecrets};

use super::*;
use crate::{
    Offers, Parts, TokenCipher,
    conformance::tests::memory::MemoryStore,
    ports::{
        BranchKey, Clock, ConnectionStore, EventError, EventSink, KeyContext, KeyError, KeyService, Lane, LaneMessage,
        Nudge, QueueError, RefreshQueue,
    },
    testing::{ManualClock, SeededRng},
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// Whatever a circuit does not need: it asks nobody but the table.
struct Unneeded;

#[async_trait]
impl RefreshQueue for Unneeded {
    async fn nudge(&self, _: Lane, nudges: Vec<(Nudge, Duration)>) -> Result<(), QueueError> {
        panic!("a circuit sent {nudges:?}")
    }

    async fn put_on_lane(&self, message: &LaneMessage) -> Result<(), QueueError> {
        panic!("a circuit sent {message:?}")
    }
}

#[async_trait]
impl EventSink for Unneeded {
    async fn publish(&self, event: &ConnectionEvent) -> Result<(), EventError> {
        panic!("a circuit published {event:?}")
    }
}

#[async_trait]
impl KeyService for Unneeded {
    async fn wrap(&self, context: &KeyContext, _: &BranchKey) -> Result<Vec<u8>, KeyError> {
        panic!("a circuit wrapped {context:?}")
    }

    async fn unwrap(&self, context: &KeyContext, _: &[u8]) -> Result<BranchKey, KeyError> {
        panic!("a circuit unwrapped {context:?}")
    }
}

/// Processes that share a table.
struct Processes {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl Processes {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::sound()), clock: Arc::new(ManualClock::new(NOW)) }
    }

    fn start(&self) -> Engine {
        let store: Arc<dyn ConnectionStore> = Arc::clone(&self.store) as _;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let rng = Arc::new(SeededRng::new(1));
        let cipher = TokenCipher::new(
            "tokens".to_owned(),
            Arc::new(Unneeded),
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&rng) as _,
        );
        Engine::new(Parts {
            store,
            queue: Arc::new(Unneeded),
            cipher,
            events: Arc::new(Unneeded),
            clock,
            rng,
            client: ProviderClient::new(Deadlines::PROVIDER).unwrap(),
            secrets: Arc::new(StaticSecrets::from_iter([])),
            offers: Offers::default(),
            awake_window: AWAKE_WINDOW,
            processes: 2,
        })
    }

    async fn row(&self) -> Circuit {
        self.store.circuit(&provider()).await.unwrap()
    }

    fn pass_time(&self, span: Duration) {
        self.clock.advance(span);
    }
}

fn provider() -> ProviderId {
    "soundcloud".parse().unwrap()
}

fn attempt(n: u8) -> AttemptId {
    AttemptId::from_bytes([n; 16])
}

async fn pass(engine: &Engine, n: u8) -> Result<(), Timestamp> {
    engine.pass_circuit(&provider(), attempt(n)).await.unwrap()
}

async fn fail(engine: &Engine, times: u32) {
    for _ in 0..times {
        engine.provider_failed(&provider()).await;
    }
}

fn opened_at(at: Timestamp) -> Circuit {
    Circuit::Open { until: at.plus(OPEN_FOR), trips: 1 }
}

#[tokio::test]
async fn the_fifth_failure_in_a_row_opens_and_not_the_fourth() {
    let processes = Processes::new();
    let engine = processes.start();
    assert_eq!(pass(&engine, 1).await, Ok(()));
    fail(&engine, FAILURES_TO_OPEN - 1).await;
    assert_eq!((processes.row().await, pass(&engine, 1).await), (Circuit::Closed, Ok(())));
    engine.provider_answered(&provider()).await;
    fail(&engine, FAILURES_TO_OPEN - 1).await;
    assert_eq!((processes.row().await, pass(&engine, 1).await), (Circuit::Closed, Ok(())), "an answer breaks the row");
    fail(&engine, 1).await;
    assert_eq!((processes.row().await, pass(&engine, 1).await), (opened_at(NOW), Err(NOW.plus(OPEN_FOR))));
    fail(&engine, 3).await;
    assert_eq!(processes.row().await, opened_at(NOW), "those that were under way do not keep it open for longer");
}

#[tokio::test]
async fn another_providers_circuit_is_another_one() {
    let processes = Processes::new();
    let engine = processes.start();
    fail(&engine, FAILURES_TO_OPEN).await;
    assert_eq!(engine.pass_circuit(&"spotify".parse().unwrap(), attempt(1)).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn of_all_processes_one_probes_and_its_answer_closes_for_all() {
    let processes = Processes::new();
    let (one, other) = (processes.start(), processes.start());
    fail(&one, FAILURES_TO_OPEN).await;
    assert_eq!(pass(&other, 2).await, Err(NOW.plus(OPEN_FOR)), "the row speaks to all");
    processes.pass_time(OPEN_FOR.saturating_sub(Duration::from_secs(1)));
    // Both have just looked, so that both will want to probe.
    assert_eq!((pass(&one, 1).await, pass(&other, 2).await), (Err(NOW.plus(OPEN_FOR)), Err(NOW.plus(OPEN_FOR))));

    processes.pass_time(Duration::from_secs(1));
    let now = processes.clock.now();
    let (first, second) = tokio::join!(pass(&one, 1), pass(&other, 2));
    let probing = now.plus(PROBE_FOR);
    assert_eq!((first, second), (Ok(()), Err(probing)), "one of them, the other comes back later");
    assert_eq!(pass(&one, 3).await, Err(probing), "nor another attempt of the prober's process");
    assert_eq!(pass(&one, 1).await, Ok(()), "the probe itself may go on");

    one.provider_answered(&provider()).await;
    assert_eq!(processes.row().await, Circuit::Closed);
    assert_eq!(pass(&one, 3).await, Ok(()));
    processes.pass_time(CACHED_FOR);
    assert_eq!(pass(&other, 2).await, Ok(()));
}

#[tokio::test]
async fn a_failed_probe_opens_for_twice_as_long() {
    let processes = Processes::new();
    let engine = processes.start();
    fail(&engine, FAILURES_TO_OPEN).await;
    processes.pass_time(OPEN_FOR);
    assert_eq!(pass(&engine, 1).await, Ok(()));
    fail(&engine, 1).await;
    let until = processes.clock.now().plus(OPEN_FOR * 2);
    assert_eq!(processes.row().await, Circuit::Open { until, trips: 2 });
    assert_eq!(pass(&engine, 2).await, Err(until));
}

#[tokio::test]
async fn a_probe_that_never_answers_is_followed_by_another() {
    let processes = Processes::new();
    let (one, other) = (processes.start(), processes.start());
    fail(&one, FAILURES_TO_OPEN).await;
    processes.pass_time(OPEN_FOR);
    assert_eq!(pass(&one, 1).await, Ok(()));
    processes.pass_time(PROBE_FOR);
    assert_eq!(pass(&other, 2).await, Ok(()));
    let until = processes.clock.now().plus(PROBE_FOR);
    assert_eq!(processes.row().await, Circuit::Probing { probe: attempt(2), until, trips: 1 });
}

#[tokio::test]
async fn the_row_is_believed_for_ten_seconds() {
    let processes = Processes::new();
    let engine = processes.start();
    assert_eq!(pass(&engine, 1).await, Ok(()));
    assert!(processes.store.swap_circuit(&provider(), Circuit::Closed, opened_at(NOW)).await.unwrap());
    processes.pass_time(Duration::from_secs(9));
    assert_eq!(pass(&engine, 1).await, Ok(()), "not looked at again");
    processes.pass_time(Duration::from_secs(1));
    assert_eq!(pass(&engine, 1).await, Err(NOW.plus(OPEN_FOR)));
}

#[tokio::test]
async fn whoever_opens_second_leaves_the_row_to_the_first() {
    let processes = Processes::new();
    let (one, other) = (processes.start(), processes.start());
    assert_eq!((pass(&one, 1).await, pass(&other, 2).await), (Ok(()), Ok(())));
    fail(&one, FAILURES_TO_OPEN).await;
    processes.pass_time(Duration::from_secs(7));
    fail(&other, FAILURES_TO_OPEN).await;
    assert_eq!(processes.row().await, opened_at(NOW));
    assert_eq!(pass(&other, 2).await, Err(NOW.plus(OPEN_FOR)), "and looks at it, whatever its cache's age");
}

#[tokio::test]
async fn whoever_closes_second_leaves_the_row_to_the_first() {
    let processes = Processes::new();
    let (one, other) = (processes.start(), processes.start());
    fail(&one, FAILURES_TO_OPEN).await;
    assert!(pass(&other, 2).await.is_err());
    // The other one's call from before is answered: it closes. The first, whose own answer is late, finds that done.
    other.provider_answered(&provider()).await;
    assert_eq!(processes.row().await, Circuit::Closed);
    let tripped = opened_at(NOW.plus(Duration::from_secs(5)));
    assert!(processes.store.swap_circuit(&provider(), Circuit::Closed, tripped).await.unwrap());
    one.provider_answered(&provider()).await;
    assert_eq!(processes.row().await, tripped, "opened anew since: not this answer's to close");
    assert!(pass(&one, 1).await.is_err(), "and it knows");
}

#[tokio::test]
async fn what_another_process_closed_takes_five_failures_again() {
    let processes = Processes::new();
    let (one, other) = (processes.start(), processes.start());
    fail(&one, FAILURES_TO_OPEN).await;
    processes.pass_time(OPEN_FOR);
    assert_eq!(pass(&other, 2).await, Ok(()), "the probe");
    other.provider_answered(&provider()).await;
    processes.pass_time(CACHED_FOR);
    assert_eq!(pass(&one, 1).await, Ok(()));
    fail(&one, FAILURES_TO_OPEN - 1).await;
    assert_eq!(processes.row().await, Circuit::Closed, "the provider has answered since the last five");
    fail(&one, 1).await;
    assert_eq!(processes.row().await, opened_at(processes.clock.now()));
}
