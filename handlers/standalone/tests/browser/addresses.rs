//! The address bar: the other loopback name, reload, Back, and what is left in the history.

use crate::stage::{Browser, Plan, Product};

#[tokio::test]
async fn the_other_loopback_name_leads_to_the_right_one() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    browser.goto(&format!("http://localhost:{}/", product.port)).await;
    assert_eq!(browser.url().await, format!("{}/", product.url));
    browser.connect(&product, "soundcloud", "alice").await;
    assert_eq!(browser.outcome().await, "connected");
    product.assert_clean().await;
}

#[tokio::test]
async fn reload_and_back_after_a_login_are_harmless() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    let before = browser.connected("soundcloud").await;
    let redeemed = product.sandbox_log().await.len();

    browser.reload().await;
    let reloaded = browser.connected("soundcloud").await;
    assert_eq!(reloaded.token_id, before.token_id);
    let banners = browser.run("return document.querySelectorAll('#banner .banner').length", &[]).await;
    assert_eq!(banners, 0, "an outcome is told once");

    // Back, over the provider's pages to where it began, each of them sent again by the browser.
    let start = browser.run("return history.length", &[]).await.as_i64().unwrap();
    for _ in 1..start {
        browser.back().await;
    }
    browser.goto(&product.url).await;
    let after = browser.connected("soundcloud").await;
    assert_eq!((after.token_id, after.account), (before.token_id, before.account));
    assert_eq!(product.sandbox_log().await.len(), redeemed, "no code was sent again");
    product.assert_clean().await;
}

#[tokio::test]
async fn a_callback_that_is_loaded_again_writes_nothing() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    browser.goto(&product.url).await;
    browser.press("soundcloud", "connect").await;
    browser.write("#username", "alice").await;
    browser.click("button[type=submit]").await;
    let callback = consent_by_hand(&browser, &product).await;
    assert!(callback.starts_with(&format!("{}/auth/soundcloud/callback?", product.url)), "{callback}");
    browser.goto(&callback).await;
    assert_eq!(browser.outcome().await, "connected");
    let first = browser.connected("soundcloud").await;
    let redeemed = product.sandbox_log().await.len();

    browser.goto(&callback).await;
    assert_eq!(browser.outcome().await, "login_expired");
    let second = browser.connected("soundcloud").await;
    assert_eq!(second.token_id, first.token_id);
    assert_eq!(product.sandbox_log().await.len(), redeemed, "no code was sent again");

    // In another browser the same address is worth nothing either.
    let thief = Browser::open().await;
    thief.goto(&callback).await;
    assert_eq!(thief.outcome().await, "login_expired");
    thief.not_connected("soundcloud").await;
    product.assert_clean().await;
}

#[tokio::test]
async fn a_login_cannot_be_finished_in_another_browser() {
    let product = Product::start(Plan::default()).await;
    let attacker = Browser::open().await;
    attacker.goto(&product.url).await;
    attacker.press("soundcloud", "connect").await;
    attacker.write("#username", "mallory").await;
    attacker.click("button[type=submit]").await;
    let callback = consent_by_hand(&attacker, &product).await;

    let victim = Browser::open_connected(&product, "spotify", "alice").await;
    victim.goto(&callback).await;
    assert_eq!(victim.outcome().await, "login_other_browser");
    victim.not_connected("soundcloud").await;
    victim.connected("spotify").await;
    product.assert_clean().await;
}

#[tokio::test]
async fn no_secret_is_left_in_the_page_its_storage_or_its_history() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    browser.press("soundcloud", "call-api").await;
    browser.card_until("soundcloud", "an answer", |card| card.answer.is_some()).await;
    let token = browser.call("GET", &format!("{}/auth/soundcloud/token", product.url)).await;
    let token = token["body"]["access_token"].as_str().unwrap().to_owned();
    let places = browser
        .run(
            "return [document.documentElement.outerHTML, JSON.stringify(sessionStorage), JSON.stringify(localStorage),
                     document.cookie, location.href, performance.getEntries().map((entry) => entry.name).join(' ')]",
            &[],
        )
        .await;
    for place in places.as_array().unwrap() {
        let place = place.as_str().unwrap();
        assert!(!place.contains(&token), "the token is shown whole");
        assert!(!place.contains("__Host-"), "a cookie can be read by scripts");
    }
    product.assert_clean().await;
}

/// Allows access, and answers the address of the callback without going there.
async fn consent_by_hand(browser: &Browser, product: &Product) -> String {
    browser.text("button[value=allow]").await;
    let ticket = browser.run("return document.querySelector('input[name=ticket]').value", &[]).await;
    let cookie = browser.cookie("sandbox_session").await;
    product.consent(ticket.as_str().unwrap(), cookie["value"].as_str().unwrap()).await
}
