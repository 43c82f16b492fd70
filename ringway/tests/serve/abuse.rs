//! Crowds that mean harm: they cost them more than us, the healthy are served, and nothing is left of them.

use crate::server::{Driver, PATIENCE, Server, Setup, age, eventually, is_slow_run, pattern};
use ringway_testkit::{Client, Scratch, Seed, Storm, drip, storm};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

on_both_drivers!(
    drippers_leave_the_healthy_alone,
    a_storm_leaves_nothing_behind,
    silent_connections_cost_little_and_end,
    a_pipeline_that_is_never_read_is_bounded,
    a_scan_of_names_is_bounded,
    an_address_has_its_share,
);

const HEALTHY: &[u8] = b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n";

fn site() -> Scratch {
    let scratch = Scratch::new("abuse");
    age(&scratch.file("a.txt", b"healthy"));
    age(&scratch.file("large.bin", &pattern(8 * 1024 * 1024)));
    scratch
}

/// Lets this process have `most` descriptors; says so, loudly, when it may not.
pub(crate) fn may_have_descriptors(most: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < most) {
        eprintln!("SKIPPED: this needs {most} descriptors, and the limit is {:?}", limit.maximum);
        return false;
    }
    let _keeps_what_it_has =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    true
}

/// Asks so often, on connections new and old, and wants each answer to be right and in time.
fn serve_the_healthy(server: &Server, count: usize) {
    let mut kept = server.client();
    for number in 0..count {
        let mut fresh;
        let client = if number % 4 == 0 {
            fresh = server.client();
            &mut fresh
        } else {
            &mut kept
        };
        let started = Instant::now();
        client.send(HEALTHY).expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").body, b"healthy");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

fn drippers_leave_the_healthy_alone(driver: Driver) {
    let each = if is_slow_run() { 5_000 } else { 250 };
    if !may_have_descriptors(2 * each as u64 + 500) {
        return;
    }
    // The drivers take turns: both together would need more descriptors than a process may have in many places.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let sockets = server.sockets();
    serve_the_healthy(&server, 50);
    let resident = server.resident_kib();
    let head =
        b"GET /a.txt HTTP/1.1\r\nHost: a\r\nUser-Agent: drip\r\nAccept: */*\r\nX-Padding: 0123456789\r\n";
    let body = b"POST /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n0123456789012345678901234567890";
    let mut in_heads = drip(server.address(), each, head).expect("it listens");
    let mut in_bodies = drip(server.address(), each, body).expect("it listens");
    for _ in 0..head.len().min(body.len()) {
        assert_eq!((in_heads.round(), in_bodies.round()), (each, each), "none is cut before its time");
        serve_the_healthy(&server, 4);
    }
    let grown = server.resident_kib().saturating_sub(resident);
    // What the bound says: 2 KiB for each, and 4 MiB for batches, whatever the number.
    let bound = 2 * each as u64 * 2 + 4096;
    assert!(grown <= bound, "{grown} KiB for {} drippers, more than {bound}", 2 * each);
    eprintln!("{} drippers took {grown} KiB", 2 * each);
    drop((in_heads, in_bodies));
    eventually("they are forgotten", || (server.sockets() == sockets).then_some(()));
    serve_the_healthy(&server, 50);
    server.stop().cleanly();
}

fn a_storm_leaves_nothing_behind(driver: Driver) {
    let connections = if is_slow_run() { 100_000 } else { 2_000 };
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let sockets = server.sockets();
    serve_the_healthy(&server, 50);
    let resident = server.resident_kib();
    let seed = Seed::take();
    for (target, share) in [("/a.txt", 9), ("/large.bin", 1)] {
        let connections = connections * share / 10;
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let wanted = Storm {
            connections,
            threads: 4,
            request: request.into_bytes(),
            reset_per_mille: if share == 9 { 500 } else { 1000 },
            time_max: Duration::from_secs(60),
            seed: seed.value(),
        };
        let report = storm(server.address(), &wanted);
        assert_eq!(report.answered + report.reset, connections, "{report:?}");
    }
    serve_the_healthy(&server, 50);
    eventually("all are forgotten", || (server.sockets() == sockets).then_some(()));
    let grown = server.resident_kib().saturating_sub(resident);
    assert!(grown <= 8 * 1024, "{grown} KiB are left of {connections} connections");
    server.stop().cleanly();
}

fn silent_connections_cost_little_and_end(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--idle-timeout", "1"]).start();
    let sockets = server.sockets();
    serve_the_healthy(&server, 50);
    let resident = server.resident_kib();
    let mut silent: Vec<Client> = (0..400).map(|_| server.client()).collect();
    serve_the_healthy(&server, 50);
    for client in &mut silent {
        client.set_patience(PATIENCE);
        assert_eq!(client.until_end().expect("a FIN"), b"", "nothing is said");
    }
    eventually("they are forgotten", || (server.sockets() == sockets).then_some(()));
    let grown = server.resident_kib().saturating_sub(resident);
    assert!(grown <= 2 * 1024, "{grown} KiB for 400 silent connections");
    server.stop().cleanly();
}

/// Sends requests without reading until neither side takes more; says how many bytes that were.
fn stuff(stream: &mut TcpStream, request: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket");
    let many = request.repeat(1 + 60_000 / request.len());
    let mut sent = 0;
    loop {
        match stream.write(&many) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
            Err(error) => panic!("{error} after {sent} bytes"),
        }
        assert!(sent < 1 << 30, "the server reads on although nobody reads its answers");
    }
}

fn a_pipeline_that_is_never_read_is_bounded(driver: Driver) {
    let site = site();
    for number in 0..1000 {
        site.file(&format!("many/file-{number}-with-quite-a-long-name-to-list"), b"");
    }
    let server = Setup::new(driver, site.path()).with(&["--send-timeout", "2"]).start();
    let sockets = server.sockets();
    serve_the_healthy(&server, 50);
    let resident = server.resident_kib();
    let ranges =
        (0..50).map(|number| format!("{}-{}", number * 100_000, number * 100_000 + 90)).collect::<Vec<_>>();
    let requests = [
        HEALTHY.to_vec(),
        b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /none HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n".to_vec(),
        b"GET /many/?format=json HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        format!("GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes={}\r\n\r\n", ranges.join(","))
            .into_bytes(),
        b"POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
    ];
    let stuffed: Vec<TcpStream> = std::thread::scope(|scope| {
        let stuffers: Vec<_> = requests
            .iter()
            .cycle()
            .take(5 * requests.len())
            .map(|request| {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(server.address()).expect("it listens");
                    stuff(&mut stream, request);
                    stream
                })
            })
            .collect();
        serve_the_healthy(&server, 50);
        stuffers.into_iter().map(|stuffer| stuffer.join().expect("it stops reading")).collect()
    });
    let grown = server.resident_kib().saturating_sub(resident);
    // 64 KiB unread and as much unsent for each, a listing of 150 KB for some, and 8 MiB whatever the number.
    let bound = 512 * stuffed.len() as u64 + 8192;
    assert!(grown <= bound, "{grown} KiB for {} connections, more than {bound}", stuffed.len());
    eventually("they are given up", || (server.sockets() == sockets).then_some(()));
    drop(stuffed);
    serve_the_healthy(&server, 50);
    server.stop().cleanly();
}

fn a_scan_of_names_is_bounded(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    serve_the_healthy(&server, 50);
    let resident = server.resident_kib();
    let mut client = server.client();
    for batch in 0..30 {
        let scan = (0..100)
            .map(|number| format!("GET /{batch}/{number}-{} HTTP/1.1\r\nHost: a\r\n\r\n", "n".repeat(200)));
        client.send(scan.collect::<String>().as_bytes()).expect("it reads");
        assert!(client.answers(100).expect("answers").iter().all(|answer| answer.status == 404));
    }
    let grown = server.resident_kib().saturating_sub(resident);
    assert!(grown <= 4 * 1024, "{grown} KiB after 3,000 names that do not exist");
    drop(client);
    server.stop().cleanly();
}

fn an_address_has_its_share(driver: Driver) {
    let site = site();
    for limit in ["--max-per-address", "--max-connections"] {
        let server = Setup::new(driver, site.path()).with(&[limit, "10"]).start();
        let mut kept: Vec<Client> = (0..10).map(|_| server.client()).collect();
        for client in &mut kept {
            client.send(HEALTHY).expect("it reads");
            assert_eq!(client.answer(false).expect("an answer").status, 200);
        }
        let mut refused = server.client();
        let _reset_meanwhile = refused.send(HEALTHY);
        refused.answer(false).expect_err("one too many");
        drop(kept.pop());
        eventually("there is room again", || {
            let mut client = server.client();
            let _reset_meanwhile = client.send(HEALTHY);
            client.answer(false).ok()
        });
        drop((kept, refused));
        server.stop().cleanly();
    }
}
