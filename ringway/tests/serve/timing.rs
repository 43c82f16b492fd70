//! Time limits: who is slow is cut and told where that is possible; who is merely steady is not; others notice nothing.

use crate::server::{Driver, Server, Setup, age, eventually, pattern};
use ringway_testkit::{Client, Scratch};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

on_both_drivers!(
    a_slow_head_is_told_so,
    a_slow_body_is_told_so,
    an_idle_connection_is_closed_silently,
    a_reader_that_stops_is_reset,
    a_steady_reader_is_not_cut,
    a_connection_that_ends_is_not_cut_by_an_old_deadline,
);

/// Larger than what the kernel buffers for a connection on both sides together.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

/// The limit that the tests set, and the least and most that a reaction to it may take.
const LIMIT: Duration = Duration::from_secs(1);

fn site() -> Scratch {
    let scratch = Scratch::new("timing");
    age(&scratch.file("a.txt", b"a"));
    age(&scratch.file("large.bin", &pattern(LARGE_BYTES)));
    scratch
}

/// Runs `slow` while another connection is served without a break.
fn while_others_are_served(server: &Server, slow: impl FnOnce()) {
    /// Ends the healthy one whatever happens.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let healthy = scope.spawn(|| {
            let mut client = server.client();
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
                assert_eq!(client.answer(false).expect("an answer in time").body, b"a");
                count += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            count
        });
        let over = Over(&is_over);
        slow();
        drop(over);
        assert!(healthy.join().expect("served") > 10);
    });
}

/// Sends a byte at a time until the server says something.
fn drip_until_answered(client: &mut Client, text: &[u8]) {
    client.stream().set_nonblocking(true).expect("a socket");
    for byte in text.iter().cycle() {
        match client.stream().peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
        let _answered_meanwhile = client.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(20));
    }
    client.stream().set_nonblocking(false).expect("a socket");
}

fn a_slow_head_is_told_so(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--head-timeout", "1"]).start();
    while_others_are_served(&server, || {
        for before in [&b""[..], b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut client = server.client();
            client.send(before).expect("it reads");
            if !before.is_empty() {
                client.answer(false).expect("an answer");
            }
            client.send(b"GET / HTTP/1.1\r\nX-").expect("it reads");
            let started = Instant::now();
            drip_until_answered(&mut client, b"abc");
            let took = started.elapsed();
            let answer = client.answer(false).expect("an answer");
            assert_eq!((answer.status, answer.field("connection")), (408, Some("close")));
            assert!(took >= LIMIT - Duration::from_millis(50), "{took:?}");
            assert_eq!(client.until_end().expect("a FIN, no reset"), b"");
        }
        // A client that says nothing more is told too.
        let mut client = server.client();
        client.send(b"GET / HT").expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").status, 408);
    });
}

fn a_slow_body_is_told_so(driver: Driver) {
    let site = site();
    let server =
        Setup::new(driver, site.path()).with(&["--body-timeout", "1", "--idle-timeout", "30"]).start();
    while_others_are_served(&server, || {
        for framing in ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfffff\r\n"] {
            let mut client = server.client();
            client
                .send(format!("POST /a.txt HTTP/1.1\r\nHost: a\r\n{framing}").as_bytes())
                .expect("it reads");
            let started = Instant::now();
            drip_until_answered(&mut client, b"x");
            assert!(started.elapsed() >= LIMIT - Duration::from_millis(50), "{:?}", started.elapsed());
            assert_eq!(client.answer(false).expect("an answer").status, 408, "{framing:?}");
            assert_eq!(client.until_end().expect("a FIN, no reset"), b"");
        }
    });
}

fn an_idle_connection_is_closed_silently(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--idle-timeout", "1"]).start();
    let before = server.sockets();
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").status, 200);
    }
    let started = Instant::now();
    for client in &mut clients {
        assert_eq!(client.until_end().expect("a FIN, no reset"), b"", "nothing is said");
    }
    assert!(started.elapsed() >= LIMIT - Duration::from_millis(200), "{:?}", started.elapsed());
    eventually("they are forgotten", || (server.sockets() == before).then_some(()));
}

fn a_reader_that_stops_is_reset(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--send-timeout", "1"]).start();
    let before = server.sockets();
    while_others_are_served(&server, || {
        let requests = [
            "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET /large.bin HTTP/1.0\r\n\r\n",
            "GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9,100000-\r\n\r\n",
            "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /large.bin HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        ];
        let mut clients = Vec::new();
        for request in requests {
            for is_half_closed in [false, true] {
                let mut stream = server.narrow(request);
                stream.read_exact(&mut [0; 100]).expect("it begins to answer");
                if is_half_closed {
                    stream.shutdown(Shutdown::Write).expect("open");
                }
                clients.push((stream, request));
            }
        }
        // One more since this is called: the healthy one.
        eventually("all of them are given up", || (server.sockets() <= before + 1).then_some(()));
        for (mut stream, request) in clients {
            let error = stream.read_to_end(&mut Vec::new()).expect_err(request);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{request}");
        }
    });
}

/// Reads `bytes` of answers in at least `time`, evenly.
fn read_steadily(stream: &mut TcpStream, bytes: usize, time: Duration) -> Vec<u8> {
    let started = Instant::now();
    let mut all = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        let due = time.mul_f64(filled as f64 / bytes as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let end = bytes.min(filled + 200_000);
        match stream.read(&mut all[filled..end]) {
            Ok(0) => panic!("the connection ended after {filled} of {bytes} bytes"),
            Ok(count) => filled += count,
            Err(error) => panic!("{error} after {filled} of {bytes} bytes"),
        }
    }
    all
}

fn a_steady_reader_is_not_cut(driver: Driver) {
    let site = site();
    let arguments =
        ["--send-timeout", "1", "--idle-timeout", "1", "--head-timeout", "1", "--body-timeout", "1"];
    let server = Setup::new(driver, site.path()).with(&arguments).start();
    let large = pattern(LARGE_BYTES);
    let one = |fields: &str| format!("GET /large.bin HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let first = "POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    std::thread::scope(|scope| {
        for (requests, count) in [
            (one(""), 1),
            (one("Connection: close\r\n"), 1),
            (one("").repeat(2), 2),
            (one("") + &one("Connection: close\r\n"), 2),
            (first.to_owned() + &one(""), 1),
            (one("Content-Length: 1\r\nConnection: close\r\n") + "x", 1),
            (one("Range: bytes=0-7999999,9000000-\r\n"), 0),
        ] {
            let (server, large) = (&server, &large);
            scope.spawn(move || {
                let mut stream = server.narrow(&requests);
                let bytes = if count == 0 { LARGE_BYTES - 1_000_000 } else { count * LARGE_BYTES };
                let got = read_steadily(&mut stream, bytes, Duration::from_secs(4));
                let end = got.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
                let body = &got[end..end + 5_000_000];
                assert!(count == 0 || body == &large[..5_000_000] || requests.starts_with(first));
            });
        }
    });
}

fn a_connection_that_ends_is_not_cut_by_an_old_deadline(driver: Driver) {
    let site = site();
    let server =
        Setup::new(driver, site.path()).with(&["--idle-timeout", "1", "--send-timeout", "30"]).start();
    for last in ["Connection: close\r\n", "Connection: close\r\nContent-Length: 1\r\n"] {
        let mut stream = server.narrow("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut answer = [0; 2000];
        let count = stream.read(&mut answer).expect("an answer");
        assert!(answer[..count].starts_with(b"HTTP/1.1 200 "), "all of it arrives at once");
        let body = if last.contains("Length") { "x" } else { "" };
        let request = format!("GET /large.bin HTTP/1.1\r\nHost: a\r\n{last}\r\n{body}");
        stream.write_all(request.as_bytes()).expect("it reads");
        // Longer than a connection may idle.
        read_steadily(&mut stream, LARGE_BYTES, Duration::from_secs(3));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a FIN, no reset");
        assert!(rest.len() < 1000, "the head's share is left");
    }
}
