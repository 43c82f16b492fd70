//! Changes of a running server under load: protocols swapped, endpoints added and removed, sockets handed on.

use crate::stand::{PATIENCE, connect, eventually, on_all_drivers_at_once};
use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions};
use ringway_engine::{
    ChangeError, Conn, Endpoint, EndpointLimits, Events, Listeners, Protocol, ProtocolFactory, Server,
    ServerOptions, Turn,
};
use ringway_testkit::Scratch;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const WORKERS: usize = 2;
const CLIENTS: usize = 4;

/// Answers every byte with its number, and with a task from a `t` on. A connection that was never asked anything waits for
/// its first question even when the server drains.
struct Numbered {
    number: u8,
    /// Values that live.
    alive: Arc<AtomicUsize>,
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

fn numbered(number: u8, alive: &Arc<AtomicUsize>) -> ProtocolFactory {
    let alive = Arc::clone(alive);
    Arc::new(move |_| {
        alive.fetch_add(1, Ordering::SeqCst);
        Ok(Rc::new(Speaker { value: Rc::new(Numbered { number, alive: Arc::clone(&alive) }) })
            as Rc<dyn Protocol>)
    })
}

struct Speaker {
    value: Rc<Numbered>,
}

impl Protocol for Speaker {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if conn.is_broken() {
            return Turn::Close;
        }
        while let Some(questions) = conn.take() {
            conn.set_context([1, 0]);
            if questions.contains(&b't') {
                conn.unread(questions);
                let (mut stream, value) = (conn.detach(), Rc::clone(&self.value));
                return Turn::task(async move {
                    while let Ok(Some(questions)) = stream.read().await {
                        stream.send(stream.slice_of(&vec![value.number; questions.len()]).expect("room"));
                    }
                    Turn::Close
                });
            }
            let answers = conn.pool().copy_of(&vec![self.value.number; questions.len()]).expect("room");
            conn.send(answers);
        }
        let was_asked = conn.context()[0] > 0;
        let is_over = conn.is_ended() || ((conn.is_draining() || events.has(Events::DRAIN)) && was_asked);
        if is_over { Turn::Close } else { Turn::Idle }
    }
}

fn loopback() -> Address {
    Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn options(driver: DriverChoice) -> ServerOptions {
    let ring = RingOptions { driver, ..RingOptions::default() };
    ServerOptions { workers: WORKERS, ring, ..ServerOptions::default() }
}

fn tcp(address: &Address) -> SocketAddr {
    let Address::Tcp(address) = address else { panic!("not a TCP endpoint") };
    *address
}

fn ask(stream: &mut (impl Read + Write)) -> io::Result<u8> {
    ask_with(stream, b"?")
}

fn ask_with(stream: &mut (impl Read + Write), question: &[u8; 1]) -> io::Result<u8> {
    stream.write_all(question)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

fn is_still(alive: &AtomicUsize, wanted: usize) {
    eventually("old values are dropped", || match alive.load(Ordering::SeqCst) {
        found if found == wanted => Ok(()),
        found => Err((found, wanted)),
    });
}

/// Ends the load when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients that connect, ask once, and read to the end, again and again, while `act` runs; every one must be answered.
/// Returns how many were.
fn under_load(address: SocketAddr, act: impl FnOnce()) -> usize {
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = || {
        while !is_over.load(Ordering::Relaxed) {
            let mut stream = connect(address).expect("somebody listens");
            ask(&mut stream).expect("an answer");
            stream.shutdown(std::net::Shutdown::Write).expect("open");
            assert_eq!(stream.read(&mut [0]).expect("a good end"), 0);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        // A test that fails in the middle ends its clients too.
        let over = Over(&is_over);
        act();
        drop(over);
        clients.into_iter().for_each(|client| client.join().expect("no client fails"));
    });
    answered.load(Ordering::Relaxed)
}

/// Waits for `more` answers under load: the load has really run meanwhile.
fn until_accepted(server: &Server, more: u64) {
    let before = server.totals().accepted;
    eventually("the load goes on", || match server.totals().accepted - before {
        count if count >= more => Ok(()),
        count => Err(count),
    });
}

fn stop(server: Server) {
    server.drain(PATIENCE);
    assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
}

#[test]
fn twenty_swaps_under_load_refuse_and_break_nothing() {
    on_all_drivers_at_once(|driver| {
        let alive = Arc::new(AtomicUsize::new(0));
        let endpoint = Endpoint::new(loopback(), numbered(0, &alive));
        let server = Server::start(&[endpoint], &options(driver)).expect("the server starts");
        let address = tcp(&server.addresses()[0]);
        let mut held = connect(address).expect("somebody listens");
        assert_eq!(ask_with(&mut held, b"t").expect("the task answers"), 0);
        let mut idle: Vec<TcpStream> = (0..8).map(|_| connect(address).expect("somebody listens")).collect();
        let answered = under_load(address, || {
            for number in 1..=20 {
                until_accepted(&server, 10);
                server
                    .swap(0, numbered(number, &alive), EndpointLimits::default(), None, None)
                    .expect("it builds");
                for stream in &mut idle {
                    assert_eq!(ask(stream).expect("an answer"), number, "in place on every worker");
                }
                // Two workers have the new one; the task holds the first.
                is_still(&alive, WORKERS + 1);
            }
        });
        assert!(answered >= 200, "{answered}");
        assert_eq!(ask(&mut held).expect("the task answers"), 0, "a task ends under what it began with");
        drop((held, idle));
        is_still(&alive, WORKERS);
        stop(server);
        is_still(&alive, 0);
    });
}

#[test]
fn what_one_worker_cannot_build_changes_nothing() {
    on_all_drivers_at_once(|driver| {
        let alive = Arc::new(AtomicUsize::new(0));
        let endpoint = Endpoint::new(loopback(), numbered(7, &alive));
        let server = Server::start(&[endpoint], &options(driver)).expect("the server starts");
        let mut streams: Vec<TcpStream> =
            (0..8).map(|_| connect(tcp(&server.addresses()[0])).expect("somebody listens")).collect();
        let good = numbered(8, &alive);
        for panics in [false, true] {
            let good = Arc::clone(&good);
            let bad: ProtocolFactory = Arc::new(move |worker| {
                if std::thread::current().name() == Some("ringway-1") {
                    assert!(!panics, "no certificate at all");
                    return Err(io::Error::other("no certificate"));
                }
                good(worker)
            });
            let error = server
                .swap(0, Arc::clone(&bad), EndpointLimits::default(), None, None)
                .expect_err("one fails");
            assert!(error.to_string().contains("no certificate"), "{error}");
            let error = server.add(&Endpoint::new(loopback(), bad)).expect_err("one fails");
            assert!(error.to_string().contains("no certificate"), "{error}");
            for stream in &mut streams {
                assert_eq!(ask(stream).expect("an answer"), 7);
            }
            is_still(&alive, WORKERS);
        }
        assert_eq!(server.control().addresses().len(), 1);
        let unknown = server.swap(1, good, EndpointLimits::default(), None, None).expect_err("there is none");
        assert!(matches!(unknown, ChangeError::NoSuchEndpoint(1)), "{unknown}");
        drop(streams);
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 2, "one worker, twice");
    });
}

#[test]
fn endpoints_come_and_go_under_load_on_another() {
    on_all_drivers_at_once(|driver| {
        let alive = Arc::new(AtomicUsize::new(0));
        let endpoint = Endpoint::new(loopback(), numbered(1, &alive));
        let server = Server::start(&[endpoint], &options(driver)).expect("the server starts");
        let answered = under_load(tcp(&server.addresses()[0]), || {
            for round in 0..10_u8 {
                until_accepted(&server, 10);
                let added = Endpoint::new(loopback(), numbered(100 + round, &alive));
                let place = server.add(&added).expect("a free port");
                let (_, address) = server.control().addresses().pop().expect("the new one");
                let address = tcp(&address);
                let mut idle = connect(address).expect("it accepts at once");
                let mut held = connect(address).expect("it accepts at once");
                assert_eq!(ask(&mut idle).expect("an answer"), 100 + round);
                assert_eq!(ask_with(&mut held, b"t").expect("the task answers"), 100 + round);
                server.remove(place).expect("it is there");
                assert!(connect(address).is_err(), "nobody listens any more");
                assert_eq!(idle.read(&mut [0]).expect("a good end"), 0);
                assert_eq!(ask(&mut held).expect("the task answers"), 100 + round);
                drop(held);
                is_still(&alive, WORKERS);
                assert!(matches!(server.remove(place), Err(ChangeError::NoSuchEndpoint(_))));
            }
        });
        assert!(answered >= 100, "{answered}");
        stop(server);
    });
}

/// An endpoint that inherits what another server hands on.
fn heir(handed: Vec<Listeners>, number: u8, alive: &Arc<AtomicUsize>) -> Endpoint {
    let [listeners] = <[Listeners; 1]>::try_from(handed).expect("one endpoint");
    let listeners_of = |sockets: Vec<OwnedFd>| sockets.into_iter().map(Arc::new).collect();
    Endpoint {
        listeners: listeners_of(listeners.sockets),
        ..Endpoint::new(listeners.address, numbered(number, alive))
    }
}

#[test]
fn sockets_handed_on_under_load_refuse_and_reset_nothing() {
    on_all_drivers_at_once(|driver| {
        let alive = Arc::new(AtomicUsize::new(0));
        let endpoint = Endpoint::new(loopback(), numbered(0, &alive));
        let mut server = Server::start(&[endpoint], &options(driver)).expect("the server starts");
        let address = tcp(&server.addresses()[0]);
        let answered = under_load(address, || {
            for number in 1..=5 {
                until_accepted(&server, 20);
                let endpoint = heir(server.listeners().expect("descriptors"), number, &alive);
                let next = Server::start(&[endpoint], &options(driver)).expect("it inherits");
                assert_eq!(tcp(&next.addresses()[0]), address);
                let old = std::mem::replace(&mut server, next);
                stop(old);
                is_still(&alive, WORKERS);
            }
            until_accepted(&server, 20);
        });
        assert!(answered >= 120, "{answered}");
        stop(server);
        assert!(connect(address).is_err(), "the last one to have the sockets closed them");
    });
}

#[test]
fn any_number_of_sockets_serves_any_number_of_workers() {
    on_all_drivers_at_once(|driver| {
        let alive = Arc::new(AtomicUsize::new(0));
        for (bound_for, workers) in [(1, 3), (2, 3), (3, 1), (5, 2)] {
            // Bound by one who does not serve, and keeps the sockets.
            let endpoint = Endpoint::new(loopback(), numbered(0, &alive));
            let (address, sockets) = endpoint.listen_for(bound_for).expect("a free port");
            assert_eq!(sockets.len(), bound_for);
            let endpoint = Endpoint {
                address: address.clone(),
                listeners: sockets.into_iter().map(Arc::new).collect(),
                ..endpoint
            };
            let kept = endpoint.listeners.clone();
            let server = Server::start(&[endpoint], &ServerOptions { workers, ..options(driver) });
            let server = server.expect("it inherits");
            let mut streams: Vec<TcpStream> =
                (0..60).map(|_| connect(tcp(&address)).expect("somebody listens")).collect();
            for stream in &mut streams {
                assert_eq!(ask(stream).expect("an answer"), 0);
            }
            drop(streams);
            let totals = server.totals();
            assert!(totals.accepted > totals.adopted, "some stay where they were accepted");
            assert_eq!(totals.adopted > 0, bound_for < workers, "{bound_for} sockets, {workers} workers");
            stop(server);
            // Nobody accepts now, but nobody is refused either.
            let mut early = connect(tcp(&address)).expect("the socket is kept");
            early.write_all(b"?").expect("the kernel takes it");
            let endpoint = Endpoint { listeners: kept, ..Endpoint::new(address, numbered(9, &alive)) };
            let server = Server::start(&[endpoint], &options(driver)).expect("it inherits");
            let mut answer = [0];
            early.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, [9]);
            drop(early);
            stop(server);
        }
    });
}

#[test]
fn a_unix_socket_is_handed_on_like_any_other() {
    on_all_drivers_at_once(|driver| {
        let scratch = Scratch::new("engine-heir");
        let path = scratch.path().join("socket");
        let alive = Arc::new(AtomicUsize::new(0));
        let endpoint = Endpoint::new(Address::Unix(path.clone()), numbered(1, &alive));
        let server = Server::start(&[endpoint], &options(driver)).expect("the server starts");
        let endpoint = heir(server.listeners().expect("descriptors"), 2, &alive);
        assert_eq!(endpoint.address, Address::Unix(path.clone()));
        let next = Server::start(&[endpoint], &options(driver)).expect("it inherits");
        stop(server);
        for _ in 0..20 {
            assert_eq!(
                ask(&mut UnixStream::connect(&path).expect("somebody listens")).expect("an answer"),
                2
            );
        }
        stop(next);
    });
}

#[test]
fn what_does_not_listen_is_not_inherited() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let alive = Arc::new(AtomicUsize::new(0));
    let endpoint = Endpoint {
        listeners: vec![Arc::new(OwnedFd::from(stream))],
        ..Endpoint::new(loopback(), numbered(1, &alive))
    };
    let error = Server::start(&[endpoint], &options(DriverChoice::Auto)).expect_err("a connection");
    assert!(error.to_string().contains("not a listening stream socket"), "{error}");
}
