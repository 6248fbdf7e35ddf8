//! Random sequences of writes on the store and on the table of plain values: same outcome, same rows, after every one.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mm_model::{
    AccountId, Connection, ConnectionKey, Seat, Step, Timestamp, User, UserId, Version,
    connection::{ReauthorizationReason, RefreshError},
    event::EventMark,
    limits::LEASE_STRICT,
    login::Consent,
    step::{
        Claim, ClaimRevocation, Commit, FinishRevocation, Flag, ForcedClaim, Handoff, HoldRevocations,
        PostponeRevocation, Release, Reseal, Seen, Sleep, Unknown,
    },
};

use super::{
    changes,
    samples::{AWAKE, Checked, HOUR, NOW, Store, account, at, attempt, issuer, rows, sealed, seconds, user, version},
    table::Table,
};
use crate::{
    ports::{Expected, Link, LinkOutcome, Rng, StoreError, TakenFrom, Unlink},
    testing::SeededRng,
};

/// Sequences, each with people, accounts and dice of its own.
const SEQUENCES: u32 = 300;

/// Writes in a sequence: enough for a connection to be made, refreshed, lost, moved and made again.
const WRITES: u32 = 48;

/// Sequences under way at once: they share the store and nothing else.
const AT_ONCE: usize = 32;

/// One write, so that it can be repeated as after a lost answer.
#[derive(Clone, Debug)]
enum Write {
    Step(ConnectionKey, Step),
    Link(Box<Link>),
    Unlink(Box<Unlink>),
    Forget(UserId),
}

/// A sequence under way.
struct Sequence {
    number: u32,
    dice: SeededRng,
    model: Table,
    now: Timestamp,
    minted: u32,
    past: Vec<Version>,
    last: Option<Write>,
}

pub(super) async fn random_sequences_match_the_model(store: Store) -> Checked {
    let sequences: Vec<Sequence> = stream::iter((0..SEQUENCES).map(|number| Sequence::new(number).run(store.clone())))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let told = changes::all(&store).await?;
    for sequence in &sequences {
        for key in sequence.keys() {
            let expected = changes::of(sequence.model.changes(), &key);
            assert_eq!(changes::of(&told, &key), expected, "sequence {}: what was told of {key}", sequence.number);
        }
    }
    let links: usize = sequences.iter().map(|sequence| sequence.model.changes().len()).sum();
    assert!(links > sequences.len() * 3, "the sequences have come as far as they should: {links} changes");
    Ok(())
}

impl Sequence {
    fn new(number: u32) -> Self {
        let dice = SeededRng::new(u64::from(number));
        let past = vec![version(0)];
        Self { number, dice, model: Table::default(), now: NOW, minted: 0, past, last: None }
    }

    async fn run(mut self, store: Store) -> Result<Self, StoreError> {
        for n in 0..WRITES {
            self.now = self.now.plus(seconds(u64::from(self.below(1500))));
            let write = match self.last.take().filter(|_| self.one_in(6)) {
                Some(last) => last,
                None => self.write(),
            };
            let place = format!("sequence {}, write {n}: {write:?}", self.number);
            self.apply(&store, &write, &place).await?;
            self.last = Some(write);
        }
        self.compare_owners_and_seats(&store).await?;
        Ok(self)
    }

    /// Does one write on both sides and compares what they say and what is there afterwards.
    async fn apply(&mut self, store: &Store, write: &Write, place: &str) -> Checked {
        match write {
            Write::Step(key, step) => {
                assert_eq!(store.apply(key, step).await?, self.model.apply(key, step), "{place}");
            }
            Write::Link(link) => assert_eq!(store.link(link).await?, self.model.link(link), "{place}"),
            Write::Unlink(unlink) => assert_eq!(store.unlink(unlink).await?, self.model.unlink(unlink), "{place}"),
            Write::Forget(person) => {
                // A store may call it an error that somebody is still connected.
                let forgotten = matches!(store.forget(person).await, Ok(LinkOutcome::Done));
                assert_eq!(forgotten, self.model.forget(person) == LinkOutcome::Done, "{place}");
            }
        }
        for person in self.people() {
            assert_eq!(rows(store, &person).await?, self.model.person(&person), "{place}");
        }
        Ok(())
    }

    async fn compare_owners_and_seats(&self, store: &Store) -> Checked {
        for name in self.accounts() {
            for provider in ["a", "b"].map(super::samples::provider) {
                let owner = store.owner(&provider, &name).await?;
                assert_eq!(owner.as_ref(), self.model.owner(&provider, &name), "sequence {}", self.number);
            }
        }
        let own: BTreeSet<_> = self.keys().into_iter().collect();
        let seats = own.iter().flat_map(seats);
        for seat in seats {
            let expected: BTreeSet<_> = self.model.seated(seat).into_iter().collect();
            super::wheel::comes_to_hold_among(store, seat, &own, &expected).await?;
        }
        Ok(())
    }

    fn people(&self) -> [UserId; 2] {
        ["ann", "bob"].map(|name| user(&format!("{name}-{}", self.number)))
    }

    fn accounts(&self) -> [AccountId; 3] {
        ["x", "y", "z"].map(|name| account(&format!("{name}/{}", self.number)))
    }

    fn keys(&self) -> Vec<ConnectionKey> {
        let people = self.people();
        people.iter().flat_map(|person| ["a", "b"].map(|provider| at(person.as_str(), provider))).collect()
    }

    fn below(&self, bound: u32) -> u32 {
        let dice: &dyn Rng = &self.dice;
        dice.dice() % bound
    }

    fn one_in(&self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&self, from: &[T]) -> T {
        let n = self.below(u32::try_from(from.len()).unwrap_or(u32::MAX));
        from[usize::try_from(n).unwrap_or_default()].clone()
    }

    /// A version that nothing has had.
    fn mint(&mut self) -> Version {
        self.minted += 1;
        let minted = version(self.number * 1000 + self.minted);
        self.past.push(minted);
        minted
    }

    /// The version given, or now and then any that there has been.
    fn or_outdated(&self, version: Version) -> Version {
        if self.one_in(8) { self.pick(&self.past) } else { version }
    }

    fn write(&mut self) -> Write {
        let keys = self.keys();
        let key = self.pick(&keys);
        let row = self.model.person(&key.user).connection(&key.provider).cloned();
        match (row, self.below(20)) {
            (_, 0) => Write::Forget(key.user),
            (None, _) | (_, 1..=3) => self.link(key),
            (Some(row), 4) => self.unlink(&row),
            (Some(row), _) if !row.is_connected() && self.one_in(2) => self.link(key),
            (Some(row), _) => {
                let step = self.step(&row);
                Write::Step(key, step)
            }
        }
    }

    fn link(&mut self, key: ConnectionKey) -> Write {
        let accounts = self.accounts();
        let chosen = self.pick(&accounts);
        let previous = self.model.person(&key.user).connection(&key.provider).cloned();
        let minted = self.mint();
        let lifetime = self.pick(&[3600, 300, 120]);
        let consent = Consent {
            issuer: issuer(),
            account: chosen.clone(),
            version: minted,
            access_token: sealed(self.minted),
            refresh_token: Some(sealed(self.minted + 1)).filter(|_| !self.one_in(6)),
            lifetime,
            expires_at: self.now.plus(seconds(lifetime)),
            scope: Some("read".to_owned()).filter(|_| !self.one_in(3)),
            grant_lifetime: Some(HOUR * 24 * 180).filter(|_| self.one_in(2)),
            now: self.now,
        };
        let released = previous.as_ref().filter(|row| row.is_connected() && row.account != chosen);
        let released = released.map(|row| row.account.clone());
        let expected = match &previous {
            None if self.one_in(8) => Expected::Version(self.pick(&self.past)),
            None => Expected::Absent,
            Some(_) if self.one_in(8) => Expected::Absent,
            Some(row) => Expected::Version(self.or_outdated(row.version)),
        };
        let taken_from = self.taken_from(&key, &chosen);
        let connection = Connection::establish(key.clone(), consent, previous.as_ref(), self.one_in(2));
        let user = User::new(key.user, self.now);
        Write::Link(Box::new(Link { connection, expected, user, released, taken_from }))
    }

    /// The other side of a move, where the account is another's and the dice want it to move.
    fn taken_from(&mut self, key: &ConnectionKey, chosen: &AccountId) -> Option<TakenFrom> {
        let owner = self.model.owner(&key.provider, chosen).filter(|owner| **owner != key.user)?.clone();
        let row = self.model.person(&owner).connection(&key.provider).cloned()?;
        if self.one_in(2) {
            return None;
        }
        let expected = self.or_outdated(row.version);
        let tombstone = row.disconnect(self.mint(), self.now, self.one_in(2));
        Some(TakenFrom { tombstone, expected })
    }

    fn unlink(&mut self, row: &Connection) -> Write {
        let expected = self.or_outdated(row.version);
        let tombstone = row.clone().disconnect(self.mint(), self.now, self.one_in(2));
        Write::Unlink(Box::new(Unlink { tombstone, expected }))
    }

    fn step(&mut self, row: &Connection) -> Step {
        let (now, lease) = (self.now, LEASE_STRICT);
        let named = self.or_outdated(row.version);
        let held = row.active().and_then(|active| active.lease).map(|lease| lease.owner);
        let by = held.filter(|_| !self.one_in(4)).unwrap_or_else(|| attempt(self.below(4)));
        let [hour, short, slow] = seats(&row.key);
        let intent = row.revocations.first().map_or(named, |owed| owed.version);
        let intent_by = row.revocations.first().and_then(|owed| owed.lease).map_or(by, |lease| lease.owner);
        let event = self.pick(&[None, None, Some(EventMark::Degraded)]);
        let soonish = now.plus(seconds(u64::from(self.below(600))));
        match self.below(18) {
            0..=2 => Step::Claim(Claim {
                attempt: attempt(self.below(4)),
                now,
                lease,
                awake_window: self.pick(&[AWAKE, HOUR]),
            }),
            3 => Step::ForcedClaim(ForcedClaim { attempt: attempt(self.below(4)), now, lease, version: named }),
            4..=6 => self.commit(named, hour, short),
            7 => Step::Release(Release {
                version: named,
                attempt: by,
                next_refresh_at: soonish,
                unknown_outcomes: self.below(3),
                attempts: 1 + self.below(4),
                error: RefreshError::Throttled,
                event,
            }),
            8 => Step::Unknown(Unknown {
                version: named,
                attempt: by,
                next_refresh_at: soonish,
                attempts: 1 + self.below(4),
                error: RefreshError::Unavailable,
                event,
            }),
            9 => Step::Handoff(Handoff { version: named, from: by, to: attempt(10 + self.below(4)), now, lease }),
            10 => {
                let reason = self.pick(&[ReauthorizationReason::Refused, ReauthorizationReason::InterruptedRotation]);
                Step::Flag(Flag { version: named, new_version: self.mint(), reason, now })
            }
            11 | 12 => Step::Seen(Seen { now, seat: self.pick(&[None, Some(hour)]) }),
            13 => {
                let seen_at = row.active().map(|active| active.seen_at).filter(|_| !self.one_in(3)).unwrap_or(now);
                Step::Sleep(Sleep { version: named, seen_at, seat: self.pick(&[None, Some(slow)]) })
            }
            14 => Step::Reseal(Box::new(Reseal {
                version: named,
                access_token: sealed(self.below(1000)),
                refresh_token: row.active().and_then(|active| active.refresh_token.clone()),
                now,
            })),
            15 => Step::ClaimRevocation(ClaimRevocation {
                revocation: intent,
                attempt: attempt(self.below(4)),
                now,
                lease,
            }),
            16 if self.one_in(2) => Step::FinishRevocation(FinishRevocation { revocation: intent, attempt: intent_by }),
            16 => Step::PostponeRevocation(PostponeRevocation { revocation: intent, attempt: intent_by }),
            _ => Step::HoldRevocations(HoldRevocations { attempt: attempt(self.below(4)), now, lease }),
        }
    }

    fn commit(&mut self, consumed: Version, hour: Seat, short: Seat) -> Step {
        let minted = self.mint();
        let lifetime = self.pick(&[3600, 300]);
        let expires_at = self.now.plus(seconds(lifetime));
        Step::Commit(Box::new(Commit {
            consumed,
            version: minted,
            access_token: sealed(self.minted),
            refresh_token: Some(sealed(self.minted + 1)).filter(|_| !self.one_in(6)),
            expires_at,
            lifetime,
            scope: self.pick(&[None, Some("read write".to_owned())]),
            now: self.now,
            next_refresh_at: self.now.plus(seconds(lifetime / 2)),
            soon: Some(expires_at.minus(seconds(60))).filter(|_| lifetime < 600),
            reseat: self.pick(&[None, None, Some(hour), Some(short)]),
            misfits: u8::try_from(self.below(3)).unwrap_or_default(),
            warned_days: self.pick(&[None, Some(14), Some(7)]),
            event: self.pick(&[None, None, Some(EventMark::Recovered), Some(EventMark::ReauthDue)]),
        }))
    }
}

/// The seats that a sequence ever writes.
fn seats(key: &ConnectionKey) -> [Seat; 3] {
    [Seat::fast(key, HOUR), Seat::fast(key, seconds(300)), Seat::slow(key)]
}
