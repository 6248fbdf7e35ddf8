//! The ledger's limits, and that what is forgotten is forgotten whole.

use super::{
    EndReason, Ledger, MAX_ACCESS_TOKENS_PER_GRANT, MAX_CURRENT_PER_GRANT, MAX_EXCHANGED, MAX_GRANTS, NewGrant,
    RefreshRefusal,
};
use crate::{behaviour::Mode, hash::TokenHash};

const NOW: u64 = 1_000;

fn dice() -> impl FnMut(&mut [u8]) + Send {
    let mut rolled = 0_u64;
    move |bytes| {
        rolled += 1;
        bytes.fill(0);
        bytes[..8].copy_from_slice(&rolled.to_be_bytes());
    }
}

fn open(ledger: &mut Ledger) -> u64 {
    let new = NewGrant {
        provider: "p".into(),
        client_id: "c".into(),
        account: "a".into(),
        username: "u".into(),
        scope: String::new(),
        authorized_at: NOW,
        lifetime_s: None,
    };
    ledger.open(NOW, new, None)
}

fn verdict(ledger: &mut Ledger, token: &str, mode: Mode) -> Result<(), RefreshRefusal> {
    ledger.present(NOW, TokenHash::of(token), "p", "c", mode).verdict
}

#[test]
fn an_ended_grant_makes_room_before_a_living_one() {
    let (mut ledger, mut dice) = (Ledger::default(), dice());
    let first = open(&mut ledger);
    let token = ledger.issue_refresh(&mut dice, first, None);
    let second = open(&mut ledger);
    let second_token = ledger.issue_refresh(&mut dice, second, None);
    let second_access = ledger.issue_access(NOW, &mut dice, second, 60);
    for _ in 2..MAX_GRANTS {
        open(&mut ledger);
    }
    ledger.end(second, NOW, EndReason::User);
    open(&mut ledger);
    assert_eq!(ledger.grants.len(), MAX_GRANTS);
    assert_eq!(verdict(&mut ledger, &token, Mode::Strict), Ok(()));
    assert_eq!(verdict(&mut ledger, &second_token, Mode::Strict), Err(RefreshRefusal::Unknown));
    assert!(ledger.bearer(NOW, &second_access).is_none());
    // Nobody has ended now, so the oldest goes.
    open(&mut ledger);
    assert_eq!(verdict(&mut ledger, &token, Mode::Strict), Err(RefreshRefusal::Unknown));
    assert!(ledger.refresh.is_empty() && ledger.access.is_empty());
}

#[test]
fn tokens_that_pile_up_are_dropped_from_the_oldest() {
    let (mut ledger, mut dice) = (Ledger::default(), dice());
    let grant = open(&mut ledger);
    let first = ledger.issue_refresh(&mut dice, grant, None);
    let successors: Vec<String> = (0..=MAX_CURRENT_PER_GRANT)
        .map(|_| ledger.exchange(NOW, &mut dice, TokenHash::of(&first), Mode::Rotating).unwrap())
        .collect();
    assert_eq!(ledger.grants[&grant].current.len(), MAX_CURRENT_PER_GRANT);
    assert_eq!(verdict(&mut ledger, &successors[0], Mode::Rotating), Err(RefreshRefusal::Unknown));
    assert_eq!(verdict(&mut ledger, &successors[1], Mode::Rotating), Ok(()));

    let access: Vec<String> =
        (0..=MAX_ACCESS_TOKENS_PER_GRANT).map(|_| ledger.issue_access(NOW, &mut dice, grant, 60)).collect();
    assert_eq!(ledger.access.len(), MAX_ACCESS_TOKENS_PER_GRANT);
    assert!(ledger.bearer(NOW, &access[0]).is_none() && ledger.bearer(NOW, &access[1]).is_some());
    ledger.issue_access(NOW + 60, &mut dice, grant, 60);
    assert_eq!(ledger.access.len(), 1, "expired ones leave first");
}

#[test]
fn exchanged_tokens_are_remembered_up_to_a_limit() {
    let (mut ledger, mut dice) = (Ledger::default(), dice());
    let grant = open(&mut ledger);
    let first = ledger.issue_refresh(&mut dice, grant, None);
    let second = ledger.exchange(NOW, &mut dice, TokenHash::of(&first), Mode::Strict).unwrap();
    let mut token = second.clone();
    for _ in 0..MAX_EXCHANGED {
        token = ledger.exchange(NOW, &mut dice, TokenHash::of(&token), Mode::Strict).unwrap();
    }
    assert_eq!((ledger.exchanged.len(), ledger.refresh.len()), (MAX_EXCHANGED, MAX_EXCHANGED + 1));
    assert_eq!(verdict(&mut ledger, &first, Mode::Strict), Err(RefreshRefusal::Unknown));
    assert_eq!(verdict(&mut ledger, &second, Mode::Strict), Err(RefreshRefusal::SpentAndKilled));
}
