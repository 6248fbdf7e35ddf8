//! Who is who: several logins, several people, one browser.

use serde_json::json;

use crate::stage::{Browser, Form, Plan, Product};

#[tokio::test]
async fn a_denied_consent_connects_nothing() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    browser.goto(&product.url).await;
    browser.press("soundcloud", "connect").await;
    let forms = browser.decide(&product.url, "alice", "deny").await;
    assert_eq!(forms, [Form::Login, Form::Consent]);
    assert_eq!(browser.outcome().await, "access_denied");
    let card = browser.not_connected("soundcloud").await;
    assert_eq!(card.connect.as_deref(), Some("Connect"));
    assert_eq!(browser.url().await, format!("{}/", product.url));
    assert_eq!(product.living_grants().await, Vec::<String>::new());
    let session = browser.call("GET", &format!("{}/auth/connections", product.url)).await;
    assert_eq!(session["status"], 401, "nobody is signed in by it: {session}");

    // The banner's own way on.
    browser.click("#banner [data-role=offer]").await;
    assert_eq!(browser.decide(&product.url, "alice", "allow").await, [Form::Consent]);
    assert_eq!(browser.outcome().await, "connected");
    browser.connected("soundcloud").await;
    product.assert_clean().await;
}

#[tokio::test]
async fn three_tabs_log_in_at_three_providers_at_once_as_one_user() {
    const PROVIDERS: [&str; 3] = ["soundcloud", "spotify", "youtube"];
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    let mut tabs = Vec::new();
    for provider in PROVIDERS {
        let tab = browser.tab().await;
        browser.goto(&product.url).await;
        browser.not_connected(provider).await;
        tabs.push((provider, tab));
    }
    // Every login has begun before the first one ends.
    for (provider, tab) in &tabs {
        browser.switch_to(tab).await;
        browser.press(provider, "connect").await;
        browser.text("label[for=username]").await;
    }
    for (provider, tab) in tabs.iter().rev() {
        browser.switch_to(tab).await;
        assert_eq!(browser.decide(&product.url, "alice", "allow").await, [Form::Login, Form::Consent], "{provider}");
        assert_eq!(browser.outcome().await, "connected", "{provider}");
    }
    for (_, tab) in &tabs {
        browser.switch_to(tab).await;
        for provider in PROVIDERS {
            browser.connected(provider).await;
        }
    }
    let mut grants = product.living_grants().await;
    grants.sort();
    assert_eq!(grants, ["soundcloud alice", "spotify alice", "youtube alice"]);
    product.assert_clean().await;
}

#[tokio::test]
async fn logging_out_disconnects_nothing_and_the_same_account_finds_the_same_person() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    browser.connect(&product, "spotify", "alice").await;
    browser.connected("spotify").await;
    let before = browser.connected("soundcloud").await;

    browser.click("#session-logout").await;
    for provider in ["soundcloud", "spotify"] {
        browser.not_connected(provider).await;
    }
    let session = browser.call("GET", &format!("{}/auth/connections", product.url)).await;
    assert_eq!(session["status"], 401, "{session}");
    assert_eq!(browser.cookie_names().await, [""; 0], "nothing is left on a shared computer");
    assert_eq!(product.living_grants().await.len(), 2, "both go on");

    // One login brings the whole person back.
    browser.connect(&product, "soundcloud", "alice").await;
    assert_eq!(browser.outcome().await, "connected");
    let after = browser.connected("soundcloud").await;
    assert_eq!(after.account, before.account);
    browser.connected("spotify").await;
    product.assert_clean().await;
}

#[tokio::test]
async fn on_a_shared_computer_nobody_inherits_anything() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "spotify", "alice").await;
    browser.click("#session-logout").await;
    browser.not_connected("spotify").await;

    // Bob sits down at Alice's browser. The provider still knows Alice; he says that he is not her.
    browser.press("soundcloud", "connect").await;
    assert_eq!(browser.decide(&product.url, "bob", "allow").await, [Form::Login, Form::Consent]);
    assert_eq!(browser.outcome().await, "connected");
    browser.connected("soundcloud").await;
    browser.not_connected("spotify").await;
    let token = browser.call("GET", &format!("{}/auth/spotify/token", product.url)).await;
    assert_eq!((&token["status"], &token["body"]["code"]), (&json!(404), &json!("not_connected")));
    product.assert_clean().await;
}

#[tokio::test]
async fn an_account_of_somebody_else_is_offered_two_ways() {
    let product = Product::start(Plan::default()).await;
    let alice = Browser::open_connected(&product, "soundcloud", "alice").await;
    let bob = Browser::open_connected(&product, "spotify", "bob").await;
    bob.connect(&product, "soundcloud", "alice").await;
    assert_eq!(bob.outcome().await, "account_in_use");
    bob.not_connected("soundcloud").await;
    alice.connected("soundcloud").await;

    // "Move it here": hers is gone, his is there.
    bob.click("#banner [data-role=offer][href*='on_conflict=move']").await;
    bob.decide(&product.url, "alice", "allow").await;
    assert_eq!(bob.outcome().await, "connected");
    bob.connected("soundcloud").await;
    bob.connected("spotify").await;
    alice.not_connected("soundcloud").await;
    product.assert_clean().await;
}

#[tokio::test]
async fn another_account_replaces_the_first_only_when_asked_to() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    let alice = browser.connected("soundcloud").await;
    // The provider's page offers to change the account; the connected page offers no second login.
    browser.goto(&format!("{}/auth/soundcloud/login?return_to=/", product.url)).await;
    browser.click("a[href*='/_sandbox/login']").await;
    browser.decide(&product.url, "bob", "allow").await;
    assert_eq!(browser.outcome().await, "account_mismatch");
    assert_eq!(browser.connected("soundcloud").await.account, alice.account, "left as it was");

    browser.click("#banner [data-role=offer][href*='replace=1']").await;
    browser.decide(&product.url, "bob", "allow").await;
    assert_eq!(browser.outcome().await, "connected");
    let bob = browser.connected("soundcloud").await;
    assert_ne!(bob.account, alice.account);
    product.assert_clean().await;
}

#[tokio::test]
async fn deleting_everything_leaves_nothing() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "youtube", "alice").await;
    browser.click("#session-delete").await;
    browser.click("#delete-cancel").await;
    browser.connected("youtube").await;
    browser.click("#session-delete").await;
    browser.click("#delete-confirm").await;
    browser.not_connected("youtube").await;
    crate::stage::until("the grant is revoked", async || product.living_grants().await, Vec::is_empty).await;
    product.assert_clean().await;
}
