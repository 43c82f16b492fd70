//! Who a request came from where trusted proxies stand before this server: what they say of it is believed, and what anybody
//! else says is not.

use crate::rules::addresses::AddressSet;
use ringway_http::forwarded::{Chain, ChainField};
use ringway_http::head::Request;
use ringway_http::refusal::Refusal;
use std::net::SocketAddr;

/// The proxies that are believed, and the field they write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Their addresses. Everybody else could forge every rule, limit and log.
    pub proxies: AddressSet,
    /// The field that each of them adds to. They pass on whatever a client writes into others.
    pub field: ChainField,
}

/// Whom a request came from, as somebody trusted has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whence {
    /// The client; without a port, where the peer is not the client itself.
    pub(crate) client: SocketAddr,
    /// The field that was believed.
    pub(crate) field: ChainField,
}

impl Trust {
    /// Whom a request came from that `peer` has sent; `None` where the peer is believed in nothing.
    ///
    /// # Errors
    /// A field that has no one reading, from a peer that is trusted to write it.
    pub(crate) fn look(
        &self,
        request: &Request<'_>,
        peer: Option<SocketAddr>,
    ) -> Result<Option<Whence>, Refusal> {
        let is_trusted = |address| self.proxies.contains(address);
        let Some(peer) = peer.filter(|peer| is_trusted(peer.ip())) else { return Ok(None) };
        let address = Chain::read(request, self.field)?.client(peer.ip(), is_trusted);
        let is_peer = address == peer.ip().to_canonical();
        let client = if is_peer { peer } else { SocketAddr::new(address, 0) };
        Ok(Some(Whence { client, field: self.field }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_http::head::Limits;

    fn look(lines: &str, peer: &str) -> Result<Option<String>, Refusal> {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        let trust = Trust { proxies: AddressSet::new(networks), field: ChainField::XForwardedFor };
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let request = Request::parse(head.as_bytes(), &Limits::default()).unwrap();
        let whence = trust.look(&request, peer.parse().ok())?;
        Ok(whence.map(|whence| whence.client.to_string()))
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        let lines = "X-Forwarded-For: 192.0.2.1\r\n";
        assert_eq!(look(lines, "10.0.0.1:80"), Ok(Some("192.0.2.1:0".to_owned())));
        assert_eq!(look(lines, "[::ffff:10.0.0.1]:80"), Ok(Some("192.0.2.1:0".to_owned())));
        assert_eq!(look(lines, "198.51.100.1:80"), Ok(None));
        assert_eq!(look(lines, "unix"), Ok(None));
        assert_eq!(look("", "10.0.0.1:80"), Ok(Some("10.0.0.1:80".to_owned())));
    }
}
