//! How connections end: closed, lingering, reset, by either side.

use crate::stand::{
    PATIENCE, Setup, Stand, assert_same, eventually, on_all_drivers_at_once, on_each_driver, pattern,
    read_all,
};
use ringway_engine::{Conn, Events, Protocol, Turn};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a closing connection may stand still.
const STALL_MS_MAX: u64 = 300;

/// What a one-word command asks for.
struct Commands {
    /// Sum of the contexts of closed connections.
    closed: Arc<AtomicU64>,
}

impl Commands {
    fn start(driver: ringway_engine::ring::DriverChoice) -> (Stand, Arc<AtomicU64>) {
        let closed = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&closed);
        let mut setup =
            Setup::new(driver, move |_| Self { closed: Arc::clone(&shared) }).with_small_sockets();
        setup.endpoint.limits.close_stall_ms_max = STALL_MS_MAX;
        (setup.start(), closed)
    }
}

impl Protocol for Commands {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            conn.set_context([1, 0]);
        }
        if conn.is_broken() {
            return Turn::Idle;
        }
        if events.has(Events::TIMEOUT) {
            return Turn::Abort;
        }
        let Some(command) = conn.take() else {
            return if conn.is_ended() { Turn::Close } else { Turn::Idle };
        };
        let answer = |conn: &mut Conn<'_>, pieces: usize| {
            for piece in 0..pieces {
                let bytes = conn.pool().copy_of(&pattern(piece * 50_000, 50_000)).expect("the pool has room");
                conn.send(bytes);
            }
        };
        match command.first() {
            Some(b'c') => {
                answer(conn, 16);
                Turn::Close
            }
            Some(b'l') => {
                answer(conn, 16);
                Turn::Linger
            }
            Some(b'a') => {
                answer(conn, 16);
                Turn::Abort
            }
            // More than the sockets hold: the close cannot come to an end by itself. With a deadline, or without.
            Some(b's') => {
                if command.get(2) != Some(&b'-') {
                    conn.set_deadline(conn.now_ms() + 100);
                }
                answer(conn, 200);
                if command.get(1) == Some(&b'l') { Turn::Linger } else { Turn::Close }
            }
            _ => Turn::Idle,
        }
    }

    fn closed(&self, [count, _]: [u64; 2]) {
        self.closed.fetch_add(count, Ordering::Relaxed);
    }
}

/// Waits until the protocol has heard of the end of `count` connections, of each once.
fn told(closed: &AtomicU64, count: u64) {
    let found = eventually("the protocol hears of every end", || match closed.load(Ordering::Relaxed) {
        found if found < count => Err(found),
        found => Ok(found),
    });
    assert_eq!(found, count, "once each");
}

#[test]
fn a_close_comes_after_everything_sent() {
    on_each_driver(|driver| {
        let (stand, closed) = Commands::start(driver);
        let mut stream = stand.connect();
        stream.write_all(b"c").expect("the server reads");
        assert_same(&read_all(&mut stream), &pattern(0, 800_000), "the answer");
        stand.until_resting();
        told(&closed, 1);
        stand.stop();
    });
}

#[test]
fn a_lingering_close_loses_nothing_to_a_client_that_is_still_sending() {
    on_each_driver(|driver| {
        let (stand, _) = Commands::start(driver);
        let mut stream = stand.connect();
        // More than the command: without the linger, what is unread would reset the connection.
        stream.write_all(&[b'l'; 100_000]).expect("the server reads or discards");
        let mut writer = stream.try_clone().expect("a descriptor");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..20 {
                    writer.write_all(&[0; 50_000]).expect("the server discards");
                }
            });
            assert_same(&read_all(&mut stream), &pattern(0, 800_000), "the answer");
        });
        // After the server's end the client may still send, and its end ends the linger at once.
        stream.write_all(&[0; 1000]).expect("the server discards");
        let began = Instant::now();
        stream.shutdown(Shutdown::Write).expect("open");
        stand.until_resting();
        assert!(began.elapsed() < Duration::from_secs(4), "not the linger's time limit ended it");
        stand.stop();
    });
}

#[test]
fn a_client_that_finishes_while_the_answer_is_on_its_way_does_not_hold_the_linger() {
    on_each_driver(|driver| {
        let (stand, _) = Commands::start(driver);
        let mut stream = stand.connect();
        let began = Instant::now();
        stream.write_all(b"l").expect("the server reads");
        stream.shutdown(Shutdown::Write).expect("open");
        assert_same(&read_all(&mut stream), &pattern(0, 800_000), "the answer");
        stand.until_resting();
        assert!(began.elapsed() < Duration::from_secs(4), "the end was seen, not waited for");
        stand.stop();
    });
}

#[test]
fn a_linger_has_an_end_of_its_own_and_it_is_no_reset() {
    on_all_drivers_at_once(|driver| {
        let (stand, _) = Commands::start(driver);
        let mut stream = stand.connect();
        stream.write_all(b"l").expect("the server reads");
        assert_same(&read_all(&mut stream), &pattern(0, 800_000), "the answer");
        // The client neither sends nor closes.
        stand.until_resting();
        assert_eq!(stream.read(&mut [0; 1]).expect("no reset"), 0);
        stand.stop();
    });
}

#[test]
fn a_linger_does_not_discard_without_bound() {
    on_each_driver(|driver| {
        let (stand, _) = Commands::start(driver);
        let mut stream = stand.connect();
        stream.write_all(b"l").expect("the server reads");
        assert_same(&read_all(&mut stream), &pattern(0, 800_000), "the answer");
        let piece = vec![0; 1024 * 1024];
        let mut error = None;
        for _ in 0..64 {
            if let Err(found) = stream.write_all(&piece) {
                error = Some(found.kind());
                break;
            }
        }
        let is_cut = matches!(error, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
        assert!(is_cut, "64 MB were taken: {error:?}");
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn an_abort_is_a_reset() {
    on_each_driver(|driver| {
        let (stand, closed) = Commands::start(driver);
        let mut stream = stand.connect();
        stream.write_all(b"a").expect("the server reads");
        let mut found = Vec::new();
        let error = stream.read_to_end(&mut found).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        stand.until_resting();
        told(&closed, 1);
        stand.stop();
    });
}

#[test]
fn a_peer_that_resets_is_forgotten_even_by_a_protocol_that_does_nothing() {
    on_each_driver(|driver| {
        let (stand, closed) = Commands::start(driver);
        let mut streams: Vec<TcpStream> = (0..20).map(|_| stand.connect()).collect();
        for stream in &mut streams {
            stream.write_all(b"?").expect("the server reads");
        }
        // A reset may overtake what came before it, and then the server never hears of the connection.
        eventually("all are there", || match stand.totals().bytes_received {
            20 => Ok(()),
            count => Err(count),
        });
        for stream in streams {
            ringway_engine::ring::socket::set_abort_on_close(stream.as_fd()).expect("open");
        }
        stand.until_resting();
        told(&closed, 20);
        stand.stop();
    });
}

#[test]
fn a_client_that_never_reads_is_cut_by_the_deadline_of_a_closing_connection() {
    on_each_driver(|driver| {
        let (stand, closed) = Commands::start(driver);
        for (command_number, command) in (0..).zip([b"sc", b"sl", b"sc-", b"sl-"] as [&[u8]; 4]) {
            let mut stream = stand.connect();
            stream.write_all(command).expect("the server reads");
            told(&closed, command_number + 1);
            // Data was lost, so the client must see a reset and no end.
            let mut found = Vec::new();
            stream.set_read_timeout(Some(PATIENCE)).expect("open");
            let error = stream.read_to_end(&mut found).expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(found.len() < 10_000_000);
        }
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_client_that_reads_slowly_gets_everything_of_a_closing_connection() {
    on_all_drivers_at_once(|driver| {
        let (stand, _) = Commands::start(driver);
        for command in [b"sc-", b"sl-"] {
            let began = Instant::now();
            let mut stream = stand.connect();
            stream.write_all(command).expect("the server reads");
            let mut found = vec![0; 10_000_000];
            for part in found.chunks_mut(1_500_000) {
                // Slow, but never as slow as a stall.
                std::thread::sleep(Duration::from_millis(STALL_MS_MAX / 3));
                stream.read_exact(part).expect("no reset");
            }
            assert!(began.elapsed() > Duration::from_millis(2 * STALL_MS_MAX), "longer than one stall");
            assert_same(&found, &pattern(0, 10_000_000), "the answer");
            assert_eq!(stream.read(&mut [0; 1]).expect("a good end"), 0);
        }
        stand.until_resting();
        stand.stop();
    });
}
