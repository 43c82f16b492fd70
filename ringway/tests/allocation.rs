//! A warmed server answers without the process heap: counted over thousands of requests on both drivers.
//!
//! One process, one test: what is counted is everything the process allocates, and its client allocates nothing.

use ringway::engine::ring::{self, DriverChoice};
use ringway::listen;
use ringway::serve::{LogTarget, Serve};
use ringway_testkit::Scratch;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests that are counted.
const REQUESTS: u32 = 1_000;

/// The least time that one case takes: what is done once a second is in it.
const TIME_MIN: Duration = Duration::from_millis(1_100);

/// Requests before counting begins.
const WARM_UP: u32 = 300;

/// Sends `request` and reads the `bytes` of its answers, without allocating; says whether they came.
fn exchange(stream: &mut TcpStream, request: &[u8], mut bytes: usize) -> bool {
    let mut answer = [0; 64 * 1024];
    if stream.write_all(request).is_err() {
        return false;
    }
    while bytes > 0 {
        let room = answer.len().min(bytes);
        match stream.read(&mut answer[..room]) {
            Ok(count @ 1..) => bytes -= count,
            Ok(0) | Err(_) => return false,
        }
    }
    true
}

/// How many bytes the answers to `request` have.
fn length_of_answers(stream: &mut TcpStream, request: &[u8]) -> usize {
    stream.write_all(request).expect("it reads");
    let (mut all, mut piece) = (Vec::new(), [0; 64 * 1024]);
    loop {
        // Nothing more for as long as this: the answers are complete.
        match stream.read(&mut piece) {
            Ok(count @ 1..) => all.extend_from_slice(&piece[..count]),
            Ok(0) => panic!("the server closed"),
            Err(_timed_out) => return all.len(),
        }
    }
}

/// Asks on a warmed connection, for at least `time`; says how many allocations that made, of how many bytes.
fn allocations(address: SocketAddr, request: &[u8], time: Duration) -> (usize, usize) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let bytes = length_of_answers(&mut stream, request);
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    for _ in 0..WARM_UP {
        assert!(exchange(&mut stream, request, bytes), "answered");
    }
    let started = Instant::now();
    let region = Region::new(COUNTED);
    let mut is_answered = true;
    let mut count = 0;
    while count < REQUESTS || started.elapsed() < time {
        is_answered &= exchange(&mut stream, request, bytes);
        count += 1;
        if count > REQUESTS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let change = region.change();
    assert!(is_answered, "every request was answered");
    (change.allocations + change.reallocations, change.bytes_allocated)
}

fn serve(driver: DriverChoice, root: &Path, log: LogTarget) -> (ringway::engine::Server, SocketAddr) {
    let mut serve = Serve::new(root);
    serve.listen = listen::parse("127.0.0.1:0").expect("an address");
    (serve.workers, serve.driver, serve.log) = (1, driver, log);
    let server = serve.start().expect("it starts");
    let address = match server.addresses() {
        [ring::socket::Address::Tcp(address)] => *address,
        other => panic!("{other:?}"),
    };
    (server, address)
}

#[test]
fn a_warmed_connection_takes_nothing_from_the_heap() {
    let site = Scratch::new("allocation");
    for (name, contents) in [("a.txt", vec![b'a'; 100]), ("large.bin", vec![b'b'; 60_000])] {
        let path = site.file(name, &contents);
        let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        std::fs::File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(long_ago))
            .expect("ours");
    }
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let small = get("/a.txt", "User-Agent: test\r\nAccept-Encoding: gzip\r\n");
    let cases = [
        (TIME_MIN, small.clone()),
        (Duration::ZERO, small.repeat(16)),
        (Duration::ZERO, get("/large.bin", "")),
        (Duration::ZERO, get("/large.bin", "Range: bytes=1000-49999\r\n")),
        (Duration::ZERO, get("/a.txt", "If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT\r\n")),
        (Duration::ZERO, small.replace("GET", "HEAD")),
        (Duration::ZERO, small.replace("GET", "DELETE")),
        // What these need besides a slice comes from the worker's own heap.
        (Duration::ZERO, get("/large.bin", "Range: bytes=0-9,100-199,5000-5999\r\n")),
        (Duration::ZERO, get(&format!("{}/a.txt", "/.".repeat(1000)), "")),
    ];
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        if let (DriverChoice::Uring, Err(error)) = (driver, ring::probe()) {
            eprintln!("SKIPPED: io_uring is refused here: {error}");
            continue;
        }
        let (server, address) = serve(driver, site.path(), LogTarget::Off);
        for (time, request) in &cases {
            let (count, bytes) = allocations(address, request.as_bytes(), *time);
            assert_eq!(count, 0, "{bytes} bytes on {driver:?} for {request:?}");
        }
        stop(server);
        let (server, address) = serve(driver, site.path(), LogTarget::File(site.path().join("access.log")));
        let started = Instant::now();
        let (count, bytes) = allocations(address, small.as_bytes(), TIME_MIN);
        // The writer comes around ten times a second, and its operations take a little; a request takes nothing.
        let rounds = started.elapsed().as_millis() / 100 + 1;
        assert!(count as u128 <= 20 * rounds, "{count} of {bytes} bytes on {driver:?} with a log");
        stop(server);
    }
}

fn stop(server: ringway::engine::Server) {
    server.drain(Duration::from_secs(1));
    server.wait(Duration::from_secs(1)).expect("it stops");
}
