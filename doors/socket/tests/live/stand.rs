//! The test stand: a server with one endpoint of messages, clients with bounded patience.

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, Features, RingOptions, probe};
use ringway_engine::{Endpoint, Server, ServerOptions, Totals};
use ringway_socket::{
    EndpointCounters, EndpointTotals, Handler, HandlerFactory, Level, Log, Settings, SocketProtocol, Terms,
    builtin,
};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a server may take to drain at a test's end before its connections are reset.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs a test on every driver there is; a missing one is told.
pub(crate) fn on_each_driver(test: impl Fn(DriverChoice) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        scope.spawn(move || test(DriverChoice::Epoll));
        match probed() {
            Ok(_features) => test(DriverChoice::Uring),
            Err(reason) => eprintln!("SKIPPED on io_uring: {reason}"),
        }
    });
}

/// What the kernel's io_uring is like. Asked on a thread of its own: the end of a ring interrupts waits with a timeout on
/// the thread that made it.
fn probed() -> io::Result<Features> {
    std::thread::spawn(probe).join().expect("no panic")
}

/// A server's settings before it starts.
pub(crate) struct Setup {
    pub(crate) options: ServerOptions,
    pub(crate) endpoint: Endpoint,
    pub(crate) terms: Terms,
    handlers: HandlerFactory,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    /// One worker, one TCP endpoint on a free port of the loopback.
    pub(crate) fn new(driver: DriverChoice, handlers: HandlerFactory) -> Self {
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options = ServerOptions { workers: 1, ring, ..ServerOptions::default() };
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        let log = Log::new(move |level: Level, line: &str| {
            kept.lock().expect("no panic").push(format!("{level:?} {line}"));
        });
        let terms =
            Terms { name: "test".into(), log, counters: EndpointCounters::default(), ..Terms::default() };
        let protocol = SocketProtocol::factory(Arc::clone(&handlers), Arc::new(terms.clone()));
        let endpoint = Endpoint::new(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), protocol);
        Self { options, endpoint, terms, handlers, lines }
    }

    /// With a handler of the server's own.
    pub(crate) fn builtin(driver: DriverChoice, name: &str) -> Self {
        Self::new(driver, builtin(name, &Settings::default()).expect("it is one"))
    }

    /// With a handler of the test's.
    pub(crate) fn with<H: Handler>(
        driver: DriverChoice,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Self {
        Self::new(driver, Arc::new(move |_worker| Ok(Rc::new(make()) as Rc<dyn Handler>)))
    }

    /// With other terms.
    pub(crate) fn on(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(&mut self.terms);
        self
    }

    pub(crate) fn start(mut self) -> Stand {
        let terms = Arc::new(self.terms);
        terms.prepare(&mut self.endpoint);
        self.endpoint.protocol = SocketProtocol::factory(self.handlers, Arc::clone(&terms));
        let server =
            Server::start(std::slice::from_ref(&self.endpoint), &self.options).expect("the server starts");
        Stand { server: Some(server), terms, lines: self.lines }
    }
}

/// A running server.
pub(crate) struct Stand {
    server: Option<Server>,
    pub(crate) terms: Arc<Terms>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Stand {
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let Address::Tcp(address) = self.server().addresses()[0] else { panic!("not a TCP endpoint") };
        address
    }

    /// A connection with bounded patience.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    /// What was counted.
    pub(crate) fn counted(&self) -> EndpointTotals {
        self.terms.counters.totals()
    }

    /// What was logged.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Waits until no connection is open.
    pub(crate) fn until_resting(&self) {
        eventually("connections end", || {
            let (engine, own) = (self.server().totals(), self.counted());
            if engine.open == 0 && own.open() == 0 { Ok(()) } else { Err((Box::new(engine), Box::new(own))) }
        });
    }

    /// Drains the server and waits for its end, which must be a good one.
    pub(crate) fn stop(mut self) -> Totals {
        let server = self.server.take().expect("the server runs");
        server.drain(DRAIN);
        let totals = server.wait(DRAIN).expect("no worker dies");
        assert_eq!(totals.panics, 0, "panics of handlers are caught before the engine sees them");
        assert_eq!(self.counted().open(), 0);
        totals
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

/// A TCP connection with bounded patience.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
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

/// Bytes that tell their place: `count` of them as they stand at `offset` of an endless sequence.
pub(crate) fn pattern(offset: usize, count: usize) -> Vec<u8> {
    let byte = |at: usize| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
    (offset..offset + count).map(byte).collect()
}

/// The next line, without its end.
pub(crate) fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).expect("a line comes");
        match byte {
            [b'\n'] => break,
            [byte] => line.push(byte),
        }
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}
