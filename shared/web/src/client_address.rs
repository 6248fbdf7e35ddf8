//! The address of the client behind proxies.
//!
//! `X-Forwarded-For` is a list that every proxy appends to, and that a client can begin with anything. So it is read from
//! the right, and only as far as the addresses that wrote it are trusted (`TRUSTED_PROXIES`). `Forwarded` (RFC 7239) is not
//! read: a proxy that does not know it passes a client's own on.

use std::{net::IpAddr, str::FromStr};

use http::HeaderMap;
use ipnet::IpNet;

/// The header, as CloudFront, load balancers and common reverse proxies write it.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Most entries that are read from the right: chains of trusted proxies are short.
pub const FORWARDED_MAX: usize = 16;

/// Most networks in `TRUSTED_PROXIES`; CloudFront's whole list has about 150.
pub const TRUSTED_PROXIES_MAX: usize = 512;

/// A list of networks that cannot be read. Display is one line with the remedy; it quotes the operator's own text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxies {
    /// An entry that is neither an address nor a network.
    #[error("TRUSTED_PROXIES: {entry:?} is no network: list CIDRs separated by commas, as in 10.0.0.0/8,fd00::/8")]
    Entry {
        /// The entry.
        entry: String,
    },
    /// More than [`TRUSTED_PROXIES_MAX`].
    #[error("TRUSTED_PROXIES: list at most {TRUSTED_PROXIES_MAX} networks; join neighbours")]
    TooMany,
    /// A network of everybody: then every client could choose its address.
    #[error("TRUSTED_PROXIES: {entry:?} trusts everybody: list the proxies' own networks")]
    Everybody {
        /// The entry.
        entry: String,
    },
}

/// The networks of the proxies in front of this server. None by default: then the peer is the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads `TRUSTED_PROXIES`: CIDRs or single addresses, separated by commas. Empty is none.
impl FromStr for TrustedProxies {
    type Err = InvalidProxies;

    fn from_str(text: &str) -> Result<Self, InvalidProxies> {
        let mut networks = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let network = entry
                .parse::<IpNet>()
                .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| InvalidProxies::Entry { entry: entry.to_owned() })?;
            if network.prefix_len() == 0 {
                return Err(InvalidProxies::Everybody { entry: entry.to_owned() });
            }
            networks.push(network);
        }
        if networks.len() > TRUSTED_PROXIES_MAX {
            return Err(InvalidProxies::TooMany);
        }
        Ok(Self(networks))
    }
}

/// The address of the client: the rightmost forwarded one outside the trusted proxies, when the peer is one of them; else
/// the peer.
///
/// An entry that is no address ends the walk: the client is then the last proxy that was reached, an address we know,
/// and not what stands left of the garbage. When all entries are proxies, the leftmost of them is the client.
///
/// Example: peer 10.0.0.1, trusted 10.0.0.0/8, `X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.7`: the client is
/// 203.0.113.9; it wrote `1.1.1.1` itself.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines = headers.get_all(X_FORWARDED_FOR);
    // Several headers are one list, in their order (RFC 9110 §5.3).
    let entries = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(FORWARDED_MAX) {
        if !trusted.contains(client) {
            break;
        }
        let Some(address) = entry_address(entry) else {
            break;
        };
        client = address;
    }
    client
}

/// An entry's address; some proxies add the port: `203.0.113.9:4711`, `[2001:db8::1]:4711`.
fn entry_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let with_port = || text.parse::<std::net::SocketAddr>().map(|socket| socket.ip());
    let address = text.parse::<IpAddr>().or_else(|_| with_port());
    // ::ffff:203.0.113.9 is 203.0.113.9: one client, one address.
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, trusted: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted.parse().unwrap()).to_string()
    }

    #[test]
    fn without_trusted_proxies_the_peer_is_the_client() {
        assert_eq!(client("203.0.113.9", "", &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(client("127.0.0.1", "", &["1.1.1.1"]), "127.0.0.1");
        assert_eq!(client("203.0.113.9", "10.0.0.0/8", &["1.1.1.1"]), "203.0.113.9");
    }

    #[test]
    fn the_client_is_the_rightmost_address_outside_the_proxies() {
        let trusted = "10.0.0.0/8, 2001:db8:1::/48";
        for (forwarded, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9, 10.9.9.9"], "203.0.113.9"),
            (&["1.1.1.1,203.0.113.9 ,2001:db8:1::5,10.9.9.9"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8:2::1]:4711"], "2001:db8:2::1"),
            (&["2001:db8:2::1"], "2001:db8:2::1"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&[], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", trusted, forwarded), expected, "{forwarded:?}");
        }
        assert_eq!(client("::ffff:10.0.0.1", trusted, &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn attack_address_claimed_by_the_client() {
        let claims = vec!["10.0.0.1, 10.0.0.2", "127.0.0.1, 10.0.0.3", "203.0.113.9"];
        assert_eq!(client("10.0.0.1", "10.0.0.0/8", &claims), "203.0.113.9");
    }

    #[test]
    fn attack_garbage_in_the_list() {
        for garbage in ["unknown", "1.1.1.1, ,", "1.1.1.1, _hidden", "1.1.1.1, 999.1.1.1", "1.1.1.1;10.1.1.1"] {
            assert_eq!(client("10.0.0.1", "10.0.0.0/8", &[garbage]), "10.0.0.1", "{garbage}");
        }
        let behind = "1.1.1.1, what, 10.3.3.3";
        assert_eq!(client("10.0.0.1", "10.0.0.0/8", &[behind]), "10.3.3.3");
    }

    #[test]
    fn attack_endless_list() {
        let long = vec!["10.1.1.1"; 5_000].join(",");
        let list = format!("203.0.113.9,{long}");
        assert_eq!(client("10.0.0.1", "10.0.0.0/8", &[&list]), "10.1.1.1");
    }

    #[test]
    fn a_wrong_list_is_refused_with_the_remedy() {
        let refused = |text: &str| text.parse::<TrustedProxies>().unwrap_err().to_string();
        assert_eq!(
            refused("10.0.0.0/8,proxy.local"),
            "TRUSTED_PROXIES: \"proxy.local\" is no network: list CIDRs separated by commas, as in 10.0.0.0/8,fd00::/8"
        );
        assert!(refused("10.0.0.0/33").contains("no network"));
        assert!(refused("0.0.0.0/0").contains("trusts everybody"));
        assert!(refused("::/0").contains("trusts everybody"));
        assert_eq!("".parse(), Ok(TrustedProxies::default()));
        assert_eq!(client("192.0.2.1", "192.0.2.1", &["203.0.113.9"]), "203.0.113.9");
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.insert(X_FORWARDED_FOR, value);
                let trusted = "10.0.0.0/8".parse().unwrap();
                client_address("10.0.0.1".parse().unwrap(), &headers, &trusted);
            }
        }

        #[test]
        fn an_untrusted_peer_is_always_the_client(claims in "[0-9a-f.:, ]{0,80}") {
            prop_assert_eq!(client("203.0.113.9", "10.0.0.0/8", &[&claims]), "203.0.113.9");
        }
    }
}
