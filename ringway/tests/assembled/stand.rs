//! A server of a configuration under test.

use ringway::assembly::{Provisions, Running, Started};
use ringway::config::load;
use ringway::config::settings::Config;
use ringway::engine::Server;
use ringway::engine::ring::socket::Address;
use ringway_testkit::{Answer, Client};
use std::path::Path;
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Stand {
    server: Server,
    running: Running,
}

/// The configuration in `text`, whose paths are below `folder`; what is to be said against it fails the test.
pub(crate) fn config(folder: &Path, text: &str) -> Config {
    let ours = "[server]\nworkers = 1\n[log.access]\nformat = \"off\"\n\
        [[endpoint]]\nname = \"main\"\nlisten = [\"127.0.0.1:0\"]\n";
    let environment = |_: &str| None;
    let text = format!("{ours}{text}");
    let loaded = load::load_text(&folder.join("ringway.toml"), folder, &text, &environment);
    assert!(!loaded.report.has_errors(), "{}", loaded.report.text(false));
    loaded.config
}

impl Stand {
    pub(crate) fn start(config: &Config) -> Self {
        let Started { server, running, .. } =
            Running::start(config, &Provisions::own()).unwrap_or_else(|why| panic!("{why}"));
        Self { server, running }
    }

    pub(crate) fn reload(&mut self, config: &Config) {
        self.running.reload(config, &Provisions::own()).unwrap_or_else(|why| panic!("{why}"));
    }

    pub(crate) fn client(&self) -> Client {
        let Address::Tcp(address) = self.server.addresses()[0].clone() else { panic!("TCP was asked for") };
        Client::connect(address).expect("it listens")
    }

    /// Asks `host` for `target` on a connection of its own.
    pub(crate) fn get(&self, host: &str, target: &str) -> Answer {
        let mut client = self.client();
        client.send(get(host, target).as_bytes()).expect("it is open");
        client.answer(false).expect("an answer")
    }

    pub(crate) fn stop(self) {
        self.server.drain(PATIENCE);
        assert_eq!(self.server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

/// The head of a request.
pub(crate) fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}
