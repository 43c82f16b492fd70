//! A server with endpoints, and what its console says of them.

use crate::stand::{Running, Stand, binary, done};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// How long a peer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with endpoints beside the one for its site.
pub(crate) struct Place {
    pub(crate) stand: Stand,
    pub(crate) running: Running,
}

impl Place {
    /// Starts a server with these tables in its configuration.
    pub(crate) fn start(name: &str, driver: &str, tables: &str) -> Self {
        let mut stand = Stand::new(name, driver);
        stand.console = "socket = \"console.sock\"".to_owned();
        // Where `@/` is the stand's own folder.
        stand.more = tables.replace("@/", &format!("{}/", stand.at("").display()));
        stand.write();
        let running = stand.start();
        Self { stand, running }
    }

    /// Another configuration; what was said.
    pub(crate) fn reload(&mut self, tables: &str) -> String {
        self.stand.more = tables.to_owned();
        self.stand.write();
        self.stand.reload()
    }

    /// A command of the console.
    pub(crate) fn ask(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(["console", "--socket"]).arg(self.stand.at("console.sock")).args(words);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What a command of the console says, for machines.
    pub(crate) fn told(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
        let said = done(&self.ask(&words));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Where an endpoint listens.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let endpoints = self.told(&["endpoints"]);
        let found = endpoints.as_array().unwrap().iter().find(|endpoint| endpoint["name"] == name);
        let address = found.unwrap_or_else(|| panic!("no endpoint {name}: {endpoints}"));
        address["address"].as_str().unwrap().parse().unwrap()
    }

    /// A connection to an endpoint.
    pub(crate) fn connect(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect(self.address(name)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A figure of an endpoint's handler.
    pub(crate) fn figure(&self, name: &str, figure: &str) -> u64 {
        self.told(&["endpoints", name])[figure].as_u64().unwrap_or_else(|| panic!("no {figure}"))
    }
}

/// A connection to a Unix socket.
pub(crate) fn connect_to(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A socket for datagrams to an address.
pub(crate) fn datagrams_to(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(address).unwrap();
    socket
}

/// Sends, and gets as many bytes as that back.
pub(crate) fn echoed(stream: &mut (impl Read + Write), said: &[u8]) -> Vec<u8> {
    stream.write_all(said).unwrap();
    let mut heard = vec![0; said.len()];
    stream.read_exact(&mut heard).unwrap();
    heard
}

/// What comes until the end; a connection that is reset has ended.
pub(crate) fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => heard,
    }
}
