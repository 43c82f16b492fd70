//! A server whose site has a shared library for its handler, built here with a C compiler.

use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{Balance, Endpoint, EndpointLimits, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_service::library::{Level, Library, LibraryOptions, LoadError};
use ringway_service::{Placement, Service};
use ringway_testkit::{Answer, Client, Scratch};
use ringway_web::limits::WebLimits;
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long answers that were promised are waited for, in milliseconds.
pub(crate) const ANSWER_MS: u64 = 300;

/// What a library said.
pub(crate) type Heard = Arc<Mutex<Vec<(Level, String)>>>;

/// How a library stands in the site.
#[derive(Clone, Copy)]
pub(crate) enum As {
    /// A handler of its paths.
    Handler(&'static str),
    /// A service at its path.
    Service(&'static str),
}

pub(crate) struct Stand {
    server: Server,
    pub(crate) library: Library,
    pub(crate) service: Service,
    pub(crate) heard: Heard,
}

impl Stand {
    pub(crate) fn start(
        driver: DriverChoice,
        library: &Path,
        config: &str,
        place: As,
        workers: usize,
    ) -> Self {
        Self::with(driver, library, config, place, workers, ANSWER_MS).expect("it is a good library")
    }

    pub(crate) fn with(
        driver: DriverChoice,
        library: &Path,
        config: &str,
        place: As,
        workers: usize,
        answer_ms_max: u64,
    ) -> Result<Self, LoadError> {
        let heard: Heard = Arc::default();
        let said = Arc::clone(&heard);
        let options = LibraryOptions {
            name: "tested".to_owned(),
            answer_ms_max,
            listener: Arc::new(move |level, text| {
                said.lock().expect("no panic").push((level, text.to_owned()));
            }),
            ..LibraryOptions::default()
        };
        let library = Library::load_with(library, config, options)?;
        let service = library.service();
        let (hosted, running) = (library.clone(), service.clone());
        let protocol = move |worker: &WorkerHandle| {
            let handler = match place {
                As::Handler(mount) => hosted.handler(worker, mount)?,
                As::Service(prefix) => {
                    let placement = Placement { prefix: prefix.into(), ..Placement::default() };
                    running.handler(worker, &placement).map_err(std::io::Error::other)?
                }
            };
            let mut site = Site::new("libraries");
            site.handlers.push(handler);
            let http = Http::new(Rc::new(Sites::new(site)), WebLimits::default(), worker.pool().clone());
            Ok(Rc::new(http) as Rc<dyn Protocol>)
        };
        let endpoint = Endpoint {
            address: Address::Tcp(([127, 0, 0, 1], 0).into()),
            balance: Balance::default(),
            listen: ListenOptions::default(),
            limits: EndpointLimits::default(),
            protocol: Arc::new(protocol),
            filter: None,
            preface: None,
            listeners: Vec::new(),
            urgent_inline: false,
        };
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options = ServerOptions { workers, ring, ..ServerOptions::default() };
        let server = Server::start(&[endpoint], &options).expect("it starts");
        Ok(Self { server, library, service, heard })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let Address::Tcp(address) = self.server.addresses()[0].clone() else { panic!("TCP was asked for") };
        address
    }

    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(self.address()).expect("it listens");
        client.set_patience(PATIENCE);
        client
    }

    /// What `GET` of a path is answered on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut client = self.client();
        client.send(get(path).as_bytes()).expect("it reads");
        client.answer(false).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Whether something was said that has this in it.
    pub(crate) fn has_heard(&self, what: &str) -> bool {
        self.heard.lock().expect("no panic").iter().any(|(_, text)| text.contains(what))
    }

    pub(crate) fn stop(self) {
        self.server.drain(PATIENCE);
        assert_eq!(self.server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

pub(crate) fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// What there is here.
pub(crate) fn drivers() -> Vec<DriverChoice> {
    match probe() {
        Ok(_) => vec![DriverChoice::Uring, DriverChoice::Epoll],
        Err(error) => {
            eprintln!("SKIPPED on io_uring: {error}");
            vec![DriverChoice::Epoll]
        }
    }
}

pub(crate) fn eventually(what: &str, check: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The service in C, built as its Makefile does.
pub(crate) fn example(scratch: &Scratch) -> PathBuf {
    let mut make = Command::new("make");
    make.arg("-C").arg(root().join("contrib/plugin")).arg(format!("OUT={}", scratch.path().display()));
    // Options of whoever runs the tests are not the example's.
    let output = make.env_remove("MAKEFLAGS").env_remove("CFLAGS").output().expect("make");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scratch.path().join("service.so")
}

/// A library of this test, as `name`, with these definitions.
pub(crate) fn build(scratch: &Scratch, source: &str, name: &str, defines: &[&str]) -> PathBuf {
    let library = scratch.path().join(format!("{name}.so"));
    // Put in its place at once, as whoever replaces a library should.
    let fresh = scratch.path().join(format!("{name}.new"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library").join(source);
    let include = format!("-I{}", root().join("sys/plugin/include").display());
    let mut cc = Command::new("cc");
    cc.args([
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-O1",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        "-pthread",
    ]);
    cc.arg(include).args(defines).arg(source).arg("-o").arg(&fresh);
    assert!(cc.status().expect("a C compiler").success(), "{name}");
    std::fs::rename(&fresh, &library).expect("the same directory");
    library
}

pub(crate) fn is_mapped(name: &str) -> bool {
    std::fs::read_to_string("/proc/self/maps").expect("this process").contains(name)
}
