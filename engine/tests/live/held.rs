//! Held connections: owned by a stream in whatever task, pooled, let go, and never read faster than their owner reads.

use crate::stand::echo::TurnEcho;
use crate::stand::scramble::{ANSWER, KNOCK, Peer, Strict};
use crate::stand::{PATIENCE, Setup, Stand, assert_same, eventually, on_each_driver, on_worker, pattern};
use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, Handle};
use ringway_engine::{
    Conn, EndpointLimits, Events, FilterSource, Outbound, Protocol, Stream, Turn, WorkerHandle,
};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A peer's listener.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// A server with room for `most` held connections that does `work` when it starts; what the work sends is received here.
fn working<T: Send + 'static, F: Future<Output = ()> + 'static>(
    driver: DriverChoice,
    most: usize,
    work: impl Fn(WorkerHandle, Sender<T>) -> F + Send + Sync + 'static,
) -> (Stand, Receiver<T>) {
    let (sender, told) = channel();
    let mut setup = Setup::new(driver, |_| TurnEcho::default());
    let limits = EndpointLimits { connections_max: most, ..EndpointLimits::default() };
    setup.options.outbound = vec![Outbound::held(limits)];
    setup.options.on_start = Some(Arc::new(move |worker: &WorkerHandle| {
        worker.spawn(work(worker.clone(), sender.clone()));
    }));
    (setup.start(), told)
}

/// A connected socket.
async fn connected(worker: &WorkerHandle, address: SocketAddr) -> Handle {
    let until_ms = worker.now_ms() + 10_000;
    worker.connect(&Address::Tcp(address), until_ms, false).await.expect("a listener")
}

/// A held connection to `address`.
async fn held(worker: &WorkerHandle, address: SocketAddr) -> Stream {
    worker.hold(0, connected(worker, address).await, None).expect("room")
}

/// Reads until `bytes` have come.
async fn read_bytes(stream: &mut Stream, bytes: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < bytes {
        got.extend_from_slice(&stream.read().await.expect("a sound connection").expect("no end"));
    }
    got
}

/// A peer's end, with patience.
fn accepted(listener: &TcpListener) -> TcpStream {
    let (peer, _) = listener.accept().expect("somebody connects");
    peer.set_read_timeout(Some(PATIENCE)).expect("a socket");
    peer.set_write_timeout(Some(PATIENCE)).expect("a socket");
    peer.set_nodelay(true).expect("a socket");
    peer
}

fn read_exactly(peer: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut got = vec![0; bytes];
    peer.read_exact(&mut got).expect("it comes");
    got
}

#[test]
fn one_is_asked_again_and_again_and_closed_by_its_drop() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 1, move |worker, told| async move {
            let mut stream = held(&worker, address).await;
            assert!(stream.is_quiet());
            for round in 0..200 {
                let question = pattern(round, 1 + round * 7 % 3000);
                stream.write(stream.slice_of(&question).expect("room")).await.expect("it is open");
                let answer = read_bytes(&mut stream, question.len()).await;
                assert_same(&answer, &question, "the echo");
                assert!(stream.is_quiet(), "round {round}");
                assert_eq!(stream.queued_bytes(), 0);
            }
            assert_eq!(stream.peer(), Some(address));
            drop(stream);
            told.send(()).expect("the test listens");
        });
        let mut peer = accepted(&listener);
        for round in 0..200 {
            let question = read_exactly(&mut peer, 1 + round * 7 % 3000);
            peer.write_all(&question).expect("it reads");
        }
        told.recv_timeout(PATIENCE).expect("the work ends");
        assert_eq!(peer.read(&mut [0; 8]).expect("an orderly end"), 0);
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.connected, totals.closed, totals.panics, totals.turns), (1, 1, 0, 0));
    });
}

#[test]
fn what_is_let_go_with_something_left_is_reset() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 2, move |worker, told| async move {
            // Something unread: it has arrived here.
            let mut unread = held(&worker, address).await;
            let first = unread.read().await.expect("sound").expect("bytes");
            unread.unread(first);
            drop(unread);
            // Something unsent: more than fits on the way.
            let mut unsent = held(&worker, address).await;
            for _ in 0..400 {
                unsent.send(unsent.slice_of(&[1; 60_000]).expect("room"));
            }
            assert!(unsent.queued_bytes() > 1_000_000);
            drop(unsent);
            told.send(()).expect("the test listens");
        });
        let mut peer = accepted(&listener);
        peer.write_all(b"unasked").expect("it is open");
        let second = accepted(&listener);
        told.recv_timeout(PATIENCE).expect("the work ends");
        for mut peer in [peer, second] {
            let error = peer.read_to_end(&mut Vec::new()).expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn a_peer_that_closes_while_nobody_asks_is_noticed_when_one_asks() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 8, move |worker, told| async move {
            let pool = RefCell::new(Vec::new());
            for _ in 0..4 {
                let stream = held(&worker, address).await;
                assert!(stream.is_quiet());
                pool.borrow_mut().push(stream);
            }
            told.send(0).expect("the test listens");
            // They come to be noticed one after the other, while nobody polls them.
            while pool.borrow().len() > 1 {
                pool.borrow_mut().retain(Stream::is_quiet);
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            told.send(1).expect("the test listens");
            let last = pool.borrow_mut().pop().expect("one is left");
            assert!(last.is_quiet());
            drop(last);
        });
        let mut peers: Vec<_> = (0..4).map(|_| accepted(&listener)).collect();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(0));
        // An orderly end, a reset, and one that says what nobody asked for.
        drop(peers.remove(0));
        ringway_engine::ring::socket::set_abort_on_close(std::os::fd::AsFd::as_fd(&peers[0]))
            .expect("a socket");
        drop(peers.remove(0));
        peers[0].write_all(b"408 you are too slow").expect("it is open");
        assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn nothing_is_received_that_was_not_asked_for() {
    const BODY: usize = 24 << 20;
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (go, gate) = channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let (stand, told) = working(driver, 1, move |worker, told| {
            let gate = Arc::clone(&gate);
            async move {
                let mut stream = held(&worker, address).await;
                let first = stream.read().await.expect("sound").expect("bytes");
                told.send(first.to_vec()).expect("the test listens");
                // The reader is slow until the test has looked.
                while gate.lock().expect("nobody panics").try_recv().is_err() {
                    worker.sleep_until(worker.now_ms() + 1).await;
                }
                let mut got = first.to_vec();
                while let Some(slice) = stream.read().await.expect("sound") {
                    got.extend_from_slice(&slice);
                }
                assert!(!stream.is_quiet() && stream.is_ended());
                told.send(got).expect("the test listens");
            }
        });
        let peer = accepted(&listener);
        let sent = pattern(3, BODY);
        let wanted = sent.clone();
        let writer = std::thread::spawn(move || {
            let mut peer = peer;
            peer.write_all(&sent).expect("it is read in the end");
        });
        let first = told.recv_timeout(PATIENCE).expect("the first bytes");
        let received = stand.totals().bytes_received;
        assert_eq!(received, first.len() as u64);
        // The peer cannot go on: what it writes stays between the two kernels.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(stand.totals().bytes_received, received);
        assert!(!writer.is_finished());
        go.send(()).expect("the work waits");
        let got = told.recv_timeout(PATIENCE).expect("the whole body");
        assert_same(&got, &wanted, "the body");
        writer.join().expect("no panic");
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn much_comes_in_few_pieces() {
    const BODY: usize = 200_000;
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (go, gate) = channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let (stand, told) = working(driver, 1, move |worker, told| {
            let gate = Arc::clone(&gate);
            async move {
                let mut stream = held(&worker, address).await;
                while gate.lock().expect("nobody panics").try_recv().is_err() {
                    worker.sleep_until(worker.now_ms() + 1).await;
                }
                let (mut got, mut pieces) = (0, 0);
                while got < BODY {
                    got += stream.read().await.expect("sound").expect("bytes").len();
                    pieces += 1;
                }
                told.send(pieces).expect("the test listens");
            }
        });
        let mut peer = accepted(&listener);
        let mut sent = 0;
        peer.set_nonblocking(true).expect("a socket");
        let body = vec![7; BODY];
        // As much as fits is there before the first receive.
        while let Ok(count) = peer.write(&body[sent..])
            && count > 0
        {
            sent += count;
        }
        go.send(()).expect("the work waits");
        peer.set_nonblocking(false).expect("a socket");
        peer.write_all(&body[sent..]).expect("it is read");
        let pieces = told.recv_timeout(PATIENCE).expect("the whole body");
        assert!(pieces <= 16, "{pieces} pieces of {BODY} bytes, {sent} of them at once");
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn an_answer_that_came_before_the_request_was_sent_can_be_read() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 1, move |worker, told| async move {
            let mut stream = held(&worker, address).await;
            // The peer answers and closes without reading: what is sent on meets a reset.
            let outcome = loop {
                match poll_fn(|context| stream.poll_queued(context, 60_000)).await {
                    Ok(()) => stream.send(stream.slice_of(&[1; 60_000]).expect("room")),
                    Err(error) => break error.kind(),
                }
            };
            let answer = match stream.read().await {
                Ok(Some(slice)) => slice.to_vec(),
                other => format!("{other:?}").into_bytes(),
            };
            assert!(!stream.is_quiet());
            told.send((outcome, answer)).expect("the test listens");
        });
        let mut peer = accepted(&listener);
        read_exactly(&mut peer, 10_000);
        peer.write_all(b"413 too much").expect("it is open");
        std::thread::sleep(Duration::from_millis(20));
        drop(peer);
        let (outcome, answer) = told.recv_timeout(PATIENCE).expect("the work ends");
        assert_eq!(outcome, ErrorKind::BrokenPipe);
        assert_eq!(String::from_utf8_lossy(&answer), "413 too much");
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn the_end_of_what_is_sent_follows_the_last_byte_and_reading_goes_on() {
    const BODY: usize = 3_000_000;
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 1, move |worker, told| async move {
            let mut stream = held(&worker, address).await;
            for part in pattern(0, BODY).chunks(50_000) {
                stream.write(stream.slice_of(part).expect("room")).await.expect("it is open");
            }
            stream.shutdown_write();
            let answer = read_bytes(&mut stream, 5).await;
            assert!(stream.read().await.expect("sound").is_none());
            told.send(answer).expect("the test listens");
        });
        let mut peer = accepted(&listener);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("an orderly end");
        assert_same(&got, &pattern(0, BODY), "what was sent");
        peer.write_all(b"heard").expect("the other direction is open");
        drop(peer);
        assert_eq!(told.recv_timeout(PATIENCE).expect("the work ends"), b"heard");
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn waits_end_with_the_deadline_and_limits_hold() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 1, move |worker, told| async move {
            let mut stream = held(&worker, address).await;
            let socket = connected(&worker, address).await;
            let refused = worker.hold(0, socket, None).expect_err("one is open");
            assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
            stream.set_deadline(worker.now_ms() + 30);
            let late = stream.read().await.expect_err("nobody answers");
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            assert!(!stream.is_quiet());
            stream.clear_deadline();
            assert!(stream.is_quiet());
            told.send(read_bytes(&mut stream, 4).await).expect("the test listens");
        });
        let mut peer = accepted(&listener);
        let _second = accepted(&listener);
        eventually("the deadline", || {
            let timeouts = stand.totals().timeouts;
            (timeouts == 1).then_some(()).ok_or(timeouts)
        });
        peer.write_all(b"late").expect("it is open");
        assert_eq!(told.recv_timeout(PATIENCE).expect("the work ends"), b"late");
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn a_filter_lies_between_the_wire_and_the_owner() {
    const BODY: usize = 300_000;
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 1, move |worker, told| async move {
            let socket = connected(&worker, address).await;
            let stream = worker.hold_behind(0, socket, b"PROXY\r\n", Some(Strict.make()));
            let mut stream = stream.expect("room");
            // What is sent before the handshake waits for it.
            stream.send(stream.slice_of(b"early").expect("room"));
            stream.handshake().await.expect("it is agreed on");
            assert!(stream.session().is_some());
            let body = read_bytes(&mut stream, BODY).await;
            assert!(stream.is_quiet());
            told.send(body).expect("the test listens");
            assert!(stream.read().await.expect("a last word was said").is_none());
        });
        let mut peer = accepted(&listener);
        assert_eq!(read_exactly(&mut peer, 7), b"PROXY\r\n");
        peer.write_all(&KNOCK.to_be_bytes()).expect("it is open");
        assert_eq!(read_exactly(&mut peer, ANSWER.len()), ANSWER);
        let mut layer = Peer::default();
        let mut buffer = [0; 1000];
        while layer.plain.len() < 5 {
            let count = peer.read(&mut buffer).expect("it comes");
            layer.open(&buffer[..count]);
        }
        assert_eq!(layer.plain, b"early");
        let wire = layer.seal(&pattern(0, BODY), &[1000, 1, 777]);
        for part in wire.chunks(7777) {
            peer.write_all(part).expect("it reads");
        }
        assert_same(&told.recv_timeout(PATIENCE).expect("the body"), &pattern(0, BODY), "the body");
        peer.write_all(&[0, 0]).expect("it reads");
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

/// Passes what its clients send to a held connection, and what that answers back: two directions in the connection's task.
struct Relay {
    upstream: SocketAddr,
}

impl Protocol for Relay {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if !events.has(Events::OPENED) {
            return Turn::Close;
        }
        let (client, worker, upstream) = (conn.detach(), conn.worker(), self.upstream);
        Turn::task(async move {
            let upstream = held(&worker, upstream).await;
            relay(client, upstream).await.expect("both sides are sound");
            Turn::Close
        })
    }
}

async fn relay(mut client: Stream, mut upstream: Stream) -> io::Result<()> {
    let (mut is_asking, mut is_answering) = (true, true);
    poll_fn(move |context| {
        while is_asking && upstream.poll_queued(context, 64 * 1024)?.is_ready() {
            match client.poll_read(context)? {
                Poll::Ready(Some(slice)) => upstream.send(slice),
                Poll::Ready(None) => {
                    upstream.shutdown_write();
                    is_asking = false;
                }
                Poll::Pending => break,
            }
        }
        while is_answering && client.poll_queued(context, 64 * 1024)?.is_ready() {
            match upstream.poll_read(context)? {
                Poll::Ready(Some(slice)) => client.send(slice),
                Poll::Ready(None) => is_answering = false,
                Poll::Pending => break,
            }
        }
        if is_answering { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await
}

#[test]
fn a_connections_task_is_woken_by_both_its_sides() {
    on_each_driver(|driver| {
        let echo = Stand::start(driver, |_| TurnEcho::default());
        let upstream = echo.address();
        let mut setup = Setup::new(driver, move |_| Relay { upstream });
        setup.options.outbound = vec![Outbound::held(EndpointLimits::default())];
        let stand = setup.start();
        std::thread::scope(|scope| {
            for client in 0..8 {
                let mut stream = stand.connect();
                scope.spawn(move || {
                    // One after the other, and then much at once.
                    for round in 0..100 {
                        let question = pattern(client * 1000 + round, 1 + round * 31 % 5000);
                        stream.write_all(&question).expect("it reads");
                        let mut answer = vec![0; question.len()];
                        stream.read_exact(&mut answer).expect("the answer comes");
                        assert_same(&answer, &question, "a relayed echo");
                    }
                    crate::stand::exchange(&mut stream, 2_000_000, 50_000);
                });
            }
        });
        stand.until_resting();
        echo.until_resting();
        assert_eq!(stand.stop().panics, 0);
        assert_eq!(echo.stop().panics, 0);
    });
}

/// Counts how often a waker is cloned and used.
#[derive(Default)]
struct Counting {
    wakes: std::sync::atomic::AtomicUsize,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn a_waker_that_is_no_tasks_own_is_used_once() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 1, move |worker, told| async move {
            let mut stream = held(&worker, address).await;
            let counting = Arc::new(Counting::default());
            let waker = Waker::from(Arc::clone(&counting));
            assert!(stream.poll_read(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(Arc::strong_count(&counting), 3, "this one is kept");
            told.send(Vec::new()).expect("the test listens");
            while counting.wakes.load(std::sync::atomic::Ordering::SeqCst) == 0 {
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            assert_eq!(Arc::strong_count(&counting), 2, "and given back");
            told.send(read_bytes(&mut stream, 2).await).expect("the test listens");
            assert_eq!(counting.wakes.load(std::sync::atomic::Ordering::SeqCst), 1);
        });
        let mut peer = accepted(&listener);
        told.recv_timeout(PATIENCE).expect("it waits");
        peer.write_all(b"go").expect("it is open");
        assert_eq!(told.recv_timeout(PATIENCE).expect("the work ends"), b"go");
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn what_is_pooled_does_not_keep_a_server_that_drains() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (stand, told) = working(driver, 4, move |worker, told| async move {
            let stream = held(&worker, address).await;
            told.send(()).expect("the test listens");
            // Waits for ever; the server's end takes it along.
            std::future::pending::<()>().await;
            drop(stream);
        });
        let mut peer = accepted(&listener);
        told.recv_timeout(PATIENCE).expect("it is held");
        let began = Instant::now();
        assert_eq!(stand.stop().panics, 0);
        assert!(began.elapsed() < Duration::from_secs(2), "it waited for {:?}", began.elapsed());
        assert_eq!(peer.read(&mut [0; 8]).expect("an orderly end"), 0);
    });
}

#[test]
fn names_are_looked_up_elsewhere() {
    on_each_driver(|driver| {
        let (local, literal, nobody) = on_worker(driver, |worker| async move {
            let local = worker.resolve("localhost", 80).await;
            let literal = worker.resolve("2001:db8::1", 443).await;
            let nobody = worker.resolve("no such name.invalid", 1).await.map_err(|error| error.kind());
            (local, literal, nobody)
        });
        let local = local.expect("every machine has it");
        assert!(local.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{local:?}");
        assert_eq!(literal.expect("an address"), ["[2001:db8::1]:443".parse().expect("an address")]);
        assert!(nobody.is_err());
    });
}

#[test]
fn one_that_is_dropped_in_a_turn_is_closed_after_it() {
    /// Keeps held connections, and lets go of one in each client's turn.
    struct Keeper {
        kept: Rc<RefCell<Vec<Stream>>>,
    }
    impl Protocol for Keeper {
        fn turn(&self, _conn: &mut Conn<'_>, events: Events) -> Turn {
            if events.has(Events::OPENED) {
                drop(self.kept.borrow_mut().pop());
            }
            Turn::Close
        }
    }
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let mut setup = Setup::new(driver, move |worker: &WorkerHandle| {
            let kept = Rc::new(RefCell::new(Vec::new()));
            let (own, keeping) = (worker.clone(), Rc::clone(&kept));
            worker.spawn(async move {
                let stream = held(&own, address).await;
                keeping.borrow_mut().push(stream);
            });
            Keeper { kept }
        });
        setup.options.outbound = vec![Outbound::held(EndpointLimits::default())];
        let stand = setup.start();
        let mut peer = accepted(&listener);
        eventually("it is held", || {
            let connected = stand.totals().connected;
            (connected == 1).then_some(()).ok_or(connected)
        });
        let mut client = stand.connect();
        client.write_all(b"x").expect("it is open");
        assert_eq!(peer.read(&mut [0; 8]).expect("an orderly end"), 0);
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}
