//! TLS for both ends: an endpoint's filter, and what connections outward are encrypted with.

use ringway_engine::FilterFactory;
use ringway_socket::outbound::ClientTls;
use ringway_tls::{Authorities, TicketKeys, TlsClient, TlsOptions, TlsServer, self_signed};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

/// The name in the certificate.
pub(crate) const NAME: &str = "localhost";

/// A server's side and a client's that believes it, where it is asked for by `expected`.
pub(crate) fn pair(expected: &str) -> (FilterFactory, ClientTls) {
    let now = SystemTime::now();
    let certificate = self_signed(&[NAME.to_owned()], now).expect("good names");
    let authorities = Authorities::Only(certificate.chain.clone());
    let client = TlsClient::new(&authorities, Vec::new()).expect("an authority");
    let made = TlsServer::new(&TlsOptions::new(vec![certificate]), TicketKeys::new(), now);
    let (server, problems) = made.expect("a good certificate");
    assert_eq!(problems, []);
    let filter = Arc::new(move |name: &str| client.filter(name).map_err(io::Error::other));
    (server.filters(), ClientTls { filter, server_name: Some(expected.to_owned()) })
}
