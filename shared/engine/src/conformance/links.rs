//! The transactions of login and disconnect: each condition by itself, and nothing written anywhere when one fails.

use mm_model::{
    AccountId, Connection, ConnectionKey, Refusal, Step, User,
    limits::LEASE_STRICT,
    step::{Claim, ForcedClaim, Seen},
};

use super::{
    changes,
    samples::{
        AWAKE, Checked, HOUR, NOW, Store, account, attempt, claimed, due, edited, first_link, flagged, gone, key,
        plant, provider, rows, strong, user, version,
    },
};
use crate::ports::{Expected, Link, LinkOutcome, Outcome, PersonRows, StoreError, TakenFrom, Unlink};

/// Everything that a transaction could have touched.
#[derive(Debug, PartialEq, Eq)]
struct World {
    people: Vec<PersonRows>,
    owners: Vec<Option<mm_model::UserId>>,
    changes: usize,
}

const PEOPLE: [&str; 3] = ["ann", "bob", "cleo"];
const ACCOUNTS: [&str; 4] = ["account of ann", "account of bob", "account of cleo", "another"];

async fn world(store: &Store) -> Result<World, StoreError> {
    let mut world = World { people: Vec::new(), owners: Vec::new(), changes: changes::all(store).await?.len() };
    for name in PEOPLE {
        world.people.push(rows(store, &user(name)).await?);
    }
    for name in ACCOUNTS {
        world.owners.push(owner(store, name).await?);
    }
    Ok(world)
}

async fn owner(store: &Store, name: &str) -> Result<Option<mm_model::UserId>, StoreError> {
    store.owner(&provider("soundcloud"), &account(name)).await
}

/// Asserts that the transaction is contended and nothing anywhere changed.
async fn contended(store: &Store, link: &Link, why: &str) -> Checked {
    let before = world(store).await?;
    assert_eq!(store.link(link).await?, LinkOutcome::Contended, "{why}");
    assert_eq!(world(store).await?, before, "{why}: nothing is written");
    Ok(())
}

fn with_account(row: Connection, account: AccountId) -> Connection {
    Connection { account, ..row }
}

fn over(expected: u32, row: &Connection) -> Link {
    Link { expected: Expected::Version(version(expected)), ..first_link(row) }
}

pub(super) async fn a_first_login_writes_connection_person_and_identity(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    assert_eq!(store.link(&first_link(&row)).await?, LinkOutcome::Done);
    let expected = PersonRows { user: Some(User::new(user("ann"), NOW.minus(HOUR))), connections: vec![row] };
    assert_eq!(rows(&store, &user("ann")).await?, expected);
    assert_eq!(owner(&store, "account of ann").await?, Some(user("ann")));
    assert_eq!(owner(&store, "account of bob").await?, None);
    assert_eq!(store.owner(&provider("spotify"), &account("account of ann")).await?, None, "another provider's");
    Ok(())
}

pub(super) async fn a_login_replaces_the_version_it_read(store: Store) -> Checked {
    for (n, old) in (1..).zip([due(&key("ann"), 1), flagged(&due(&key("bob"), 1), 1), gone(&due(&key("cleo"), 9), 1)]) {
        plant(&store, &old).await?;
        let new = due(&old.key, 100 + n);
        assert_eq!(store.link(&over(1, &new)).await?, LinkOutcome::Done);
        assert_eq!(strong(&store, &old.key).await?, Some(new));
        assert_eq!(owner(&store, old.account.as_str()).await?, Some(old.key.user));
    }
    Ok(())
}

pub(super) async fn a_login_that_read_something_else_is_contended(store: Store) -> Checked {
    let new = due(&key("ann"), 100);
    contended(&store, &over(1, &new), "a row was expected, there is none").await?;
    plant(&store, &due(&key("ann"), 1)).await?;
    contended(&store, &first_link(&new), "none was expected, there is a row").await?;
    contended(&store, &over(2, &new), "another version").await?;
    let tombstone = gone(&due(&key("ann"), 1), 3);
    let unlink = Unlink { tombstone, expected: version(1) };
    assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
    contended(&store, &first_link(&new), "a tombstone is a row").await?;
    contended(&store, &over(1, &new), "the version before the disconnect").await
}

/// I1: the claim that came after the login holds a lease; a login written twice must not take it away, or the token would be
/// sent twice.
pub(super) async fn a_repeated_login_changes_nothing_that_came_after_it(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    plant(&store, &row).await?;
    let claim = Step::Claim(Claim { attempt: attempt(1), now: NOW, lease: LEASE_STRICT, awake_window: AWAKE });
    let Outcome::Applied(leased) = store.apply(&row.key, &claim).await? else { unreachable!("the row is due") };
    let before = world(&store).await?;
    assert_eq!(store.link(&first_link(&row)).await?, LinkOutcome::Done, "my own write");
    assert_eq!(strong(&store, &row.key).await?, Some(leased), "the lease stands");
    assert_eq!(world(&store).await?, before);
    Ok(())
}

pub(super) async fn an_account_in_use_is_contended(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    let taken = with_account(due(&key("bob"), 2), account("account of ann"));
    contended(&store, &first_link(&taken), "a first login with another's account").await?;
    plant(&store, &due(&key("bob"), 2)).await?;
    let taken = Connection { version: version(3), ..taken };
    let link = Link { released: Some(account("account of bob")), ..over(2, &taken) };
    contended(&store, &link, "a replacement by another's account").await
}

pub(super) async fn a_login_with_ones_own_account_keeps_the_identity(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    assert_eq!(store.link(&over(1, &due(&key("ann"), 2))).await?, LinkOutcome::Done);
    assert_eq!(owner(&store, "account of ann").await?, Some(user("ann")));
    Ok(())
}

pub(super) async fn a_replacement_releases_the_account_before(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    let new = with_account(due(&key("ann"), 2), account("another"));
    let link = Link { released: Some(account("account of ann")), ..over(1, &new) };
    assert_eq!(store.link(&link).await?, LinkOutcome::Done);
    assert_eq!(owner(&store, "another").await?, Some(user("ann")));
    assert_eq!(owner(&store, "account of ann").await?, None, "else its owner would read the new person's tokens");
    let bobs = with_account(due(&key("bob"), 3), account("account of ann"));
    assert_eq!(store.link(&first_link(&bobs)).await?, LinkOutcome::Done, "it is free for whoever owns it");
    Ok(())
}

pub(super) async fn a_release_never_takes_anothers_identity(store: Store) -> Checked {
    plant(&store, &due(&key("bob"), 1)).await?;
    let link = Link { released: Some(account("account of bob")), ..first_link(&due(&key("ann"), 2)) };
    // Whether the mistaken release fails the transaction is the store's to say; bob keeps his account either way.
    let _either = store.link(&link).await?;
    assert_eq!(owner(&store, "account of bob").await?, Some(user("bob")));
    Ok(())
}

pub(super) async fn a_person_is_written_only_when_absent(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    store.end_all_sessions(&user("ann"), NOW).await?;
    let known = rows(&store, &user("ann")).await?.user;
    let spotify = ConnectionKey { provider: provider("spotify"), ..key("ann") };
    let link = Link { user: User::new(user("ann"), NOW.plus(HOUR)), ..first_link(&due(&spotify, 2)) };
    assert_eq!(store.link(&link).await?, LinkOutcome::Done);
    assert_eq!(rows(&store, &user("ann")).await?.user, known, "ended sessions stay ended");
    Ok(())
}

fn taking(from: &Connection, under: u32, row: &Connection) -> Link {
    let tombstone = from.clone().disconnect(version(under), NOW, false);
    Link { taken_from: Some(TakenFrom { tombstone, expected: from.version }), ..first_link(row) }
}

pub(super) async fn a_move_writes_both_sides(store: Store) -> Checked {
    let bobs = due(&key("bob"), 1);
    plant(&store, &bobs).await?;
    let anns = with_account(due(&key("ann"), 2), bobs.account.clone());
    let link = taking(&bobs, 3, &anns);
    assert_eq!(store.link(&link).await?, LinkOutcome::Done);
    assert_eq!(strong(&store, &anns.key).await?, Some(anns));
    assert_eq!(strong(&store, &bobs.key).await?, link.taken_from.clone().map(|taken| taken.tombstone));
    assert_eq!(owner(&store, "account of bob").await?, Some(user("ann")));
    assert_eq!(store.link(&link).await?, LinkOutcome::Done, "my own write");
    assert_eq!(owner(&store, "account of bob").await?, Some(user("ann")));
    Ok(())
}

pub(super) async fn a_move_is_contended_whole(store: Store) -> Checked {
    let (bobs, cleos) = (due(&key("bob"), 1), due(&key("cleo"), 2));
    plant(&store, &bobs).await?;
    plant(&store, &cleos).await?;
    let anns = with_account(due(&key("ann"), 3), bobs.account.clone());
    let outdated = Connection { version: version(9), ..bobs.clone() };
    contended(&store, &taking(&outdated, 4, &anns), "the other side has another version").await?;
    let nobodys = with_account(anns.clone(), account("another"));
    contended(&store, &taking(&bobs, 4, &nobodys), "the account is not the other side's").await?;
    contended(&store, &taking(&cleos, 4, &anns), "the account is a third person's").await?;
    let link = Link { expected: Expected::Version(version(8)), ..taking(&bobs, 4, &anns) };
    contended(&store, &link, "this side has no row").await?;
    let missing = due(&ConnectionKey { user: user("dan"), ..bobs.key.clone() }, 1);
    contended(&store, &taking(&missing, 4, &anns), "the other side has no row").await
}

pub(super) async fn a_disconnect_writes_the_tombstone_and_frees_the_account(store: Store) -> Checked {
    for (n, row) in (1..).zip([claimed(&due(&key("ann"), 1), 5), flagged(&due(&key("bob"), 2), 3)]) {
        plant(&store, &row).await?;
        let unlink = Unlink { tombstone: gone(&row, 100 + n), expected: row.version };
        assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
        assert_eq!(strong(&store, &row.key).await?.as_ref(), Some(&unlink.tombstone));
        assert_eq!(owner(&store, row.account.as_str()).await?, None);
        let before = world(&store).await?;
        assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done, "my own write");
        assert_eq!(world(&store).await?, before);
        assert!(rows(&store, &row.key.user).await?.user.is_some(), "the person stays");
    }
    Ok(())
}

pub(super) async fn a_disconnect_that_read_something_else_is_contended(store: Store) -> Checked {
    let row = due(&key("ann"), 1);
    let unlink = Unlink { tombstone: gone(&row, 2), expected: version(1) };
    let before = world(&store).await?;
    assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Contended, "there is no row");
    assert_eq!(world(&store).await?, before);
    plant(&store, &Connection { version: version(3), ..row }).await?;
    let before = world(&store).await?;
    assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Contended, "a newer row");
    assert_eq!(world(&store).await?, before);
    Ok(())
}

pub(super) async fn a_disconnect_takes_only_ones_own_identity(store: Store) -> Checked {
    // Ann's tombstone still names the account that has moved to bob since.
    let anns = due(&key("ann"), 1);
    plant(&store, &anns).await?;
    let bobs = with_account(due(&key("bob"), 2), anns.account.clone());
    let link = taking(&anns, 3, &bobs);
    assert_eq!(store.link(&link).await?, LinkOutcome::Done);
    let tombstone = gone(&anns, 4);
    assert_eq!(store.unlink(&Unlink { tombstone, expected: version(3) }).await?, LinkOutcome::Done);
    assert_eq!(owner(&store, "account of ann").await?, Some(user("bob")));
    Ok(())
}

/// I3: nothing in flight revives a tombstone.
pub(super) async fn nothing_revives_a_tombstone(store: Store) -> Checked {
    let row = claimed(&due(&key("ann"), 1), 5);
    plant(&store, &row).await?;
    let tombstone = gone(&row, 2);
    assert_eq!(store.unlink(&Unlink { tombstone: tombstone.clone(), expected: version(1) }).await?, LinkOutcome::Done);
    for seen in [version(1), version(2)] {
        let forced = ForcedClaim { attempt: attempt(6), now: NOW, lease: LEASE_STRICT, version: seen };
        for step in [Step::ForcedClaim(forced), Step::Seen(Seen { now: NOW, seat: None })] {
            let outcome = store.apply(&row.key, &step).await?;
            assert_eq!(outcome, Outcome::Refused(Refusal::NotActive, Some(tombstone.clone())));
        }
    }
    Ok(())
}

pub(super) async fn an_impossible_row_is_refused(store: Store) -> Checked {
    let row = edited(&due(&key("ann"), 1), |active| active.lifetime = 0);
    let before = world(&store).await?;
    let answer = store.link(&first_link(&row)).await;
    assert!(matches!(answer, Err(StoreError::Impossible { .. })), "{answer:?}");
    assert_eq!(world(&store).await?, before);
    Ok(())
}
