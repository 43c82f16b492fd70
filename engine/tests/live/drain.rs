//! Draining: idle connections close, busy ones finish, what waits is served, stragglers are reset at the end.

use crate::stand::echo::TurnEcho;
use crate::stand::{
    PATIENCE, Setup, Stand, assert_same, connect, eventually, on_each_driver, pattern, read_all,
};
use ringway_engine::ring::DriverChoice;
use ringway_engine::{Balance, Conn, Events, Protocol, Turn, WorkerHandle};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Waits until nobody listens at `address`.
fn until_refused(address: SocketAddr) {
    eventually("the listener closes", || match TcpStream::connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn idle_connections_close_at_once() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| TurnEcho::default());
        let streams: Vec<TcpStream> = (0..10).map(|_| stand.connect()).collect();
        eventually("all are accepted", || if stand.totals().open == 10 { Ok(()) } else { Err(()) });
        let began = Instant::now();
        let server = stand.into_server();
        server.drain(PATIENCE);
        for mut stream in streams {
            assert_eq!(stream.read(&mut [0; 1]).expect("a good end"), 0);
        }
        let totals = server.wait(PATIENCE).expect("no worker dies");
        assert!(began.elapsed() < PATIENCE / 2, "nobody waited for the limit");
        assert_eq!((totals.accepted, totals.closed, totals.open), (10, 10, 0));
    });
}

/// Answers some time after it was asked; never when asked to hang.
struct Late;

impl Protocol for Late {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let [busy, _] = conn.context();
        if let Some(request) = conn.take() {
            conn.set_context([1, 0]);
            if request.starts_with(b"late") {
                conn.set_deadline(conn.now_ms() + 200);
            }
        } else if events.has(Events::TIMEOUT) {
            for piece in 0..10 {
                let bytes = conn.pool().copy_of(&pattern(piece * 60_000, 60_000)).expect("room");
                conn.send(bytes);
            }
            return if conn.is_draining() { Turn::Close } else { Turn::Idle };
        }
        if conn.is_ended() || (conn.is_draining() && busy == 0) { Turn::Close } else { Turn::Idle }
    }
}

#[test]
fn busy_connections_finish_while_new_ones_are_refused() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Late);
        let address = stand.address();
        let mut busy = stand.connect();
        busy.write_all(b"late").expect("the server reads");
        eventually(
            "the request is there",
            || if stand.totals().bytes_received == 4 { Ok(()) } else { Err(()) },
        );
        let server = stand.into_server();
        server.drain(PATIENCE);
        until_refused(address);
        assert_same(&read_all(&mut busy), &pattern(0, 600_000), "the answer");
        server.wait(PATIENCE).expect("no worker dies");
    });
}

#[test]
fn stragglers_are_reset_at_the_end() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Late);
        let mut straggler = stand.connect();
        straggler.write_all(b"hang").expect("the server reads");
        eventually(
            "the request is there",
            || if stand.totals().bytes_received == 4 { Ok(()) } else { Err(()) },
        );
        let began = Instant::now();
        let server = stand.into_server();
        server.drain(Duration::from_millis(150));
        let error = straggler.read(&mut [0; 1]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let totals = server.wait(PATIENCE).expect("no worker dies");
        // The worker's clock counts whole milliseconds.
        assert!(began.elapsed() >= Duration::from_millis(149), "it had its time");
        assert_eq!(totals.open, 0);
    });
}

#[test]
fn a_second_request_to_drain_may_only_hurry() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Late);
        let mut straggler = stand.connect();
        straggler.write_all(b"hang").expect("the server reads");
        eventually(
            "the request is there",
            || if stand.totals().bytes_received == 4 { Ok(()) } else { Err(()) },
        );
        let began = Instant::now();
        let drainer = stand.server().drainer();
        stand.server().drain(PATIENCE * 2);
        drainer.drain(Duration::from_millis(50));
        drainer.drain(PATIENCE * 2);
        let error = straggler.read(&mut [0; 1]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        stand.into_server().wait(PATIENCE).expect("no worker dies");
        assert!(began.elapsed() < PATIENCE / 2);
    });
}

/// An echo whose worker stands still from a `!` on until the test lets it go.
struct Blocker {
    echo: TurnEcho,
    blocked: Sender<()>,
    gate: Arc<Mutex<Receiver<()>>>,
    alive: Arc<AtomicUsize>,
}

impl Protocol for Blocker {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if let Some(bytes) = conn.take() {
            if bytes.starts_with(b"!") {
                self.blocked.send(()).expect("the test waits");
                self.gate.lock().expect("nobody panics").recv_timeout(PATIENCE).expect("the test lets go");
            }
            conn.unread(bytes);
        }
        self.echo.turn(conn, events)
    }
}

impl Drop for Blocker {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server with blockers, what says that one is blocked, what lets it go, and how many workers live.
struct Blocked {
    stand: Stand,
    is_blocked: Receiver<()>,
    gate: Sender<()>,
    alive: Arc<AtomicUsize>,
}

impl Blocked {
    fn start(driver: DriverChoice, workers: usize, balance: Balance) -> Self {
        let (blocked, is_blocked) = channel();
        let (gate, receiver) = channel();
        let gate_side = Arc::new(Mutex::new(receiver));
        let alive = Arc::new(AtomicUsize::new(workers));
        let shared = Arc::clone(&alive);
        let make = move |_: &WorkerHandle| Blocker {
            echo: TurnEcho::default(),
            blocked: blocked.clone(),
            gate: Arc::clone(&gate_side),
            alive: Arc::clone(&shared),
        };
        let mut setup = Setup::new(driver, make);
        setup.options.workers = workers;
        setup.endpoint.balance = balance;
        Self { stand: setup.start(), is_blocked, gate, alive }
    }

    /// Clients that connect and ask while the worker stands still.
    fn ask(&self, count: usize) -> Vec<TcpStream> {
        let ask = |_| {
            let mut stream = self.stand.connect();
            stream.write_all(b"request").expect("the kernel takes it");
            stream
        };
        (0..count).map(ask).collect()
    }

    fn all_are_answered(streams: Vec<TcpStream>) {
        for mut stream in streams {
            assert_eq!(read_all(&mut stream), b"request");
        }
    }
}

#[test]
fn connections_that_wait_to_be_accepted_are_served() {
    on_each_driver(|driver| {
        let blocked = Blocked::start(driver, 1, Balance::ReusePort);
        let mut first = blocked.stand.connect();
        first.write_all(b"!").expect("the server reads");
        blocked.is_blocked.recv_timeout(PATIENCE).expect("the worker stands still");
        let streams = blocked.ask(100);
        blocked.stand.server().drain(PATIENCE);
        blocked.gate.send(()).expect("the worker waits");
        Blocked::all_are_answered(streams);
        assert_eq!(read_all(&mut first), b"!");
        let totals = blocked.stand.into_server().wait(PATIENCE).expect("no worker dies");
        assert_eq!((totals.accepted, totals.closed), (101, 101));
    });
}

#[test]
fn a_worker_that_has_stopped_is_handed_no_connection() {
    on_each_driver(|driver| {
        let blocked = Blocked::start(driver, 2, Balance::LeastLoaded);
        // The first connection stays with the worker that accepts.
        let mut first = blocked.stand.connect();
        first.write_all(b"!").expect("the server reads");
        blocked.is_blocked.recv_timeout(PATIENCE).expect("the worker stands still");
        let streams = blocked.ask(100);
        blocked.stand.server().drain(PATIENCE);
        eventually("the other worker stops", || match blocked.alive.load(Ordering::SeqCst) {
            1 => Ok(()),
            alive => Err(alive),
        });
        blocked.gate.send(()).expect("the worker waits");
        Blocked::all_are_answered(streams);
        drop(first);
        blocked.stand.into_server().wait(PATIENCE).expect("no worker dies");
    });
}

#[test]
fn a_server_that_has_stopped_leaves_its_port() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| TurnEcho::default());
        let address = stand.address();
        stand.stop();
        assert_eq!(connect(address).expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
    });
}
