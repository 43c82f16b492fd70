//! The Autobahn test suite for WebSockets: what it plays against, and what it says of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Scratch, free_port};

/// How long its server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a running suite is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What takes seconds: frames, pings, reserved bits and opcodes, fragments, UTF-8, closing, fragments of the suite's own making,
/// and of compression a few.
const QUICK: [&str; 12] =
    ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "12.1.1", "12.2.2", "13.3.3", "13.5.1"];

/// Messages of up to 16 MiB, and compression of a thousand messages a case: many minutes.
const LONG: [&str; 3] = ["9.*", "12.*", "13.*"];

/// How long all of the long cases may take, on a machine that has other things to do.
pub const PATIENCE_OF_ALL: Duration = Duration::from_secs(3 * 3600);

/// The name that what is tested has in reports.
pub const AGENT: &str = "ringway";

/// The cases that take seconds.
#[must_use]
pub fn quick() -> Vec<String> {
    QUICK.map(str::to_owned).to_vec()
}

/// The cases to run: the quick ones, with `RINGWAY_SLOW=1` all, and with `RINGWAY_AUTOBAHN="12.1.* 13.3.*"` just those.
#[must_use]
pub fn chosen() -> Vec<String> {
    if let Ok(asked) = std::env::var("RINGWAY_AUTOBAHN") {
        return asked.split_whitespace().map(str::to_owned).collect();
    }
    let slow = std::env::var_os("RINGWAY_SLOW").is_some_and(|value| value == "1");
    let long: &[&str] = if slow { &LONG } else { &[] };
    QUICK.iter().chain(long).map(|section| (*section).to_owned()).collect()
}

/// What the suite says of every case that it ran.
#[derive(Debug)]
pub struct Verdicts(BTreeMap<String, Verdict>);

/// What it says of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `OK`, `NON-STRICT`, `INFORMATIONAL`, `UNIMPLEMENTED`, `FAILED` or another word for that.
    pub behavior: String,
    /// The same of how the connection was closed.
    pub closing: String,
}

impl Verdict {
    fn is_strict(&self) -> bool {
        let strict = |word: &str| matches!(word, "OK" | "INFORMATIONAL");
        strict(&self.behavior) && strict(&self.closing)
    }
}

impl Verdicts {
    /// How many cases were run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The cases that did not pass, each with what was said of it. Passed are those that are OK, and those that only
    /// inform because anything would be right; what is not implemented has not passed.
    #[must_use]
    pub fn wanting(&self) -> Vec<String> {
        let wanting = self.0.iter().filter(|(_, verdict)| !verdict.is_strict());
        wanting.map(|(case, verdict)| format!("{case}: {}, {}", verdict.behavior, verdict.closing)).collect()
    }

    /// Holds `what` to having passed every case.
    ///
    /// # Panics
    /// When a case did not pass, or none was run.
    pub fn judge(&self, what: &str) {
        let wanting = self.wanting();
        eprintln!("{what}: {} cases, {} of them wanting", self.count(), wanting.len());
        assert!(self.count() > 0, "no case was run");
        assert!(wanting.is_empty(), "{what}: {}", wanting.join("\n"));
    }

    fn read(reports: &Path) -> Self {
        let path = reports.join("index.json");
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let index: serde_json::Value = serde_json::from_slice(&text).expect("the suite's report is JSON");
        let cases = index[AGENT].as_object().expect("the report is on what was tested");
        let word = |value: &serde_json::Value| value.as_str().unwrap_or("nothing").to_owned();
        let verdict = |of: &serde_json::Value| Verdict {
            behavior: word(&of["behavior"]),
            closing: word(&of["behaviorClose"]),
        };
        Self(cases.iter().map(|(case, of)| (case.clone(), verdict(of))).collect())
    }
}

/// Where the suite's program is, if it is installed: `cargo xtask test --install` does it.
fn program() -> PathBuf {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = home("XDG_CACHE_HOME").or_else(|| home("HOME").map(|home| home.join(".cache")));
    let path = cache.unwrap_or_else(std::env::temp_dir).join("ringway/autobahn/bin/wstest");
    assert!(path.exists(), "{} is missing: `cargo xtask test --install` installs it", path.display());
    path
}

/// Plays `cases` (such as `1.*`) as a client against the server at `url`, which echoes.
///
/// # Panics
/// When the suite is not installed, or takes longer than `patience`.
#[must_use]
pub fn play_client(url: &str, cases: &[String], patience: Duration) -> Verdicts {
    let scratch = Scratch::new("autobahn");
    let servers = serde_json::json!([{ "agent": AGENT, "url": url }]);
    let mut running = Running::start(&scratch, "fuzzingclient", cases, &[("servers", servers)]);
    let begin = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().expect("the suite can be waited for") {
            assert!(status.success(), "the suite ended with {status}: {}", said(&scratch));
            return Verdicts::read(scratch.path());
        }
        assert!(begin.elapsed() < patience, "the suite is not done after {patience:?}: {}", said(&scratch));
        std::thread::sleep(GLANCE);
    }
}

/// The suite as a server, which clients play against: a case is a connection to `/runCase?case=1&agent=ringway`, and
/// `/getCaseCount` sends how many there are. Dropping it ends it.
#[derive(Debug)]
pub struct FuzzingServer {
    scratch: Scratch,
    _running: Running,
    port: u16,
}

impl FuzzingServer {
    /// Starts it with `cases`.
    ///
    /// # Panics
    /// When the suite is not installed, or does not come to listen.
    #[must_use]
    pub fn start(cases: &[String]) -> Self {
        let scratch = Scratch::new("autobahn");
        let port = free_port();
        let url = serde_json::json!(format!("ws://127.0.0.1:{port}"));
        let running = Running::start(&scratch, "fuzzingserver", cases, &[("url", url)]);
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "the suite does not listen: {}", said(&scratch));
            std::thread::sleep(GLANCE);
        }
        Self { scratch, _running: running, port }
    }

    /// The port of the loopback where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it says, once a client has connected to `/updateReports?agent=ringway` and was closed.
    ///
    /// # Panics
    /// When it wrote no report.
    #[must_use]
    pub fn verdicts(&self) -> Verdicts {
        Verdicts::read(self.scratch.path())
    }
}

/// What the suite printed, for whoever looks at a failure.
fn said(scratch: &Scratch) -> String {
    std::fs::read_to_string(scratch.path().join("said")).unwrap_or_default()
}

/// A process of the suite.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn start(scratch: &Scratch, mode: &str, cases: &[String], more: &[(&str, serde_json::Value)]) -> Self {
        let mut spec = serde_json::json!({
            "outdir": scratch.path(),
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        });
        for (name, value) in more {
            spec[*name] = value.clone();
        }
        let spec = scratch.file("spec.json", spec.to_string().as_bytes());
        let log = File::create(scratch.path().join("said")).expect("a file");
        let mut command = Command::new(program());
        // No pages about itself, which would have a port of their own.
        command
            .args(["--webport=0", "-m", mode, "-s"])
            .arg(spec)
            .current_dir(scratch.path())
            .stdin(Stdio::null());
        command.stderr(log.try_clone().expect("a descriptor")).stdout(log);
        Self(command.spawn().expect("the suite can be started"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
