//! Endpoints: balances, families, options of the listening socket.

use crate::stand::echo::{TaskEcho, TurnEcho};
use crate::stand::{PATIENCE, Setup, Stand, eventually, exchange, on_each_driver, on_worker, pattern};
use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, Handle, Op, Payload};
use ringway_engine::{Balance, Conn, Events, Protocol, Turn, WorkerHandle};
use ringway_testkit::Scratch;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// How much the workers' shares may differ: one worker reads what the other counts while it counts.
const ROUGHLY: usize = 4;

/// Says which worker it is on; then echoes.
struct Who {
    echo: TurnEcho,
}

impl Who {
    fn setup(driver: DriverChoice, balance: Balance) -> Setup {
        let mut setup = Setup::new(driver, |_| Self { echo: TurnEcho::default() });
        setup.options.workers = 2;
        setup.endpoint.balance = balance;
        setup
    }
}

impl Protocol for Who {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            let name = std::thread::current().name().map(str::to_owned).expect("workers have names");
            let digit = name.bytes().last().expect("a name ends with the number");
            let word = conn.pool().copy_of(&[digit]).expect("room");
            conn.send(word);
        }
        self.echo.turn(conn, events)
    }
}

/// Connections of each worker, in the order of their making.
fn by_worker<S: Read>(streams: Vec<S>) -> [Vec<S>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for mut stream in streams {
        let mut digit = [0];
        stream.read_exact(&mut digit).expect("the worker says who it is");
        found[usize::from(digit[0] - b'0')].push(stream);
    }
    found
}

fn many(stand: &Stand, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| stand.connect()).collect()
}

#[test]
fn the_least_loaded_worker_gets_the_next_connection() {
    on_each_driver(|driver| {
        let stand = Who::setup(driver, Balance::LeastLoaded).start();
        // All at once: what is on its way to a worker counts as its load.
        let [first, second] = by_worker(many(&stand, 101));
        let kept = first.len() as u64;
        assert!(first.len().abs_diff(second.len()) <= ROUGHLY, "{kept} and {}", second.len());
        drop(second);
        eventually("the second worker is idle", || {
            let open = stand.totals().open;
            if open == kept { Ok(()) } else { Err(open) }
        });
        let [more, third] = by_worker(many(&stand, 40));
        assert_eq!((more.len(), third.len()), (0, 40), "until the loads are equal");
        for mut stream in third.into_iter().chain(first) {
            exchange(&mut stream, 100, 10);
        }
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.accepted, totals.adopted), (141, 141 - kept));
    });
}

#[test]
fn the_kernel_spreads_connections_over_the_workers() {
    on_each_driver(|driver| {
        let stand = Who::setup(driver, Balance::ReusePort).start();
        let [first, second] = by_worker(many(&stand, 100));
        assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
        for mut stream in first.into_iter().chain(second) {
            exchange(&mut stream, 100, 10);
        }
        stand.until_resting();
        stand.stop();
    });
}

fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("open");
    stream
}

#[test]
fn a_unix_socket_is_balanced_by_load_whatever_the_setting() {
    on_each_driver(|driver| {
        for balance in [Balance::ReusePort, Balance::LeastLoaded] {
            let scratch = Scratch::new("engine-unix");
            let path = scratch.path().join("socket");
            let mut setup = Who::setup(driver, balance);
            setup.endpoint.address = Address::Unix(path.clone());
            let server = ringway_engine::Server::start(std::slice::from_ref(&setup.endpoint), &setup.options);
            let server = server.expect("the server starts");
            let [first, second] = by_worker((0..50).map(|_| unix(&path)).collect());
            assert!(first.len().abs_diff(second.len()) <= ROUGHLY, "{} and {}", first.len(), second.len());
            for mut stream in first.into_iter().chain(second) {
                stream.write_all(b"echo").expect("the server reads");
                let mut echo = [0; 4];
                stream.read_exact(&mut echo).expect("the echo comes");
                assert_eq!(&echo, b"echo");
            }
            server.drain(PATIENCE);
            server.wait(PATIENCE).expect("no worker dies");
            // The file stays behind and does not hinder the next server.
            let server = ringway_engine::Server::start(std::slice::from_ref(&setup.endpoint), &setup.options);
            let server = server.expect("a stale socket is replaced");
            by_worker(vec![unix(&path)]);
            server.drain(PATIENCE);
            server.wait(PATIENCE).expect("no worker dies");
        }
    });
}

#[test]
fn ipv6_serves_like_ipv4() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6 loopback");
        return;
    }
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TaskEcho::default());
        setup.endpoint.address = Address::Tcp("[::1]:0".parse().expect("an address"));
        let stand = setup.start();
        exchange(&mut stand.connect(), 100_000, 1_000);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_deferred_accept_waits_for_the_first_byte() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        setup.endpoint.listen.defer_accept_seconds = 10;
        let stand = setup.start();
        let mut silent = stand.connect();
        exchange(&mut stand.connect(), 100, 100);
        assert_eq!(stand.totals().accepted, 1, "the silent one came first and is not there yet");
        exchange(&mut silent, 100, 100);
        drop(silent);
        stand.until_resting();
        stand.stop();
    });
}

/// A client on a worker: connects, sends, and reads as much back.
async fn ask(worker: WorkerHandle, address: SocketAddr, fast_open: bool) -> Vec<u8> {
    let until_ms = worker.now_ms() + 10_000;
    let socket: Handle =
        worker.connect(&Address::Tcp(address), until_ms, fast_open).await.expect("somebody listens");
    let message = pattern(0, 1_000);
    let pool = worker.slices();
    let bytes = pool.copy_of(&message).expect("room");
    let send = Op::Send { socket: socket.clone(), bytes, sent: 0 };
    let sent = worker.operation(send).expect("room").await;
    assert_eq!(sent.result.expect("the server reads"), 1_000);
    let buffer = pool.get(message.len()).expect("room");
    let read = Op::Exact { socket, buffer, filled: 0, want: 1_000 };
    match worker.operation(read).expect("room").await.payload {
        Payload::Finished(Op::Exact { buffer, filled, .. }) => buffer[..filled as usize].to_vec(),
        other => panic!("not what was asked for: {other:?}"),
    }
}

/// Connections that a server got with data in their SYN, on this machine so far.
fn fast_opened() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").expect("Linux");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "TCPFastOpenPassive").expect("counted since Linux 3.7");
    value.parse().expect("a number")
}

#[test]
fn fast_open_carries_the_request_in_the_syn_where_the_kernel_lets_it() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        assert_eq!(setup.endpoint.fast_open_note(), None, "nobody asked for it");
        setup.endpoint.listen.fast_open_queue = 16;
        let note = setup.endpoint.fast_open_note();
        let stand = setup.start();
        let address = stand.address();
        let before = fast_opened();
        // The first connection fetches the cookie that the second one needs.
        for _ in 0..2 {
            let answer = on_worker(driver, move |worker| ask(worker, address, true));
            assert_eq!(answer, pattern(0, 1_000));
        }
        match note {
            None => assert!(fast_opened() > before, "the second request came in the SYN"),
            Some(note) => eprintln!("SKIPPED, but ordinary connects work: {note}"),
        }
        stand.until_resting();
        stand.stop();
    });
}
