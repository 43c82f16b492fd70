//! What goes in comes out: by turns and as tasks, in all sizes, on many connections.

use crate::stand::echo::{TaskEcho, TurnEcho};
use crate::stand::{
    Setup, Stand, assert_same, connect, eventually, exchange, on_each_driver, pattern, read_all,
};
use ringway_engine::ring::{DriverChoice, Handle};
use ringway_engine::{Conn, Events, Protocol, Turn};
use ringway_testkit::Scratch;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Exchanges of every size on one connection after the other, and on many at once.
fn echoes(start: impl Fn() -> Stand) {
    let stand = start();
    for (bytes, piece) in [(1, 1), (64, 64), (64, 7), (4_096, 1_000), (65_536, 65_536), (3_000_000, 50_000)] {
        exchange(&mut stand.connect(), bytes, piece);
    }
    let mut many: Vec<_> = (0..200).map(|_| stand.connect()).collect();
    for round in 0..20 {
        let message = pattern(round * 64, 64);
        for stream in &mut many {
            stream.write_all(&message).expect("the server reads");
        }
        for stream in &mut many {
            let mut found = [0; 64];
            stream.read_exact(&mut found).expect("the echo comes");
            assert_eq!(&found[..], message);
        }
    }
    assert_eq!(stand.totals().open, 200);
    drop(many);
    stand.until_resting();
    let totals = stand.stop();
    assert_eq!((totals.accepted, totals.closed, totals.panics), (206, 206, 0));
    assert_eq!(totals.bytes_received, totals.bytes_sent, "an echo, no byte counted twice");
}

#[test]
fn by_turns() {
    on_each_driver(|driver| echoes(|| Stand::start(driver, |_| TurnEcho::default())));
}

#[test]
fn as_tasks() {
    on_each_driver(|driver| echoes(|| Stand::start(driver, |_| TaskEcho::default())));
}

#[test]
fn a_client_that_finishes_first_gets_everything() {
    let half_close = |stand: Stand| {
        let mut stream = stand.connect();
        let message = pattern(0, 300_000);
        let mut writer = stream.try_clone().expect("a descriptor");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&message).expect("the server reads");
                writer.shutdown(Shutdown::Write).expect("open");
            });
            assert_same(&read_all(&mut stream), &message, "the echo");
        });
        stand.until_resting();
        stand.stop();
    };
    on_each_driver(|driver| {
        half_close(Stand::start(driver, |_| TurnEcho::default()));
        half_close(Stand::start(driver, |_| TaskEcho::default()));
    });
}

#[test]
fn every_wait_mode_serves() {
    use ringway_engine::WaitMode;
    on_each_driver(|driver| {
        for mode in [WaitMode::Polled, WaitMode::Adaptive] {
            let mut setup = Setup::new(driver, |_| TurnEcho::default());
            setup.options.wait = mode;
            let stand = setup.start();
            exchange(&mut stand.connect(), 100_000, 3_000);
            stand.until_resting();
            stand.stop();
        }
    });
}

#[test]
fn scarce_buffers_slow_connections_down_and_lose_nothing() {
    let scarce = |driver: DriverChoice, echo: fn(Setup) -> Stand, setup: Setup| {
        let mut setup = setup;
        setup.options.ring.driver = driver;
        setup.options.ring.stream_buffers = 4;
        // Slabs come in blocks of 128 KiB: two for receiving, one or two for what waits.
        setup.options.ring.pool_bytes_max = 4 * 128 * 1024;
        let stand = echo(setup);
        let address = stand.address();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| exchange(&mut connect(address).expect("the server listens"), 100_000, 10_000));
            }
        });
        stand.until_resting();
        assert!(stand.totals().memory_bytes <= 4 * 128 * 1024);
        stand.stop();
    };
    on_each_driver(|driver| {
        scarce(driver, Setup::start, Setup::new(driver, |_| TurnEcho::default()));
        scarce(driver, Setup::start, Setup::new(driver, |_| TaskEcho::default()));
    });
}

/// Answers the first byte with a file, and closes.
struct FileOnce {
    path: PathBuf,
    bytes: u64,
    is_warm: bool,
}

impl Protocol for FileOnce {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::DATA) {
            let file = Handle::new(OwnedFd::from(File::open(&self.path).expect("the file is there")));
            let head = conn.pool().copy_of(b"head");
            conn.send_file(head, file, 10, self.bytes, self.is_warm);
            return Turn::Close;
        }
        Turn::Idle
    }
}

#[test]
fn files_are_sent_whole_or_not_as_if_they_were() {
    let scratch = Scratch::new("engine-file");
    let contents = pattern(0, 3_000_000);
    let path = scratch.file("contents", &contents);
    on_each_driver(|driver| {
        for (bytes, is_warm) in [(2_999_990, false), (2_999_990, true), (1, true), (0, false)] {
            let path = path.clone();
            let stand = Stand::start(driver, move |_| FileOnce { path: path.clone(), bytes, is_warm });
            let mut stream = stand.connect();
            stream.write_all(b"?").expect("the server reads");
            let found = read_all(&mut stream);
            let end = 10 + usize::try_from(bytes).expect("small");
            let wanted = [b"head", &contents[10..end]].concat();
            assert_same(&found, &wanted, "the file");
            stand.until_resting();
            stand.stop();
        }
        // Ten bytes more than there are: the client must see that something is missing.
        let path = path.clone();
        let stand =
            Stand::start(driver, move |_| FileOnce { path: path.clone(), bytes: 3_000_000, is_warm: false });
        let mut found = Vec::new();
        let mut stream = stand.connect();
        stream.write_all(b"?").expect("the server reads");
        let error = stream.read_to_end(&mut found).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        stand.until_resting();
        stand.stop();
    });
}

/// Pauses when the first byte comes, says so later, and resumes when its deadline has passed twice.
struct Pauser {
    early: Arc<AtomicU64>,
}

impl Protocol for Pauser {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let [step, _] = conn.context();
        match step {
            0 if conn.has_input() => {
                drop(conn.take());
                conn.pause(true);
                conn.set_deadline(conn.now_ms() + 10);
                conn.set_context([1, 0]);
            }
            1 if events.has(Events::TIMEOUT) => {
                // By now the receive has been cancelled.
                if let Some(word) = conn.pool().copy_of(b"paused") {
                    conn.send(word);
                }
                conn.set_deadline(conn.now_ms() + 100);
                conn.set_context([2, 0]);
            }
            2 if events.has(Events::TIMEOUT) => {
                conn.pause(false);
                conn.set_context([3, 0]);
            }
            2 if events.has(Events::DATA) => {
                self.early.fetch_add(1, Ordering::Relaxed);
            }
            3 => {
                while let Some(bytes) = conn.take() {
                    conn.send(bytes);
                }
            }
            _ => {}
        }
        if conn.is_ended() { Turn::Close } else { Turn::Idle }
    }
}

#[test]
fn a_pause_lasts_until_it_is_ended() {
    on_each_driver(|driver| {
        let early = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&early);
        let stand = Stand::start(driver, move |_| Pauser { early: Arc::clone(&shared) });
        let mut stream = stand.connect();
        stream.write_all(b"p").expect("the server reads");
        let mut word = [0; 6];
        stream.read_exact(&mut word).expect("the word comes");
        exchange(&mut stream, 50_000, 1_000);
        assert_eq!(early.load(Ordering::Relaxed), 0, "nothing is delivered during the pause");
        drop(stream);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_reader_that_does_not_read_costs_a_bounded_amount() {
    let slow = |stand: Stand| {
        let idle = stand.totals().memory_bytes;
        let message = pattern(0, 8_000_000);
        let mut stream = stand.connect();
        let mut writer = stream.try_clone().expect("a descriptor");
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| writer.write_all(&message).expect("the server reads in the end"));
            // The socket buffers are full, and the server's own share too, when nothing moves any more.
            let seen = AtomicU64::new(0);
            eventually("the server stops taking", || {
                let now = stand.totals().bytes_received;
                std::thread::sleep(std::time::Duration::from_millis(60));
                let later = stand.totals().bytes_received;
                seen.store(later, Ordering::Relaxed);
                if now == later && later > 0 { Ok(()) } else { Err(later) }
            });
            assert!(!writing.is_finished(), "8 MB do not fit between the two");
            let memory = stand.totals().memory_bytes - idle;
            // Queue and inbox hold 2 KiB slices: far below what was sent. One megabyte is the whole budget.
            assert!(memory <= 1024 * 1024, "{memory} bytes");
            let mut found = vec![0; message.len()];
            stream.read_exact(&mut found).expect("everything comes");
            assert_same(&found, &message, "the echo");
        });
        drop((stream, writer));
        stand.until_resting();
        stand.stop();
    };
    on_each_driver(|driver| {
        slow(Setup::new(driver, |_| TurnEcho::default()).with_small_sockets().start());
        slow(Setup::new(driver, |_| TaskEcho::default()).with_small_sockets().start());
    });
}
