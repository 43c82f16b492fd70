//! The bandwidth governor on real sockets: what arrives at the receiver, who waits, who is refused, and change while it runs.

use crate::stand::{
    PATIENCE, Setup, Stand, assert_same, eventually, on_all_drivers_at_once, pattern, read_all,
};
use ringway_engine::ring::{DriverChoice, Handle};
use ringway_engine::{
    Bandwidth, Conn, EndpointLimits, Events, GovernedRead, Policy, Protocol, Scope, ScopeStatus, Turn,
    WorkerHandle,
};
use ringway_testkit::Scratch;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of the file.
const FILE_BYTES: usize = 3_000_000;

/// Answers `f` with the file, `s` with 1,000 bytes and `b` with 200,000; `r` is what a rejected read is told. Every request
/// is one byte, asked of the governor before it is taken.
struct Sender {
    file: Handle,
}

impl Sender {
    fn at(path: PathBuf) -> impl Fn(&WorkerHandle) -> Self + Send + Sync + 'static {
        move |_| Self { file: Handle::new(OwnedFd::from(File::open(&path).expect("it is there"))) }
    }

    fn answer(&self, conn: &mut Conn<'_>, request: u8) {
        match request {
            b'f' => conn.send_file(None, self.file.clone(), 0, FILE_BYTES as u64, false),
            b'b' => {
                for start in (0..200_000).step_by(50_000) {
                    let bytes = conn.pool().copy_of(&pattern(start, 50_000)).expect("room");
                    conn.send(bytes);
                }
            }
            _ => {
                let bytes = conn.pool().copy_of(&pattern(0, 1_000)).expect("room");
                conn.send(bytes);
            }
        }
    }
}

impl Protocol for Sender {
    fn turn(&self, conn: &mut Conn<'_>, _: Events) -> Turn {
        if conn.is_broken() {
            return Turn::Close;
        }
        while conn.is_flushed()
            && let Some(mut requests) = conn.take()
        {
            match conn.governed_read() {
                GovernedRead::Allow => {
                    let request = requests.split_to(1);
                    conn.unread(requests);
                    self.answer(conn, request[0]);
                }
                GovernedRead::Block => {
                    conn.unread(requests);
                    break;
                }
                GovernedRead::Reject { retry_after_s } => {
                    assert!(retry_after_s >= 1);
                    let bytes = conn.pool().copy_of(b"r").expect("room");
                    conn.send(bytes);
                    return Turn::Close;
                }
            }
        }
        let is_over = conn.is_ended() || conn.is_draining();
        if is_over && !conn.has_input() && conn.is_flushed() { Turn::Close } else { Turn::Idle }
    }
}

fn with_file(test: impl Fn(DriverChoice, PathBuf) + Sync) {
    on_all_drivers_at_once(|driver| {
        let scratch = Scratch::new("engine-governor");
        let path = scratch.path().join("file");
        std::fs::write(&path, pattern(0, FILE_BYTES)).expect("room");
        test(driver, path);
    });
}

fn status(stand: &Stand, scope: Scope) -> ScopeStatus {
    let all = stand.server().governor().status();
    *all.iter().find(|status| status.scope == scope).expect("it has an M")
}

/// Reads without end and counts; a request again whenever a whole answer is there.
fn consume(mut stream: TcpStream, request: u8, answer_bytes: usize, count: &AtomicU64, is_over: &AtomicBool) {
    let (mut buffer, mut left) = (vec![0; 65_536], 0);
    while !is_over.load(Ordering::Relaxed) {
        if left == 0 {
            stream.write_all(&[request]).expect("the server reads");
            left = answer_bytes;
        }
        let found = stream.read(&mut buffer).expect("the server sends");
        assert!(found > 0 && found <= left, "{found} of {left}");
        left -= found;
        count.fetch_add(found as u64, Ordering::Relaxed);
    }
}

/// The rate at the receivers over so long, after as long as it takes to settle, in bytes a second.
fn rate_of(stand: &Stand, clients: usize, request: u8, answer_bytes: usize, over: Duration) -> f64 {
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..clients {
            let stream = stand.connect();
            scope.spawn(|| consume(stream, request, answer_bytes, &count, &is_over));
        }
        std::thread::sleep(Duration::from_millis(1_600));
        let (began, before) = (Instant::now(), count.load(Ordering::Relaxed));
        std::thread::sleep(over);
        let rate = (count.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        // Who waits gets the rest at once.
        stand.server().governor().set(Scope::Server, None);
        rate
    })
}

#[test]
fn receivers_see_m_whether_few_or_many_large_or_small() {
    with_file(|driver, path| {
        for (megabits, clients, request, answer_bytes) in
            [(4, 1, b'f', FILE_BYTES), (4, 20, b's', 1_000), (80, 3, b'b', 200_000), (80, 20, b's', 1_000)]
        {
            let mut setup = Setup::new(driver, Sender::at(path.clone()));
            setup.options.workers = 2;
            let stand = setup.start();
            let wanted = megabits * 125_000;
            assert!(stand.server().governor().set(Scope::Server, Some(Bandwidth::new(wanted))));
            let rate = rate_of(&stand, clients, request, answer_bytes, Duration::from_millis(1_500));
            let share = rate / wanted as f64;
            // The exact figure is for a machine with nothing else to do; here it must only be about right.
            assert!((0.75..1.15).contains(&share), "{megabits} Mbit/s for {clients}: {share:.3} of it");
            assert!(stand.server().governor().status().is_empty());
            stand.until_resting();
            stand.stop();
        }
    });
}

#[test]
fn what_is_cut_into_pieces_arrives_whole() {
    with_file(|driver, path| {
        let stand = Stand::start(driver, Sender::at(path));
        assert!(stand.server().governor().set(Scope::Endpoint(0), Some(Bandwidth::new(20_000_000))));
        let mut stream = stand.connect();
        for (request, bytes) in [(b'b', 200_000), (b'f', FILE_BYTES), (b's', 1_000)] {
            stream.write_all(&[request]).expect("the server reads");
            let mut found = vec![0; bytes];
            stream.read_exact(&mut found).expect("the whole answer comes");
            assert_same(&found, &pattern(0, bytes), "the answer");
        }
        let found = status(&stand, Scope::Endpoint(0));
        assert!(found.blocked > 10, "{found:?}");
        assert_eq!((found.bytes_sent, found.bytes_received), (200_000 + FILE_BYTES as u64 + 1_000, 3));
        // A last answer that is still being kept back when its connection is to close.
        stream.write_all(b"b").expect("the server reads");
        stream.shutdown(std::net::Shutdown::Write).expect("open");
        assert_same(&read_all(&mut stream), &pattern(0, 200_000), "the last answer");
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn m_is_changed_and_taken_away_while_something_waits_for_it() {
    with_file(|driver, path| {
        let stand = Stand::start(driver, Sender::at(path));
        let governor = stand.server().governor();
        // At this rate the file takes most of an hour.
        assert!(governor.set(Scope::Server, Some(Bandwidth::new(1_000))));
        let mut stream = stand.connect();
        stream.write_all(b"f").expect("the server reads");
        let waits = || {
            let found = status(&stand, Scope::Server);
            if found.waiting == 1 { Ok(()) } else { Err(found) }
        };
        eventually("the transfer waits", waits);
        assert!(governor.set(Scope::Server, Some(Bandwidth::new(10_000_000))));
        assert_eq!(governor.get(Scope::Server).expect("set").bytes_per_s, 10_000_000);
        let mut found = vec![0; FILE_BYTES / 2];
        stream.read_exact(&mut found).expect("it goes on");
        assert!(governor.set(Scope::Server, Some(Bandwidth::new(1_000))));
        eventually("the transfer waits", waits);
        assert!(governor.set(Scope::Server, None));
        found.resize(FILE_BYTES, 0);
        stream.read_exact(&mut found[FILE_BYTES / 2..]).expect("it goes on");
        assert_same(&found, &pattern(0, FILE_BYTES), "the file");
        drop(stream);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn reads_wait_in_turn_and_for_a_limited_time_and_in_a_limited_queue() {
    with_file(|driver, path| {
        let stand = Stand::start(driver, Sender::at(path));
        let governor = stand.server().governor();
        let slow = Bandwidth { read_wait_ms_max: 300, reads_waiting_max: 3, ..Bandwidth::new(1_000) };
        assert!(governor.set(Scope::Server, Some(slow)));
        // The first answers are more than is there for a long time.
        let mut first = stand.connect();
        first.write_all(b"f").expect("the server reads");
        let mut streams: Vec<TcpStream> = (0..6).map(|_| stand.connect()).collect();
        for stream in &mut streams {
            stream.write_all(b"b").expect("the server reads");
        }
        let ends: Vec<Vec<u8>> = streams.iter_mut().map(read_all).collect();
        assert!(ends.iter().all(|end| end == b"r"), "all are told in the end");
        let found = status(&stand, Scope::Server);
        assert_eq!(found.rejected, 6, "{found:?}");
        // The transfer that was begun goes on.
        governor.set(Scope::Server, None);
        let mut file = vec![0; FILE_BYTES];
        first.read_exact(&mut file).expect("it goes on");
        drop((first, streams));
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn above_m_reads_are_rejected_by_the_simple_policy() {
    with_file(|driver, path| {
        let stand = Stand::start(driver, Sender::at(path));
        let simple = Bandwidth { policy: Policy::Simple, ..Bandwidth::new(10_000) };
        assert!(stand.server().governor().set(Scope::Server, Some(simple)));
        let mut stream = stand.connect();
        stream.write_all(b"b").expect("the server reads");
        // A write is never kept back.
        let mut found = vec![0; 200_000];
        stream.read_exact(&mut found).expect("the whole answer comes");
        eventually("what was sent is seen to be above M", || {
            let found = status(&stand, Scope::Server);
            if found.used_bytes_per_s > 10_500 { Ok(()) } else { Err(found) }
        });
        stream.write_all(b"s").expect("the server reads");
        assert_eq!(read_all(&mut stream), b"r");
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_connection_has_a_rate_of_its_own() {
    with_file(|driver, path| {
        let mut setup = Setup::new(driver, Sender::at(path));
        setup.endpoint.limits = EndpointLimits {
            send_bytes_per_s: 1_000_000,
            send_burst_bytes: 100_000,
            ..EndpointLimits::default()
        };
        let stand = setup.start();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let mut stream = stand.connect();
                scope.spawn(move || {
                    stream.write_all(b"bbb").expect("the server reads");
                    let mut found = vec![0; 600_000];
                    stream.read_exact(&mut found).expect("the whole answer comes");
                    assert_same(&found[400_000..], &pattern(0, 200_000), "the last answer");
                });
            }
        });
        // The burst at once, the rest at the rate; each connection has its own.
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(480) && took < PATIENCE / 4, "{took:?}");
        stand.until_resting();
        stand.stop();
    });
}
