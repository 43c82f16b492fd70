//! Every operation on every driver, with the real kernel.

use ringway_ring::socket::{self, Address, ListenOptions, RawAddress};
use ringway_ring::{Completion, Connect, DriverChoice, Handle, Op, OpId, Payload, Ring, RingOptions, Wait};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test on each driver this machine has; says so loudly when one is missing.
fn on_each_driver(test: impl Fn(&mut Ring)) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        match Ring::new(&RingOptions { driver, ..RingOptions::default() }) {
            Ok(mut ring) => test(&mut ring),
            Err(error) => eprintln!("SKIPPED on {driver:?}: {error}"),
        }
    }
}

fn next(ring: &mut Ring) -> Completion {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(completion) = ring.next_completion() {
            return completion;
        }
        assert!(Instant::now() < deadline, "no completion on {}", ring.report().driver);
        ring.poll(Wait::AtMost(Duration::from_millis(100))).expect("the ring works");
    }
}

fn submit(ring: &mut Ring, op: Op, token: u64) -> OpId {
    ring.submit(op, token).expect("below the limit")
}

/// A connected pair: ours as a handle, the peer's as a blocking std stream.
fn pair() -> (Handle, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (ours, _) = listener.accept().expect("a connection waits");
    ours.set_nonblocking(true).expect("a socket");
    peer.set_read_timeout(Some(PATIENCE)).expect("a socket");
    (Handle::new(OwnedFd::from(ours)), peer)
}

#[test]
fn accepts_receives_sends_and_sees_the_end() {
    on_each_driver(|ring| {
        let at = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
        let listener = Handle::new(socket::listen(&at, &ListenOptions::default()).expect("binds"));
        let port = socket::local_address(listener.kernel().expect("real")).expect("bound");
        let accept = submit(ring, Op::Accept { listener }, 1);
        let mut peer = TcpStream::connect(port).expect("connects");
        peer.write_all(b"hello").expect("sends");
        let accepted = next(ring);
        assert!(accepted.more && accepted.token == 1);
        let Payload::Connection(socket) = accepted.payload else { panic!("{accepted:?}") };

        submit(ring, Op::Stream { socket: socket.clone() }, 2);
        let received = next(ring);
        let Payload::Bytes(bytes) = received.payload else { panic!("{received:?}") };
        assert_eq!((&*bytes, received.more, received.token), (&b"hello"[..], true, 2));

        submit(ring, Op::Send { socket: socket.clone(), bytes, sent: 0 }, 3);
        let sent = next(ring);
        assert_eq!((sent.result.expect("sent"), sent.token, sent.more), (5, 3, false));
        let mut echo = [0; 5];
        peer.read_exact(&mut echo).expect("the echo");
        assert_eq!(&echo, b"hello");

        drop(peer);
        let end = next(ring);
        assert_eq!((end.token, end.more, end.result.expect("a clean end")), (2, false, 0));
        ring.cancel(accept);
        let last = next(ring);
        assert_eq!(last.result.expect_err("cancelled").raw_os_error(), Some(125));
        assert_eq!(ring.in_flight(), 0);
    });
}

#[test]
fn connects_and_is_refused() {
    on_each_driver(|ring| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let at = listener.local_addr().expect("bound");
        let raw = RawAddress::new(&Address::Tcp(at)).expect("an address");
        for is_there in [true, false] {
            if !is_there {
                // Nobody has the port now.
                drop(listener.try_clone());
            }
            let socket = Handle::new(socket::stream_socket(&raw).expect("a socket"));
            submit(ring, Op::Connect(Connect::new(socket, raw)), 9);
            next(ring).result.expect("connected");
        }
        drop(listener);
        let socket = Handle::new(socket::stream_socket(&raw).expect("a socket"));
        submit(ring, Op::Connect(Connect::new(socket, raw)), 9);
        let error = next(ring).result.expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn wakes_from_another_thread() {
    on_each_driver(|ring| {
        let waker = ring.waker();
        let thread = std::thread::spawn(move || waker.wake());
        let deadline = Instant::now() + PATIENCE;
        while !ring.take_woken() {
            assert!(Instant::now() < deadline, "not woken on {}", ring.report().driver);
            ring.poll(Wait::Forever).expect("the ring works");
        }
        thread.join().expect("no panic");
    });
}

#[test]
fn cancel_of_an_idle_stream_completes_it_once() {
    on_each_driver(|ring| {
        let (socket, _peer) = pair();
        let id = submit(ring, Op::Stream { socket }, 5);
        ring.poll(Wait::Poll).expect("the ring works");
        ring.cancel(id);
        ring.cancel(id);
        let end = next(ring);
        assert!(!end.more);
        assert_eq!(end.result.expect_err("cancelled").raw_os_error(), Some(125));
        assert_eq!(ring.in_flight(), 0);
        ring.poll(Wait::Poll).expect("the ring works");
        assert!(ring.next_completion().is_none());
        assert_eq!(ring.counters().strangers, 0);
    });
}
