//! Sessions: what a copy of a cookie is worth, and for how long.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{people::SESSION, world::Browser};

/// The claims of a browser's session, unverified.
pub(crate) fn claims(browser: &Browser) -> Value {
    let token = browser.cookie(SESSION).expect("a session");
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
