//! Sixty-four at once: what may happen once, happens once, and the store's own row says to whom.

use std::{collections::BTreeSet, future::Future, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use mm_model::{
    Circuit, Refusal, Seat, Step, User,
    circuit::Passage,
    limits::{FORCED_REFRESHES_PER_MINUTE, LEASE_STRICT},
    login::PendingLogin,
    step::{Claim, Commit, ForcedClaim, Seen, Sleep},
    user::ForcedAdmission,
};
use tokio::sync::Barrier;

use super::{
    logins::{pending, state},
    samples::{
        AWAKE, Checked, HOUR, NOW, Store, account, attempt, due, first_link, key, plant, provider, rows, sealed,
        seconds, strong, user, version,
    },
};
use crate::ports::{Expected, Family, Link, LinkOutcome, Outcome, StoreError, WrappedKey};

/// Racers in one race: as many browser tabs as a person has been seen to open.
const RACERS: u32 = 64;

/// Runs one task per racer, all at once, and collects what they say in racer order.
async fn race<T, F>(store: &Store, run: impl Fn(Store, u32) -> F) -> Result<Vec<T>, StoreError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let start = Arc::new(Barrier::new(RACERS.try_into().unwrap_or(usize::MAX)));
    let tasks = (0..RACERS).map(|n| {
        let (run, start) = (run(store.clone(), n), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            (n, run.await)
        })
    });
    let mut tasks: FuturesUnordered<_> = tasks.collect();
    let mut said = Vec::new();
    while let Some(done) = tasks.next().await {
        assert!(done.is_ok(), "a racer must not panic: {:?}", done.err());
        let Ok((n, answer)) = done else { continue };
        said.push((n, answer?));
    }
    said.sort_unstable_by_key(|(n, _)| *n);
    Ok(said.into_iter().map(|(_, answer)| answer).collect())
}

/// The racers that `won` picks out.
fn winners<T>(said: &[T], won: impl Fn(&T) -> bool) -> Vec<u32> {
    (0..).zip(said).filter(|(_, answer)| won(answer)).map(|(n, _)| n).collect()
}

/// The only racer that `won` picks out.
#[track_caller]
fn winner<T>(said: &[T], won: impl Fn(&T) -> bool) -> u32 {
    let winners = winners(said, won);
    assert_eq!(winners.len(), 1, "exactly one wins, not {winners:?}");
    winners[0]
}

pub(super) async fn one_claim_wins(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    plant(&store, &row).await?;
    let said = race(&store, |store, n| async move {
        let (attempt, lease) = (attempt(n), LEASE_STRICT);
        let step = if n % 2 == 0 {
            Step::Claim(Claim { attempt, now: NOW, lease, awake_window: AWAKE })
        } else {
            Step::ForcedClaim(ForcedClaim { attempt, now: NOW, lease, version: version(1) })
        };
        store.apply(&key("ann"), &step).await
    })
    .await?;
    let won = winner(&said, |outcome| matches!(outcome, Outcome::Applied(_)));
    let after = strong(&store, &row.key).await?;
    let lease = after.as_ref().and_then(|row| row.active()?.lease);
    assert_eq!(lease.map(|lease| lease.owner), Some(attempt(won)), "the row names the winner");
    let until = NOW.plus(LEASE_STRICT);
    for (n, outcome) in said.into_iter().enumerate() {
        match outcome {
            Outcome::Applied(row) => assert_eq!(Some(row), after),
            Outcome::Refused(reason, old) => {
                assert_eq!((reason, &old), (Refusal::Leased { until }, &after), "racer {n}");
            }
        }
    }
    Ok(())
}

pub(super) async fn one_commit_wins(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    plant(&store, &row).await?;
    let said = race(&store, |store, n| async move {
        let commit = Commit {
            consumed: version(1),
            version: version(100 + n),
            access_token: sealed(100 + n),
            refresh_token: Some(sealed(200 + n)),
            expires_at: NOW.plus(HOUR),
            lifetime: 3600,
            scope: None,
            now: NOW,
            next_refresh_at: NOW.plus(HOUR / 2),
            soon: None,
            reseat: None,
            misfits: 0,
            warned_days: None,
            event: None,
        };
        store.apply(&key("ann"), &Step::Commit(Box::new(commit))).await
    })
    .await?;
    let won = winner(&said, |outcome| matches!(outcome, Outcome::Applied(_)));
    let after = strong(&store, &row.key).await?;
    let tokens = after.as_ref().and_then(|row| Some((row.version, row.active()?.refresh_token.clone())));
    assert_eq!(tokens, Some((version(100 + won), Some(sealed(200 + won)))), "one pair, the winner's, whole");
    let lost = |outcome: &&Outcome| **outcome == Outcome::Refused(Refusal::Superseded, after.clone());
    assert_eq!(said.iter().filter(lost).count(), said.len() - 1);
    Ok(())
}

pub(super) async fn a_read_beats_sleep(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    plant(&store, &row).await?;
    let seat = Seat::fast(&key("ann"), HOUR);
    let said = race(&store, move |store, n| async move {
        let step = if n % 2 == 0 {
            Step::Sleep(Sleep { version: version(1), seen_at: NOW.minus(HOUR), seat: None })
        } else {
            Step::Seen(Seen { now: NOW, seat: Some(seat) })
        };
        store.apply(&key("ann"), &step).await
    })
    .await?;
    for (n, outcome) in said.iter().enumerate().filter(|(n, _)| n % 2 == 1) {
        assert!(matches!(outcome, Outcome::Applied(_)), "read {n} is noted: {outcome:?}");
    }
    let after = strong(&store, &row.key).await?;
    let active = after.as_ref().and_then(|row| row.active());
    assert_eq!(active.map(|active| (active.seen_at, active.seat)), Some((NOW, Some(seat))), "awake in the end");
    Ok(())
}

pub(super) async fn a_login_is_taken_once(store: Store) -> Checked {
    store.begin_login(&state(1), &pending(1)).await?;
    let said = race(&store, |store, _| async move { store.take_login(&state(1), NOW).await }).await?;
    let won = winner(&said, Option::is_some);
    let taken = usize::try_from(won).ok().and_then(|won| said.get(won)).cloned().flatten();
    assert_eq!(taken, Some(pending(1)));
    Ok(())
}

pub(super) async fn a_state_is_used_once(store: Store) -> Checked {
    let said = race(&store, |store, n| async move { Ok(store.begin_login(&state(1), &pending(n)).await.is_ok()) });
    let won = winner(&said.await?, |begun| *begun);
    let taken: Option<PendingLogin> = store.take_login(&state(1), NOW).await?;
    assert_eq!(taken, Some(pending(won)), "the winner's login is the one that is kept");
    Ok(())
}

pub(super) async fn a_branch_key_is_added_once(store: Store) -> Checked {
    let made = |n: u32| WrappedKey { number: 1, wrapped: n.to_be_bytes().to_vec(), created_at: NOW };
    let said = race(&store, move |store, n| async move { store.add_branch_key(Family::Access, &made(n)).await });
    let won = winner(&said.await?, |added| *added);
    assert_eq!(store.branch_keys(Family::Access).await?, [made(won)]);
    assert_eq!(store.branch_keys(Family::Refresh).await?, []);
    Ok(())
}

pub(super) async fn one_probe_gets_through(store: Store) -> Checked {
    let provider = provider("soundcloud");
    let open = Circuit::Closed.trip(NOW);
    assert!(store.swap_circuit(&provider, Circuit::Closed, open).await?);
    let later = NOW.plus(HOUR);
    let probing = move |n| match open.passage(attempt(n), later) {
        Passage::Probe(probing) => probing,
        other => unreachable!("a probe is due, not {other:?}"),
    };
    let said = race(&store, move |store, n| {
        let provider = super::samples::provider("soundcloud");
        async move { store.swap_circuit(&provider, open, probing(n)).await }
    });
    let won = winner(&said.await?, |swapped| *swapped);
    assert_eq!(store.circuit(&provider).await?, probing(won));
    Ok(())
}

pub(super) async fn an_account_is_linked_to_one_person(store: Store) -> Checked {
    let name = |n: u32| format!("person-{n}");
    let contested = account("contested");
    let said = race(&store, move |store, n| {
        let row = due(&key(&name(n)), n);
        let link = first_link(&mm_model::Connection { account: account("contested"), ..row });
        async move { store.link(&link).await }
    });
    let won = winner(&said.await?, |outcome| *outcome == LinkOutcome::Done);
    assert_eq!(store.owner(&provider("soundcloud"), &contested).await?, Some(user(&name(won))));
    for n in (0..RACERS).filter(|n| *n != won) {
        assert_eq!(rows(&store, &user(&name(n))).await?, crate::ports::PersonRows::default(), "nothing of {n}");
    }
    Ok(())
}

pub(super) async fn a_row_is_replaced_once(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    plant(&store, &row).await?;
    let said = race(&store, |store, n| {
        let link = Link { expected: Expected::Version(version(1)), ..first_link(&due(&key("ann"), 100 + n)) };
        async move { store.link(&link).await }
    });
    let won = winner(&said.await?, |outcome| *outcome == LinkOutcome::Done);
    assert_eq!(strong(&store, &row.key).await?, Some(due(&key("ann"), 100 + won)));
    Ok(())
}

pub(super) async fn first_logins_make_one_person(store: Store) -> Checked {
    let provider_of = |n: u32| format!("provider-{n}");
    let began = |n: u32| NOW.plus(seconds(u64::from(n)));
    let said = race(&store, move |store, n| {
        let link = first_link(&due(&super::samples::at("ann", &provider_of(n)), n));
        let link = Link { user: User::new(user("ann"), began(n)), ..link };
        async move { store.link(&link).await }
    });
    let done = winners(&said.await?, |outcome| *outcome == LinkOutcome::Done);
    // Who meets another's first write may be told to decide again; nobody is told a lie.
    assert!(!done.is_empty());
    let person = rows(&store, &user("ann")).await?;
    let linked: BTreeSet<_> = person.connections.iter().map(|row| row.version).collect();
    assert_eq!(linked, done.iter().map(|n| version(*n)).collect(), "exactly the connections that were said to be done");
    let created = person.user.map(|user| user.created_at);
    assert!(done.iter().any(|n| created == Some(began(*n))), "by one of those who are done");
    Ok(())
}

pub(super) async fn forced_refreshes_are_counted(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    let said = race(&store, |store, n| async move { store.force(&user("ann"), version(n), NOW).await }).await?;
    let counted = winners(&said, |admission| *admission == Some(ForcedAdmission::Counted)).len();
    assert_eq!(u32::try_from(counted), Ok(FORCED_REFRESHES_PER_MINUTE), "exactly the limit: {said:?}");
    Ok(())
}
