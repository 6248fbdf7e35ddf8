//! Navigations: `GET /auth/{provider}/login` and `GET /auth/{provider}/callback`.
//!
//! Both change something by a GET, so neither may be triggered unseen: by an image, a frame, a script's request or a
//! prefetch. Browsers say what a request is for in the Fetch Metadata headers (W3C, `Sec-Fetch-*`), which no page can
//! forge. A request without any is one of an old browser (Safari before 16.4), of a program, or to a plain-http host that
//! is not loopback; it counts as a navigation when it asks for HTML and carries neither the client header nor an Origin.
//! That guess is harmless: a cross-site request that no navigation makes carries none of our Lax cookies and can set
//! none, so a login that it starts can never be completed.

use axum::response::{IntoResponse as _, Response};
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, ALLOW, HeaderName, ORIGIN, REFERER},
};
use url::Url;

use crate::{
    client_call::CLIENT_HEADER,
    origins::Origins,
    problem::{Problem, ProblemKind},
};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Set by browsers that load a page before anybody asked for it: the standard name and the one that older ones use.
const PREFETCH: [HeaderName; 2] = [HeaderName::from_static("sec-purpose"), HeaderName::from_static("purpose")];

/// Checks that a callback is a navigation. From which site it comes says nothing: it comes from the provider, or from
/// wherever the provider has sent the browser; the pending login and the browser binding decide.
///
/// # Errors
/// The problem to answer with: `not_a_navigation`.
pub fn check_callback(headers: &HeaderMap) -> Result<(), Problem> {
    if is_prefetch(headers) || !is_navigation(headers) {
        return Err(Problem::new(ProblemKind::NotANavigation));
    }
    Ok(())
}

/// Checks that a login is a navigation that a frontend, this server or the person (address bar, bookmark) began.
///
/// The attack: a foreign page sends a visitor through a login, and a provider that asks for no second consent connects
/// the visitor's account without a word. So a navigation across sites is refused, and one from a page of the same site
/// that shows itself not to be a frontend. A page that hides its address (`Referrer-Policy: no-referrer`) is believed
/// within the site only.
///
/// # Errors
/// The problem to answer with: `not_a_navigation` or `origin_not_allowed`.
pub fn check_login(headers: &HeaderMap, origins: &Origins) -> Result<(), Problem> {
    check_begun_by_us(headers, referrer_is_ours(headers, origins))
}

/// The same for a login that may take an account from somebody or put another in its place: nothing is believed that a
/// page hides about itself.
///
/// The attack: a page of the same site, or any page in a browser that does not tell where a navigation comes from, sends a
/// visitor through a login that replaces, moves or switches, at a provider that asks for no second consent.
///
/// # Errors
/// The problem to answer with: `not_a_navigation` or `origin_not_allowed`.
pub fn check_decisive_login(headers: &HeaderMap, origins: &Origins) -> Result<(), Problem> {
    let from_our_page = referrer_is_ours(headers, origins);
    let by_the_person = matches!(
        single(headers, &SEC_FETCH_SITE),
        Sent::Once(site) if matches!(site.as_bytes(), b"none" | b"same-origin")
    );
    check_begun_by_us(headers, from_our_page.or(Some(by_the_person)))
}

fn check_begun_by_us(headers: &HeaderMap, from_our_page: Option<bool>) -> Result<(), Problem> {
    check_callback(headers)?;
    let allowed = match single(headers, &SEC_FETCH_SITE) {
        Sent::Absent => from_our_page != Some(false),
        Sent::Once(site) => match site.as_bytes() {
            b"none" | b"same-origin" => true,
            b"same-site" => from_our_page != Some(false),
            _ => from_our_page == Some(true),
        },
        Sent::Doubled => false,
    };
    if allowed { Ok(()) } else { Err(Problem::new(ProblemKind::OriginNotAllowed)) }
}

/// The answer to HEAD where GET begins or ends a login: HEAD promises to change nothing (RFC 9110 §9.2.1), and axum would
/// hand it to the handler of GET. `allow` are the route's methods.
pub fn refuse_head(allow: &'static str) -> Response {
    let mut response = Problem::new(ProblemKind::MethodNotAllowed).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// A header of which there can be only one.
enum Sent<'h> {
    Absent,
    Once(&'h HeaderValue),
    Doubled,
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Sent<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Sent::Absent,
        (Some(value), None) => Sent::Once(value),
        (Some(_), Some(_)) => Sent::Doubled,
    }
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    let purposes = PREFETCH.into_iter();
    purposes
        .flat_map(|name| headers.get_all(name))
        .map(HeaderValue::as_bytes)
        .any(|purpose| purpose.starts_with(b"prefetch") || purpose.starts_with(b"prerender"))
}

fn is_navigation(headers: &HeaderMap) -> bool {
    match (single(headers, &SEC_FETCH_MODE), single(headers, &SEC_FETCH_DEST)) {
        (Sent::Absent, Sent::Absent) => {
            matches!(single(headers, &SEC_FETCH_SITE), Sent::Absent) && looks_like_navigation(headers)
        }
        // `document` is a whole window; iframe, frame, object and embed navigate too, under somebody else's page.
        (Sent::Once(mode), Sent::Once(dest)) => mode == "navigate" && dest == "document",
        (Sent::Once(mode), Sent::Absent) => mode == "navigate",
        _ => false,
    }
}

fn looks_like_navigation(headers: &HeaderMap) -> bool {
    let asks_for_html = headers.get_all(ACCEPT).iter().any(|accept| {
        let ranges = accept.as_bytes().split(|byte| *byte == b',');
        ranges.map(<[u8]>::trim_ascii).any(|range| range.starts_with(b"text/html"))
    });
    asks_for_html && !headers.contains_key(CLIENT_HEADER) && !headers.contains_key(ORIGIN)
}

/// Whether the page that the navigation came from is a frontend or this server, `None` when the browser does not say.
fn referrer_is_ours(headers: &HeaderMap, origins: &Origins) -> Option<bool> {
    match (single(headers, &ORIGIN), single(headers, &REFERER)) {
        (Sent::Absent, Sent::Absent) => None,
        (Sent::Once(origin), _) => Some(origins.allows(origin)),
        (Sent::Absent, Sent::Once(referrer)) => {
            let page = referrer.to_str().ok().and_then(|text| Url::parse(text).ok());
            Some(page.is_some_and(|page| origins.allows_url(&page)))
        }
        (Sent::Doubled, _) | (_, Sent::Doubled) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origins::tests::example;

    type Headers<'a> = &'a [(&'static str, &'a str)];

    const NAVIGATION: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];

    fn headers(sent: Headers) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn callback(sent: Headers) -> Result<(), ProblemKind> {
        check_callback(&headers(sent)).map_err(|problem| problem.kind())
    }

    fn login(sent: Headers) -> Result<(), ProblemKind> {
        check_login(&headers(sent), &example()).map_err(|problem| problem.kind())
    }

    fn navigation_from(site: &'static str, page: Option<&'static str>) -> Result<(), ProblemKind> {
        let mut sent = NAVIGATION.to_vec();
        sent.push(("sec-fetch-site", site));
        sent.extend(page.map(|page| ("referer", page)));
        login(&sent)
    }

    #[test]
    fn a_callback_comes_from_any_site_as_a_navigation() {
        for site in ["cross-site", "same-site", "same-origin", "none"] {
            let mut sent = NAVIGATION.to_vec();
            sent.push(("sec-fetch-site", site));
            assert_eq!(callback(&sent), Ok(()), "{site}");
        }
    }

    #[test]
    fn attack_login_or_callback_hidden_in_a_page() {
        for (mode, dest) in [
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("no-cors", "empty"),
            ("cors", "empty"),
            ("same-origin", "empty"),
            ("navigate", "iframe"),
            ("navigate", "frame"),
            ("navigate", "object"),
            ("navigate", "embed"),
            ("navigate", "fencedframe"),
            ("websocket", "websocket"),
        ] {
            let sent = [
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
                ("sec-fetch-site", "same-origin"),
                ("accept", "text/html"),
            ];
            assert_eq!(callback(&sent), Err(ProblemKind::NotANavigation), "{mode} {dest}");
            assert_eq!(login(&sent), Err(ProblemKind::NotANavigation), "{mode} {dest}");
        }
    }

    #[test]
    fn attack_doubled_or_partial_fetch_metadata() {
        for sent in [
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "no-cors")][..],
            &[("sec-fetch-dest", "document"), ("accept", "text/html")],
            &[("sec-fetch-site", "none"), ("accept", "text/html")],
            &[("sec-fetch-mode", ""), ("accept", "text/html")],
        ] {
            assert_eq!(callback(sent), Err(ProblemKind::NotANavigation), "{sent:?}");
        }
        let mut twice = NAVIGATION.to_vec();
        twice.extend([("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]);
        assert_eq!(login(&twice), Err(ProblemKind::OriginNotAllowed));
    }

    #[test]
    fn a_page_loaded_ahead_of_time_is_no_navigation() {
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("purpose", "prefetch"),
        ] {
            let mut sent = NAVIGATION.to_vec();
            sent.push((name, value));
            assert_eq!(callback(&sent), Err(ProblemKind::NotANavigation), "{value}");
        }
    }

    #[test]
    fn a_login_begins_at_a_frontend_or_in_the_address_bar() {
        assert_eq!(navigation_from("none", None), Ok(()));
        assert_eq!(navigation_from("same-origin", None), Ok(()));
        assert_eq!(navigation_from("same-site", None), Ok(()));
        assert_eq!(navigation_from("same-site", Some("https://app.example.com/")), Ok(()));
        assert_eq!(navigation_from("same-site", Some("https://beta.example.com/x?y")), Ok(()));
        // A frontend that a browser takes for another site: misconfigured, but not an attack.
        assert_eq!(navigation_from("cross-site", Some("https://app.example.com/")), Ok(()));
    }

    #[test]
    fn attack_login_started_by_a_foreign_page() {
        let refused = Err(ProblemKind::OriginNotAllowed);
        assert_eq!(navigation_from("cross-site", None), refused);
        assert_eq!(navigation_from("cross-site", Some("https://evil.test/")), refused);
        assert_eq!(navigation_from("same-site", Some("https://sibling.example.com/")), refused);
        assert_eq!(navigation_from("something-new", None), refused);
        for page in [
            "https://app.example.com.evil.test/",
            "https://app.example.com@evil.test/",
            "http://app.example.com/",
            "about:blank",
            "https://evil.test/https://app.example.com/",
            "not an address",
        ] {
            assert_eq!(navigation_from("same-site", Some(page)), refused, "{page}");
        }
    }

    #[test]
    fn without_fetch_metadata_a_browser_is_known_by_what_it_asks_for() {
        let html = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
        assert_eq!(callback(&[html]), Ok(()));
        assert_eq!(login(&[html]), Ok(()));
        assert_eq!(login(&[html, ("referer", "https://app.example.com/")]), Ok(()));
        assert_eq!(login(&[html, ("referer", "https://evil.test/")]), Err(ProblemKind::OriginNotAllowed));
        let not_navigations: [Headers; 6] = [
            &[],
            &[("accept", "*/*")],
            &[("accept", "application/json")],
            &[("accept", "image/avif,image/webp,*/*")],
            &[html, (CLIENT_HEADER, "1")],
            &[html, ("origin", "https://app.example.com")],
        ];
        for sent in not_navigations {
            assert_eq!(callback(sent), Err(ProblemKind::NotANavigation), "{sent:?}");
        }
    }
}
