//! Hours of it: ticks as they come, the queue's own deliveries, claims and commits in the table.

use std::{collections::BTreeMap, time::Duration};

use mm_engine::ports::{ConnectionStore as _, Lane, Nudge, Outcome};
use mm_model::{
    AttemptId, ConnectionKey, Refusal, Sealed, Step, Timestamp, Version,
    limits::{AWAKE_WINDOW, LEASE_STRICT},
    refresh::{Claimed, Refreshed},
    step::Claim,
};

use crate::world::{START, World, key};

const STEP: Duration = Duration::from_secs(10);

/// A worker whose provider always answers at once.
struct Worker {
    world: World,
    number: u128,
    told: Option<String>,
    expires: BTreeMap<ConnectionKey, Timestamp>,
    refreshes: BTreeMap<ConnectionKey, u64>,
}

impl Worker {
    /// What the stream does: nudges for what is too short for the wheel.
    async fn follow_changes(&mut self) {
        loop {
            let page = self.world.store.changes(self.told.as_deref()).await.unwrap();
            if page.changes.is_empty() {
                return;
            }
            self.world.engine.on_changes(&page.changes).await.unwrap();
            self.told = Some(page.next);
        }
    }

    async fn follow_nudges(&mut self) {
        loop {
            let batch = tokio::select! {
                biased;
                batch = self.world.queue.queue.nudges.receive(Lane::Due) => batch,
                () = std::future::ready(()) => return,
            };
            for received in batch {
                let nudge: Nudge = serde_json::from_str(&received.body).unwrap();
                self.refresh(&nudge.key).await;
                assert!(self.world.queue.queue.nudges.delete(received.receipt));
            }
        }
    }

    async fn refresh(&mut self, key: &ConnectionKey) {
        let now = self.world.now();
        let attempt = AttemptId::from_bytes(self.next());
        let claim = Step::Claim(Claim { attempt, now, lease: LEASE_STRICT, awake_window: AWAKE_WINDOW });
        let claimed = match self.world.store.apply(key, &claim).await.unwrap() {
            Outcome::Applied(row) => Claimed::new(row).unwrap(),
            Outcome::Refused(refusal, _) => {
                assert!(matches!(refusal, Refusal::NotDue { .. }), "{refusal:?}");
                return;
            }
        };
        let lifetime = claimed.active().lifetime();
        let commit = claimed.commit(Refreshed {
            version: Version::from_bytes(self.next()),
            access_token: Sealed::from_bytes(vec![1; 40]),
            refresh_token: Some(Sealed::from_bytes(vec![2; 40])),
            lifetime,
            scope: None,
            now,
        });
        let outcome = self.world.store.apply(key, &Step::Commit(Box::new(commit))).await.unwrap();
        assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
        self.expires.insert(key.clone(), now.plus(lifetime));
        *self.refreshes.entry(key.clone()).or_default() += 1;
    }

    fn next(&mut self) -> [u8; 16] {
        self.number += 1;
        self.number.to_be_bytes()
    }
}

/// Minutes whose ticks never come, each after an hour of its own: one, two, five.
fn is_missed(minute: u64) -> bool {
    minute == 90 || (150..152).contains(&minute) || (210..215).contains(&minute)
}

#[tokio::test]
async fn nobody_is_read_dead_through_missed_late_and_doubled_ticks() {
    const HOURS: u64 = 6;
    // A token of one minute lives by the stream; one of an hour survives five missed minutes.
    let others = [3600, 3600, 7200, 14_400].into_iter().cycle();
    let lifetimes: Vec<u64> = std::iter::once(60).chain(others).take(33).collect();
    let world = World::with(lifetimes.iter().copied()).await;
    let expires = (0..).zip(&lifetimes).map(|(n, life)| (key(n), START.plus(Duration::from_secs(*life)))).collect();
    let mut worker = Worker { world, number: 1 << 64, told: None, expires, refreshes: BTreeMap::new() };
    for step in 0..HOURS * 360 {
        let (minute, second) = (step / 6, step % 6 * 10);
        // Up to 50 s late, every third one twice.
        let late = minute * 30 % 60;
        if !is_missed(minute) && (second == late || (minute % 3 == 0 && second == 50)) {
            worker.world.engine.tick().await.unwrap();
        }
        worker.follow_changes().await;
        worker.follow_nudges().await;
        let now = worker.world.now();
        let dead: Vec<_> = worker.expires.iter().filter(|(_, expires_at)| **expires_at <= now).collect();
        assert_eq!(dead, [], "dead in minute {minute}");
        worker.world.clock.advance(STEP);
    }
    for (n, lifetime) in lifetimes.iter().enumerate() {
        let refreshes = worker.refreshes.get(&key(n)).copied().unwrap_or_default();
        let ideal = HOURS * 3600 / lifetime;
        assert!(refreshes >= ideal && refreshes <= ideal * 2 + 1, "{lifetime} s: {refreshes} refreshes in six hours");
        let row = worker.world.row(&key(n)).await;
        assert_eq!(row.active().unwrap().expires_at, worker.expires[&key(n)]);
        assert_eq!(row.active().unwrap().seat, Some(worker.world.seats[&key(n)]), "the index is never written again");
    }
}
