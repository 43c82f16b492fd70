//! Proxies in front that say by the PROXY protocol whose connection it is: who is believed, and what is told of others.

use crate::log::errors::ErrorLog;
use crate::rules::addresses::AddressSet;
use ringway_engine::{Expected, Preface, Said};
use ringway_http::proxy_protocol::{Header, Source, parse};
use std::fmt;
use std::net::SocketAddr;

/// What connections of an endpoint begin with whose clients all come by proxies.
#[derive(Clone)]
pub struct ProxyProtocol {
    trusted: AddressSet,
    errors: ErrorLog,
}

impl ProxyProtocol {
    /// Believes proxies at these addresses, and whoever may connect to a Unix socket; tells `errors` of everybody else.
    #[must_use]
    pub const fn new(trusted: AddressSet, errors: ErrorLog) -> Self {
        Self { trusted, errors }
    }

    fn refuse(&self, peer: Option<SocketAddr>, why: &str) {
        match peer {
            Some(peer) => self.errors.warn("proxy protocol", format_args!("{peer} is refused: {why}")),
            None => self.errors.warn("proxy protocol", format_args!("a connection is refused: {why}")),
        }
    }
}

impl Preface for ProxyProtocol {
    fn expects(&self, peer: Option<SocketAddr>) -> Expected {
        if peer.is_none_or(|peer| self.trusted.contains(peer.ip())) {
            return Expected::Preface;
        }
        self.refuse(peer, "it is no trusted proxy, and connections here come by one");
        Expected::Stranger
    }

    fn read(&self, bytes: &[u8], peer: Option<SocketAddr>) -> Said {
        match parse(bytes) {
            Ok(None) => Said::More,
            Ok(Some(Header { bytes, source: Source::Own, .. })) => Said::Done { bytes, client: None },
            Ok(Some(Header { bytes, source: Source::Client { client, .. }, .. })) => {
                // An address of IPv4 has one form, whoever wrote it.
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                Said::Done { bytes, client: Some(client) }
            }
            Err(error) => {
                self.refuse(peer, error.words());
                Said::Refused
            }
        }
    }
}

/// Proxies in front that say in each request whom it came from: whatever limit there is for addresses, their connections are
/// many clients'.
#[derive(Clone, Debug)]
pub struct TrustedProxies(AddressSet);

impl TrustedProxies {
    /// Those at these addresses.
    #[must_use]
    pub const fn new(trusted: AddressSet) -> Self {
        Self(trusted)
    }
}

impl Preface for TrustedProxies {
    fn expects(&self, peer: Option<SocketAddr>) -> Expected {
        let is_trusted = peer.is_some_and(|peer| self.0.contains(peer.ip()));
        if is_trusted { Expected::Proxy } else { Expected::Client }
    }

    fn read(&self, _bytes: &[u8], _peer: Option<SocketAddr>) -> Said {
        // Nobody here is expected to say anything.
        Said::Refused
    }
}

impl fmt::Debug for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyProtocol").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::errors::{ErrorFormat, Level};
    use crate::log::files::{LogFile, Rotation};
    use crate::test_dir::TestDir;
    use std::time::Duration;

    #[test]
    fn only_trusted_proxies_are_believed_and_others_are_told_of() {
        let dir = TestDir::new();
        let path = dir.path().join("error.log");
        let errors = ErrorLog::new(
            LogFile::append(&path, Rotation::default()).unwrap(),
            ErrorFormat::Text,
            Level::Warn,
        );
        let trusted = AddressSet::new(["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()));
        let proxies = ProxyProtocol::new(trusted, errors.clone());
        let address = |text: &str| text.parse::<SocketAddr>().ok();
        for proxy in ["10.1.2.3:99", "[fd00::1]:99", "[::ffff:10.1.2.3]:99", "a Unix socket"] {
            assert_eq!(proxies.expects(address(proxy)), Expected::Preface, "{proxy}");
        }
        assert_eq!(proxies.expects(address("192.0.2.1:99")), Expected::Stranger);
        let plain = TrustedProxies::new(proxies.trusted.clone());
        assert_eq!(plain.expects(address("10.1.2.3:99")), Expected::Proxy);
        assert_eq!(plain.expects(address("192.0.2.1:99")), Expected::Client);
        let peer = address("10.1.2.3:99");
        let line = b"PROXY TCP6 ::ffff:192.0.2.9 2001:db8::1 4000 80\r\nGET";
        assert_eq!(proxies.read(line, peer), Said::Done { bytes: 49, client: address("192.0.2.9:4000") });
        assert_eq!(proxies.read(b"PROXY UNKNOWN\r\n", peer), Said::Done { bytes: 15, client: None });
        assert_eq!(proxies.read(b"PROX", peer), Said::More);
        assert_eq!(proxies.read(b"GET / HTTP/1.1\r\n", peer), Said::Refused);
        errors.flush(Duration::from_secs(10));
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(log.contains("192.0.2.1:99 is refused: it is no trusted proxy"), "{log}");
        assert!(log.contains("10.1.2.3:99 is refused: there is no PROXY protocol header"), "{log}");
    }
}
