//! A connection's life: how it waits, how it ends, what is said of it in the log.

use super::peer::{Peer, WHOLE, data, frame, headers, request, tcp, window_update};
use crate::server::{Driver, Setup, age, pattern};
use ringway_h2::code::Code;
use ringway_h2::frame::{Kind, setting};
use ringway_testkit::Scratch;
use std::time::{Duration, Instant};

use rustix::process::Signal;

on_both_drivers!(
    an_idle_connection_is_told_and_closed,
    a_message_that_does_not_go_on_is_cut,
    a_reader_that_stops_is_cut,
    a_window_that_stays_shut_is_cut,
    a_stream_that_stalls_is_cut_alone,
    draining_finishes_what_was_asked,
    a_client_that_leaves_is_served_to_the_end,
    the_log_has_every_request,
    several_workers,
);

const LARGE_BYTES: usize = 12 * 1024 * 1024;

fn site() -> Scratch {
    let scratch = Scratch::new("h2-life");
    age(&scratch.file("a.txt", b"hello"));
    age(&scratch.file("large.bin", &pattern(LARGE_BYTES)));
    scratch
}

/// Asserts that the connection ends between one second and a few from now.
fn ends_in_time(peer: &mut Peer, since: Instant) -> Option<Code> {
    let mut code = None;
    while let Some(frame) = peer.next() {
        if frame.kind == Kind::GOAWAY {
            code = Some(frame.code());
        }
    }
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(950) && took < Duration::from_secs(12), "{took:?}");
    code
}

fn an_idle_connection_is_told_and_closed(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--idle-timeout", "1"]).start();
    let mut peer = Peer::open(&server);
    let since = Instant::now();
    assert_eq!(ends_in_time(&mut peer, since), Some(Code::NO_ERROR), "from the beginning");
    let mut peer = Peer::open(&server);
    peer.get(1, "/a.txt");
    assert_eq!(peer.answer(1).status, 200);
    let since = Instant::now();
    assert_eq!(ends_in_time(&mut peer, since), Some(Code::NO_ERROR), "after an answer");
    server.stop().cleanly();
}

fn a_message_that_does_not_go_on_is_cut(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--head-timeout", "1"]).start();
    let head = headers(1, WHOLE, &request("GET", "/a.txt", &[]));
    let begun = headers(1, 1, &request("GET", "/a.txt", &[]));
    for part in [&head[..5], &head[..20], &begun] {
        let mut peer = Peer::open(&server);
        peer.send(part);
        let since = Instant::now();
        assert_eq!(ends_in_time(&mut peer, since), Some(Code::ENHANCE_YOUR_CALM));
    }
    // The settings after the preface, too.
    let mut peer = Peer::silent(&server);
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let since = Instant::now();
    assert_eq!(ends_in_time(&mut peer, since), Some(Code::ENHANCE_YOUR_CALM));
    server.stop().cleanly();
}

fn a_reader_that_stops_is_cut(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--send-timeout", "1"]).start();
    let before = server.sockets();
    let mut peer = Peer::on(server.narrow(""), &[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    assert!(server.sockets() > before);
    peer.gives_back = false;
    peer.send(&window_update(0, 0x7000_0000));
    peer.get(1, "/large.bin");
    // It opened all windows, and takes nothing.
    crate::server::eventually("the reader is cut", || (server.sockets() <= before).then_some(()));
    server.stop().cleanly();
}

fn a_window_that_stays_shut_is_cut(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--send-timeout", "1"]).start();
    let mut peer = Peer::on(tcp(&server), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let since = Instant::now();
    peer.get(1, "/large.bin");
    ends_in_time(&mut peer, since);
    // A steady one is not: a little more than the least in each window.
    let mut peer = Peer::on(tcp(&server), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    peer.gives_back = false;
    peer.get(1, "/large.bin");
    let mut got = 0;
    for _ in 0..12 {
        peer.send(&[window_update(1, 10_000), window_update(0, 10_000)].concat());
        let until = got + 10_000;
        while got < until {
            let frame = peer.next().expect("it is not cut");
            got += if frame.kind == Kind::DATA { frame.payload.len() } else { 0 };
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    server.stop().cleanly();
}

fn a_stream_that_stalls_is_cut_alone(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--send-timeout", "1"]).start();
    let mut peer = Peer::on(tcp(&server), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    peer.gives_back = false;
    peer.get(1, "/large.bin");
    peer.get(3, "/large.bin");
    let since = Instant::now();
    let reset = loop {
        peer.send(&[window_update(3, 20_000), window_update(0, 20_000)].concat());
        let frame = peer.next().expect("it is not cut");
        if frame.kind == Kind::RST_STREAM {
            break frame;
        }
        assert!(since.elapsed() < Duration::from_secs(15), "the stalled stream is kept");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((reset.stream, reset.code()), (1, Code::CANCEL));
    server.stop().cleanly();
}

fn draining_finishes_what_was_asked(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let mut idle = Peer::open(&server);
    let mut peer = Peer::open(&server);
    peer.get(1, "/large.bin");
    while peer.next().expect("a frame").kind != Kind::DATA {}
    server.signal(Signal::TERM);
    let mut got = 0;
    let mut said = Vec::new();
    let mut asked_late = false;
    while let Some(frame) = peer.next() {
        match frame.kind {
            Kind::DATA if frame.stream == 1 => got += frame.payload.len(),
            Kind::GOAWAY => {
                assert_eq!(frame.code(), Code::NO_ERROR);
                said.push(u32::from_be_bytes(frame.payload[..4].try_into().expect("four bytes")));
                // On its way when the server said that it leaves: served, as long as the server has not heard that it was heard.
                if !asked_late {
                    asked_late = true;
                    peer.get(3, "/a.txt");
                }
            }
            Kind::PING => peer.send(&super::peer::frame(Kind::PING, 1, 0, &frame.payload)),
            _ => {}
        }
    }
    assert!(got > LARGE_BYTES - 65_536, "all but what was read before: {got}");
    assert_eq!(said, [0x7fff_ffff, 3]);
    idle.ends_with(Code::NO_ERROR, "an idle connection is told");
    server.wait().cleanly();
}

fn a_client_that_leaves_is_served_to_the_end(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let mut peer = Peer::open(&server);
    peer.get(1, "/large.bin");
    peer.send(&frame(Kind::GOAWAY, 0, 0, &[0; 8]));
    assert_eq!(peer.answer(1).body.len(), LARGE_BYTES);
    assert_eq!(peer.next(), None, "and then the connection ends");
    server.stop().cleanly();
}

fn the_log_has_every_request(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--log", "combined"]).start();
    let mut peer = Peer::open(&server);
    peer.get(1, "/a.txt");
    assert_eq!(peer.answer(1).status, 200);
    peer.send(&headers(3, WHOLE, &request("GET", "/none?x=y", &[("referer", "r"), ("user-agent", "u")])));
    assert_eq!(peer.answer(3).status, 404);
    peer.send(&headers(5, WHOLE, &request("GET", "/%zz", &[])));
    assert_eq!(peer.answer(5).status, 400);
    let long = "x".repeat(10_000);
    let block = request("GET", "/a.txt", &[("a", &long), ("b", &long)]);
    let (first, rest) = block.split_at(16_000);
    peer.send(&[headers(7, 1, first), frame(Kind::CONTINUATION, 4, 7, rest)].concat());
    assert_eq!(peer.answer(7).status, 431);
    peer.send(&headers(9, 4, &request("POST", "/a.txt", &[])));
    peer.send(&data(9, 1, b"abc"));
    assert_eq!(peer.answer(9).status, 405);
    let ended = server.stop().cleanly();
    let log = String::from_utf8(ended.stdout).expect("text");
    let lines: Vec<&str> = log.lines().map(|line| line.split_once("] ").expect("a line").1).collect();
    assert_eq!(lines[0], "\"GET /a.txt HTTP/2.0\" 200 5 \"-\" \"-\"");
    assert!(lines[1].starts_with("\"GET /none?x=y HTTP/2.0\" 404 ") && lines[1].ends_with(" \"r\" \"u\""));
    assert!(lines[2].starts_with("\"GET /%zz HTTP/2.0\" 400 "));
    assert!(lines[3].starts_with("\"-\" 431 "), "{}", lines[3]);
    assert!(lines[4].starts_with("\"POST /a.txt HTTP/2.0\" 405 "));
    assert_eq!(lines.len(), 5);
}

fn several_workers(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--workers", "3"]).start();
    let mut peers: Vec<Peer> = (0..12).map(|_| Peer::open(&server)).collect();
    for round in 0..3 {
        for peer in &mut peers {
            peer.get(round * 2 + 1, "/a.txt");
        }
        for peer in &mut peers {
            assert_eq!(peer.answer(round * 2 + 1).body, b"hello");
        }
    }
    server.stop().cleanly();
}
