//! The test stand: a server that does to each request what the test wants, and plans for it.

use ringway_engine::ring::DriverChoice;
use ringway_lab::Progress;
use ringway_lab::http::load::{self, Load};
use ringway_lab::http::tally::FaultKind;
use ringway_lab::http::{Plan, Target};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A right answer of five bytes.
pub(crate) const RIGHT: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\nhello";

/// The server's side of one request.
pub(crate) struct Exchange<'a> {
    pub(crate) stream: &'a mut TcpStream,
    /// The number of the connection among all of the server's; the load asks once on the first before it begins.
    pub(crate) connection: usize,
    /// The number of the request on its connection.
    pub(crate) request: usize,
    /// The head that was received.
    pub(crate) head: String,
}

impl Exchange<'_> {
    /// Whether this is the question that a load asks beforehand.
    pub(crate) fn is_probe(&self) -> bool {
        self.connection == 0
    }

    pub(crate) fn answer(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.stream.write_all(bytes)?;
        Ok(true)
    }
}

/// A server with a thread for each connection; gone when it is dropped.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    listener: Option<TcpListener>,
    is_over: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl Faulty {
    /// `answer` is called for each request and says whether the connection goes on.
    pub(crate) fn start(
        answer: impl Fn(&mut Exchange<'_>) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (is_over, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, counted, answer) = (Arc::clone(&is_over), Arc::clone(&connections), Arc::new(answer));
        let accepting = listener.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            for stream in accepting.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), answer) = (stream, Arc::clone(&answer)) else { continue };
                let connection = counted.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream, connection, &*answer));
            }
        });
        Self { address, listener: Some(listener), is_over, connections }
    }

    /// Connections that came, the one of the probe included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A plan of so many requests over four connections, without warm-up.
    pub(crate) fn plan(&self, requests: u64, driver: DriverChoice) -> Plan {
        Plan {
            requests: Some(requests),
            duration: None,
            connections: 4,
            warm_up: Duration::ZERO,
            driver,
            ..Plan::get(&format!("http://{}/x", self.address)).expect("a URL")
        }
    }

    /// A target of this server.
    pub(crate) fn target(&self, path: &str) -> Target {
        Target::get(&format!("http://{}{path}", self.address)).expect("a URL")
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.listener = None;
        // The accepting thread looks when somebody comes.
        let _nobody_listens = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn serve(
    mut stream: TcpStream,
    connection: usize,
    answer: &(impl Fn(&mut Exchange<'_>) -> io::Result<bool> + ?Sized),
) {
    let _kept_as_it_is = stream.set_nodelay(true);
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    for request in 0.. {
        let end = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end);
        let mut exchange = Exchange { stream: &mut stream, connection, request, head };
        if !matches!(answer(&mut exchange), Ok(true)) {
            return;
        }
    }
}

/// Runs a test on every driver there is; a missing one is told.
pub(crate) fn on_each_driver(test: impl Fn(DriverChoice)) {
    // On a thread of its own: the end of a ring interrupts waits on the thread that made it.
    match std::thread::spawn(ringway_engine::ring::probe).join().expect("no panic") {
        Ok(_features) => test(DriverChoice::Uring),
        Err(reason) => eprintln!("SKIPPED on io_uring: {reason}"),
    }
    test(DriverChoice::Epoll);
}

/// Carries a plan out that can be carried out.
pub(crate) fn run(plan: &Plan) -> Load {
    load::run(plan, &Progress::silent()).expect("the plan can be carried out")
}

/// Asserts how many requests were right, and how many were wrong in which way; nothing else was.
pub(crate) fn assert_counts(load: &Load, right: u64, wrong: &[(FaultKind, u64)]) {
    let found = (load.tally.answers, load.tally.faults.total());
    let wanted = (right, wrong.iter().map(|(_, count)| count).sum());
    assert_eq!(found, wanted, "{load:?}");
    for (kind, count) in wrong {
        assert_eq!(load.tally.faults.of(*kind), *count, "{kind:?}: {load:?}");
    }
    assert_eq!(load.tally.latency.count(), right + load.tally.unsent);
    assert_eq!(load.failure().is_some(), !wrong.is_empty());
}
