//! What every journey stands on: a product, a browser before it, and ways to wait.

mod browser;
mod deployment;
mod page;
mod processes;
mod product;
mod proxy;
mod tls;
mod webdriver;

use std::{fmt::Debug, time::Duration};

pub(crate) use browser::Browser;
pub(crate) use deployment::Deployment;
pub(crate) use page::{Card, Form};
pub(crate) use product::{Plan, Product};
pub(crate) use proxy::{Cookies, Proxy};
pub(crate) use tls::Tls;

/// How long anything may take to show. A machine with two busy cores needs seconds for a page; nothing waits this long
/// unless the test fails.
const PATIENCE: Duration = Duration::from_secs(40);

/// The pause between two looks.
const PACE: Duration = Duration::from_millis(50);

/// Looks again and again until `found` says yes, and answers what it saw.
///
/// # Panics
/// When it does not within [`PATIENCE`]; the message holds what was seen last.
pub(crate) async fn until<T: Debug>(what: &str, mut look: impl AsyncFnMut() -> T, found: impl Fn(&T) -> bool) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let seen = look().await;
        if found(&seen) {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}\nlast seen: {seen:#?}");
        tokio::time::sleep(PACE).await;
    }
}
