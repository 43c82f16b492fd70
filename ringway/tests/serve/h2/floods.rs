//! Floods: each is cut at its limit, the server's memory stays where it was, and others are served meanwhile.

use super::peer::{OPEN, Peer, WHOLE, data, frame, headers, request, reset, settings, tcp, window_update};
use crate::server::{Driver, Server, Setup, age, pattern};
use ringway_h2::code::Code;
use ringway_h2::frame::{Kind, setting};
use ringway_testkit::Scratch;

on_both_drivers!(
    floods_are_cut,
    a_flood_that_reads_nothing_is_bounded,
    many_streams_of_one_connection_are_bounded,
);

/// What the server's memory may grow by, in KiB: a connection's buffers, and what the allocator keeps.
const GROWTH_KIB_MAX: u64 = 6 * 1024;

/// Frames of a flood; far more than any limit.
const FRAMES: u32 = 200_000;

fn site() -> Scratch {
    let scratch = Scratch::new("h2-floods");
    age(&scratch.file("a.txt", b"hello"));
    age(&scratch.file("large.bin", &pattern(8 * 1024 * 1024)));
    scratch
}

fn stream(number: u32) -> u32 {
    number * 2 + 1
}

fn get(stream: u32) -> Vec<u8> {
    headers(stream, WHOLE, &request("GET", "/a.txt", &[]))
}

/// Sends a flood until the connection is cut; asserts that it was, and why.
fn is_cut(server: &Server, name: &str, flood: impl Fn(u32) -> Vec<u8>) {
    let mut peer = Peer::open(server);
    peer.gives_back = false;
    peer.send(&headers(1, OPEN, &request("POST", "/a.txt", &[])));
    let mut number = 1;
    let was_cut = loop {
        let batch: Vec<u8> = (number..number + 100).flat_map(&flood).collect();
        number += 100;
        if !peer.try_send(&batch) || number > FRAMES {
            break number <= FRAMES;
        }
    };
    // What was in the way of the farewell may have been lost with the reset.
    let mut codes = Vec::new();
    while let Some(frame) = peer.next() {
        if frame.kind == Kind::GOAWAY {
            codes.push(frame.code());
        }
    }
    assert!(was_cut || !codes.is_empty(), "{name}: {number} frames went through");
    assert!(codes.iter().all(|code| *code == Code::ENHANCE_YOUR_CALM), "{name}: {codes:?}");
}

fn floods_are_cut(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    // Once, so that what is needed once is there.
    is_cut(&server, "warm up", |_| frame(Kind::PING, 0, 0, &[0; 8]));
    let before = server.resident_kib();
    is_cut(&server, "rapid reset (CVE-2023-44487)", |number| {
        [get(stream(number)), reset(stream(number), Code::CANCEL)].concat()
    });
    is_cut(&server, "made you reset (CVE-2025-8671)", |number| {
        [headers(stream(number), OPEN, &request("POST", "/a.txt", &[])), window_update(stream(number), 0)]
            .concat()
    });
    is_cut(&server, "continuations (CVE-2024-27316)", |number| match number {
        1 => headers(3, 1, &request("GET", "/a.txt", &[])),
        _ => frame(Kind::CONTINUATION, 0, 3, &[]),
    });
    is_cut(&server, "long continuations", |number| match number {
        1 => headers(3, 1, &request("GET", "/a.txt", &[])),
        _ => frame(Kind::CONTINUATION, 0, 3, &[0x82; 16_000]),
    });
    is_cut(&server, "pings (CVE-2019-9512)", |_| frame(Kind::PING, 0, 0, &[0; 8]));
    is_cut(&server, "settings (CVE-2019-9515)", |_| settings(&[(setting::INITIAL_WINDOW_SIZE, 1)]));
    is_cut(&server, "empty frames (CVE-2019-9518)", |_| data(1, 0, b""));
    is_cut(&server, "priorities (CVE-2019-9513)", |_| frame(Kind::PRIORITY, 0, 3, &[0; 5]));
    is_cut(&server, "window updates", |_| window_update(0, 1));
    is_cut(&server, "unknown frames", |_| frame(Kind(0x99), 0, 0, &[]));
    let after = server.resident_kib();
    assert!(after < before + GROWTH_KIB_MAX, "from {before} to {after} KiB");
    let mut peer = Peer::open(&server);
    peer.get(1, "/a.txt");
    assert_eq!(peer.answer(1).body, b"hello");
    server.stop().cleanly();
}

/// Acknowledgements for a peer that does not read wait with the input, not in memory.
fn a_flood_that_reads_nothing_is_bounded(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--send-timeout", "1"]).start();
    let mut first = Peer::open(&server);
    first.get(1, "/large.bin");
    assert_eq!(first.answer(1).body.len(), 8 * 1024 * 1024);
    let before = server.resident_kib();
    for _ in 0..4 {
        let tcp = server.narrow("");
        let mut peer = Peer::on(tcp, &[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
        peer.gives_back = false;
        peer.send(&window_update(0, 0x7fff_0000 - 65_535));
        // Requests without bodies: windows do not hold their answers back.
        let mut number = 0;
        let mut written = 0;
        while written < 16 * 1024 * 1024 {
            let path = if number % 100 == 0 { "/large.bin" } else { "/none" };
            let head = headers(stream(number), WHOLE, &request("HEAD", path, &[]));
            written += head.len();
            number += 1;
            if !peer.try_send(&head) {
                break;
            }
        }
        assert!(written < 16 * 1024 * 1024, "a peer that does not read is not read either, and cut");
    }
    let after = server.resident_kib();
    assert!(after < before + GROWTH_KIB_MAX, "from {before} to {after} KiB");
    server.stop().cleanly();
}

fn many_streams_of_one_connection_are_bounded(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let mut peer = Peer::on(tcp(&server), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let before = server.resident_kib();
    for number in 0..150 {
        peer.get(stream(number), "/large.bin");
    }
    let refused: Vec<u32> = (0..50)
        .map(|_| peer.wait_for(Kind::RST_STREAM))
        .map(|frame| {
            assert_eq!(frame.code(), Code::REFUSED_STREAM);
            frame.stream
        })
        .collect();
    assert_eq!(refused, (100..150).map(stream).collect::<Vec<u32>>());
    peer.lives();
    let after = server.resident_kib();
    assert!(after < before + GROWTH_KIB_MAX, "from {before} to {after} KiB");
    server.stop().cleanly();
}
