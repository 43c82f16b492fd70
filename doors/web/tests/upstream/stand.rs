//! Backends that can be killed, and workers that run what a test has for them.

use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{EndpointLimits, Outbound, Server, ServerOptions, WorkerHandle};
use ringway_web::upstream::{
    BackendOptions, Fault, Group, GroupOptions, Key, Lease, LeaseError, Tried, Upstream,
};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a backend says, from what it was asked; empty: it closes the connection instead.
pub(crate) type Say = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// A backend: HTTP/1.1 without bodies in requests, a thread a connection.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    say: Box<Say>,
    is_dead: AtomicBool,
    accepted: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Peer {
    pub(crate) fn new(say: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), say)
    }

    pub(crate) fn at(address: SocketAddr, say: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            say: Box::new(say),
            is_dead: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// One that says a word.
    pub(crate) fn saying(word: &'static str) -> Self {
        Self::new(move |_| answer(200, word))
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Ends all connections; new ones are taken.
    pub(crate) fn hang_up(&self) {
        for connection in self.shared.open.lock().expect("no panic").drain(..) {
            let _gone_already = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Peer {
    /// As if it were killed: nobody listens any more, connections end.
    fn drop(&mut self) {
        self.shared.is_dead.store(true, Ordering::SeqCst);
        let _wakes_it = TcpStream::connect(self.address);
        self.accepting.take().expect("it runs").join().expect("it does not panic");
        self.hang_up();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((connection, _)) = listener.accept() else { return };
        if shared.is_dead.load(Ordering::SeqCst) {
            return;
        }
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        shared.open.lock().expect("no panic").push(connection.try_clone().expect("a descriptor"));
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(connection, &shared));
    }
}

fn serve(mut connection: TcpStream, shared: &Shared) {
    let (mut asked, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match connection.read(&mut buffer) {
            Ok(count) if count > 0 => asked.extend_from_slice(&buffer[..count]),
            _ => return,
        }
        if asked.ends_with(b"\r\n\r\n") {
            let said = (shared.say)(&String::from_utf8_lossy(&asked));
            asked.clear();
            if said.is_empty() || connection.write_all(&said).is_err() {
                let _gone_already = connection.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An upstream of these peers.
pub(crate) fn options(peers: &[&Peer]) -> GroupOptions {
    let backend = |peer: &&Peer| BackendOptions::new(peer.address.to_string().parse().expect("an address"));
    GroupOptions::new("app", peers.iter().map(backend).collect())
}

pub(crate) fn group(options: GroupOptions) -> Arc<Group> {
    Group::new(options, None, None).expect("it makes sense")
}

/// Runs `work` on each of so many workers, and gives what came of it.
pub(crate) fn on_workers<T, F>(
    driver: DriverChoice,
    workers: usize,
    work: impl Fn(WorkerHandle) -> F + Send + Sync + 'static,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (sender, outcomes) = channel();
    let sender = Mutex::new(sender);
    let options = ServerOptions {
        workers,
        ring: RingOptions { driver, ..RingOptions::default() },
        outbound: vec![Outbound::held(EndpointLimits::default())],
        on_start: Some(Arc::new(move |worker: &WorkerHandle| {
            let (sender, done) = (sender.lock().expect("no panic").clone(), work(worker.clone()));
            worker.spawn(async move {
                let _test_gave_up = sender.send(done.await);
            });
        })),
        ..ServerOptions::default()
    };
    let server = Server::start(&[], &options).expect("it starts");
    let outcomes = (0..workers).map(|_| outcomes.recv_timeout(PATIENCE).expect("it ends")).collect();
    server.drain(Duration::ZERO);
    assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    outcomes
}

/// Runs `work` on a worker with each driver that this kernel has.
pub(crate) fn on_each_driver<F>(work: impl Fn(WorkerHandle) -> F + Send + Sync + Clone + 'static)
where
    F: Future<Output = ()> + 'static,
{
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        if let (DriverChoice::Uring, Err(error)) = (driver, probe()) {
            eprintln!("SKIPPED on io_uring: {error}");
            continue;
        }
        on_workers(driver, 1, work.clone());
    }
}

/// One try: a lease, a question, an answer; the connection is kept.
pub(crate) async fn try_once(upstream: &Upstream, tried: &mut Tried) -> Result<String, Failure> {
    let lease = upstream.lease(&Key::default(), tried).await.map_err(Failure::NoLease)?;
    ask(lease).await
}

#[derive(Debug)]
pub(crate) enum Failure {
    NoLease(LeaseError),
    Failed,
}

/// Asks over a lease; the body of the answer.
pub(crate) async fn ask(mut lease: Lease) -> Result<String, Failure> {
    let question = lease.stream.slice_of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("room");
    lease.stream.send(question);
    let mut text = String::new();
    loop {
        match lease.stream.read().await {
            Ok(Some(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Ok(None) | Err(_) => {
                let is_stale = lease.is_reused() && text.is_empty();
                lease.failed(&if is_stale { Fault::Stale } else { Fault::Closed("before its answer") });
                return Err(Failure::Failed);
            }
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize =
            head.split_once("Content-Length: ").expect("a length").1.parse().expect("a number");
        if body.len() == length {
            let status = head[9..12].parse().expect("a status");
            lease.answered(status);
            let body = body.to_owned();
            lease.keep();
            return Ok(body);
        }
    }
}

/// As a proxy does with requests that are safe to repeat.
pub(crate) async fn request(upstream: &Upstream) -> Result<String, Failure> {
    let mut tried = Tried::default();
    loop {
        match try_once(upstream, &mut tried).await {
            Err(Failure::Failed) if tried.count() < 6 => {}
            outcome => return outcome,
        }
    }
}

async fn sleep(worker: &WorkerHandle, ms: u64) {
    worker.sleep_until(worker.now_ms() + ms).await;
}

/// Waits until something is so.
pub(crate) async fn eventually(worker: &WorkerHandle, what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE / 2;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        sleep(worker, 5).await;
    }
}
