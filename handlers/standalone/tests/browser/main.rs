//! A real Chromium through the real binary: what only a browser can show, cookies and their sites, forms and redirects,
//! preflights, and the page itself.
//!
//! Needs `chromium` and `chromedriver` on the PATH; `./scripts/test browser` installs them where they are missing. Every
//! test has a product, a sandbox and a browser of its own, and nothing of them is left behind.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of it is a test's; what it prints is shown when it fails"
)]

mod accounts;
mod addresses;
mod cookies;
mod frontends;
mod look;
mod misbehaviour;
#[path = "../process/ports.rs"]
mod ports;
mod renewal;
mod stage;
