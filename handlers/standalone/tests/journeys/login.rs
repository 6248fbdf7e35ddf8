//! The way to the provider and back: `state`, browser, issuer, code; and what a callback gets that is not what it should be.

mod callbacks;
mod states;

use http::StatusCode;
use url::Url;

use crate::world::{Answer, Browser, World};

/// A moment before a callback, to compare with after it.
pub(crate) struct Before {
    rows: crate::world::Rows,
    requests: u64,
    session: Option<String>,
}

impl Before {
    pub(crate) fn of(world: &World, browser: &Browser) -> Self {
        Self {
            rows: world.rows().written(),
            requests: world.sandbox.log().last_seq(),
            session: browser.cookie(crate::people::SESSION),
        }
    }

    /// Nothing was written, nobody was asked, nobody was signed in or out.
    pub(crate) fn stands(&self, world: &World, browser: &Browser, why: &str) {
        assert_eq!(world.rows().written(), self.rows, "{why}: something was written");
        let log = world.sandbox.log();
        let asked: Vec<_> = log.after(self.requests).collect();
        assert!(asked.is_empty(), "{why}: the provider was asked: {asked:?}");
        assert_eq!(browser.cookie(crate::people::SESSION), self.session, "{why}: the session changed");
    }
}

/// A browser sent back to the frontend with this code, and nothing else in the address.
pub(crate) fn sent_back(answer: &Answer, provider: &str, code: &str, why: &str) {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{why}: {}", answer.text);
    let expected = format!("http://127.0.0.1:8080/?mm_result=error&mm_provider={provider}&mm_code={code}");
    assert_eq!(answer.location().as_str(), expected, "{why}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{why}");
    assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{why}");
}

/// A callback that must fail so, and change nothing.
pub(crate) async fn fails(world: &World, browser: &Browser, callback: &str, code: &str, why: &str) {
    let before = Before::of(world, browser);
    let answer = browser.navigate(callback, "cross-site").await;
    let provider = callback.split('/').nth(2).unwrap();
    sent_back(&answer, provider, code, why);
    before.stands(world, browser, why);
}

/// The same callback with its query changed.
pub(crate) fn with_query(callback: &str, change: impl FnOnce(&mut Vec<(String, String)>)) -> String {
    let mut url = Url::parse("http://x").unwrap().join(callback).unwrap();
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    change(&mut pairs);
    url.query_pairs_mut().clear().extend_pairs(pairs);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// A parameter of a callback.
pub(crate) fn parameter(callback: &str, name: &str) -> String {
    let url = Url::parse("http://x").unwrap().join(callback).unwrap();
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

/// The logins under way.
pub(crate) fn pending(world: &World) -> usize {
    world.rows().table("pending_logins").len()
}
