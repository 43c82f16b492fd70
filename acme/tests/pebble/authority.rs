//! A Pebble of one's own: with its ports, its names, and a certificate that its clients are told to believe.

use ringway_acme::AuthorityOptions;
use ringway_tls::{Authorities, Pem};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime};

use crate::PATIENCE;

/// A running authority. Dropping it ends it.
pub(crate) struct Pebble {
    children: [Child; 2],
    port: u16,
    certificate: Pem,
}

impl Pebble {
    /// Starts one that looks at proofs on these ports of the loopback, whatever the name.
    pub(crate) fn start(http_port: u16, tls_port: u16, place: &Path) -> Self {
        std::fs::create_dir_all(place).expect("a directory");
        let made = ringway_tls::self_signed(&[], SystemTime::now()).expect("a certificate");
        for (name, pem) in [("cert.pem", &made.chain), ("key.pem", &made.key)] {
            std::fs::write(place.join(name), &pem.bytes).expect("a file");
        }
        let (port, management, names) = (free_port(), free_port(), free_port());
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": place.join("cert.pem"),
            "privateKey": place.join("key.pem"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        std::fs::write(place.join("pebble.json"), config.to_string()).expect("a file");
        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args([
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-management",
            "",
        ]);
        resolver.args(["-dns01", &format!("127.0.0.1:{names}")]);
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(place.join("pebble.json"));
        pebble.args(["-dnsserver", &format!("127.0.0.1:{names}")]);
        // No pauses of its own, and the usual share of nonces that it does not take.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "5");
        let children = [resolver, pebble].map(|mut command| {
            let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            quiet.spawn().expect("Pebble can be started (Debian's package pebble)")
        });
        let own = Self { children, port, certificate: made.chain };
        own.wait_for(port);
        own.wait_for(names);
        own
    }

    /// How it is asked.
    pub(crate) fn options(&self) -> AuthorityOptions {
        AuthorityOptions {
            directory: format!("https://127.0.0.1:{}/dir", self.port),
            email: Some("operator@example.org".to_owned()),
            agree: true,
            authorities: Authorities::Only(self.certificate.clone()),
        }
    }

    fn wait_for(&self, port: u16) {
        let begin = Instant::now();
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
            assert!(begin.elapsed() < PATIENCE, "Pebble does not listen on {port}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// A port that is free for TCP and UDP at the moment.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
