//! A Pebble of one's own, and the certificate that its clients are told to believe.

use ringway_acme::AuthorityOptions;
use ringway_tls::{Authorities, Pem};
use std::path::Path;
use std::time::SystemTime;

/// A running authority. Dropping it ends it.
pub(crate) struct Pebble {
    running: ringway_testkit::Pebble,
    certificate: Pem,
}

impl Pebble {
    /// Starts one that looks at proofs on these ports of the loopback.
    pub(crate) fn start(http_port: u16, tls_port: u16, place: &Path) -> Self {
        std::fs::create_dir_all(place).expect("a directory");
        let made = ringway_tls::self_signed(&[], SystemTime::now()).expect("a certificate");
        for (name, pem) in [("cert.pem", &made.chain), ("key.pem", &made.key)] {
            std::fs::write(place.join(name), &pem.bytes).expect("a file");
        }
        let running = ringway_testkit::Pebble::start(http_port, tls_port, place);
        Self { running, certificate: made.chain }
    }

    /// How it is asked.
    pub(crate) fn options(&self) -> AuthorityOptions {
        AuthorityOptions {
            directory: self.running.directory(),
            email: Some("operator@example.org".to_owned()),
            agree: true,
            authorities: Authorities::Only(self.certificate.clone()),
        }
    }
}
