//! Any number of tabs may log in at once.

use std::collections::BTreeSet;

use futures_util::future::{join_all, join3};

use super::{SESSION, accounts, allowed, open, people, user};
use crate::world::{Browser, World};

const PROVIDERS: [&str; 3] = ["soundcloud", "spotify", "youtube"];

/// What three people see of each other's connections when they are one.
async fn is_one_person(world: &World, tabs: &[Browser]) {
    let users: BTreeSet<String> = tabs.iter().map(user).collect();
    assert_eq!(users.len(), 1, "every tab's session is of the same person");
    assert_eq!(people(&world.rows()), users, "and nobody else was made");
    let all: BTreeSet<String> = PROVIDERS
        .into_iter()
        .map(|provider| format!("{provider} {}", world.sandbox.account_id(provider, "alice").unwrap()))
        .collect();
    for tab in tabs {
        assert_eq!(accounts(tab).await, all);
        for provider in PROVIDERS {
            assert_eq!(tab.token(provider).await["state"], "fresh", "{provider}");
        }
    }
    let owners: BTreeSet<String> =
        world.rows().column("identities", "user_id").into_iter().map(str::to_owned).collect();
    assert_eq!(owners, users);
}

/// Three logins of one browser, allowed at the providers, none of them called back. Each tab has the cookies of now: what
/// a request carries that left before any other answer came.
async fn three_tabs(world: &World) -> Vec<(Browser, String)> {
    let browser = world.browser();
    let mut callbacks = Vec::new();
    for provider in PROVIDERS {
        callbacks.push(allowed(&browser, provider, "alice", "").await);
    }
    assert_eq!(browser.cookie(SESSION), None, "nobody is logged in while the tabs are at the providers");
    callbacks.into_iter().map(|callback| (browser.copied(), callback)).collect()
}

#[tokio::test]
async fn three_tabs_log_in_at_three_providers_at_once_as_one_user() {
    let world = World::new().await;
    let tabs = three_tabs(&world).await;
    let [a, b, c] = [0, 1, 2].map(|tab: usize| open(&tabs[tab].0, &tabs[tab].1));
    let (a, b, c) = join3(a, b, c).await;
    for answer in [a, b, c] {
        assert_eq!(answer.login_result(), "connected", "{}", answer.location());
    }
    let tabs: Vec<Browser> = tabs.into_iter().map(|(tab, _)| tab).collect();
    is_one_person(&world, &tabs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn three_tabs_on_as_many_threads_log_in_as_one_user() {
    for seed in 1..=5 {
        let world = World::with(crate::world::Setup { seed, ..Default::default() }).await;
        let tabs = three_tabs(&world).await;
        let callbacks = tabs
            .iter()
            .cloned()
            .map(|(tab, callback)| tokio::spawn(async move { open(&tab, &callback).await.login_result() }));
        for result in join_all(callbacks).await {
            assert_eq!(result.unwrap(), "connected", "seed {seed}");
        }
        let tabs: Vec<Browser> = tabs.into_iter().map(|(tab, _)| tab).collect();
        is_one_person(&world, &tabs).await;
    }
}

#[tokio::test]
async fn three_tabs_that_return_one_after_the_other_without_a_session_are_one_user() {
    let world = World::new().await;
    let tabs = three_tabs(&world).await;
    for (tab, callback) in &tabs {
        assert_eq!(open(tab, callback).await.login_result(), "connected");
    }
    let tabs: Vec<Browser> = tabs.into_iter().map(|(tab, _)| tab).collect();
    is_one_person(&world, &tabs).await;
}

#[tokio::test]
async fn three_tabs_of_a_browser_that_keeps_each_session_are_one_user() {
    let world = World::new().await;
    let browser = world.browser();
    let mut callbacks = Vec::new();
    for provider in PROVIDERS {
        callbacks.push(allowed(&browser, provider, "alice", "").await);
    }
    for callback in callbacks {
        assert_eq!(open(&browser, &callback).await.login_result(), "connected");
    }
    is_one_person(&world, &[browser]).await;
}

#[tokio::test]
async fn two_tabs_at_one_provider_with_one_account_are_one_connection() {
    let world = World::new().await;
    let browser = world.browser();
    let callbacks =
        [allowed(&browser, "soundcloud", "alice", "").await, allowed(&browser, "soundcloud", "alice", "").await];
    let tabs = [browser.copied(), browser.copied()];
    let (first, second) =
        futures_util::future::join(open(&tabs[0], &callbacks[0]), open(&tabs[1], &callbacks[1])).await;
    assert_eq!((first.login_result().as_str(), second.login_result().as_str()), ("connected", "connected"));
    assert_eq!(user(&tabs[0]), user(&tabs[1]));
    assert_eq!(world.rows().table("connections").len(), 1);
    assert_eq!(tabs[0].token("soundcloud").await, tabs[1].token("soundcloud").await);
}

#[tokio::test]
async fn two_tabs_at_one_provider_with_two_accounts_are_a_mismatch_for_the_later() {
    let world = World::new().await;
    let browser = world.browser();
    let first = allowed(&browser, "soundcloud", "alice", "").await;
    let second = allowed(&browser, "soundcloud", "bob", "").await;
    let tabs = [browser.copied(), browser.copied()];
    assert_eq!(open(&tabs[0], &first).await.login_result(), "connected");
    let before = world.rows();
    assert_eq!(open(&tabs[1], &second).await.login_result(), "account_mismatch");
    assert_eq!(world.rows().written(), before.written());
    assert_eq!(tabs[1].cookie(SESSION), None);
}
