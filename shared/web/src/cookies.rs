//! The two cookies: written with one set of flags, read strictly.
//!
//! Both have the prefix `__Host-` (RFC 6265bis §4.1.3.2): a browser takes them only with Secure, Path=/ and without
//! Domain, so that no sibling subdomain and no plain-http page can plant them. `SameSite=Lax` and not Strict, because the
//! callback arrives from the provider's site and must see both.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use cookie::{Cookie, SameSite};
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, InvalidHeaderValue},
};

use crate::{
    browser_binding::BrowserBinding,
    problem::{Problem, ProblemKind},
    session::{SignedSession, TOKEN_BYTES_MAX},
};

/// The session's cookie.
pub const SESSION_COOKIE: &str = "__Host-mm_session";

/// The browser binding's cookie.
pub const BINDING_COOKIE: &str = "__Host-mm_browser";

/// How long a browser keeps its binding: well over the 10 minutes of a pending login, and set again by every login, so
/// that it never ends under one; short, because it is of no use afterwards.
pub const BINDING_LIFETIME: Duration = Duration::from_hours(1);

/// Most bytes of Cookie headers that are read. On a loopback host every other program's cookies come along (cookies
/// ignore ports), so this is generous; servers commonly stop at 8 or 16 KiB for all headers.
pub const COOKIE_BYTES_MAX: usize = 16 * 1_024;

const CLEAR_SESSION: &str = "__Host-mm_session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0";
const CLEAR_BINDING: &str = "__Host-mm_browser=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0";

const _: () = assert!(TOKEN_BYTES_MAX < 4_096 - 256, "browsers drop a cookie over 4096 bytes");

/// Cookies that cannot be read, or one that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CookieError {
    /// One of our names came twice. The attack (cookie tossing): an older browser, or a nameless cookie whose value reads
    /// `__Host-mm_session=…`, delivers a planted session or binding beside the real one, and the first or last one wins
    /// by chance. Neither wins here.
    #[error("the cookie {name} came more than once")]
    Doubled {
        /// Which of ours.
        name: &'static str,
    },
    /// The Cookie headers are longer than [`COOKIE_BYTES_MAX`].
    #[error("the cookies are longer than {COOKIE_BYTES_MAX} bytes")]
    TooLarge,
    /// A value does not fit a header. Ours are base64 and dots, so this is a fault of this server.
    #[error("the cookie {name} could not be written")]
    Unwritable {
        /// Which of ours.
        name: &'static str,
        /// What the header refused; it does not quote the value.
        #[source]
        source: InvalidHeaderValue,
    },
}

impl From<CookieError> for Problem {
    fn from(error: CookieError) -> Self {
        match error {
            CookieError::Doubled { .. } => Self::new(ProblemKind::BadRequest)
                .with_detail("Delete this site's cookies and log in again: one of them came twice."),
            CookieError::TooLarge => Self::new(ProblemKind::HeadersTooLarge),
            CookieError::Unwritable { .. } => Self::new(ProblemKind::Internal),
        }
    }
}

impl IntoResponse for CookieError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// The session token of a request, unverified. An empty value is no session.
pub fn read_session(headers: &HeaderMap) -> Result<Option<&str>, CookieError> {
    read(headers, SESSION_COOKIE)
}

/// The browser binding of a request. A value that is not one of ours counts as none: the next login sets a new one, and a
/// callback without its binding is refused.
pub fn read_binding(headers: &HeaderMap) -> Result<Option<BrowserBinding>, CookieError> {
    Ok(read(headers, BINDING_COOKIE)?.and_then(BrowserBinding::parse))
}

/// `Set-Cookie` with a session; lives as long as the session does.
pub fn set_session(session: &SignedSession) -> Result<HeaderValue, CookieError> {
    set(SESSION_COOKIE, session.expose(), session.max_age())
}

/// `Set-Cookie` with a binding, for every login: the same value again when the browser had one.
pub fn set_binding(binding: &BrowserBinding) -> Result<HeaderValue, CookieError> {
    set(BINDING_COOKIE, &binding.expose(), BINDING_LIFETIME)
}

/// `Set-Cookie` that removes the session.
pub const fn clear_session() -> HeaderValue {
    HeaderValue::from_static(CLEAR_SESSION)
}

/// `Set-Cookie` that removes the binding: with every logout and deletion, so that the next person at this computer is
/// nobody yet.
pub const fn clear_binding() -> HeaderValue {
    HeaderValue::from_static(CLEAR_BINDING)
}

fn set(name: &'static str, value: &str, max_age: Duration) -> Result<HeaderValue, CookieError> {
    let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let cookie = Cookie::build((name, value))
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(true)
        .path("/")
        .max_age(cookie::time::Duration::seconds(seconds));
    let mut header =
        HeaderValue::try_from(cookie.to_string()).map_err(|source| CookieError::Unwritable { name, source })?;
    header.set_sensitive(true);
    Ok(header)
}

/// The value of the cookie with exactly this name. Byte by byte, without a cookie parser: other programs' cookies on the
/// same host may hold anything and must not make ours unreadable.
fn read<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, CookieError> {
    let lines = headers.get_all(COOKIE);
    let bytes: usize = lines.iter().map(HeaderValue::len).sum();
    if bytes > COOKIE_BYTES_MAX {
        return Err(CookieError::TooLarge);
    }
    let mut found = None;
    for pair in lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';')) {
        let pair = pair.trim_ascii();
        let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else {
            continue;
        };
        if found.replace(value).is_some() {
            return Err(CookieError::Doubled { name });
        }
    }
    // What is not text is none of ours: the same as a value that does not verify.
    let value = found.and_then(|value| std::str::from_utf8(value).ok());
    Ok(value.filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use mm_model::{SessionId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        origins::tests::example,
        session::{SessionKeys, Sessions},
    };

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn session(lines: &[&[u8]]) -> Result<Option<String>, CookieError> {
        read_session(&headers(lines)).map(|value| value.map(str::to_owned))
    }

    #[test]
    fn the_flags_of_both_cookies() {
        let now = Timestamp::from_unix(1_800_000_000);
        let sessions = Sessions::new(SessionKeys::new(&[1; 32], None).unwrap(), &example());
        let signed = sessions.issue("ada".parse().unwrap(), SessionId::from_bytes([1; 16]), now, now).unwrap();
        let header = set_session(&signed).unwrap();
        let text = header.to_str().unwrap().replace(signed.expose(), "[token]");
        assert_eq!(text, "__Host-mm_session=[token]; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=2592000");
        assert_eq!(format!("{header:?}"), "Sensitive");

        let header = set_binding(&BrowserBinding::from_random([0; 32])).unwrap();
        let value = "A".repeat(43);
        assert_eq!(
            header.to_str().unwrap(),
            format!("__Host-mm_browser={value}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=3600")
        );
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[test]
    fn clearing_uses_the_flags_of_setting() {
        for (clear, name) in [(clear_session(), SESSION_COOKIE), (clear_binding(), BINDING_COOKIE)] {
            let set = set(name, "", Duration::ZERO).unwrap();
            assert_eq!(clear.to_str().unwrap(), set.to_str().unwrap());
        }
    }

    #[test]
    fn a_cookie_is_found_among_others_and_across_headers() {
        let found = Some("x.y.z".to_owned());
        for lines in [
            vec![b"__Host-mm_session=x.y.z".as_slice()],
            vec![b"a=b; __Host-mm_session=x.y.z; c=d"],
            vec![b"a=b;__Host-mm_session=x.y.z;c"],
            vec![b"a=b", b"__Host-mm_session=x.y.z"],
            vec![b"name=caf\xe9; \xff\xfe=1; __Host-mm_session=x.y.z"],
            vec![b"; ;=;==; __Host-mm_session=x.y.z;"],
        ] {
            assert_eq!(session(&lines).unwrap(), found);
        }
    }

    #[test]
    fn names_that_only_resemble_ours_are_not_ours() {
        for line in [
            "",
            "mm_session=x",
            "__host-mm_session=x",
            "__Host-mm_session",
            "__Host-mm_session =x",
            "x__Host-mm_session=x",
            "__Host-mm_session2=x",
            "__Host-mm_session=",
            "$__Host-mm_session=x",
            "a=__Host-mm_session=x",
            "__Secure-mm_session=x",
        ] {
            assert_eq!(session(&[line.as_bytes()]).unwrap(), None, "{line}");
        }
    }

    #[test]
    fn attack_cookie_tossing() {
        for lines in [
            vec![b"__Host-mm_session=evil; __Host-mm_session=x.y.z".as_slice()],
            vec![b"__Host-mm_session=x.y.z; __Host-mm_session=x.y.z"],
            vec![b"__Host-mm_session=x.y.z", b"__Host-mm_session=evil"],
            vec![b"__Host-mm_session=; __Host-mm_session=evil"],
        ] {
            let refused = session(&lines).unwrap_err();
            assert!(matches!(refused, CookieError::Doubled { name: SESSION_COOKIE }));
            assert_eq!(Problem::from(refused).kind(), ProblemKind::BadRequest);
        }
        let binding = format!("__Host-mm_browser={0}; __Host-mm_browser={0}", "A".repeat(43));
        assert!(read_binding(&headers(&[binding.as_bytes()])).is_err());
    }

    #[test]
    fn attack_huge_cookies() {
        let padding = vec![b'a'; COOKIE_BYTES_MAX];
        let refused = session(&[&padding, b"__Host-mm_session=x.y.z"]).unwrap_err();
        assert_eq!(Problem::from(refused).kind(), ProblemKind::HeadersTooLarge);
        assert_eq!(session(&[&padding]).unwrap(), None);
    }

    #[test]
    fn a_binding_of_another_form_counts_as_none() {
        for value in ["", "short", "\"quoted\"", "caf\u{e9}"] {
            let line = format!("__Host-mm_browser={value}");
            assert!(read_binding(&headers(&[line.as_bytes()])).unwrap().is_none(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, value);
                let _ = (read_session(&headers), read_binding(&headers));
            }
        }

        #[test]
        fn ours_is_found_wherever_it_stands(
            before in "[ -:<-~]{0,40}",
            after in "[ -:<-~]{0,40}",
            value in "[A-Za-z0-9_.-]{1,60}",
        ) {
            prop_assume!(!before.contains("__Host-mm_session") && !after.contains("__Host-mm_session"));
            let line = format!("{before};__Host-mm_session={value};{after}");
            prop_assert_eq!(session(&[line.as_bytes()]).unwrap(), Some(value));
        }
    }
}
