//! A server under test, made from the text of a configuration.

use ringway::assembly::{AssemblyError, Provisions, Running, Started};
use ringway::config::load;
use ringway::config::settings::{Config, Driver};
use ringway::config::surroundings::{self, Questions};
use ringway::engine::ring::socket::Address;
use ringway::engine::{Server, ring};
use ringway_testkit::{Answer, Client, Scratch};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// An endpoint on a port of the kernel's choice.
pub(crate) const ENDPOINT: &str =
    "[[endpoint]]\nname = \"main\"\nlisten = [\"127.0.0.1:0\"]\n[log.access]\nformat = \"off\"\n";

/// How long a server may take to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// The drivers that this kernel lets work.
pub(crate) fn drivers() -> Vec<Driver> {
    match ring::probe() {
        Ok(_) => vec![Driver::Uring, Driver::Epoll],
        Err(error) => {
            eprintln!("SKIPPED on io_uring, which is refused here: {error}");
            vec![Driver::Epoll]
        }
    }
}

/// What a text says, with paths below `folder`; it must be without errors.
pub(crate) fn config(text: &str, folder: &Path) -> Config {
    let mut loaded = load::load_text(Path::new("test.toml"), folder, text, &|_| None);
    surroundings::check(&mut loaded, Questions::default());
    assert!(!loaded.report.has_errors(), "{}", loaded.report.text(false));
    loaded.config
}

/// A server that runs.
pub(crate) struct Served {
    server: Option<Server>,
    pub(crate) running: Running,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Served {
    /// Serves what a text says, on two workers.
    pub(crate) fn new(text: &str, folder: &Path, driver: Driver) -> Self {
        let mut config = config(text, folder);
        config.server.driver = driver;
        config.server.workers = 2;
        let started = Running::start(&config, &Provisions::own());
        let Started { server, running, .. } = started.unwrap_or_else(|error| panic!("{error}"));
        let tcp = |address: &Address| match address {
            Address::Tcp(tcp) => Some(*tcp),
            Address::Unix(_) => None,
        };
        let addresses = server.addresses().iter().filter_map(tcp).collect();
        Self { server: Some(server), running, addresses }
    }

    /// Serves what another text says.
    pub(crate) fn reload(&mut self, text: &str, folder: &Path) -> Result<Vec<String>, AssemblyError> {
        self.running.reload(&config(text, folder), &Provisions::own())
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addresses[0]).expect("the server listens")
    }

    /// Asks for a path of a host, with more lines.
    pub(crate) fn ask(&self, host: &str, path: &str, lines: &str) -> Answer {
        let mut client = self.client();
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n").as_bytes())
            .expect("it is taken");
        client.answer(false).unwrap_or_else(|error| panic!("GET {path} of {host}: {error}"))
    }

    /// The status and the body of what a path of a host gives.
    pub(crate) fn get(&self, host: &str, path: &str) -> (u16, String) {
        let answer = self.ask(host, path, "");
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        server.drain(DRAIN);
        let ended = server.wait(DRAIN);
        if !std::thread::panicking() {
            ended.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// A directory with some files.
pub(crate) fn files(name: &str, files: &[(&str, &str)]) -> Scratch {
    let scratch = Scratch::new(name);
    for (path, text) in files {
        scratch.file(path, text.as_bytes());
    }
    scratch
}
