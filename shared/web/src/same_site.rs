//! The check at start that frontend, backend and redirect URIs are same-site.
//!
//! The session cookie is `SameSite=Lax`: a fetch from a page of another site never carries it. A deployment across sites
//! starts, shows its page and then answers `401` to everything, in some browsers only; so it is refused at start.

use std::fmt;

use url::{Host, Url};

use crate::origins::{Origins, is_loopback};

/// A redirect URI with the variable that holds it, for the error.
#[derive(Clone, Debug)]
pub struct RedirectUri {
    /// `SPOTIFY_REDIRECT_URI`.
    pub variable: String,
    /// Where the provider sends the browser after consent.
    pub url: Url,
}

/// Addresses that cannot work together. Display is one line with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// One is http, the other https: browsers take them for two sites (schemeful same-site).
    #[error(
        "{variable} ({address}) and PUBLIC_URL ({public}) are two sites, one being http: use the same scheme for both"
    )]
    Scheme {
        /// The variable that disagrees.
        variable: String,
        /// Its origin.
        address: String,
        /// The origin of `PUBLIC_URL`.
        public: String,
    },
    /// Two names of this machine: cookies of one never reach the other.
    #[error(
        "{variable} ({address}) and PUBLIC_URL ({public}) name this machine differently: use the same host name in both"
    )]
    Loopback {
        /// The variable that disagrees.
        variable: String,
        /// Its origin.
        address: String,
        /// The origin of `PUBLIC_URL`.
        public: String,
    },
    /// Two registrable domains.
    #[error(
        "{variable} ({address}) and PUBLIC_URL ({public}) are two sites, so that browsers keep the session cookie back: \
         put both under one domain of yours, or serve the frontend under PUBLIC_URL"
    )]
    Domain {
        /// The variable that disagrees.
        variable: String,
        /// Its origin.
        address: String,
        /// The origin of `PUBLIC_URL`.
        public: String,
    },
    /// A redirect URI on another host: the cookies are `__Host-` ones and do not reach it.
    #[error(
        "{variable} ({address}) is not on the host of PUBLIC_URL ({public}), so that no login could end: use {public} in both"
    )]
    RedirectHost {
        /// The variable that disagrees.
        variable: String,
        /// Its origin.
        address: String,
        /// The origin of `PUBLIC_URL`.
        public: String,
    },
}

/// The part of a host that browsers compare (HTML, "obtain a site").
#[derive(PartialEq, Eq)]
enum Site {
    /// An IP address, a loopback name or a public suffix itself: only the very same host is the same site.
    Host(String),
    /// The registrable domain.
    Domain(String),
}

impl Site {
    fn of(host: &Host<&str>) -> Self {
        let text = host.to_string();
        match host {
            Host::Domain(name) if !is_loopback(host) => match psl::domain_str(name) {
                Some(domain) => Self::Domain(domain.to_owned()),
                None => Self::Host(text),
            },
            Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => Self::Host(text),
        }
    }
}

/// Checks that every frontend is same-site with `PUBLIC_URL`, and that every redirect URI is on its very host: the
/// browser-binding cookie is set by the one and read by the other, and `__Host-` cookies are for one host (any port).
pub fn same_site_check(origins: &Origins, redirect_uris: &[RedirectUri]) -> Result<(), SiteError> {
    for frontend in origins.frontends() {
        same_site("FRONTEND_URL", frontend, origins.public_url())?;
    }
    for RedirectUri { variable, url } in redirect_uris {
        same_site(variable, url, origins.public_url())?;
        if url.host() != origins.public_url().host() {
            return Err(SiteError::RedirectHost {
                variable: variable.clone(),
                address: shown(url).to_string(),
                public: shown(origins.public_url()).to_string(),
            });
        }
    }
    Ok(())
}

fn same_site(variable: &str, url: &Url, public: &Url) -> Result<(), SiteError> {
    let variable = variable.to_owned();
    let (address, public_text) = (shown(url).to_string(), shown(public).to_string());
    let (Some(host), Some(public_host)) = (url.host(), public.host()) else {
        return Err(SiteError::Domain { variable, address, public: public_text });
    };
    if Site::of(&host) == Site::of(&public_host) {
        if url.scheme() == public.scheme() {
            return Ok(());
        }
        return Err(SiteError::Scheme { variable, address, public: public_text });
    }
    if is_loopback(&host) && is_loopback(&public_host) {
        return Err(SiteError::Loopback { variable, address, public: public_text });
    }
    Err(SiteError::Domain { variable, address, public: public_text })
}

/// An address without path, query and user: what an error may show of it.
fn shown(url: &Url) -> impl fmt::Display {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origins::tests::origins;

    fn check(public: &str, frontend: &str, redirect: &str) -> Result<(), SiteError> {
        let redirect = RedirectUri { variable: "SPOTIFY_REDIRECT_URI".to_owned(), url: redirect.parse().unwrap() };
        same_site_check(&origins(public, &[frontend]), &[redirect])
    }

    #[test]
    fn the_three_layouts_pass() {
        let layouts = [
            ("https://music.example.com", "https://music.example.com"),
            ("https://auth.example.co.uk", "https://app.example.co.uk"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:5173"),
            ("http://localhost:8080", "http://localhost:5173"),
            ("http://[::1]:8080", "http://[::1]:5173"),
            ("https://d1.cloudfront.net", "https://d1.cloudfront.net"),
            ("https://auth.corp.internal", "https://app.corp.internal"),
            ("https://auth.bücher.example", "https://www.xn--bcher-kva.example"),
        ];
        for (public, frontend) in layouts {
            let redirect = format!("{public}/auth/spotify/callback");
            assert_eq!(check(public, frontend, &redirect), Ok(()), "{public}");
        }
    }

    #[test]
    fn two_sites_are_refused() {
        let pairs = [
            ("https://auth.example.com", "https://app.example.org"),
            ("https://a.co.uk", "https://b.co.uk"),
            ("https://d1.cloudfront.net", "https://d2.cloudfront.net"),
            ("https://a.github.io", "https://b.github.io"),
            ("https://192.0.2.1", "https://192.0.2.2"),
            ("https://example.com", "http://127.0.0.1:5173"),
        ];
        for (public, frontend) in pairs {
            let redirect = format!("{public}/auth/spotify/callback");
            let refused = check(public, frontend, &redirect);
            assert!(matches!(refused, Err(SiteError::Domain { .. })), "{public}: {refused:?}");
        }
    }

    #[test]
    fn the_errors_are_one_line_with_a_remedy() {
        let shown = |public: &str, frontend: &str, redirect: &str| {
            let text = check(public, frontend, redirect).unwrap_err().to_string();
            assert!(!text.contains('\n'));
            text
        };
        insta::assert_snapshot!(
            shown("http://127.0.0.1:8080", "http://localhost:5173", "http://127.0.0.1:8080/"),
            @"FRONTEND_URL (http://localhost:5173) and PUBLIC_URL (http://127.0.0.1:8080) name this machine differently: use the same host name in both"
        );
        insta::assert_snapshot!(
            shown("http://localhost:8080", "https://localhost:5173", "http://localhost:8080/"),
            @"FRONTEND_URL (https://localhost:5173) and PUBLIC_URL (http://localhost:8080) are two sites, one being http: use the same scheme for both"
        );
        insta::assert_snapshot!(
            shown("https://auth.example.com", "https://app.example.org", "https://auth.example.com/"),
            @"FRONTEND_URL (https://app.example.org) and PUBLIC_URL (https://auth.example.com) are two sites, so that browsers keep the session cookie back: put both under one domain of yours, or serve the frontend under PUBLIC_URL"
        );
        insta::assert_snapshot!(
            shown("https://auth.example.com", "https://app.example.com", "https://app.example.com/auth/spotify/callback"),
            @"SPOTIFY_REDIRECT_URI (https://app.example.com) is not on the host of PUBLIC_URL (https://auth.example.com), so that no login could end: use https://auth.example.com in both"
        );
    }

    #[test]
    fn an_error_shows_no_more_of_an_address_than_its_origin() {
        let text = check(
            "https://auth.example.com",
            "https://app.example.com",
            "https://user:canary@evil.test/canary?canary#canary",
        )
        .unwrap_err()
        .to_string();
        assert!(text.contains("https://evil.test") && !text.contains("canary"), "{text}");
    }
}
