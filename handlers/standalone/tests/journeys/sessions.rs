//! Sessions: what a copy of a cookie is worth, and for how long.

mod endings;
mod forgeries;
mod lifetimes;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{people::SESSION, world::Browser};

/// The claims of a browser's session, unverified.
pub(crate) fn claims(browser: &Browser) -> Value {
    part(&browser.cookie(SESSION).expect("a session"), 1)
}

/// A part of a token, decoded: 0 is the header, 1 the claims.
pub(crate) fn part(token: &str, number: usize) -> Value {
    let text = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}
