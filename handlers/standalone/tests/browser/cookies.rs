//! The login's cookies have to be Lax: the way back from the provider comes from another site. The product with Strict
//! ones must fail, or the other journeys would not show that it matters.

use serde_json::json;

use crate::stage::{Browser, Cookies, Form, Plan, Product, Proxy};

/// Logs in through a proxy, and answers the outcome's code.
async fn log_in_through_a_proxy(cookies: Cookies) -> (Product, Proxy, Browser, String) {
    let mut proxy = Proxy::new().await;
    let product = Product::start(Plan { public_url: Some(proxy.url.clone()), ..Plan::default() }).await;
    proxy.run(product.port, cookies);
    let browser = Browser::open().await;
    browser.goto(&product.url).await;
    let forms = browser.connect(&product, "soundcloud", "alice").await;
    assert_eq!(forms, [Form::Login, Form::Consent]);
    let outcome = browser.outcome().await;
    (product, proxy, browser, outcome)
}

#[tokio::test]
async fn a_login_works_behind_a_proxy() {
    let (product, _proxy, browser, outcome) = log_in_through_a_proxy(Cookies::AsTheyAre).await;
    assert_eq!(outcome, "connected");
    browser.connected("soundcloud").await;
    for name in ["__Host-mm_session", "__Host-mm_browser"] {
        let cookie = browser.cookie(name).await;
        let flags = ["httpOnly", "secure", "sameSite", "path", "domain"].map(|flag| cookie[flag].clone());
        assert_eq!(flags, [json!(true), json!(true), json!("Lax"), json!("/"), json!("127.0.0.1")], "{name}");
    }
    product.assert_clean().await;
}

#[tokio::test]
async fn mutant_strict_cookies_end_every_login() {
    let (product, _proxy, browser, outcome) = log_in_through_a_proxy(Cookies::Strict).await;
    assert_eq!(browser.cookie("__Host-mm_browser").await["sameSite"], "Strict", "the mutant is one");
    assert_eq!(outcome, "login_other_browser");
    browser.not_connected("soundcloud").await;
    let redeemed = product.sandbox_log().await;
    assert!(redeemed.is_empty(), "no code was redeemed: {redeemed:#?}");
}
