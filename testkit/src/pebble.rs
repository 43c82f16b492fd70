//! A real certificate authority for tests: Pebble, with ports and names of its own.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running authority. Dropping it ends it.
#[derive(Debug)]
pub struct Pebble {
    children: [Child; 2],
    port: u16,
}

impl Pebble {
    /// Starts one that looks at proofs on these ports of the loopback, whatever the name, and shows its clients the
    /// certificate in `cert.pem` with the key in `key.pem`, both in `place`.
    ///
    /// # Panics
    /// When it cannot be started, or does not come to listen.
    #[must_use]
    pub fn start(http_port: u16, tls_port: u16, place: &Path) -> Self {
        let (port, management, names) = (free_port(), free_port(), free_port());
        let shown = |name: &str| place.join(name).display().to_string();
        let config = format!(
            "{{\"pebble\": {{\"listenAddress\": \"127.0.0.1:{port}\", \"managementListenAddress\": \"127.0.0.1:{management}\", \
             \"certificate\": {:?}, \"privateKey\": {:?}, \"httpPort\": {http_port}, \"tlsPort\": {tls_port}, \
             \"ocspResponderURL\": \"\", \"externalAccountBindingRequired\": false}}}}",
            shown("cert.pem"),
            shown("key.pem")
        );
        std::fs::write(place.join("pebble.json"), config).expect("a file");
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
        let own = Self { children, port };
        wait_for(port);
        wait_for(names);
        own
    }

    /// URL of its directory.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
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

/// A port of the loopback that is free for TCP and UDP at the moment.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn wait_for(port: u16) {
    let begin = Instant::now();
    while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
        assert!(begin.elapsed() < PATIENCE, "Pebble does not listen on {port}");
        std::thread::yield_now();
    }
}
