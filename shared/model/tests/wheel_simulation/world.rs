//! Scheduler, stream, queue, worker and provider around the model's own rules, on one line of events.
//!
//! Real time is in seconds; the scheduler's and the worker's clocks are each as far off as the setup says. What is
//! simulated is only the world: seats, claims and commits are the product's.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    time::Duration,
};

use mm_model::{
    AttemptId, Connection, ConnectionKey, Minute, Refusal, Sealed, Seat, Step, Timestamp, Version,
    connection::Active,
    limits::{LEASE_STRICT, NUDGE_SLACK},
    login::Consent,
    refresh::{Claimed, Refreshed},
    step::Claim,
    wheel,
};

/// Longest delay of a message: the queue's limit.
const DELAY_MAX: u64 = 900;

/// Where every simulation begins: on a minute.
pub(crate) const START: u64 = 1_800_000_000;

/// Nobody falls asleep here.
const AWAKE: Duration = Duration::from_hours(24 * 365);

/// Splitmix64: a few lines that a seed repeats on every platform.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.throw() % (high - low + 1)
    }

    /// A number from `low` to `high`, as likely between 10 and 20 as between 1000 and 2000.
    pub(crate) fn spread_within(&mut self, low: u64, high: u64) -> u64 {
        let doublings = (high / low).ilog2();
        let floor = low << self.within(0, u64::from(doublings));
        self.within(floor, (floor * 2 - 1).min(high))
    }
}

/// How a world runs.
pub(crate) struct Setup {
    pub(crate) seed: u64,
    /// Seconds by which the scheduler's and the stream's clock is ahead; behind if negative.
    pub(crate) scheduler_ahead: i64,
    /// The same for the worker's and the callback's.
    pub(crate) worker_ahead: i64,
    /// Seconds from a tick's minute to the tick, at most.
    pub(crate) tick_late_max: u64,
    /// Seconds from a claim to its commit.
    pub(crate) latency: (u64, u64),
    /// Seconds until the index and the stream see a write.
    pub(crate) lag: u64,
    /// The life of the next token of a connection that had one of this life.
    pub(crate) lifetime: fn(&mut Dice, Option<u64>) -> u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            scheduler_ahead: 0,
            worker_ahead: 0,
            tick_late_max: 0,
            latency: (1, 8),
            lag: 0,
            lifetime: |_, _| 3600,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Login(usize),
    /// Its number on the scheduler's clock.
    Tick(u64),
    /// Index and stream see the row as it was written then.
    Seen(usize),
    Nudge(usize, Errand),
    Answer(usize),
}

/// What a nudge was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Errand {
    /// The wheel's pass in this minute.
    Pass(u64),
    /// The instant that a short token asked for.
    Soon(Timestamp),
}

/// One refresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refresh {
    pub(crate) who: usize,
    /// Real time of the claim.
    pub(crate) at: u64,
    /// Whole life of the token that was replaced, in seconds.
    pub(crate) lifetime: u64,
    /// What was left of it at the claim and at the commit, by the worker's clock; negative when it had run out. No commit:
    /// the simulation ended first.
    pub(crate) left_at_claim: i64,
    pub(crate) left_at_commit: Option<i64>,
}

/// A nudge that its connection counted on and whose claim was refused as too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) who: usize,
    pub(crate) errand: Errand,
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) now: u64,
    pub(crate) rows: Vec<Option<Connection>>,
    pub(crate) refreshes: Vec<Refresh>,
    pub(crate) dropped: Vec<Dropped>,
    /// Nudges that their connections counted on.
    pub(crate) expected: u64,
    /// Writes to the index.
    pub(crate) seats_written: u64,
    dice: Dice,
    /// The place of each connection's latest refresh in `refreshes`.
    latest: Vec<usize>,
    index: HashMap<Seat, BTreeSet<usize>>,
    indexed: Vec<Option<Seat>>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    next_number: u64,
}

impl World {
    /// Logs in connection `n` at second `logins[n]` after the start.
    pub(crate) fn new(setup: Setup, logins: &[u64]) -> Self {
        let mut world = Self {
            dice: Dice(setup.seed),
            setup,
            now: START,
            rows: vec![None; logins.len()],
            refreshes: Vec::new(),
            dropped: Vec::new(),
            expected: 0,
            latest: vec![0; logins.len()],
            seats_written: 0,
            index: HashMap::new(),
            indexed: vec![None; logins.len()],
            events: BinaryHeap::new(),
            next_number: 0,
        };
        for (who, after) in logins.iter().enumerate() {
            world.schedule(START + after, Event::Login(who));
        }
        world.schedule_tick(START / 60);
        world
    }

    pub(crate) fn run_for(&mut self, seconds: u64) {
        let end = self.now + seconds;
        while let Some(Reverse((at, _, _))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            match event {
                Event::Login(who) => self.log_in(who),
                Event::Tick(minute) => self.tick(minute),
                Event::Seen(who) => self.see(who),
                Event::Nudge(who, errand) => self.nudge(who, errand),
                Event::Answer(who) => self.answer(who),
            }
        }
        self.now = end;
    }

    /// The refreshes that came too late for a reader who asked in their last second.
    pub(crate) fn late(&self) -> Vec<Refresh> {
        let is_late = |refresh: &&Refresh| refresh.left_at_commit.is_some_and(|left| left <= 0);
        self.refreshes.iter().filter(is_late).copied().collect()
    }

    /// Who is dead now, by the worker's clock.
    pub(crate) fn dead(&self) -> Vec<usize> {
        let now = self.worker_now();
        let is_dead = |row: &Connection| row.active().is_none_or(|active| active.expires_at <= now);
        (0..self.rows.len()).filter(|who| self.rows[*who].as_ref().is_some_and(is_dead)).collect()
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.next_number += 1;
        self.events.push(Reverse((at, self.next_number, event)));
    }

    fn schedule_tick(&mut self, minute: u64) {
        let late = self.dice.within(0, self.setup.tick_late_max);
        let at = (minute * 60 + late).saturating_add_signed(-self.setup.scheduler_ahead);
        self.schedule(at.max(self.now), Event::Tick(minute));
    }

    fn scheduler_now(&self) -> Timestamp {
        Timestamp::from_unix(self.now.saturating_add_signed(self.setup.scheduler_ahead))
    }

    fn worker_now(&self) -> Timestamp {
        Timestamp::from_unix(self.now.saturating_add_signed(self.setup.worker_ahead))
    }

    fn log_in(&mut self, who: usize) {
        let lifetime = (self.setup.lifetime)(&mut self.dice, None);
        let now = self.worker_now();
        let consent = Consent {
            issuer: "https://provider.example client".parse().unwrap(),
            account: format!("account-{who}").parse().unwrap(),
            version: self.version(),
            access_token: Sealed::from_bytes(vec![1; 8]),
            refresh_token: Some(Sealed::from_bytes(vec![2; 8])),
            lifetime,
            expires_at: now.plus(Duration::from_secs(lifetime)),
            scope: None,
            grant_lifetime: None,
            now,
        };
        self.rows[who] = Some(Connection::establish(key(who), consent, None, false));
        self.schedule(self.now + self.setup.lag, Event::Seen(who));
    }

    /// What the schedule does in its minute: the next one's seats, each connection with the delay to its second.
    fn tick(&mut self, minute: u64) {
        let pass = Minute::new(minute).plus(1);
        let seated: Vec<usize> =
            Seat::passing(pass).filter_map(|seat| self.index.get(&seat)).flatten().copied().collect();
        for who in seated {
            let delay = wheel::nudge_instant(&key(who), pass).since(self.scheduler_now()).as_secs();
            self.schedule(self.now + delay.min(DELAY_MAX), Event::Nudge(who, Errand::Pass(pass.number())));
        }
        self.schedule_tick(minute + 1);
    }

    /// What the index and the stream do once they see a write.
    fn see(&mut self, who: usize) {
        let Some(active) = self.rows[who].as_ref().and_then(Connection::active) else { return };
        let (seat, soon) = (active.seat, active.soon);
        if self.indexed[who] != seat {
            self.seats_written += 1;
            if let Some(old) = self.indexed[who] {
                self.index.entry(old).or_default().remove(&who);
            }
            if let Some(new) = seat {
                self.index.entry(new).or_default().insert(who);
            }
            self.indexed[who] = seat;
        }
        if let Some(soon) = soon {
            let delay = soon.since(self.scheduler_now()).as_secs().min(DELAY_MAX);
            self.schedule(self.now + delay, Event::Nudge(who, Errand::Soon(soon)));
        }
    }

    fn nudge(&mut self, who: usize, errand: Errand) {
        let now = self.worker_now();
        let attempt = AttemptId::from_bytes(self.random());
        let Some(row) = self.rows[who].take() else { return };
        let counts_on_it = row.active().is_some_and(|active| active.lease.is_none() && counts_on(active, errand));
        self.expected += u64::from(counts_on_it);
        let claim = Step::Claim(Claim { attempt, now, lease: LEASE_STRICT, awake_window: AWAKE });
        match claim.apply(row.clone()) {
            Ok(claimed) => {
                let active = claimed.active().unwrap();
                self.latest[who] = self.refreshes.len();
                self.refreshes.push(Refresh {
                    who,
                    at: self.now,
                    lifetime: active.lifetime,
                    left_at_claim: left(active.expires_at, now),
                    left_at_commit: None,
                });
                self.rows[who] = Some(claimed);
                let latency = self.dice.within(self.setup.latency.0, self.setup.latency.1);
                self.schedule(self.now + latency, Event::Answer(who));
            }
            Err(refusal) => {
                if counts_on_it && matches!(refusal, Refusal::NotDue { .. }) {
                    self.dropped.push(Dropped { who, errand });
                }
                self.rows[who] = Some(row);
            }
        }
    }

    fn answer(&mut self, who: usize) {
        let now = self.worker_now();
        let row = self.rows[who].take().unwrap();
        let claimed = Claimed::new(row.clone()).unwrap();
        let before = claimed.active().expires_at;
        let lifetime = (self.setup.lifetime)(&mut self.dice, Some(claimed.active().lifetime));
        let version = self.version();
        let commit = claimed.commit(Refreshed {
            version,
            access_token: Sealed::from_bytes(vec![1; 8]),
            refresh_token: Some(Sealed::from_bytes(vec![2; 8])),
            lifetime: Duration::from_secs(lifetime),
            scope: None,
            now,
        });
        let committed = Step::Commit(Box::new(commit)).apply(row).unwrap();
        assert_eq!(committed.check(), Ok(()));
        self.rows[who] = Some(committed);
        self.refreshes[self.latest[who]].left_at_commit = Some(left(before, now));
        self.schedule(self.now + self.setup.lag, Event::Seen(who));
    }

    fn version(&mut self) -> Version {
        Version::from_bytes(self.random())
    }

    fn random(&mut self) -> [u8; 16] {
        (u128::from(self.dice.throw()) << 64 | u128::from(self.dice.throw())).to_be_bytes()
    }
}

/// The key of connection `who`.
pub(crate) fn key(who: usize) -> ConnectionKey {
    ConnectionKey { user: format!("user-{who}").parse().unwrap(), provider: "soundcloud".parse().unwrap() }
}

/// Whether the connection plans to be refreshed at this nudge.
fn counts_on(active: &Active, errand: Errand) -> bool {
    match errand {
        Errand::Pass(pass) => active.next_refresh_at == Minute::new(pass).start().minus(NUDGE_SLACK),
        Errand::Soon(soon) => active.soon == Some(soon),
    }
}

fn left(expires_at: Timestamp, now: Timestamp) -> i64 {
    expires_at.unix().cast_signed() - now.unix().cast_signed()
}
