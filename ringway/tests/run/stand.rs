//! A `ringway run` process under test.

use ringway::engine::ring;
use ringway_testkit::{Answer, Client, Scratch};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the long runs are wanted (`RINGWAY_SLOW=1`).
pub(crate) fn is_slow_run() -> bool {
    std::env::var_os("RINGWAY_SLOW").is_some_and(|value| value == "1")
}

/// Runs a test on each driver that this kernel lets work.
pub(crate) fn on_both_drivers(test: fn(&str)) {
    if let Err(error) = ring::probe() {
        eprintln!("SKIPPED: io_uring is refused here: {error}");
    } else {
        test("uring");
    }
    test("epoll");
}

/// The binary under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_ringway")
}

/// A folder with a configuration, a site and a binary.
#[derive(Debug)]
pub(crate) struct Stand {
    scratch: Scratch,
    /// Replaces `[server]` settings and adds tables.
    pub(crate) server: String,
    pub(crate) more: String,
    pub(crate) listen: String,
    pub(crate) endpoint: String,
    pub(crate) console: String,
    pub(crate) log: String,
    pub(crate) root: String,
}

impl Stand {
    /// With one file, `index.html`, that says `one`, in the root `site`; two workers.
    pub(crate) fn new(name: &str, driver: &str) -> Self {
        let scratch = Scratch::new(name);
        for (folder, says) in [("site", "one"), ("other", "two")] {
            std::fs::create_dir(scratch.path().join(folder)).unwrap();
            scratch.file(&format!("{folder}/index.html"), says.as_bytes());
        }
        let stand = Self {
            scratch,
            server: format!("driver = \"{driver}\"\nworkers = 2\ndrain = \"30s\"\n"),
            more: String::new(),
            listen: "127.0.0.1:0".to_owned(),
            endpoint: String::new(),
            console: "enabled = false".to_owned(),
            log: "format = \"off\"".to_owned(),
            root: "site".to_owned(),
        };
        stand.write();
        stand
    }

    /// A path in the folder.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes a file in the folder.
    pub(crate) fn file(&self, name: &str, contents: &[u8]) {
        self.scratch.file(name, contents);
    }

    /// The configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.at("ringway.toml")
    }

    /// Writes the configuration.
    pub(crate) fn write(&self) {
        let Self { server, more, listen, endpoint, console, log, root, .. } = self;
        let text = format!(
            "[server]\npid_file = \"pid\"\n{server}\n[console]\n{console}\n[log.access]\n{log}\n\
             [[endpoint]]\nname = \"web\"\nlisten = [\"{listen}\"]\n{endpoint}\n\
             [[site]]\nnames = [\"*\"]\nroot = \"{root}\"\n{more}\n"
        );
        self.file("ringway.toml", text.as_bytes());
    }

    /// `ringway COMMAND -c` this configuration.
    pub(crate) fn command(&self, program: &Path, command: &str) -> Command {
        let mut made = Command::new(program);
        made.arg(command).arg("-c").arg(self.config()).stdin(Stdio::null());
        made
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(&self) -> Running {
        Running::start(self.command(Path::new(binary()), "run"), self.at("pid"))
    }

    /// Runs a command to its end.
    pub(crate) fn ask(&self, command: &str) -> Output {
        self.command(Path::new(binary()), command).output().unwrap()
    }

    /// Reloads; what was said. It must be done.
    pub(crate) fn reload(&self) -> String {
        done(&self.ask("reload"))
    }

    /// Upgrades; what was said. It must be done.
    pub(crate) fn upgrade(&self) -> String {
        done(&self.ask("upgrade"))
    }
}

/// What a command said, which must have done what it was for.
pub(crate) fn done(output: &Output) -> String {
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {said}{complaint}", output.status);
    said
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A supervisor. Dropped, it is killed, and its server processes with it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    gather: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
    pub(crate) pid_file: PathBuf,
}

impl Running {
    /// Starts it and waits until it serves.
    pub(crate) fn start(command: Command, pid_file: PathBuf) -> Self {
        Self::starting(command, pid_file, "Ready.")
    }

    /// Starts it and waits until it says this.
    pub(crate) fn starting(mut command: Command, pid_file: PathBuf, word: &str) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Self { child, said: Arc::default(), gather: None, address: None, pid_file };
        let stderr = running.child.stderr.take().unwrap();
        let said = Arc::clone(&running.said);
        running.gather = Some(std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = said.lock().unwrap();
                *said += &line;
                said.push('\n');
            }
        }));
        running.wait_to_say(word);
        let said = running.said();
        let url = said.lines().find_map(|line| {
            let url = line.trim().strip_prefix("at ")?;
            url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))
        });
        running.address = url.and_then(|url| url.trim_end_matches('/').parse().ok());
        running
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
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

    pub(crate) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    /// The server processes that live.
    pub(crate) fn servers(&self) -> Vec<Pid> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let lives = |process: &Pid| !stat(*process).contains(") Z ");
        let processes = children.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?));
        processes.filter(lives).collect()
    }

    /// Asks on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Answer {
        let mut client = Client::connect(self.address()).unwrap();
        get(&mut client, target)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = eventually("the supervisor ends", || self.child.try_wait().unwrap());
        self.gather.take().unwrap().join().unwrap();
        status
    }

    /// Asks it to stop and waits until it has, without complaint.
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.wait();
        let said = self.said();
        assert!(status.success(), "{status}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }
}

/// Asks on a connection that is kept.
pub(crate) fn get(client: &mut Client, target: &str) -> Answer {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
    client.answer(false).unwrap_or_else(|error| panic!("GET {target}: {error}"))
}

/// The state of a process, empty when it is gone.
pub(crate) fn stat(process: Pid) -> String {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let mut text = String::new();
    let _gone = std::fs::File::open(path).map(|mut file| file.read_to_string(&mut text));
    text
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

impl Drop for Running {
    fn drop(&mut self) {
        let servers = self.servers();
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        for server in servers {
            let _ended_already = kill_process(server, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("the supervisor said: {}", self.said());
        }
    }
}
