//! A package that is developed, and the command that does it.

use ringway_testkit::{Answer, Client, Scratch};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take: compilers are slow where tests are many.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What the package is before it is changed.
pub(crate) const SERVER: &str = include_str!("server.rs.txt");

/// A package in a directory of its own.
pub(crate) struct Package {
    scratch: Scratch,
}

impl Package {
    pub(crate) fn new(name: &str) -> Self {
        let package = Self { scratch: Scratch::new(name) };
        package.write(
            "Cargo.toml",
            "[package]\nname = \"developed\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
        );
        package.write("src/main.rs", SERVER);
        package
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.scratch.path().join(name);
        fs::create_dir_all(path.parent().expect("below the package")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    /// The server, saying something else.
    pub(crate) fn says(&self, word: &str) {
        self.write("src/main.rs", &SERVER.replace("\"one\"", &format!("{word:?}")));
    }

    pub(crate) fn develop(&self, arguments: &[&str]) -> Developed {
        // Its own directory for what is built, whatever the tests have.
        Developed::start(&self.path(), &self.path().join("target"), arguments)
    }
}

/// `ringway dev`, running.
pub(crate) struct Developed {
    child: Child,
    lines: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
}

impl Developed {
    /// Develops the package at `path`, with what is built in `target`.
    pub(crate) fn start(path: &Path, target: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.arg("dev").arg(path).args(["--port", "0"]).args(arguments);
        command.env("CARGO_TARGET_DIR", target);
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(variable);
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
        let lines = Arc::new(Mutex::new(String::new()));
        let (pipe, into) = (child.stderr.take().expect("piped"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                eprintln!("  dev: {line}");
                let mut into = into.lock().expect("nobody panics here");
                into.push_str(&line);
                into.push('\n');
            }
        });
        let mut developed = Developed { child, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let is_tls = arguments.contains(&"--tls");
        let start = if is_tls { "https://" } else { "http://" };
        developed.address = eventually("its address is told", || {
            let said = developed.said();
            let address = said.split(start).nth(1)?.split('/').next()?.to_owned();
            address.parse().ok()
        });
        developed
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        self.lines.lock().expect("nobody panics here").clone()
    }

    /// Asks as a browser does, over a connection of its own.
    pub(crate) fn ask(&self, path: &str) -> std::io::Result<Answer> {
        let mut client = Client::connect(self.address)?;
        client.send(
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        )?;
        client.answer(false)
    }

    /// Waits for an answer whose body has `word` in it.
    pub(crate) fn shows(&self, word: &str) -> String {
        eventually(word, || {
            let answer = self.ask("/").expect("every connection is answered");
            let body = String::from_utf8(answer.body).expect("text");
            body.contains(word).then_some(body)
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("it ends", || self.child.try_wait().expect("it is ours"))
    }
}

impl Drop for Developed {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended_already = kill_process(self.pid(), Signal::INT);
            let _reaped = self.child.wait();
        }
    }
}

pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
