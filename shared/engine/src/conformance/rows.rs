//! The rows that are nobody's: the tick, the circuits, the branch keys.

use mm_model::{Circuit, Minute};

use super::samples::{Checked, HOUR, NOW, Store, attempt, provider, seconds};
use crate::ports::{Family, WrappedKey};

pub(super) async fn the_tick_only_grows(store: Store) -> Checked {
    assert_eq!(store.tick().await?, None);
    let minutes = [(5, 5), (4, 5), (5, 5), (100_000_000, 100_000_000), (99_999_999, 100_000_000), (0, 100_000_000)];
    for (noted, expected) in minutes {
        store.advance_tick(Minute::new(noted)).await?;
        assert_eq!(store.tick().await?, Some(Minute::new(expected)), "after {noted}");
    }
    Ok(())
}

pub(super) async fn ticks_at_once_end_at_the_latest(store: Store) -> Checked {
    let ticks = (0..64).rev().map(|n| {
        let store = store.clone();
        async move { store.advance_tick(Minute::new(1000 + n)).await }
    });
    futures_util::future::try_join_all(ticks).await?;
    assert_eq!(store.tick().await?, Some(Minute::new(1063)));
    Ok(())
}

pub(super) async fn a_circuit_is_swapped_only_for_what_it_is(store: Store) -> Checked {
    let (soundcloud, spotify) = (provider("soundcloud"), provider("spotify"));
    let open = Circuit::Open { until: NOW, trips: 1 };
    let wider = Circuit::Open { until: NOW.plus(seconds(1)), trips: 1 };
    let probing = Circuit::Probing { probe: attempt(1), until: NOW.plus(HOUR), trips: 1 };
    let others = Circuit::Probing { probe: attempt(2), until: NOW.plus(HOUR), trips: 1 };
    assert_eq!(store.circuit(&soundcloud).await?, Circuit::Closed, "without a row");
    let table = [
        (open, wider, false),
        (Circuit::Closed, open, true),
        (Circuit::Closed, wider, false),
        (wider, probing, false),
        (open, probing, true),
        (others, open, false),
        (probing, Circuit::Open { until: NOW.plus(HOUR), trips: u32::MAX }, true),
        (open, Circuit::Closed, false),
        (Circuit::Open { until: NOW.plus(HOUR), trips: u32::MAX }, Circuit::Closed, true),
        (open, probing, false),
        (Circuit::Closed, others, true),
    ];
    let mut expected = Circuit::Closed;
    for (n, (old, new, swapped)) in table.into_iter().enumerate() {
        assert_eq!(store.swap_circuit(&soundcloud, old, new).await?, swapped, "row {n}");
        expected = if swapped { new } else { expected };
        assert_eq!(store.circuit(&soundcloud).await?, expected, "after row {n}");
        assert_eq!(store.circuit(&spotify).await?, Circuit::Closed, "another provider's");
    }
    Ok(())
}

pub(super) async fn branch_keys_are_listed_the_oldest_first(store: Store) -> Checked {
    let made = |n: u32| WrappedKey {
        number: n,
        wrapped: [&n.to_be_bytes()[..], &[0, 0xff, 0x80]].concat(),
        created_at: NOW.plus(seconds(u64::from(n))),
    };
    assert_eq!(store.branch_keys(Family::Refresh).await?, []);
    for n in [2, 10, 1, 9] {
        assert!(store.add_branch_key(Family::Refresh, &made(n)).await?, "{n}");
    }
    assert!(store.add_branch_key(Family::Access, &made(9)).await?, "a family of its own");
    let other = WrappedKey { wrapped: vec![1], ..made(9) };
    assert!(!store.add_branch_key(Family::Refresh, &other).await?, "the number is taken");
    assert_eq!(store.branch_keys(Family::Refresh).await?, [made(1), made(2), made(9), made(10)], "by number");
    assert_eq!(store.branch_keys(Family::Access).await?, [made(9)]);
    Ok(())
}
