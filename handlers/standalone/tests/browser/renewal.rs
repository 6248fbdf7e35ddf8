//! What the product is for: log in once, and the token is renewed before it expires, again and again.

use serde_json::json;

use crate::stage::{Browser, Form, Plan, Product, until};

/// Tokens that are renewed every eight minutes, which are as many seconds at the usual speed.
const SHORT: u64 = 600;

/// Keeps what the page asks of others: the address and the kind of authorization, never the token.
const WATCH_FETCHES: &str = "
  window.watched = [];
  const real = window.fetch;
  window.fetch = (url, init) => {
    const kind = new Headers(init?.headers).get('Authorization')?.split(' ')[0] ?? null;
    window.watched.push({ url: String(new URL(url, location)), kind, credentials: init?.credentials });
    return real(url, init);
  };";

#[tokio::test]
async fn a_person_logs_in_by_the_providers_forms_and_lands_on_a_running_page() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    browser.goto(&product.url).await;
    let before = browser.not_connected("soundcloud").await;
    assert_eq!(before.connect.as_deref(), Some("Connect"));
    assert_eq!(before.disconnect, None);

    let forms = browser.connect(&product, "soundcloud", "alice").await;
    assert_eq!(forms, [Form::Login, Form::Consent]);
    assert_eq!(browser.outcome().await, "connected");
    let card = browser.connected("soundcloud").await;
    assert_eq!((card.state.as_str(), card.words.as_deref()), ("fresh", Some("Fresh")));
    assert!(card.account.as_ref().is_some_and(|account| account.starts_with("soundcloud:users:")), "{card:?}");
    assert_eq!(browser.url().await, format!("{}/", product.url), "nothing of the login stays in the address");

    let runs = |now: &str| Some(now) != card.countdown.as_deref();
    browser.card_until("soundcloud", "the countdown runs", |card| card.countdown.as_deref().is_some_and(runs)).await;
    assert_eq!(product.living_grants().await, ["soundcloud alice"]);
    product.assert_clean().await;
}

#[tokio::test]
async fn the_token_is_renewed_before_it_expires_again_and_again() {
    let product = Product::start(Plan { token_lifetime: Some(SHORT), ..Plan::default() }).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    let first = browser.connected("soundcloud").await.token_id;
    let mut lives_on = Vec::new();
    let look = async || {
        let card = browser.card("soundcloud").await.unwrap();
        lives_on.push(card.state.clone());
        card
    };
    let card = until("two refreshes", look, |card| card.refreshes >= 2 && card.refreshed_marks >= 2).await;
    lives_on.retain(|state| state != "fresh" && state != "stale");
    assert!(lives_on.is_empty(), "readers were served all along: {lives_on:?}");
    assert_ne!(card.token_id, first);
    let chart = card.chart.unwrap();
    assert!(chart.contains("refreshes seen"), "the chart tells it in words too: {chart}");
    let log = product.sandbox_log().await;
    let renewed = log.iter().filter(|entry| entry["grant_type"] == "refresh_token" && entry["outcome"] == "issued");
    assert!(renewed.count() >= 2, "the provider knows of them: {log:#?}");
    product.assert_clean().await;
}

#[tokio::test]
async fn the_page_calls_the_providers_api_by_itself() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    browser.run(WATCH_FETCHES, &[]).await;
    browser.press("soundcloud", "call-api").await;
    let card =
        browser.card_until("soundcloud", "an answer", |card| card.answer.is_some() || card.error.is_some()).await;
    let host = product.sandbox_url.strip_prefix("http://").unwrap();
    let answer = card.answer.unwrap_or_default();
    assert!(answer.starts_with(&format!("200 from {host} ")), "{answer:?} {:?}", card.error);
    assert!(answer.contains("alice"), "it is the account's own: {answer}");

    let watched = browser.run("return window.watched", &[]).await;
    let calls = watched.as_array().unwrap().iter();
    let calls: Vec<_> = calls.filter(|call| call["url"].as_str().unwrap().starts_with(&product.sandbox_url)).collect();
    assert_eq!(calls.len(), 1, "{watched}");
    assert_eq!((&calls[0]["kind"], &calls[0]["credentials"]), (&json!("OAuth"), &json!("omit")));
    product.assert_clean().await;
}

#[tokio::test]
async fn a_token_can_be_replaced_and_a_connection_cut_and_made_again() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "soundcloud", "alice").await;
    let first = browser.connected("soundcloud").await;

    browser.press("soundcloud", "force-refresh").await;
    let other = |id: &Option<String>| id.is_some() && *id != first.token_id;
    let second = browser.card_until("soundcloud", "another token", |card| other(&card.token_id)).await;
    assert_eq!(second.error, None);
    assert!(second.lives() && second.refreshes == 1, "{second:?}");

    let token = browser.call("GET", &format!("{}/auth/soundcloud/token", product.url)).await;
    assert_eq!(token["status"], 200, "{token}");
    browser.press("soundcloud", "disconnect").await;
    let gone = browser.not_connected("soundcloud").await;
    assert_eq!((gone.connect.as_deref(), gone.token_id, gone.answer), (Some("Connect"), None, None));
    let refused = browser.call("GET", &format!("{}/auth/soundcloud/token", product.url)).await;
    assert_eq!((&refused["status"], &refused["body"]["code"]), (&json!(404), &json!("not_connected")));
    // SoundCloud offers no revocation: what was handed out before lives until it runs out, and the page cannot help it.
    let api = &token["body"]["api"];
    let url = format!("{}/me", api["base_url"].as_str().unwrap().trim_end_matches('/'));
    let answer = browser.fetch(&url, json!({ "headers": api["headers"], "credentials": "omit" })).await;
    assert_eq!(answer["status"], 200, "{answer}");

    // The provider remembers who is logged in there, and asks for consent only.
    let forms = browser.connect(&product, "soundcloud", "alice").await;
    assert_eq!(forms, [Form::Consent]);
    assert_eq!(browser.outcome().await, "connected");
    let again = browser.connected("soundcloud").await;
    assert_eq!(again.account, first.account);
    assert!(again.token_id != first.token_id && again.token_id != second.token_id);
    assert_eq!(again.refreshes, 0, "its history is its own");
    product.assert_clean().await;
}

#[tokio::test]
async fn a_disconnect_takes_the_grant_back_where_the_provider_can() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open_connected(&product, "youtube", "alice").await;
    assert_eq!(product.living_grants().await, ["youtube alice"]);
    browser.press("youtube", "disconnect").await;
    browser.not_connected("youtube").await;
    until("the grant is revoked", async || product.living_grants().await, Vec::is_empty).await;
    product.assert_clean().await;
}
