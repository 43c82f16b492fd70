//! Real servers of others, each with a directory and a Unix socket of its own, that tests kill and start again.

use crate::stand::{PATIENCE, Place};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server.
pub(crate) struct Daemon {
    place: Place,
    make: fn(&std::path::Path) -> Command,
    /// What it is asked, and what it answers when it is there.
    question: (&'static [u8], &'static [u8]),
    child: Option<Child>,
}

impl Daemon {
    /// Redis, which writes every command to its log before it answers, so that it forgets nothing when it is killed.
    #[cfg(feature = "redis")]
    pub(crate) fn redis(name: &str) -> Self {
        let make = |place: &std::path::Path| {
            let mut command = Command::new("redis-server");
            command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
            command.args(["--loglevel", "warning", "--unixsocket"]).arg(place.join("socket"));
            command.arg("--dir").arg(place);
            command
        };
        Self::start(name, make, (b"PING\r\n", b"+PONG\r\n"))
    }

    #[cfg(feature = "memcached")]
    pub(crate) fn memcached(name: &str) -> Self {
        let make = |place: &std::path::Path| {
            let mut command = Command::new("memcached");
            command.args(["-u", "root", "-m", "16", "-t", "1", "-s"]).arg(place.join("socket"));
            command
        };
        Self::start(name, make, (b"mn\r\n", b"MN\r\n"))
    }

    fn start(
        name: &str,
        make: fn(&std::path::Path) -> Command,
        question: (&'static [u8], &'static [u8]),
    ) -> Self {
        let mut this = Self { place: Place::new(name), make, question, child: None };
        this.again();
        this
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place.path().join("socket")
    }

    #[cfg(feature = "redis")]
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts it again and waits until it answers.
    pub(crate) fn again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut command = (self.make)(self.place.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("its package is installed"));
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < until, "it does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let (question, answer) = self.question;
        let Ok(mut stream) = UnixStream::connect(self.socket()) else { return false };
        let mut said = vec![0; answer.len()];
        stream.write_all(question).is_ok() && stream.read_exact(&mut said).is_ok() && said == answer
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it is dead");
    }

    /// What Redis answers to a command, without its last line end.
    #[cfg(all(feature = "redis", feature = "websockets"))]
    pub(crate) fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("it runs");
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).expect("it takes it");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("text");
        said.strip_suffix("+OK\r\n").unwrap_or(&said).trim_end().to_owned()
    }

    /// Stops it from answering, and lets it go on.
    #[cfg(feature = "redis")]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(done.success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _dead_already = child.kill();
            let _dead_already = child.wait();
        }
    }
}
