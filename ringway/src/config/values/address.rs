//! Addresses: networks, listening addresses, hosts.

use super::written_as_text;
use crate::engine::ring::socket::Address;
use crate::listen;
use crate::web::rules::addresses::{Network, NetworkError};
use crate::web::upstream::Origin;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(Network);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// These addresses; the text is what was written.
    At(String, Vec<Address>),
    /// The addresses a name has, and a port.
    Named(String, u16),
    /// A socket that systemd passes, by its `FileDescriptorName=`.
    Passed(String),
}

/// Where a server behind this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendAddress(Origin);

/// A host: a name or an address, without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

impl Cidr {
    /// The network as rules take it.
    #[must_use]
    pub const fn network(self) -> Network {
        self.0
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: NetworkError| format!("{text:?} {error}"))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl BackendAddress {
    /// The address as upstreams take it.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.0
    }
}

impl FromStr for BackendAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Listen {
    /// The addresses; names are looked up, which may wait for the network.
    ///
    /// # Errors
    /// What could not be looked up. Passed sockets have no address to look up and give none.
    pub fn resolve(&self) -> Result<Vec<Address>, String> {
        match self {
            Self::At(_, addresses) => Ok(addresses.clone()),
            Self::Passed(_) => Ok(Vec::new()),
            Self::Named(name, port) => {
                let found: Vec<SocketAddr> = (name.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(|error| format!("the name `{name}` cannot be resolved: {error}"))?
                    .collect();
                if found.is_empty() {
                    return Err(format!("the name `{name}` has no address"));
                }
                Ok(found.into_iter().map(Address::Tcp).collect())
            }
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("systemd:") {
            return match name {
                "" => Err(format!(
                    "{text:?} names no socket; write systemd: and the socket's FileDescriptorName="
                )),
                name => Ok(Self::Passed(name.to_owned())),
            };
        }
        let sentence = match listen::parse(text) {
            Ok(addresses) => return Ok(Self::At(text.to_owned(), addresses)),
            Err(sentence) => sentence.trim_end_matches('.').to_owned(),
        };
        let named = text.rsplit_once(':').and_then(|(name, port)| {
            let looks_named = is_host_name(name)
                && name.parse::<IpAddr>().is_err()
                && name.contains(|c: char| c.is_ascii_alphabetic());
            looks_named.then_some(())?;
            Some(Self::Named(name.to_ascii_lowercase(), port.parse().ok()?))
        });
        named.ok_or(sentence)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(written, _) => f.write_str(written),
            Self::Named(name, port) => write!(f, "{name}:{port}"),
            Self::Passed(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// Whether a text has the form of a host's name (RFC 1123, with underscores as they occur).
pub(super) fn is_host_name(text: &str) -> bool {
    /// RFC 1035, section 2.3.4.
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let is_label = |label: &str| {
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= NAME_BYTES_MAX && text.split('.').all(is_label)
}

impl Host {
    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_host_name(text) || text.parse::<IpAddr>().is_ok() {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("{text:?} is no host; write a name, such as \"example.org\", or an address"))
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(
    Cidr,
    "cidr",
    "A network: an address and the number of its leading bits that count; without `/` the one address.",
    ["192.0.2.0/24", "2001:db8::/32", "127.0.0.1"]
);
written_as_text!(
    Listen,
    "listen",
    "A listening address: a port (both loopback addresses), `:port` (every address), an address or a host's name with port, \
     `unix:/path`, or `systemd:name` for a socket that systemd passes.",
    [":443", "192.0.2.1:80", "[::1]:8080", "unix:/run/ringway/http.sock", "systemd:http"]
);
written_as_text!(
    BackendAddress,
    "backend",
    "Where a server is: an address or a name with its port, or `unix:/path`.",
    ["127.0.0.1:9000", "app.internal:8080", "[::1]:80", "unix:/run/app.sock"]
);
written_as_text!(Host, "host", "A host's name or address, without port.", ["example.org"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_exact() {
        let shown = |text: &str| text.parse::<Cidr>().map(|cidr| cidr.to_string());
        assert_eq!(shown("192.0.2.0/24").as_deref(), Ok("192.0.2.0/24"));
        assert_eq!(shown("127.0.0.1").as_deref(), Ok("127.0.0.1/32"));
        assert!(shown("192.0.2.1/24").is_err_and(|error| error.contains("192.0.2.0/24")));
        assert!(shown("192.0.2.0/33").is_err());
    }

    #[test]
    fn listening_addresses_have_four_forms() {
        let read = |text: &str| text.parse::<Listen>();
        assert!(matches!(read(":80"), Ok(Listen::At(_, all)) if all.len() == 2));
        assert_eq!(read("Example.org:80"), Ok(Listen::Named("example.org".to_owned(), 80)));
        assert_eq!(read("systemd:web"), Ok(Listen::Passed("web".to_owned())));
        assert!(matches!(read("unix:/x"), Ok(Listen::At(_, all)) if all.len() == 1));
        for text in ["", "example.org", "example.org:x", "1.2.3.4.5:80", "systemd:", "a b:80"] {
            assert!(read(text).is_err(), "{text}");
        }
        for text in [":80", "example.org:80", "systemd:web"] {
            assert_eq!(read(text).map(|listen| listen.to_string()).as_deref(), Ok(text));
        }
    }
}
