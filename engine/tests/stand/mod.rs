//! The test stand: servers on either driver, clients with bounded patience, and waiting for a condition.
#![allow(dead_code, reason = "every test binary uses its part of the stand")]

pub(crate) mod echo;
pub(crate) mod scramble;

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, Features, RingOptions, probe};
use ringway_engine::{
    Balance, Endpoint, Protocol, ProtocolFactory, Server, ServerOptions, Totals, WorkerHandle,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a server may take to drain at a test's end before its connections are reset.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs a test on every driver there is; a missing one is told.
pub(crate) fn on_each_driver(test: impl Fn(DriverChoice)) {
    match probed() {
        Ok(_features) => test(DriverChoice::Uring),
        Err(reason) => eprintln!("SKIPPED on io_uring: {reason}"),
    }
    test(DriverChoice::Epoll);
}

/// What the kernel's io_uring is like. Asked on a thread of its own: the end of a ring interrupts waits with a timeout on
/// the thread that made it.
fn probed() -> io::Result<Features> {
    std::thread::spawn(probe).join().expect("no panic")
}

/// The same for tests that mostly wait.
pub(crate) fn on_all_drivers_at_once(test: impl Fn(DriverChoice) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        scope.spawn(move || test(DriverChoice::Epoll));
        match probed() {
            Ok(_features) => test(DriverChoice::Uring),
            Err(reason) => eprintln!("SKIPPED on io_uring: {reason}"),
        }
    });
}

/// Whether the long versions of tests are wanted.
pub(crate) fn is_slow() -> bool {
    std::env::var_os("RINGWAY_SLOW").is_some_and(|value| value == "1")
}

/// A server's settings before it starts.
pub(crate) struct Setup {
    pub(crate) options: ServerOptions,
    pub(crate) endpoint: Endpoint,
}

impl Setup {
    /// One worker, one TCP endpoint on a free port of the loopback, and a protocol made once per worker.
    pub(crate) fn new<P: Protocol>(
        driver: DriverChoice,
        protocol: impl Fn(&WorkerHandle) -> P + Send + Sync + 'static,
    ) -> Self {
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options = ServerOptions { workers: 1, ring, ..ServerOptions::default() };
        let make: ProtocolFactory = Arc::new(move |worker| Ok(Rc::new(protocol(worker)) as Rc<dyn Protocol>));
        let endpoint = Endpoint::new(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), make);
        Self { options, endpoint }
    }

    /// Socket buffers of 64 KiB on the server's side: less fits between client and protocol.
    pub(crate) fn with_small_sockets(mut self) -> Self {
        self.endpoint.listen.receive_buffer_bytes = 64 * 1024;
        self.endpoint.listen.send_buffer_bytes = 64 * 1024;
        self
    }

    pub(crate) fn start(self) -> Stand {
        let server =
            Server::start(std::slice::from_ref(&self.endpoint), &self.options).expect("the server starts");
        let address = server.addresses()[0].clone();
        let resting = match &self.endpoint.address {
            // One accept per listener.
            Address::Tcp(_) if self.endpoint.balance == Balance::LeastLoaded => 1,
            _ => server.workers() as u64,
        };
        Stand { server: Some(server), address, resting }
    }
}

/// Runs a future on a worker of its own and returns what it comes to.
pub(crate) fn on_worker<T: Send + 'static, F: Future<Output = T> + 'static>(
    driver: DriverChoice,
    work: impl Fn(WorkerHandle) -> F + Send + Sync + 'static,
) -> T {
    let (sender, result) = channel();
    let mut setup = Setup::new(driver, |_| echo::TurnEcho::default());
    setup.options.on_start = Some(Arc::new(move |worker: &WorkerHandle| {
        let (sender, work) = (sender.clone(), work(worker.clone()));
        worker.spawn(async move {
            let _test_gave_up = sender.send(work.await);
        });
    }));
    let stand = setup.start();
    let value = result.recv_timeout(PATIENCE).expect("the work comes to an end");
    stand.until_resting();
    assert_eq!(stand.stop().panics, 0);
    value
}

/// A running server.
pub(crate) struct Stand {
    server: Option<Server>,
    address: Address,
    resting: u64,
}

impl Stand {
    /// A server with the default setup.
    pub(crate) fn start<P: Protocol>(
        driver: DriverChoice,
        protocol: impl Fn(&WorkerHandle) -> P + Send + Sync + 'static,
    ) -> Self {
        Setup::new(driver, protocol).start()
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    pub(crate) fn totals(&self) -> Totals {
        self.server().totals()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let Address::Tcp(address) = self.address else { panic!("not a TCP endpoint") };
        address
    }

    /// A connection with bounded patience.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address()).expect("the server listens")
    }

    /// Waits until no connection is open and every operation but the accepts has ended.
    pub(crate) fn until_resting(&self) {
        eventually("connections and operations end", || {
            let totals = self.totals();
            let is_resting = totals.open == 0 && totals.operations == self.resting;
            is_resting.then_some(()).ok_or_else(|| Box::new(totals))
        });
    }

    /// Drains the server and waits for its end, which must be a good one.
    pub(crate) fn stop(mut self) -> Totals {
        let server = self.server.take().expect("the server runs");
        server.drain(DRAIN);
        server.wait(DRAIN).expect("no worker dies")
    }

    /// Hands the server out, to be waited for by the test itself.
    pub(crate) fn into_server(mut self) -> Server {
        self.server.take().expect("the server runs")
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
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
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

/// Asserts that two long texts are equal without printing them.
pub(crate) fn assert_same(found: &[u8], wanted: &[u8], what: &str) {
    if found != wanted {
        let place = found.iter().zip(wanted).position(|(one, other)| one != other);
        panic!("{what}: {} bytes of {}, first difference at {place:?}", found.len(), wanted.len());
    }
}

/// Sends `bytes` bytes of the pattern in pieces while reading them back; checks every one.
pub(crate) fn exchange(stream: &mut TcpStream, bytes: usize, piece: usize) {
    let mut writer = stream.try_clone().expect("a descriptor");
    let sent = pattern(0, bytes);
    let wanted = sent.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for part in sent.chunks(piece) {
                writer.write_all(part).expect("the server reads");
            }
        });
        let mut found = vec![0; bytes];
        stream.read_exact(&mut found).expect("the whole echo comes");
        assert_same(&found, &wanted, "the echo");
    });
}

/// Reads to the end of the stream, which must be a good one.
pub(crate) fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the stream ends well");
    bytes
}
