//! The thin HTTP layer: routes, and the guard in front of all of them.

mod browser;
mod control;
mod endpoint;
mod outgoing;
mod page;

use std::collections::BTreeSet;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};

use crate::{fault::Endpoint, sandbox::Sandbox};

pub(crate) use control::Peer;
pub(crate) use outgoing::Cut;

/// The sandbox's own cookie.
const SESSION_COOKIE: &str = "sandbox_session";

/// Largest request body, in bytes (16 KiB): four times the longest tokens that anyone sends.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Longest query, in bytes (8 KiB): past every authorization request, short of abuse.
const MAX_QUERY_BYTES: usize = 8 * 1024;

impl Sandbox {
    /// Every endpoint, page and control as a router, to be mounted in process or called without a socket.
    ///
    /// Faults that close a connection need [`Sandbox::serve`]; here they become an answer whose body fails.
    pub fn router(&self) -> Router {
        let mut router = Router::new();
        for profile in self.profiles() {
            let id = profile.id;
            let call = move |endpoint| {
                move |State(sandbox): State<Self>, request: Request| endpoint::call(sandbox, id, endpoint, request)
            };
            let authorize = move |State(sandbox): State<Self>, request: Request| async move {
                browser::authorize(&sandbox, id, &request)
            };
            router = router
                .route(&profile.authorize.to_string(), get(authorize))
                .route(&profile.token.to_string(), post(call(Endpoint::Token)))
                .route(&profile.userinfo.to_string(), get(call(Endpoint::Userinfo)).options(endpoint::preflight))
                .route(&profile.search.to_string(), get(call(Endpoint::Api)).options(endpoint::preflight));
            if let Some(revoke) = profile.revoke {
                router = router.route(&revoke.to_string(), post(call(Endpoint::Revoke)));
            }
        }
        // Whatever else an API's host is asked for: an answer that a page can read, not one that looks like a refusal of CORS.
        let api_hosts: BTreeSet<_> =
            self.profiles().iter().flat_map(|profile| [profile.userinfo.host, profile.search.host]).collect();
        for host in api_hosts {
            let unknown = any(endpoint::unknown).options(endpoint::preflight);
            router = router.route(&format!("/{host}/{{*path}}"), unknown);
        }
        router
            .merge(browser::routes())
            .merge(control::routes(self))
            .fallback(browser::not_found)
            .layer(middleware::from_fn_with_state(self.clone(), guard))
            .with_state(self.clone())
    }
}

/// Refuses what no endpoint should ever see.
///
/// A cookie of the product means that the product shares a host name with its provider and is handing its session over
/// to it, since cookies ignore ports: that has to fail at once, not in production.
async fn guard(State(sandbox): State<Sandbox>, request: Request, next: Next) -> Response {
    if let Some(name) = foreign_cookie(request.headers()) {
        let (provider, endpoint) = place_of(&sandbox, request.uri().path());
        sandbox.note_foreign_cookie(provider, endpoint);
        tracing::error!(
            cookie.name = ?name,
            provider,
            "a cookie of the product reached the sandbox: serve the product under another host name than the provider"
        );
        return page::foreign_cookie(&name);
    }
    if request.uri().query().is_some_and(|query| query.len() > MAX_QUERY_BYTES) {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    next.run(request).await
}

/// How the names of the product's cookies begin. They are what must never come here; other cookies of this host name are
/// some other project's on this machine, since cookies ignore ports, and nobody's business.
const PRODUCT_COOKIE_PREFIX: &str = "__Host-mm_";

/// The name of the first cookie that is the product's; never its value.
fn foreign_cookie(headers: &HeaderMap) -> Option<String> {
    cookies(headers).find_map(|(name, _)| name.starts_with(PRODUCT_COOKIE_PREFIX).then(|| shown_name(name)))
}

/// A cookie's name, short enough to be shown.
fn shown_name(name: &str) -> String {
    /// Characters of a name that are shown.
    const SHOWN_CHARS: usize = 64;
    name.chars().take(SHOWN_CHARS).collect()
}

/// The cookies of a request; a nameless one has an empty name.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        // What is not text has a name that is not ours.
        .map(|value| value.to_str().unwrap_or("unreadable="))
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or(("", pair)))
}

/// The session cookie's value.
fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    cookies(headers).find(|(name, _)| *name == SESSION_COOKIE).map(|(_, value)| value)
}

/// Whose endpoint a path is, for the log.
fn place_of(sandbox: &Sandbox, path: &str) -> (&'static str, &'static str) {
    for profile in sandbox.profiles() {
        if let Some(place) = profile.places().find(|place| place.to_string() == path) {
            let endpoint = match place {
                place if place == profile.token => "token",
                place if Some(place) == profile.revoke => "revoke",
                _ => "other",
            };
            return (profile.id, endpoint);
        }
    }
    ("", "other")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::COOKIE, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_foreign_cookie_is_found_among_our_own_and_only_its_name_is_shown() {
        assert_eq!(foreign_cookie(&headers(&[])), None);
        assert_eq!(foreign_cookie(&headers(&["sandbox_session=a"])), None);
        let named = headers(&["sandbox_session=a; __Host-mm_session=canary"]);
        assert_eq!(foreign_cookie(&named), Some("__Host-mm_session".into()));
        let apart = headers(&["sandbox_session=a", "__Host-mm_browser=canary"]);
        assert_eq!(foreign_cookie(&apart), Some("__Host-mm_browser".into()));
    }

    #[test]
    fn another_projects_cookie_on_this_machine_is_nobodys_business() {
        for other in ["theme=dark", "canary", "=canary", "sandbox_session2=a", "__Host-session=a"] {
            assert_eq!(foreign_cookie(&headers(&[other])), None, "{other}");
        }
    }

    #[test]
    fn the_session_is_read_from_wherever_it_stands() {
        assert_eq!(session_cookie(&headers(&["sandbox_session=abc"])), Some("abc"));
        assert_eq!(session_cookie(&headers(&["sandbox_session=a=b"])), Some("a=b"));
        assert_eq!(session_cookie(&headers(&["other=1"])), None);
    }
}
