//! A server of scripts under test.

use ringway::assembly::{Provisions, Running, Started};
use ringway::config::load;
use ringway::config::settings::Driver;
use ringway::engine::ring::socket::Address;
use ringway::engine::{Server, ring};
use ringway_testkit::{Answer, Client, Scratch};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test on each driver that this kernel lets work.
pub(crate) fn on_both_drivers(test: fn(Driver)) {
    if let Err(error) = ring::probe() {
        eprintln!("SKIPPED: io_uring is refused here: {error}");
    } else {
        test(Driver::Uring);
    }
    test(Driver::Epoll);
}

/// A folder of scripts, `cgi`, and one of a site, `site`.
pub(crate) struct Scripts {
    pub(crate) scratch: Scratch,
    /// What is said of the scripts besides where they are.
    pub(crate) settings: String,
    /// Other routes, and other tables.
    pub(crate) more: String,
}

impl Scripts {
    pub(crate) fn new(name: &str) -> Self {
        let scratch = Scratch::new(&format!("cgi-{name}"));
        for folder in ["cgi", "site"] {
            std::fs::create_dir(scratch.path().join(folder)).unwrap();
        }
        Self { scratch, settings: String::new(), more: String::new() }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, contents: &str) -> PathBuf {
        self.scratch.file(name, contents.as_bytes())
    }

    /// A file that can be executed.
    pub(crate) fn program(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.file(name, contents);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A shell script among the scripts.
    pub(crate) fn shell(&self, name: &str, contents: &str) -> PathBuf {
        self.program(&format!("cgi/{name}"), &format!("#!/bin/sh\n{contents}\n"))
    }

    /// Serves them below `/cgi`.
    pub(crate) fn serve(&self, driver: Driver) -> Served {
        let text = format!(
            "[server]\nworkers = 2\n[log.access]\nformat = \"off\"\n[log.error]\npath = \"error.log\"\nlevel = \"info\"\n\
             [[endpoint]]\nname = \"main\"\nlisten = [\"127.0.0.1:0\"]\n[[site]]\nnames = [\"*\"]\nroot = \"site\"\n\
             [[site.route]]\npath = \"/cgi/**\"\ncgi = {{ root = \"cgi\"{} }}\n{}",
            self.settings, self.more
        );
        Served::new(&text, self.scratch.path(), driver)
    }
}

/// A server that runs.
pub(crate) struct Served {
    server: Option<Server>,
    running: Running,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Served {
    pub(crate) fn new(text: &str, folder: &Path, driver: Driver) -> Self {
        let loaded = load::load_text(Path::new("test.toml"), folder, text, &|_| None);
        assert!(!loaded.report.has_errors(), "{}", loaded.report.text(false));
        let mut config = loaded.config;
        config.server.driver = driver;
        let started = Running::start(&config, &Provisions::own());
        let Started { server, running, .. } = started.unwrap_or_else(|error| panic!("{error}"));
        let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
        Self { server: Some(server), running, address, log: folder.join("error.log") }
    }

    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(self.address).unwrap();
        client.set_patience(PATIENCE);
        client
    }

    /// Asks on a connection of its own.
    pub(crate) fn ask(&self, request: &str) -> Answer {
        let mut client = self.client();
        client.send(request.as_bytes()).unwrap();
        let answer = client
            .answer(request.starts_with("HEAD "))
            .unwrap_or_else(|error| panic!("{request:?}: {error}"));
        assert!(answer.status < 500 || !answer.head.is_empty());
        answer
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: example.org\r\n\r\n"))
    }

    pub(crate) fn post(&self, target: &str, media_type: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: example.org\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut client = self.client();
        client.send(head.as_bytes()).unwrap();
        client.send(body).unwrap();
        client.answer(false).unwrap()
    }

    /// What is in the error log.
    pub(crate) fn said(&self) -> String {
        self.running.kept().flush_errors(PATIENCE);
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the error log says something.
    pub(crate) fn wait_to_say(&self, what: &str) {
        eventually(what, || self.said().contains(what).then_some(()));
    }

    pub(crate) fn stop(mut self) -> String {
        let server = self.server.take().unwrap();
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).unwrap().panics, 0);
        self.said()
    }
}

/// Tries until there is something, patiently but not for ever.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until none of these processes lives.
pub(crate) fn wait_until_dead(processes: &str) {
    eventually(&format!("{processes:?} are gone"), || {
        processes.split_whitespace().all(is_dead).then_some(())
    });
}

fn is_dead(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // One that waits to be buried does not live.
    !stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

/// The text of a body.
pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// What a script has printed as `NAME=value` lines.
pub(crate) fn variable(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}
