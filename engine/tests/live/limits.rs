//! Limits and deadlines: what is too much is refused, what is too slow is cut, and the others do not notice.

use crate::stand::echo::{TaskEcho, TurnEcho};
use crate::stand::{Setup, Stand, eventually, exchange, is_slow, on_each_driver};
use ringway_engine::{Conn, EndpointLimits, Events, Protocol, Turn};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Whether the server has closed a connection without a word.
fn is_refused(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Fills a server up to a limit of `max` connections, is refused beyond, and gets in again when one has gone.
fn refuses_beyond(setup: Setup, max: usize) {
    let stand = setup.start();
    let mut streams: Vec<TcpStream> = (0..max).map(|_| stand.connect()).collect();
    for stream in &mut streams {
        exchange(stream, 10, 10);
    }
    for _ in 0..3 {
        assert!(is_refused(&mut stand.connect()));
    }
    let totals = stand.totals();
    assert_eq!((totals.open, totals.refused), (max as u64, 3));
    streams.truncate(max - 1);
    eventually("one has gone", || {
        let open = stand.totals().open;
        if open < max as u64 { Ok(()) } else { Err(open) }
    });
    exchange(&mut stand.connect(), 100, 10);
    for stream in &mut streams {
        exchange(stream, 10, 10);
    }
    drop(streams);
    stand.until_resting();
    stand.stop();
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        setup.endpoint.limits = EndpointLimits { connections_max: 5, ..EndpointLimits::default() };
        refuses_beyond(setup, 5);
    });
}

#[test]
fn connections_of_one_address_beyond_its_share_are_refused() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TaskEcho::default());
        setup.endpoint.limits =
            EndpointLimits { connections_per_address_max: 3, ..EndpointLimits::default() };
        refuses_beyond(setup, 3);
    });
}

/// Wants a line within a deadline, by turns (`t`) or in a task (`a`) as the first byte says; echoes it and closes.
struct Hasty;

/// How long a line may take, in milliseconds.
const LINE_MS: u64 = 150;

impl Protocol for Hasty {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            conn.set_deadline(conn.now_ms() + LINE_MS);
        }
        if events.has(Events::TIMEOUT) {
            return Turn::Abort;
        }
        let Some(line) = conn.take_joined() else {
            return if conn.is_ended() { Turn::Close } else { Turn::Idle };
        };
        if line.ends_with(b"\n") {
            conn.clear_deadline();
            conn.send(line);
            return Turn::Close;
        }
        let is_task = line.starts_with(b"a");
        let bytes = line.len();
        conn.unread(line);
        if !is_task {
            return Turn::Idle;
        }
        let mut stream = conn.detach();
        Turn::task(async move {
            stream.set_deadline(stream.now_ms() + LINE_MS);
            let mut bytes = bytes;
            loop {
                match stream.read_beyond(bytes).await {
                    Ok(Some(line)) if line.ends_with(b"\n") => {
                        stream.clear_deadline();
                        stream.send(line);
                        return Turn::Close;
                    }
                    Ok(Some(line)) => {
                        bytes = line.len();
                        stream.unread(line);
                    }
                    Ok(None) => return Turn::Close,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        return Turn::Abort;
                    }
                }
            }
        })
    }
}

#[test]
fn a_slow_peer_is_cut_and_the_others_are_served() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Hasty);
        for first in [b"t", b"a"] {
            let began = Instant::now();
            let mut slow = stand.connect();
            slow.write_all(first).expect("the server reads");
            let mut lines = 0;
            // A byte now and then does not put the deadline off.
            let error = loop {
                let mut quick = stand.connect();
                quick.write_all(&[first, &b" quick\n"[..]].concat()).expect("the server reads");
                let mut line = Vec::new();
                quick.read_to_end(&mut line).expect("a good end");
                assert_eq!(&line[1..], b" quick\n");
                lines += 1;
                if let Err(error) = slow.write_all(b"x") {
                    break error;
                }
                assert!(began.elapsed() < Duration::from_secs(5), "the slow one is not cut");
            };
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            // The worker's clock counts whole milliseconds.
            assert!(began.elapsed() >= Duration::from_millis(LINE_MS - 1), "never early");
            assert!(lines > 1, "others were served meanwhile");
        }
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

/// Gives every connection the same deadline and closes it then.
struct Deadline {
    at_ms: u64,
}

impl Protocol for Deadline {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::TIMEOUT) {
            assert!(conn.now_ms() >= self.at_ms, "never early");
            return Turn::Close;
        }
        if events.has(Events::OPENED) {
            conn.set_deadline(self.at_ms);
        }
        if conn.is_ended() { Turn::Close } else { Turn::Idle }
    }
}

#[test]
fn deadlines_at_one_instant_all_pass() {
    // Both ends of a connection are in this process: twice as many descriptors.
    let count = if is_slow() { 9_000 } else { 1_500 };
    let at_ms = if is_slow() { 4_000 } else { 800 };
    on_each_driver(|driver| {
        let stand = Stand::start(driver, move |_| Deadline { at_ms });
        let streams: Vec<TcpStream> = (0..count).map(|_| stand.connect()).collect();
        for mut stream in streams {
            assert_eq!(stream.read(&mut [0; 1]).expect("a good end"), 0);
        }
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.timeouts, totals.closed, totals.panics), (count, count, 0));
    });
}

#[test]
fn a_deadline_that_is_moved_or_dropped_does_not_pass() {
    struct Mover;
    impl Protocol for Mover {
        fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
            let [step, set_at] = conn.context();
            let now_ms = conn.now_ms();
            match step {
                0 => {
                    conn.set_deadline(now_ms + 30);
                    // Later, earlier, and away again.
                    conn.set_deadline(now_ms + 10_000);
                    conn.set_deadline(now_ms + 60);
                    conn.set_context([1, now_ms]);
                }
                1 if events.has(Events::TIMEOUT) => {
                    assert!(now_ms >= set_at + 60, "the last one counts");
                    conn.set_deadline(now_ms + 20);
                    conn.clear_deadline();
                    let word = conn.pool().copy_of(b"cleared").expect("room");
                    conn.send(word);
                    conn.set_context([2, now_ms]);
                }
                2 => assert!(!events.has(Events::TIMEOUT), "a dropped deadline passed"),
                _ => {}
            }
            if conn.is_ended() { Turn::Close } else { Turn::Idle }
        }
    }
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Mover);
        let mut stream = stand.connect();
        let mut word = [0; 7];
        stream.read_exact(&mut word).expect("the first deadline passes");
        let after = stand.connect();
        // By the time another connection's deadline of 60 ms has passed, the dropped one of 20 ms would have.
        (&after).read_exact(&mut word).expect("its deadline passes");
        drop((stream, after));
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.timeouts, totals.panics), (2, 0));
    });
}
