//! Tests of ports on real sockets, each on both drivers.

mod stand;

use ringway_engine::ring::socket::{DatagramSocketOptions, bind_datagrams, connect_datagrams};
use ringway_engine::ring::{Batch, DatagramOptions, DriverChoice, RingOptions};
use ringway_engine::{Handover, Outgoing, Port, PortError, PortHandler, PortOptions, PortSocket, WaitMode};
use stand::{PATIENCE, eventually, on_each_driver};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// A ring for tests: small, and of one driver.
fn options(driver: DriverChoice, threads: usize) -> PortOptions {
    PortOptions {
        threads,
        ring: RingOptions { driver, ..PortOptions::default().ring },
        datagrams: DatagramOptions { buffers: 256, payload_bytes: 64, ..DatagramOptions::default() },
        results_per_turn: 64,
        ..PortOptions::default()
    }
}

fn receiver() -> (OwnedFd, SocketAddr) {
    let options = DatagramSocketOptions { receive_buffer_bytes: 8 << 20, ..DatagramSocketOptions::default() };
    let fd = bind_datagrams(LOOPBACK.into(), &options).expect("loopback");
    let address = UdpSocket::from(fd.try_clone().expect("a descriptor")).local_addr().expect("bound");
    (fd, address)
}

fn sender() -> UdpSocket {
    UdpSocket::bind(SocketAddr::from(LOOPBACK)).expect("loopback")
}

/// Sockets for so many rings, and where they are.
fn receivers(rings: usize, sockets: usize) -> (Vec<Vec<OwnedFd>>, Vec<Vec<SocketAddr>>) {
    let ring = |_| (0..sockets).map(|_| receiver()).unzip();
    (0..rings).map(ring).unzip()
}

/// Waits until a port has come to something.
fn until(port: &Port, what: &str, check: impl Fn(&Port) -> bool) {
    eventually(what, || if check(port) { Ok(()) } else { Err(Box::new(port.totals())) });
}

/// A handler made of a function.
struct Handler<F>(F);

impl<F: Fn(PortSocket, &Batch) + Send + Sync + 'static> PortHandler for Handler<F> {
    fn batch(&self, from: PortSocket, batch: &Batch, _out: &mut Outgoing<'_>) {
        (self.0)(from, batch);
    }
}

fn handler(batch: impl Fn(PortSocket, &Batch) + Send + Sync + 'static) -> Arc<dyn PortHandler> {
    Arc::new(Handler(batch))
}

/// Checks order by the sequence numbers in the datagrams, and that one thread at a time handles a ring.
struct Sequence {
    rings: Vec<RingSeen>,
    handled: AtomicUsize,
    mistakes: Mutex<Vec<String>>,
}

struct RingSeen {
    is_in: AtomicBool,
    next: Vec<AtomicU64>,
}

impl Sequence {
    fn new(rings: usize, sockets: usize) -> Self {
        let ring = || RingSeen {
            is_in: AtomicBool::new(false),
            next: (0..sockets).map(|_| AtomicU64::new(0)).collect(),
        };
        Self {
            rings: (0..rings).map(|_| ring()).collect(),
            handled: AtomicUsize::new(0),
            mistakes: Mutex::default(),
        }
    }

    fn mistake(&self, what: String) {
        self.mistakes.lock().expect("no panic").push(what);
    }

    fn check(&self, from: PortSocket, batch: &Batch) {
        let ring = &self.rings[from.ring];
        if ring.is_in.swap(true, Ordering::Relaxed) {
            self.mistake(format!("two threads in ring {}", from.ring));
        }
        for datagram in batch {
            let number = u64::from_le_bytes(datagram.payload().try_into().expect("eight bytes"));
            // Relaxed and in two steps: only the port's promise makes this right.
            let expected = ring.next[from.socket].load(Ordering::Relaxed);
            if number != expected {
                self.mistake(format!("{from:?}: {number} came when {expected} was next"));
            }
            ring.next[from.socket].store(number + 1, Ordering::Relaxed);
        }
        ring.is_in.store(false, Ordering::Relaxed);
        self.handled.fetch_add(batch.len(), Ordering::Release);
    }
}

/// Datagrams that may be on their way at once, so that no socket's buffer overflows.
const WINDOW: usize = 2_000;

/// Sends `each` numbered datagrams to every address, not faster than they are handled.
fn send_numbered(addresses: &[Vec<SocketAddr>], each: u64, handled: &AtomicUsize) {
    let socket = sender();
    let mut sent = 0;
    let deadline = Instant::now() + PATIENCE;
    for number in 0..each {
        for address in addresses.iter().flatten() {
            socket.send_to(&number.to_le_bytes(), address).expect("loopback");
            sent += 1;
        }
        while sent - handled.load(Ordering::Acquire) > WINDOW {
            assert!(Instant::now() < deadline, "datagrams are handled");
            thread::yield_now();
        }
    }
}

#[test]
fn every_ring_is_handled_in_order_whoever_handles_it() {
    const EACH: u64 = 3_000;
    on_each_driver(|driver| {
        let plans = [(1, 1, 1), (4, 1, 1), (4, 1, 2), (3, 2, 3), (1, 3, 2)];
        for handover in [Handover::WhenLong, Handover::WhenBusy, Handover::Always] {
            for (rings, sockets, threads) in plans {
                let (fds, addresses) = receivers(rings, sockets);
                let sequence = Arc::new(Sequence::new(rings, sockets));
                let seen = Arc::clone(&sequence);
                let options = PortOptions { handover, ..options(driver, threads) };
                let check = handler(move |from, batch| seen.check(from, batch));
                let port = Port::start(fds, &options, check).expect("it starts");
                send_numbered(&addresses, EACH, &sequence.handled);
                let all = rings * sockets * usize::try_from(EACH).expect("small");
                until(&port, "all is handled", |_| sequence.handled.load(Ordering::Acquire) >= all);
                let end = port.stop(PATIENCE);
                assert_eq!(
                    sequence.mistakes.lock().expect("no panic").first(),
                    None,
                    "{handover:?} {threads}"
                );
                let totals = end.totals;
                assert_eq!(totals.datagrams, all as u64, "{handover:?} {rings} {sockets} {threads}");
                assert_eq!((totals.received, totals.bytes), (all as u64, 8 * all as u64));
                assert_eq!((totals.dropped, totals.abandoned, totals.errors), (0, 0, 0));
                assert_eq!((end.stuck, end.deaths), (vec![], vec![]));
                if handover == Handover::Always {
                    assert_eq!(totals.handled_by_owner, 0);
                }
                if handover == Handover::WhenBusy && threads >= rings {
                    assert_eq!(totals.handled_by_owner, totals.batches, "a permit is always free");
                }
            }
        }
    });
}

/// Fills the sockets before anybody receives.
fn preload(addresses: &[Vec<SocketAddr>], each: u64) {
    let socket = sender();
    for number in 0..each {
        for address in addresses.iter().flatten() {
            socket.send_to(&number.to_le_bytes(), address).expect("loopback");
        }
    }
}

#[test]
fn what_waited_in_the_sockets_is_handled_once_and_in_turns_of_the_set_size() {
    const EACH: u64 = 5_000;
    const TURN: usize = 7;
    on_each_driver(|driver| {
        for handover in [Handover::WhenBusy, Handover::Always] {
            let (fds, addresses) = receivers(3, 1);
            preload(&addresses, EACH);
            let sequence = Arc::new(Sequence::new(3, 1));
            let (seen, largest) = (Arc::clone(&sequence), Arc::new(AtomicUsize::new(0)));
            let largest_seen = Arc::clone(&largest);
            let options = PortOptions { handover, results_per_turn: TURN, ..options(driver, 2) };
            let check = handler(move |from, batch| {
                largest_seen.fetch_max(batch.len(), Ordering::Relaxed);
                seen.check(from, batch);
            });
            let port = Port::start(fds, &options, check).expect("it starts");
            until(&port, "all is handled", |port| port.totals().datagrams >= 3 * EACH);
            let end = port.stop(PATIENCE);
            assert_eq!(sequence.mistakes.lock().expect("no panic").first(), None);
            assert_eq!((end.totals.datagrams, end.totals.dropped), (3 * EACH, 0));
            assert_eq!(largest.load(Ordering::Relaxed), TURN, "full turns, and none beyond");
        }
    });
}

/// A handler that stays in the ring 0 until it is told otherwise.
fn blocking() -> (Arc<dyn PortHandler>, Receiver<()>, Sender<()>) {
    let (entered_sender, entered) = channel();
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let block = move |from: PortSocket, _batch: &Batch| {
        if from.ring == 0 {
            let _test_ended = entered_sender.send(());
            let _released = gate.lock().expect("no panic").recv();
        }
    };
    (handler(block), entered, release)
}

#[test]
fn a_handler_that_blocks_on_one_ring_does_not_stop_the_others() {
    on_each_driver(|driver| {
        for handover in [Handover::WhenLong, Handover::WhenBusy, Handover::Always] {
            let (fds, addresses) = receivers(3, 1);
            let (block, entered, release) = blocking();
            let options =
                PortOptions { handover, stall_after: Duration::from_millis(1), ..options(driver, 2) };
            let port = Port::start(fds, &options, block).expect("it starts");
            let socket = sender();
            socket.send_to(b"blocks", addresses[0][0]).expect("loopback");
            entered.recv_timeout(PATIENCE).expect("ring 0 is handled");
            for _ in 0..100 {
                for address in [addresses[1][0], addresses[2][0]] {
                    socket.send_to(b"passes", address).expect("loopback");
                }
            }
            let passed = |ring| port.totals_of(ring).datagrams == 100;
            until(&port, "the others are handled", |_| passed(1) && passed(2));
            let is_stalled =
                |port: &Port| port.handling_for(0).is_some_and(|time| time > options.stall_after);
            until(&port, "the stall is seen while it lasts", is_stalled);
            assert_eq!((port.totals_of(0).batches, port.totals_of(0).stalls), (0, 0));
            release.send(()).expect("the handler waits");
            until(&port, "the stall ends", |port| port.totals_of(0).stalls == 1);
            assert_eq!(port.handling_for(0), None);
            assert_eq!(port.stop(PATIENCE).stuck, []);
        }
    });
}

#[test]
fn stopping_waits_for_handlers_that_end_in_time() {
    on_each_driver(|driver| {
        for handover in [Handover::WhenBusy, Handover::Always] {
            let (fds, addresses) = receivers(2, 1);
            let (block, entered, release) = blocking();
            let options = PortOptions { handover, ..options(driver, 1) };
            let port = Port::start(fds, &options, block).expect("it starts");
            let socket = sender();
            socket.send_to(b"in time", addresses[0][0]).expect("loopback");
            entered.recv_timeout(PATIENCE).expect("ring 0 is handled");
            let stopping = thread::spawn(move || port.stop(PATIENCE));
            release.send(()).expect("the handler waits");
            let end = stopping.join().expect("no panic");
            assert_eq!((end.totals.batches, end.totals.abandoned), (1, 0));
            assert_eq!((end.stuck, end.deaths), (vec![], vec![]));
            let rebound = addresses.iter().flatten().map(UdpSocket::bind);
            assert!(rebound.into_iter().all(|socket| socket.is_ok()), "the sockets are closed");
        }
    });
}

#[test]
fn stopping_leaves_handlers_alone_that_do_not_end_and_closes_what_is_theirs_to_receive_from() {
    on_each_driver(|driver| {
        let (fds, addresses) = receivers(2, 1);
        let (block, entered, release) = blocking();
        let options = PortOptions { handover: Handover::Always, ..options(driver, 1) };
        let port = Port::start(fds, &options, block).expect("it starts");
        let socket = sender();
        socket.send_to(b"for ever", addresses[0][0]).expect("loopback");
        entered.recv_timeout(PATIENCE).expect("ring 0 is handled");
        // The one thread is taken: these are received and wait.
        socket.send_to(b"waits", addresses[1][0]).expect("loopback");
        until(&port, "the other ring has received", |port| port.totals_of(1).received == 1);
        let begun = Instant::now();
        let end = port.stop(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(5), "within its time and half a second");
        assert_eq!(end.stuck, [0]);
        assert_eq!((end.totals.batches, end.totals.abandoned), (0, 1), "one is handled, one was given up");
        let rebound = addresses.iter().flatten().map(UdpSocket::bind);
        assert!(rebound.into_iter().all(|socket| socket.is_ok()), "the sockets are closed");
        release.send(()).expect("the handler waits");
    });
}

#[test]
fn stopping_under_a_flood_handles_what_was_received_and_ends() {
    on_each_driver(|driver| {
        for handover in [Handover::WhenBusy, Handover::Always] {
            let (fds, addresses) = receivers(2, 1);
            let handled = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&handled);
            let counts = handler(move |_, batch| {
                count.fetch_add(batch.len(), Ordering::Relaxed);
            });
            let port = Port::start(fds, &PortOptions { handover, ..options(driver, 1) }, counts);
            let port = port.expect("it starts");
            let is_over = AtomicBool::new(false);
            let end = thread::scope(|scope| {
                scope.spawn(|| {
                    let socket = sender();
                    while !is_over.load(Ordering::Relaxed) {
                        for address in addresses.iter().flatten() {
                            // Refused once nobody receives there any more.
                            let _sent = socket.send_to(b"flood", address);
                        }
                    }
                });
                let deadline = Instant::now() + PATIENCE;
                while port.totals().datagrams < 1_000 && Instant::now() < deadline {
                    thread::yield_now();
                }
                let end = port.stop(PATIENCE);
                is_over.store(true, Ordering::Relaxed);
                end
            });
            assert!(end.totals.datagrams >= 1_000, "{:?}", end.totals);
            assert_eq!(end.totals.datagrams, handled.load(Ordering::Relaxed) as u64);
            assert_eq!(end.totals.received, end.totals.datagrams);
            assert_eq!((end.totals.abandoned, end.stuck, end.deaths), (0, vec![], vec![]));
        }
    });
}

#[test]
fn a_dropped_port_ends() {
    on_each_driver(|driver| {
        let (fds, addresses) = receivers(2, 1);
        let (sender, seen) = channel();
        let note = handler(move |_, _| {
            let _test_ended = sender.send(());
        });
        drop(Port::start(fds, &options(driver, 2), note).expect("it starts"));
        for address in addresses.iter().flatten() {
            eventually("the sockets are closed", || UdpSocket::bind(address));
        }
        let gone = |error| error == std::sync::mpsc::RecvTimeoutError::Disconnected;
        assert!(seen.recv_timeout(PATIENCE).is_err_and(gone), "the handler is dropped with the last thread");
    });
}

#[test]
fn a_panic_costs_its_batch_only() {
    on_each_driver(|driver| {
        for handover in [Handover::WhenBusy, Handover::Always] {
            let (fds, addresses) = receivers(1, 1);
            let (handled_sender, handled) = channel();
            let handled_sender = Mutex::new(handled_sender);
            let panics = handler(move |_, batch| {
                for datagram in batch {
                    assert!(datagram.payload() != b"panic", "on purpose");
                    handled_sender.lock().expect("no panic under it").send(()).expect("the test waits");
                }
            });
            // More rounds than there are buffers: a panic's batch gives its buffers back.
            let options = PortOptions { handover, ..options(driver, 1) };
            let port = Port::start(fds, &options, panics).expect("it starts");
            let socket = sender();
            for round in 1..=300 {
                socket.send_to(b"panic", addresses[0][0]).expect("loopback");
                until(&port, "the panic is counted", |port| port.totals().panics == round);
                socket.send_to(b"good", addresses[0][0]).expect("loopback");
                handled.recv_timeout(PATIENCE).expect("the thread lives");
            }
            let end = port.stop(PATIENCE);
            assert_eq!((end.totals.batches, end.totals.panics, end.totals.out_of_buffers), (600, 300, 0));
        }
    });
}

/// Tells of errors.
struct Errors(Mutex<Sender<(PortSocket, io::ErrorKind)>>, AtomicU64);

impl PortHandler for Errors {
    fn batch(&self, _from: PortSocket, batch: &Batch, _out: &mut Outgoing<'_>) {
        self.1.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }

    fn error(&self, from: PortSocket, error: &io::Error) {
        self.0.lock().expect("no panic").send((from, error.kind())).expect("the test waits");
        assert!(self.1.load(Ordering::Relaxed) > 0, "on purpose, the first time");
    }
}

#[test]
fn errors_of_the_network_are_told_and_reception_goes_on() {
    on_each_driver(|driver| {
        let peer = sender();
        let peer_address = peer.local_addr().expect("bound");
        let (fd, address) = receiver();
        connect_datagrams(fd.as_fd(), peer_address).expect("loopback");
        let ours = UdpSocket::from(fd.try_clone().expect("a descriptor"));
        drop(peer);
        let (sender, errors) = channel();
        let handler = Arc::new(Errors(Mutex::new(sender), AtomicU64::new(0)));
        let port = Port::start(vec![vec![fd]], &options(driver, 1), handler).expect("it starts");
        ours.send(b"nobody is there").expect("the error comes later");
        let error = errors.recv_timeout(PATIENCE).expect("the error is told");
        assert_eq!(error, (PortSocket { ring: 0, socket: 0 }, io::ErrorKind::ConnectionRefused));
        let peer = UdpSocket::bind(peer_address).expect("free again");
        peer.send_to(b"now it is", address).expect("loopback");
        until(&port, "reception goes on", |port| port.totals().datagrams == 1);
        let end = port.stop(PATIENCE);
        assert_eq!((end.totals.errors, end.totals.error_panics, end.totals.ended_sockets), (1, 1, 0));
    });
}

/// Answers each datagram twice: as it is, and as a train of two bytes each.
struct Echo;

impl PortHandler for Echo {
    fn batch(&self, _from: PortSocket, batch: &Batch, out: &mut Outgoing<'_>) {
        for datagram in batch {
            let peer = datagram.source().expect("an address");
            out.send(peer, datagram.payload()).expect("room");
            out.send_train(peer, datagram.payload(), 2).expect("room");
        }
        assert!(batch.last().is_none_or(|datagram| datagram.payload() != b"panic"), "on purpose");
    }
}

#[test]
fn answers_leave_from_the_socket_that_was_asked() {
    on_each_driver(|driver| {
        for handover in [Handover::WhenBusy, Handover::Always] {
            let (fds, addresses) = receivers(2, 2);
            let options = PortOptions { handover, ..options(driver, 1) };
            let port = Port::start(fds, &options, Arc::new(Echo)).expect("it starts");
            for address in addresses.iter().flatten() {
                let client = sender();
                client.connect(address).expect("loopback");
                client.set_read_timeout(Some(PATIENCE)).expect("a socket");
                for asked in [&b"hello"[..], b"panic", b"again"] {
                    client.send(asked).expect("loopback");
                    for expected in [asked, &asked[..2], &asked[2..4], &asked[4..]] {
                        let mut answer = [0; 64];
                        let bytes = client.recv(&mut answer).expect("an answer");
                        assert_eq!(&answer[..bytes], expected);
                    }
                }
            }
            let totals = port.stop(PATIENCE).totals;
            assert_eq!((totals.datagrams, totals.panics), (12, 4));
            assert_eq!((totals.sent, totals.sent_bytes, totals.refused_sends), (48, 120, 0));
        }
    });
}

#[test]
fn answers_beyond_the_queue_are_refused_and_counted() {
    on_each_driver(|driver| {
        let (fds, addresses) = receivers(1, 1);
        let options = PortOptions { queue_messages_max: 2, ..options(driver, 1) };
        let (sender, full) = channel();
        let answers = Answers(Mutex::new(sender));
        let port = Port::start(fds, &options, Arc::new(answers)).expect("it starts");
        let client = UdpSocket::bind(SocketAddr::from(LOOPBACK)).expect("loopback");
        client.send_to(b"three?", addresses[0][0]).expect("loopback");
        assert_eq!(full.recv_timeout(PATIENCE), Ok([false, false, true]), "whether the queue is full");
        let totals = port.stop(PATIENCE).totals;
        assert_eq!((totals.sent, totals.refused_sends), (2, 1));
    });
}

/// Answers three times and tells which did not fit.
struct Answers(Mutex<Sender<[bool; 3]>>);

impl PortHandler for Answers {
    fn batch(&self, _from: PortSocket, batch: &Batch, out: &mut Outgoing<'_>) {
        let peer = batch.last().and_then(|datagram| datagram.source()).expect("an address");
        let full = [b"one", b"two", b"end"].map(|answer| out.send(peer, answer).is_err());
        self.0.lock().expect("no panic").send(full).expect("the test waits");
    }
}

#[test]
fn a_ring_without_traffic_is_left_asleep_by_the_others() {
    on_each_driver(|driver| {
        for wait in [WaitMode::Event, WaitMode::Adaptive] {
            let (fds, addresses) = receivers(2, 1);
            let port = Port::start(fds, &PortOptions { wait, ..options(driver, 2) }, handler(|_, _| {}))
                .expect("it starts");
            let socket = sender();
            // One datagram first: what starting costs has then been paid.
            socket.send_to(b"hello", addresses[1][0]).expect("loopback");
            until(&port, "it is handled", |port| port.totals_of(1).datagrams == 1);
            let before = port.totals_of(1).wakes;
            for number in 1..=300 {
                socket.send_to(b"hello", addresses[0][0]).expect("loopback");
                until(&port, "it is handled", |port| port.totals_of(0).datagrams == number);
            }
            // It may still have been on its way to its wait.
            let woken = port.totals_of(1).wakes - before;
            assert!(woken <= 34, "a quiet ring woke {woken} times ({wait})");
            assert_eq!(port.stop(PATIENCE).deaths, []);
        }
    });
}

#[test]
fn settings_out_of_range_and_wrong_sockets_are_refused_in_a_sentence() {
    let start = |rings, options: &PortOptions| Port::start(rings, options, handler(|_, _| {})).map(drop);
    let sentence = |result: Result<(), PortError>| result.expect_err("refused").to_string();
    let good = options(DriverChoice::Auto, 1);
    assert_eq!(sentence(start(vec![], &good)), "a port has 1 to 1024 rings");
    assert_eq!(sentence(start(vec![vec![]], &good)), "a ring of a port has at least one socket");
    let many = PortOptions { threads: 1025, ..good };
    let one = || receivers(1, 1).0;
    assert_eq!(sentence(start(one(), &many)), "a port has at most 1024 threads");
    for results_per_turn in [0, 65] {
        let turn = PortOptions { results_per_turn, ..good };
        let reason = "a turn of a port has 1 result to a quarter of a socket's buffers";
        assert_eq!(sentence(start(one(), &turn)), reason);
    }
    let (mut rings, addresses) = receivers(2, 1);
    rings[1].push(std::net::TcpListener::bind(SocketAddr::from(LOOPBACK)).expect("loopback").into());
    let refusal = sentence(start(rings, &good));
    assert!(refusal.starts_with("cannot receive from socket 1 of ring 1: "), "{refusal}");
    assert!(addresses.iter().flatten().all(|at| UdpSocket::bind(at).is_ok()), "nothing is left");
    let buffers = DatagramOptions { buffers: 300, ..good.datagrams };
    let odd = PortOptions { datagrams: buffers, ..good };
    assert!(sentence(start(one(), &odd)).contains("power of two"));
}
