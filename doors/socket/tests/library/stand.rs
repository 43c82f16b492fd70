//! The test stand: libraries built as their authors build them, on a server with one endpoint, and clients with bounded patience.

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{Endpoint, FilterFactory, Server, ServerOptions, UdpEndpoint};
use ringway_socket::datagrams::{DatagramRules, DatagramService};
use ringway_socket::library::{Asked, Library, LibraryOptions, Listener, LoadError, census};
use ringway_socket::outbound::ClientTls;
use ringway_socket::{EndpointCounters, EndpointTotals, Framing, Level, Log, SocketProtocol, Terms};
use ringway_testkit::Scratch;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Tests count the libraries of the process, so they run one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The drivers that there are; a missing one is told.
pub(crate) fn drivers() -> Vec<DriverChoice> {
    // On a thread of its own: the end of a ring interrupts waits with a timeout on the thread that made it.
    match std::thread::spawn(probe).join().expect("no panic") {
        Ok(_features) => vec![DriverChoice::Uring, DriverChoice::Epoll],
        Err(reason) => {
            eprintln!("SKIPPED on io_uring: {reason}");
            vec![DriverChoice::Epoll]
        }
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A server whose endpoint has a library.
pub(crate) struct Stand {
    server: Option<Server>,
    pub(crate) library: Library,
    counters: EndpointCounters,
    lines: Lines,
}

/// What an endpoint is like.
#[derive(Clone)]
pub(crate) struct Like {
    pub(crate) framing: Framing,
    pub(crate) workers: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) peers_max: usize,
    /// Threads that it is called on; 0: on workers.
    pub(crate) threads: usize,
    /// TLS of connections that come, and of those that are made.
    pub(crate) tls: Option<FilterFactory>,
    pub(crate) client_tls: Option<ClientTls>,
}

impl Default for Like {
    fn default() -> Self {
        Self {
            framing: Framing::None,
            workers: 1,
            message_bytes_max: 1 << 20,
            peers_max: 0,
            threads: 0,
            tls: None,
            client_tls: None,
        }
    }
}

impl Like {
    pub(crate) fn framed(framing: Framing) -> Self {
        Self { framing, ..Self::default() }
    }
}

fn load(path: &Path, config: &str, asked: Asked, lines: &Lines) -> Result<Library, LoadError> {
    let heard = Arc::clone(lines);
    let listener: Listener =
        Arc::new(move |level, text| heard.lock().expect("no panic").push(format!("{level:?} {text}")));
    Library::load(path, config, LibraryOptions { name: "test".to_owned(), asked, listener })
}

impl Stand {
    pub(crate) fn start(driver: DriverChoice, path: &Path, config: &str, like: &Like) -> Self {
        let lines = Lines::default();
        let asked = if like.framing == Framing::Handler { Asked::Framing } else { Asked::Connections };
        let library = load(path, config, asked, &lines).expect("a good library");
        let heard = Arc::clone(&lines);
        let log = Log::new(move |level: Level, line: &str| {
            heard.lock().expect("no panic").push(format!("{level:?} {line}"));
        });
        let counters = EndpointCounters::default();
        let mut terms = Terms {
            name: "test".into(),
            framing: like.framing.clone(),
            log,
            counters: counters.clone(),
            client_tls: like.client_tls.clone(),
            ..Terms::default()
        };
        terms.framing_limits.message_bytes_max = like.message_bytes_max;
        let handlers = if like.threads > 0 { library.blocking(like.threads) } else { library.handler() };
        let protocol = SocketProtocol::factory(handlers, Arc::new(terms));
        let mut endpoint = Endpoint::new(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), protocol);
        endpoint.filter.clone_from(&like.tls);
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options = ServerOptions { workers: like.workers, ring, ..ServerOptions::default() };
        let server = Server::start(&[endpoint], &options).expect("the server starts");
        Self { server: Some(server), library, counters, lines }
    }

    pub(crate) fn datagrams(driver: DriverChoice, path: &Path, config: &str, like: &Like) -> Self {
        let lines = Lines::default();
        let library = load(path, config, Asked::Datagrams, &lines).expect("a good library");
        let counters = EndpointCounters::default();
        let rules = DatagramRules { peers_max: like.peers_max, ..DatagramRules::default() };
        let service = DatagramService::new(library.datagrams(like.peers_max > 0), rules, counters.clone());
        let endpoint = UdpEndpoint::new(SocketAddr::from(([127, 0, 0, 1], 0)), service.factory());
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options =
            ServerOptions { workers: like.workers, ring, udp: vec![endpoint], ..ServerOptions::default() };
        let server = Server::start(&[], &options).expect("the server starts");
        Self { server: Some(server), library, counters, lines }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let Address::Tcp(address) = self.server().addresses()[0] else { panic!("not a TCP endpoint") };
        address
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    pub(crate) fn lines_of(&self) -> LineClient {
        LineClient::to(self.address())
    }

    /// A socket for datagrams to the endpoint.
    pub(crate) fn socket(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.connect(self.server().udp_addresses()[0]).expect("loopback");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        socket
    }

    pub(crate) fn counted(&self) -> EndpointTotals {
        self.counters.totals()
    }

    /// Everything that was said, by the library or of it.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Waits until something was said that has this in it; the line.
    pub(crate) fn until_heard(&self, what: &str) -> String {
        eventually(what, || {
            let heard = self.heard();
            heard.iter().find(|line| line.contains(what)).cloned().ok_or(heard)
        })
    }

    pub(crate) fn until_resting(&self) {
        eventually("connections end", || {
            let (open, own) = (self.server().totals().open, self.counted().open());
            if open == 0 && own == 0 { Ok(()) } else { Err((open, own)) }
        });
    }

    /// Drains the server and waits for its end, which must be a good one.
    pub(crate) fn stop(mut self) {
        let server = self.server.take().expect("it runs");
        server.drain(Duration::from_secs(5));
        let totals = server.wait(PATIENCE).expect("no worker dies");
        assert_eq!(totals.panics, 0, "nothing of a library's reaches the engine");
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // A failing test leaves no threads busy behind it.
        if let Some(server) = &self.server {
            server.drain(Duration::ZERO);
        }
    }
}

/// A client that speaks lines.
pub(crate) struct LineClient {
    stream: BufReader<TcpStream>,
}

impl LineClient {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { stream: BufReader::new(connect(address)) }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// The next line, without its end; empty at the end of all.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.set_write_timeout(Some(PATIENCE)).expect("an option");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Waits until `check` says yes; what it last said otherwise is in the failure's message.
pub(crate) fn eventually<T, E: std::fmt::Debug>(what: &str, check: impl Fn() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(value) => return value,
            Err(state) => assert!(Instant::now() < deadline, "in vain: {what}; last seen: {state:?}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a library whose file has this name is in memory.
pub(crate) fn is_mapped(name: &str) -> bool {
    std::fs::read_to_string("/proc/self/maps").expect("this process").contains(&format!("ringway-{name}-"))
}

/// Waits until nothing is being destroyed and no library of that name is in memory.
pub(crate) fn until_unmapped(name: &str) {
    assert!(census::wait(PATIENCE, |now| now.ending == 0), "{:?}", census::totals());
    eventually("libraries are unmapped", || if is_mapped(name) { Err(census::libraries()) } else { Ok(()) });
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A plug-in in C of `contrib/plugin`, built as its Makefile does.
pub(crate) fn in_c(name: &str) -> PathBuf {
    static BUILT: OnceLock<Scratch> = OnceLock::new();
    let scratch = BUILT.get_or_init(|| {
        let scratch = Scratch::new("in-c");
        let mut make = Command::new("make");
        make.arg("-C").arg(root().join("contrib/plugin")).arg(format!("OUT={}", scratch.path().display()));
        // Options of whoever runs the tests are not the examples'.
        let output = make.env_remove("MAKEFLAGS").env_remove("CFLAGS").output().expect("make");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        scratch
    });
    scratch.path().join(format!("{name}.so"))
}

/// A plug-in in Rust of `contrib/plugin/rust`, built as it is outside of this repository: by cargo.
pub(crate) fn in_rust(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    built(&BUILT, "contrib/plugin/rust").join(format!("lib{name}.so"))
}

/// An example of the SDK's.
pub(crate) fn of_sdk(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    built(&BUILT, "sys/sdk").join(format!("lib{name}.so"))
}

/// Where cargo has put the examples of a package.
fn built(once: &'static OnceLock<PathBuf>, package: &str) -> &'static Path {
    once.get_or_init(|| {
        let own = std::env::current_exe().expect("this program");
        // target/PROFILE/deps/library-HASH
        let target = own.ancestors().nth(3).expect("cargo's directories").join("plugins");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--offline", "--examples", "--target-dir"]).arg(&target);
        let output = cargo.current_dir(root().join(package)).output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        target.join("debug/examples")
    })
}
/// A library of a test's own, in C, in its place at once, as whoever replaces a library should do it.
pub(crate) fn build(scratch: &Scratch, name: &str, source: &str) -> PathBuf {
    let text = scratch.file(&format!("{name}.c"), source.as_bytes());
    let (fresh, library) =
        (scratch.path().join(format!("{name}.new")), scratch.path().join(format!("{name}.so")));
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-fvisibility=hidden"]);
    cc.arg("-pthread").arg(format!("-I{}", root().join("sys/plugin/include").display()));
    assert!(cc.arg(text).arg("-o").arg(&fresh).status().expect("a C compiler").success(), "{name}");
    std::fs::rename(&fresh, &library).expect("the same directory");
    library
}
