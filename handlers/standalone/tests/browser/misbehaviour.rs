//! The provider's bad days, made by the page's own switches.

use crate::stage::{Browser, Card, Plan, Product, until};

/// Opens the switches of a card and arms a fault for the next three calls.
async fn arm(browser: &Browser, provider: &str, fault: &str) {
    browser.click(&format!(r#"[data-provider="{provider}"] .faults summary"#)).await;
    browser.click(&format!(r#"[data-provider="{provider}"] [data-fault="{fault}"]"#)).await;
    let selector = format!(r#"[data-provider="{provider}"] [data-role="fault-result"]"#);
    let told = async || browser.text(&selector).await;
    until("the fault is armed", told, |text| text.starts_with("Armed:")).await;
}

#[tokio::test]
async fn an_html_403_three_times_logs_nobody_out() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    let before = browser.connected("soundcloud").await;
    arm(&browser, "soundcloud", "html_403").await;

    browser.press("soundcloud", "force-refresh").await;
    browser.card_until("soundcloud", "told that it failed", |card| card.error.is_some()).await;
    let failing = browser.card_until("soundcloud", "the failure is shown", failed).await;
    assert!(failing.lives(), "the living token stays: {failing:?}");
    assert_eq!(failing.token_id, before.token_id);
    assert!(failing.last_error.is_some_and(|error| error.starts_with("Provider unavailable")));

    // Readers go on being served, and the token goes on working.
    browser.press("soundcloud", "call-api").await;
    let card = browser.card_until("soundcloud", "an answer", |card| card.answer.is_some()).await;
    assert!(card.answer.unwrap().starts_with("200 from "));

    let look = async || {
        let card = browser.card("soundcloud").await.unwrap();
        assert!(card.lives(), "nobody is logged out: {card:?}");
        card
    };
    let after = until("it recovers by itself", look, |card| card.token_id != before.token_id).await;
    assert_eq!(after.account, before.account);
    browser.card_until("soundcloud", "the error is gone", |card| card.last_error.as_deref() == Some("None")).await;
    let log = product.sandbox_log().await;
    let faults = log.iter().filter(|entry| entry["fault"] == "html_403").count();
    assert_eq!(faults, 3, "{log:#?}");
    product.assert_clean().await;
}

#[tokio::test]
async fn an_authorization_that_is_taken_back_asks_for_a_login() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    browser.click(r#"[data-provider="soundcloud"] .faults summary"#).await;
    browser.press("soundcloud", "revoke-at-provider").await;
    until("the grant is gone", async || product.living_grants().await, Vec::is_empty).await;

    browser.press("soundcloud", "force-refresh").await;
    let state = |card: &Card| card.state == "reauthorization_required";
    let card = browser.card_until("soundcloud", "asks for a login", state).await;
    assert_eq!(card.connect.as_deref(), Some("Log in again"));
    assert_eq!(card.countdown, None);

    browser.connect(&product, "soundcloud", "alice").await;
    assert_eq!(browser.outcome().await, "connected");
    browser.connected("soundcloud").await;
    product.assert_clean().await;
}

fn failed(card: &Card) -> bool {
    card.fault_marks > 0 && card.last_error.as_deref() != Some("None")
}
