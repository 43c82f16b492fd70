//! The test stand: the lab's binary as a server in the background or as a command that ends.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The kinds of servers that this kernel offers; a missing one is told.
pub(crate) fn kinds() -> Vec<&'static str> {
    let mut kinds = vec!["epoll", "plain-epoll", "plain-blocking"];
    // On a thread of its own: the end of a ring interrupts waits on the thread that made it.
    match std::thread::spawn(ringway_ring::probe).join().expect("no panic") {
        Ok(_features) => kinds.insert(0, "uring"),
        Err(reason) => eprintln!("SKIPPED on io_uring: {reason}"),
    }
    kinds
}

/// Only the engine's kinds.
pub(crate) fn engine_kinds() -> Vec<&'static str> {
    kinds().into_iter().filter(|kind| !kind.starts_with("plain")).collect()
}

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-lab"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut child = lab(arguments).spawn().expect("the binary runs");
    drop(child.stdin.take());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it can be waited for").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("ours");
            let output = child.wait_with_output().expect("it ended");
            panic!("{arguments:?} does not end; it said: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("it ended")
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

/// Runs `echo load ADDRESS …` and reads what it found.
pub(crate) fn load(address: SocketAddr, arguments: &[&str]) -> Run {
    let address = address.to_string();
    let all = [&["echo", "load", &address, "--json", "-", "--quiet"], arguments].concat();
    read(&run(&all))
}

/// Reads the JSON of a run.
pub(crate) fn read(output: &Output) -> Run {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("no JSON ({error}); it said: {stderr}"));
    Run { code: output.status.code(), json, stderr }
}

impl Run {
    /// A table of the outcome.
    pub(crate) fn rows(&self, table: &str) -> Vec<Value> {
        let tables = self.json["tables"].as_array().expect("an outcome has tables");
        let found = tables.iter().find(|found| found["name"] == table);
        let found = found.unwrap_or_else(|| panic!("there is no table {table:?}: {}", self.stderr));
        found["rows"].as_array().expect("a table has rows").clone()
    }

    /// A number of the clients' table.
    pub(crate) fn count(&self, column: &str) -> u64 {
        let row = &self.rows("load")[0];
        let number = row[column].as_f64().unwrap_or_else(|| panic!("no number {column:?} in {row}"));
        assert!(number >= 0.0 && number.fract() == 0.0, "{column} is {number}");
        number.to_string().parse().expect("a whole number")
    }

    /// Asserts that everything was answered rightly.
    pub(crate) fn succeeded(self) -> Run {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert_eq!(self.json["failure"], Value::Null);
        self
    }

    /// The first failure's description.
    pub(crate) fn first_failure(&self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert!(self.json["failure"].is_string(), "the outcome says so");
        let row = &self.rows("failures")[0];
        format!("{}: {}", row["what"].as_str().expect("text"), row["where and how"].as_str().expect("text"))
    }
}

/// A server of the lab's own in the background.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    /// Starts it with `arguments` and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Server {
        let mut child = lab(arguments).args(["--attached", "--json", "-"]).spawn().expect("the binary runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("it says something");
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("it does not listen but says {line:?}"));
        Server { address: address.parse().expect("an address"), child, stderr }
    }

    /// A connection with bounded patience.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    /// Closes its standard input, which ends it, and reads what it counted.
    pub(crate) fn stop(mut self) -> Run {
        drop(self.child.stdin.take());
        let mut stdout = Vec::new();
        self.child.stdout.take().expect("piped").read_to_end(&mut stdout).expect("it ends");
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("text");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{rest}");
        Run { code: status.code(), json: serde_json::from_slice(&stdout).expect("JSON"), stderr: rest }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failing test leaves no server behind it.
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One of a server's totals.
pub(crate) fn total(run: &Run, name: &str) -> u64 {
    let rows = run.rows("server");
    let row = rows.iter().find(|row| row["what"] == name);
    let value = row.and_then(|row| row["value"].as_f64()).unwrap_or_else(|| panic!("no total {name:?}"));
    value.to_string().parse().expect("a whole number")
}
