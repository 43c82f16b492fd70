//! A `ringway serve` process under test, and what its system knows of it.

use ringway::engine::ring;
use ringway_testkit::{Answer, Client};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a server may take to start, and to do anything else that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the kernel may keep for a client that does not read.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Whether the long runs are wanted (`RINGWAY_SLOW=1`).
pub(crate) fn is_slow_run() -> bool {
    std::env::var_os("RINGWAY_SLOW").is_some_and(|value| value == "1")
}

/// What carries the server's operations out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Uring,
    Epoll,
}

impl Driver {
    fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Runs a test on each driver that this kernel lets work, at the same time: most tests wait for something.
pub(crate) fn on_both_drivers(test: fn(Driver)) {
    let uring = move || match ring::probe() {
        Err(error) => eprintln!("SKIPPED: io_uring is refused here: {error}"),
        Ok(_) => test(Driver::Uring),
    };
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let runs = [named("uring").spawn(uring), named("epoll").spawn(move || test(Driver::Epoll))];
    let joined = runs.map(|run| run.expect("a thread").join());
    // Each has said by now what is wrong.
    assert!(joined.iter().all(Result::is_ok), "on {}", if joined[0].is_err() { "uring" } else { "epoll" });
}

/// A server to be started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    driver: Driver,
    root: PathBuf,
    arguments: Vec<String>,
    descriptors_max: Option<u32>,
}

impl Setup {
    /// A server of `root` on a free port of the loopback, with one worker and without access log unless told otherwise.
    pub(crate) fn new(driver: Driver, root: &Path) -> Self {
        Self { driver, root: root.to_owned(), arguments: Vec::new(), descriptors_max: None }
    }

    /// Adds arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Limits the process's descriptors, for good.
    pub(crate) fn descriptors_max(mut self, most: u32) -> Self {
        self.descriptors_max = Some(most);
        self
    }

    /// The command, not started.
    pub(crate) fn command(&self) -> Command {
        let mut command = match self.descriptors_max {
            None => Command::new(binary()),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\""), binary()]);
                shell
            }
        };
        command.arg("serve").arg(&self.root).args(["--driver", self.driver.name()]);
        for (option, default) in [("--listen", "127.0.0.1:0"), ("--workers", "1"), ("--log", "off")] {
            if !self.arguments.iter().any(|argument| argument == option) {
                command.args([option, default]);
            }
        }
        command.args(&self.arguments);
        command
    }

    /// Starts it and waits until it listens. Standard output is gathered.
    pub(crate) fn start(&self) -> Server {
        self.start_with(Stdio::piped())
    }

    /// Starts it with another standard output.
    pub(crate) fn start_with(&self, stdout: Stdio) -> Server {
        let mut command = self.command();
        let mut child =
            command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().expect("starts");
        let stdout = child.stdout.take().map(gather);
        let (lines, stderr) = watch(child.stderr.take().expect("piped"));
        let mut server = Server {
            child,
            address: None,
            stdout,
            stderr: Some(stderr),
            seen: String::new(),
            is_over: false,
        };
        server.wait_for_address(&lines);
        server
    }
}

/// The binary under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_ringway")
}

/// A running server. Dropped, it is killed; that it had ended by itself, or panicked, fails the test.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: Option<SocketAddr>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<String>>,
    /// What it said until it listened.
    seen: String,
    is_over: bool,
}

/// What was left of a server.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Server {
    /// Where it listens; for servers on TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("it listens on TCP")
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address()).expect("it listens")
    }

    /// A connection whose kernel does not take everything in by itself, with these requests sent on it.
    pub(crate) fn narrow(&self, requests: &str) -> TcpStream {
        // Not inherited by servers that other tests start meanwhile.
        let flags = SocketFlags::CLOEXEC;
        let stream = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        set_socket_recv_buffer_size(&stream, RECEIVE_BYTES).expect("a socket");
        rustix::net::connect(&stream, &self.address()).expect("it listens");
        let mut stream = TcpStream::from(stream);
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(requests.as_bytes()).expect("it reads");
        stream
    }

    /// Asks on a connection of its own. `fields` are whole lines.
    pub(crate) fn ask(&self, method: &str, target: &str, fields: &str) -> Answer {
        let mut client = self.client();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        client.send(request.as_bytes()).expect("it reads");
        client.answer(method == "HEAD").unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// GET.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        let status = eventually("the server ends", || self.child.try_wait().expect("a child of ours"));
        self.is_over = true;
        self.ended(status)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status_field("VmRSS:")
    }

    /// Open descriptors, and what they are.
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let shown = |entry: std::io::Result<std::fs::DirEntry>| {
            let target = std::fs::read_link(entry.ok()?.path()).ok()?;
            Some(target.display().to_string())
        };
        entries.filter_map(shown).collect()
    }

    /// How many of its descriptors are sockets.
    pub(crate) fn sockets(&self) -> usize {
        self.descriptors().iter().filter(|name| name.starts_with("socket:")).count()
    }

    /// CPU time used so far, in clock ticks.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("every process has it");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    fn wait_for_address(&mut self, lines: &Receiver<String>) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen += &line;
            let url = line.trim().strip_prefix("at http://").or(line.trim().strip_prefix("at https://"));
            if let Some(url) = url {
                let address = url.trim_end_matches('/').parse().expect("an address");
                self.address.get_or_insert(address);
            }
            if line.contains("Ctrl-C stops") {
                return;
            }
        }
        panic!("the server does not start: {}", self.seen);
    }

    fn ended(&mut self, status: ExitStatus) -> Ended {
        let stdout = self.stdout.take().map(|thread| thread.join().expect("it gathers")).unwrap_or_default();
        let stderr = self.stderr.take().expect("not taken yet").join().expect("it gathers");
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ended { status, stdout, stderr }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let ended = self.child.try_wait();
        let _gone_already = self.child.kill();
        let status = self.child.wait();
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        if std::thread::panicking() {
            eprintln!("the server said: {stderr}");
            return;
        }
        assert!(matches!(ended, Ok(None)), "the server ended by itself: {status:?}\n{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

impl Ended {
    /// Asserts that it stopped as asked.
    pub(crate) fn cleanly(self) -> Self {
        assert_eq!((self.status.code(), self.status.signal()), (Some(0), None), "{}", self.stderr);
        self
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

/// Gives a file a last change long ago, so that its entity tag is strong.
pub(crate) fn age(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).expect("a file of ours");
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    file.set_modified(long_ago).expect("a file of ours");
}

/// Bytes that look like no others: a wrong offset shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut rng = ringway_testkit::Rng::new(len as u64);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.bits().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn gather(mut stdout: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _broken = stdout.read_to_end(&mut all);
        all
    })
}

/// Hands lines over while somebody listens, and gathers all of them.
fn watch(stderr: impl Read + Send + 'static) -> (Receiver<String>, JoinHandle<String>) {
    let (sender, lines) = channel();
    let gather = std::thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            all += &line;
            all.push('\n');
            let _started_already = sender.send(line + "\n");
        }
        all
    });
    (lines, gather)
}
