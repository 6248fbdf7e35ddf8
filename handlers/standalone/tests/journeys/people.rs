//! Who is who: which person a login makes, joins or becomes, and who never becomes whom.

mod accounts;
mod household;
mod shared_computer;
mod tabs;

use std::collections::BTreeSet;

use crate::{
    sessions::claims,
    world::{Answer, Browser, Rows},
};

/// The session's cookie.
pub(crate) const SESSION: &str = "__Host-mm_session";

/// The browser binding's cookie.
pub(crate) const BINDING: &str = "__Host-mm_browser";

/// Whose session a browser has.
pub(crate) fn user(browser: &Browser) -> String {
    claims(browser)["sub"].as_str().unwrap().to_owned()
}

/// The accounts that a browser's person has connected, as `provider account`.
pub(crate) async fn accounts(browser: &Browser) -> BTreeSet<String> {
    let answer = browser.get("/auth/connections").await;
    assert_eq!(answer.status, http::StatusCode::OK, "{}", answer.text);
    let connections = answer.json()["connections"].as_array().unwrap().clone();
    let shown = |connection: serde_json::Value| {
        format!("{} {}", connection["provider"].as_str().unwrap(), connection["account_id"].as_str().unwrap())
    };
    connections.into_iter().map(shown).collect()
}

/// A login as far as the person has allowed it at the provider: the callback's address, not yet opened.
pub(crate) async fn allowed(browser: &Browser, provider: &str, account: &str, query: &str) -> String {
    let url = browser.start_login(provider, query).await;
    browser.consent(&url, account)
}

/// Opens a callback's address as the provider's redirect does.
pub(crate) async fn open(browser: &Browser, callback: &str) -> Answer {
    browser.navigate(callback, "cross-site").await
}

/// The people in the table.
pub(crate) fn people(rows: &Rows) -> BTreeSet<String> {
    rows.column("users", "user_id").into_iter().map(str::to_owned).collect()
}
