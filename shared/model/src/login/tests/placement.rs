//! The five cases of a callback, and everything between them.

use proptest::prelude::*;

use super::*;

const INTENTS: [Intent; 4] = [Intent::Plain, Intent::Replace, Intent::Switch, Intent::Move];

fn known(name: &str) -> Candidate {
    Candidate::Known { user: user(name) }
}

fn stranger(name: Option<&str>) -> Candidate {
    Candidate::Stranger { user: name.map(user) }
}

fn under(name: &str, standing: Standing) -> Placement {
    Placement::Under { user: user(name), from: None, standing }
}

/// Places account `new`; the fresh id is `fresh`.
fn placed(candidate: &Candidate, owner: Option<&str>, present: Option<&str>, intent: Intent) -> Placement {
    let (owner, present) = (owner.map(user), present.map(account));
    place(candidate, owner.as_ref(), present.as_ref(), &account("new"), intent, &user("fresh"))
}

const ACCOUNT_MISMATCH: Placement = Placement::Conflict(Conflict::AccountMismatch);
const ACCOUNT_IN_USE: Placement = Placement::Conflict(Conflict::AccountInUse);

#[test]
fn case_a_a_new_account_is_linked_to_whoever_is_there() {
    for intent in INTENTS {
        assert_eq!(placed(&known("ann"), None, None, intent), under("ann", Standing::SignedIn));
        assert_eq!(placed(&stranger(Some("maybe")), None, None, intent), under("maybe", Standing::SignsIn));
        assert_eq!(placed(&stranger(None), None, None, intent), under("fresh", Standing::SignsIn));
    }
}

#[test]
fn case_b_the_same_account_logs_in_again() {
    for intent in INTENTS {
        assert_eq!(placed(&known("ann"), Some("ann"), Some("new"), intent), under("ann", Standing::SignedIn));
        // After a disconnect the identity is gone, and the tombstone may still name the account.
        assert_eq!(placed(&known("ann"), None, Some("new"), intent), under("ann", Standing::SignedIn));
    }
}

#[test]
fn case_c_another_account_than_the_connected_one_is_a_mismatch_unless_it_was_to_be_replaced() {
    for candidate in [known("ann"), stranger(Some("maybe"))] {
        for intent in [Intent::Plain, Intent::Switch, Intent::Move] {
            assert_eq!(placed(&candidate, None, Some("old"), intent), ACCOUNT_MISMATCH);
        }
    }
    assert_eq!(placed(&known("ann"), None, Some("old"), Intent::Replace), under("ann", Standing::SignedIn));
}

#[test]
fn case_d_without_a_session_the_accounts_owner_signs_in() {
    for intent in INTENTS {
        for candidate in [stranger(None), stranger(Some("maybe")), stranger(Some("bob"))] {
            assert_eq!(placed(&candidate, Some("bob"), None, intent), under("bob", Standing::SignsIn));
            assert_eq!(placed(&candidate, Some("bob"), Some("old"), intent), under("bob", Standing::SignsIn));
        }
    }
}

#[test]
fn case_e_with_a_session_anothers_account_is_in_use() {
    for intent in [Intent::Plain, Intent::Replace] {
        for present in [None, Some("old")] {
            assert_eq!(placed(&known("ann"), Some("bob"), present, intent), ACCOUNT_IN_USE);
        }
    }
}

#[test]
fn case_e_the_session_switches_to_the_accounts_owner() {
    for present in [None, Some("old")] {
        assert_eq!(placed(&known("ann"), Some("bob"), present, Intent::Switch), under("bob", Standing::SignsIn));
    }
}

#[test]
fn case_e_the_account_moves_here_where_its_place_is_free() {
    let moved = Placement::Under { user: user("ann"), from: Some(user("bob")), standing: Standing::SignedIn };
    assert_eq!(placed(&known("ann"), Some("bob"), None, Intent::Move), moved);
    assert_eq!(
        placed(&known("ann"), Some("bob"), Some("new"), Intent::Move),
        moved,
        "a tombstone names the same account"
    );
    assert_eq!(placed(&known("ann"), Some("bob"), Some("old"), Intent::Move), ACCOUNT_MISMATCH);
}

proptest! {
    #[test]
    fn nobody_gets_what_they_did_not_consent_to(
        signed_in: bool, provisional: bool, owner in prop::sample::select(vec![None, Some("ann"), Some("bob")]),
        present in prop::sample::select(vec![None, Some("old"), Some("new")]), intent in prop::sample::select(INTENTS.to_vec()),
    ) {
        let candidate = if signed_in { known("ann") } else { stranger(provisional.then_some("ann")) };
        match placed(&candidate, owner, present, intent) {
            Placement::Conflict(_) => {}
            Placement::Under { user: chosen, from, standing } => {
                prop_assert!(from.is_none() || intent == Intent::Move, "an account leaves its owner only by a move");
                prop_assert_eq!(from.as_ref().map(UserId::as_str), owner.filter(|_| from.is_some()));
                let owned = owner.is_none_or(|owner| owner == chosen.as_str() || from.is_some());
                prop_assert!(owned, "an account in use is never linked twice");
                let keeps = signed_in && chosen == user("ann");
                prop_assert_eq!(standing == Standing::SignedIn, keeps, "a session is kept by its own person alone");
                let covered = present == Some("old") && chosen == user("ann") && owner != Some("ann");
                prop_assert!(!covered || intent == Intent::Replace, "another account is covered only when asked");
            }
        }
    }
}
