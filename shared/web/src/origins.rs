//! Which pages this server works for: its own address and those of its frontends.

use std::sync::Arc;

use http::HeaderValue;
use mm_model::ProviderId;
use url::{Host, Url};

/// Most frontends one server names. A handful of deployments share one backend; a long list is a mistake, and every
/// call compares against all of it.
pub const FRONTENDS_MAX: usize = 16;

/// An address in the configuration that cannot be used. Display is one line with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {rule}")]
pub struct InvalidOrigin {
    /// The variable that holds the address: `PUBLIC_URL` or `FRONTEND_URL`.
    pub variable: &'static str,
    /// What the address must be.
    pub rule: &'static str,
}

/// `PUBLIC_URL` and `FRONTEND_URL`, checked. A clone is one pointer.
#[derive(Clone, Debug)]
pub struct Origins(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    public: Url,
    frontends: Vec<Url>,
    /// The serialized origins of `public` and `frontends`, as an `Origin` header writes them (RFC 6454 §6.2).
    allowed: Vec<String>,
}

impl Origins {
    /// The server at `public_url` with these frontends, the first being the one to return to by default. With none, the
    /// frontend lives under `public_url` itself (layout (a): the same origin by path).
    pub fn new(public_url: Url, frontends: Vec<Url>) -> Result<Self, InvalidOrigin> {
        check("PUBLIC_URL", &public_url)?;
        if public_url.path() != "/" {
            // Cookies with the prefix __Host- have Path=/, and routes begin with /auth.
            return Err(InvalidOrigin {
                variable: "PUBLIC_URL",
                rule: "remove the path: the server answers at the root of its origin",
            });
        }
        if frontends.len() > FRONTENDS_MAX {
            return Err(InvalidOrigin {
                variable: "FRONTEND_URL",
                rule: "name at most 16 addresses, separated by commas",
            });
        }
        for frontend in &frontends {
            check("FRONTEND_URL", frontend)?;
        }
        let frontends = if frontends.is_empty() { vec![public_url.clone()] } else { frontends };
        let mut allowed = vec![origin(&public_url)];
        for frontend in &frontends {
            let origin = origin(frontend);
            if !allowed.contains(&origin) {
                allowed.push(origin);
            }
        }
        Ok(Self(Arc::new(Inner { public: public_url, frontends, allowed })))
    }

    /// The address of this server, its path `/`.
    pub fn public_url(&self) -> &Url {
        &self.0.public
    }

    /// The frontends, at least one.
    pub fn frontends(&self) -> &[Url] {
        &self.0.frontends
    }

    /// The frontend that a login returns to when it says nothing else.
    pub fn default_frontend(&self) -> &Url {
        self.0.frontends.first().unwrap_or(&self.0.public)
    }

    /// Whether the server is reached by https: then its answers say so (HSTS).
    pub fn is_https(&self) -> bool {
        self.0.public.scheme() == "https"
    }

    /// Whether this `Origin` header names this server or a frontend: exactly, byte by byte. Prefixes, other ports, `null`
    /// and lists are none of them.
    pub fn allows(&self, header: &HeaderValue) -> bool {
        self.0.allowed.iter().any(|origin| origin.as_bytes() == header.as_bytes())
    }

    /// Whether this address lies on this server or on a frontend.
    pub fn allows_url(&self, url: &Url) -> bool {
        self.0.allowed.contains(&origin(url))
    }

    /// Whether this address lies on a frontend.
    pub(crate) fn is_frontend(&self, url: &Url) -> bool {
        self.0.frontends.iter().any(|frontend| frontend.origin() == url.origin())
    }

    /// Whether this address lies on the origin of this server.
    pub(crate) fn is_public(&self, url: &Url) -> bool {
        self.0.public.origin() == url.origin()
    }

    /// Where a person is sent to log in at this provider again (`login_url` of a problem). Can be followed by navigation.
    pub fn login_url(&self, provider: &ProviderId) -> Url {
        let mut url = self.0.public.clone();
        url.set_path(&format!("/auth/{provider}/login"));
        url
    }
}

/// The serialized origin of an http(s) address.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether a host is this machine: RFC 6761 §6.3 for names, RFC 1122 §3.2.1.3 and RFC 4291 §2.5.3 for addresses.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn check(variable: &'static str, url: &Url) -> Result<(), InvalidOrigin> {
    let refuse = |rule| Err(InvalidOrigin { variable, rule });
    let Some(host) = url.host() else {
        return refuse("use an address like https://app.example.com");
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        _ => return refuse("use https (http is for 127.0.0.1 and localhost only)"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("remove the user name and password from the address");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("remove the query and the fragment from the address");
    }
    if host.to_string().ends_with('.') {
        return refuse("remove the dot at the end of the host name");
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Layout (b): `auth.example.com` with two frontends.
    pub(crate) fn example() -> Origins {
        origins("https://auth.example.com", &["https://app.example.com", "https://beta.example.com/app/"])
    }

    pub(crate) fn origins(public: &str, frontends: &[&str]) -> Origins {
        let frontends = frontends.iter().map(|url| url.parse().unwrap()).collect();
        Origins::new(public.parse().unwrap(), frontends).unwrap()
    }

    #[test]
    fn an_origin_is_allowed_only_byte_by_byte() {
        let origins = example();
        for good in ["https://auth.example.com", "https://app.example.com", "https://beta.example.com"] {
            assert!(origins.allows(&HeaderValue::from_static(good)), "{good}");
        }
        for bad in [
            "null",
            "",
            "*",
            "https://app.example.com/",
            "https://app.example.com:443",
            "http://app.example.com",
            "https://APP.example.com",
            "https://app.example.com.evil.test",
            "https://evilapp.example.com",
            "https://example.com",
            "https://app.example.com https://evil.test",
            "https://app.example.com, https://evil.test",
        ] {
            assert!(!origins.allows(&HeaderValue::from_static(bad)), "{bad}");
        }
    }

    #[test]
    fn without_a_frontend_the_server_is_its_own() {
        let origins = origins("https://music.example.com", &[]);
        assert_eq!(origins.default_frontend().as_str(), "https://music.example.com/");
        assert_eq!(origins.0.allowed, ["https://music.example.com"]);
    }

    #[test]
    fn a_login_url_lies_on_the_public_origin() {
        let url = example().login_url(&"spotify".parse().unwrap());
        assert_eq!(url.as_str(), "https://auth.example.com/auth/spotify/login");
    }

    #[test]
    fn http_is_for_loopback_only() {
        for good in ["http://127.0.0.1:8080", "http://localhost:5173", "http://[::1]:80", "http://a.localhost"] {
            assert!(Origins::new(good.parse().unwrap(), vec![]).is_ok(), "{good}");
        }
        for bad in ["http://example.com", "http://10.0.0.1", "ftp://example.com", "data:text/plain,x"] {
            assert!(Origins::new(bad.parse().unwrap(), vec![]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_with_more_than_an_origin_is_refused_with_the_remedy() {
        let refused = |public: &str, frontend: &str| {
            Origins::new(public.parse().unwrap(), vec![frontend.parse().unwrap()]).unwrap_err().to_string()
        };
        let good = "https://example.com";
        assert_eq!(
            refused("https://example.com/api", good),
            "PUBLIC_URL: remove the path: the server answers at the root of its origin"
        );
        assert_eq!(
            refused(good, "https://user:pass@example.com"),
            "FRONTEND_URL: remove the user name and password from the address"
        );
        assert_eq!(
            refused(good, "https://example.com/?x=1"),
            "FRONTEND_URL: remove the query and the fragment from the address"
        );
        assert_eq!(refused("https://example.com.", good), "PUBLIC_URL: remove the dot at the end of the host name");
    }

    #[test]
    fn the_list_of_frontends_is_bounded() {
        let many = vec!["https://example.com".parse().unwrap(); FRONTENDS_MAX + 1];
        assert!(Origins::new("https://example.com".parse().unwrap(), many).is_err());
    }
}
