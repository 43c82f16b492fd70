//! A `ringway run` process with upstreams.

use ringway_testkit::{Answer, Client, Scratch};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration: an upstream `app`, and a site whose route `/**` it answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Addresses of its backends.
    pub(crate) backends: Vec<String>,
    /// Settings of the upstream.
    pub(crate) upstream: String,
    /// Settings of the route's `proxy`, besides `upstream`.
    pub(crate) proxy: String,
    /// Settings of the route, and what follows it.
    pub(crate) more: String,
    /// Settings of `[server]`.
    pub(crate) server: String,
    /// Settings of the endpoint.
    pub(crate) endpoint: String,
    /// Settings of `[limits]`.
    pub(crate) limits: String,
}

impl Setup {
    /// With one backend for each address.
    pub(crate) fn before(backends: &[SocketAddr]) -> Self {
        Self { backends: backends.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    fn text(&self) -> String {
        let Self { upstream, proxy, more, server, endpoint, limits, .. } = self;
        let mut text = format!(
            "[server]\npid_file = \"pid\"\nworkers = 1\n{server}\n[console]\nenabled = false\n[log.access]\npath = \"access.log\"\n\
             [limits]\n{limits}\n[[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\n{endpoint}\n\
             [[upstream]]\nname = \"app\"\n{upstream}\n"
        );
        for backend in &self.backends {
            writeln!(text, "[[upstream.backend]]\naddress = \"{backend}\"").unwrap();
        }
        write!(
            text,
            "[[site]]\nnames = [\"*\"]\n[[site.route]]\npath = \"/**\"\nproxy = {{ upstream = \"app\"{}{proxy} }}\n{more}\n",
            if proxy.is_empty() { "" } else { ", " }
        )
        .unwrap();
        text
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(&self, name: &str) -> Running {
        Running::start(name, &self.text())
    }
}

/// A supervisor. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    address: SocketAddr,
    scratch: Scratch,
    kept: Vec<Scratch>,
}

impl Running {
    /// Starts it with a configuration and waits until it serves.
    pub(crate) fn start(name: &str, config: &str) -> Self {
        let scratch = Scratch::new(name);
        let file: PathBuf = scratch.file("ringway.toml", config.as_bytes());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command
            .arg("run")
            .arg("-c")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = lines.lock().unwrap();
                *said += &line;
                said.push('\n');
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = Self { child, said, address: nowhere, scratch, kept: Vec::new() };
        running.wait_to_say("Ready.");
        let said = running.said();
        let url = said.lines().find_map(|line| line.trim().strip_prefix("at ")?.strip_prefix("http://"));
        running.address = url.unwrap().trim_end_matches('/').parse().unwrap();
        running
    }

    /// Keeps a folder that it serves.
    pub(crate) fn keep(mut self, scratch: Scratch) -> Self {
        self.kept.push(scratch);
        self
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it says something.
    pub(crate) fn wait_to_say(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.said().contains(what) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended ({status}) before it said {what:?}: {}", self.said());
            }
            assert!(Instant::now() < deadline, "it does not say {what:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the access log has so many lines; all of it.
    pub(crate) fn access_log(&self, lines: usize) -> String {
        eventually("lines of the access log", || {
            let text = std::fs::read_to_string(self.scratch.path().join("access.log")).unwrap_or_default();
            (text.lines().count() >= lines).then_some(text)
        })
    }

    /// A connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Sends a request on a connection of its own, with `lines` in its head.
    pub(crate) fn ask(&self, line: &str, lines: &str, body: &[u8]) -> Answer {
        ask(&mut self.client(), line, lines, body)
    }

    /// Asks for a target on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), "", b"")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id()));
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        for number in children.unwrap_or_default().split_whitespace() {
            if let Some(process) = number.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ended_already = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
        if std::thread::panicking() {
            eprintln!("ringway said: {}", self.said());
        }
    }
}

/// Sends a request on a connection that is kept.
pub(crate) fn ask(client: &mut Client, line: &str, lines: &str, body: &[u8]) -> Answer {
    send(client, line, lines, body);
    client.answer(line.starts_with("HEAD")).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Sends a request.
pub(crate) fn send(client: &mut Client, line: &str, lines: &str, body: &[u8]) {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{line} HTTP/1.1\r\nHost: test.example\r\n{length}{lines}\r\n");
    client.send(&[head.as_bytes(), body].concat()).unwrap();
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
