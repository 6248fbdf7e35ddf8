//! Which URLs the product may send anything to.

use url::{Host, Url};

/// What an endpoint's URL must look like, for messages.
pub(crate) const ENDPOINT_RULE: &str =
    "an https URL, or an http URL on 127.0.0.1, [::1] or localhost, without user, password or fragment";

/// Whether the URL may be an endpoint: `https`, or `http` on a loopback name.
///
/// RFC 6749 §3.1 and §3.2 demand TLS and forbid fragments; loopback is the sandbox's home. User and password are refused
/// because they would travel into logs and `Debug` with the rest of the catalogue.
pub(crate) fn is_endpoint(url: &Url) -> bool {
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    bare && match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Whether the URL's host is one of the three loopback names.
///
/// Only the usual three and not all of 127.0.0.0/8: providers accept no others as redirect URIs either.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The twin of `url` on a sandbox: `https://HOST/path` becomes `{base}/HOST/path`.
pub(crate) fn rebase(url: &Url, base: &Url) -> Url {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let prefix = base.path().trim_end_matches('/');
    let mut twin = base.clone();
    twin.set_path(&format!("{prefix}/{host}{port}{}", url.path()));
    twin.set_query(url.query());
    twin.set_fragment(None);
    twin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_http_on_loopback_are_endpoints() {
        for good in [
            "https://accounts.example/token",
            "https://accounts.example:8443/token?tenant=a",
            "http://127.0.0.1:9000/token",
            "http://[::1]/token",
            "http://localhost:9000/token",
        ] {
            assert!(is_endpoint(&Url::parse(good).unwrap()), "{good}");
        }
        for bad in [
            "http://accounts.example/token",
            "http://169.254.169.254/latest/meta-data",
            "http://127.0.0.2/token",
            "http://localhost.example/token",
            "http://127.0.0.1.example/token",
            "https://user@accounts.example/token",
            "https://user:pass@accounts.example/token",
            "https://accounts.example/token#part",
            "ftp://accounts.example/token",
            "file:///etc/passwd",
            "data:text/plain,token",
        ] {
            assert!(!is_endpoint(&Url::parse(bad).unwrap()), "{bad}");
        }
    }

    #[test]
    fn a_twin_keeps_host_port_path_and_query() {
        let twin = |url: &str, base: &str| rebase(&Url::parse(url).unwrap(), &Url::parse(base).unwrap()).to_string();
        assert_eq!(
            twin("https://secure.soundcloud.com/oauth/token", "http://localhost:9000"),
            "http://localhost:9000/secure.soundcloud.com/oauth/token"
        );
        assert_eq!(
            twin("https://a.example:8443/t?x=1", "http://localhost:9000/sandbox/"),
            "http://localhost:9000/sandbox/a.example:8443/t?x=1"
        );
        assert_eq!(twin("https://api.soundcloud.com", "http://[::1]:1"), "http://[::1]:1/api.soundcloud.com/");
    }
}
