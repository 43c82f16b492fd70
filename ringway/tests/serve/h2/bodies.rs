//! Bodies over HTTP/2: whole and in part, within windows, fairly among streams; and bodies of requests.

use super::peer::{OPEN, Peer, WHOLE, data, headers, request, reset, settings, tcp, window_update};
use crate::server::{Driver, Setup, age, eventually, pattern};
use ringway_h2::code::Code;
use ringway_h2::frame::{Kind, setting};
use ringway_testkit::Scratch;

on_both_drivers!(
    every_kind_of_body,
    bodies_stay_within_windows,
    streams_take_turns,
    a_reset_stream_costs_the_others_nothing,
    a_file_that_shrinks_resets_its_stream_only,
    bodies_of_requests_are_discarded,
);

const LARGE_BYTES: usize = 3 * 1024 * 1024 + 77;

fn site() -> Scratch {
    let scratch = Scratch::new("h2-bodies");
    age(&scratch.file("empty.txt", b""));
    age(&scratch.file("a.txt", b"0123456789"));
    age(&scratch.file("small.txt", &[b'y'; 9_000]));
    age(&scratch.file("medium.bin", &pattern(16_385)));
    age(&scratch.file("large.bin", &pattern(LARGE_BYTES)));
    for number in 0..3_000 {
        scratch.file(&format!("many/file-{number}"), b"x");
    }
    scratch
}

fn ask(peer: &mut Peer, stream: u32, method: &str, path: &str, more: &[(&str, &str)]) {
    peer.send(&headers(stream, WHOLE, &request(method, path, more)));
}

fn every_kind_of_body(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let mut peer = Peer::open(&server);
    let large = pattern(LARGE_BYTES);
    let medium = pattern(16_385);
    // Twice: what had to wait for a disk comes from a cache then.
    for round in 0..2 {
        let base = round * 100;
        let mut get = |number: u32, path: &str, more: &[(&str, &str)]| {
            let stream = base + number * 2 + 1;
            ask(&mut peer, stream, "GET", path, more);
            peer.answer(stream)
        };
        assert_eq!(get(0, "/large.bin", &[]).body, large);
        assert_eq!(get(1, "/medium.bin", &[]).body, medium);
        assert_eq!(get(2, "/a.txt", &[]).body, b"0123456789");
        let empty = get(3, "/empty.txt", &[]);
        assert_eq!((empty.status, empty.field("content-length"), empty.body.len()), (200, Some("0"), 0));
        let part = get(4, "/large.bin", &[("range", "bytes=100000-300000")]);
        assert_eq!((part.status, &part.body[..]), (206, &large[100_000..=300_000]));
        let parts = get(5, "/large.bin", &[("range", "bytes=0-9,2000000-2100000,-5")]);
        assert_eq!(parts.status, 206);
        assert_eq!(parts.field("content-length"), Some(&*parts.body.len().to_string()));
        assert!(parts.body.windows(100_001).any(|window| window == &large[2_000_000..=2_100_000]));
        let small_parts = get(6, "/small.txt", &[("range", "bytes=0-1,5000-5001,-1")]);
        assert_eq!(small_parts.status, 206);
        let text = String::from_utf8(small_parts.body).expect("text");
        assert!(text.contains("bytes 5000-5001/9000\r\n\r\nyy\r\n"), "{text}");
        let tag = get(7, "/a.txt", &[]).field("etag").expect("a tag").to_owned();
        let unchanged = get(8, "/a.txt", &[("if-none-match", &tag)]);
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
        let listing = get(9, "/many/", &[("accept", "text/html")]);
        assert!(
            listing.body.len() > 100_000 && listing.body.ends_with(b"</html>\n"),
            "{}",
            listing.body.len()
        );
        let missing = get(10, "/none", &[("accept", "text/html")]);
        assert_eq!((missing.status, missing.body.starts_with(b"<!doctype html>")), (404, true));
        let redirected = get(11, "/many?x", &[]);
        assert_eq!((redirected.status, redirected.field("location")), (301, Some("/many/?x")));
        ask(&mut peer, base + 91, "HEAD", "/large.bin", &[]);
        let head = peer.answer(base + 91);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.field("content-length"), Some(&*LARGE_BYTES.to_string()));
        ask(&mut peer, base + 93, "OPTIONS", "*", &[]);
        assert_eq!(peer.answer(base + 93).field("allow"), Some("GET, HEAD, OPTIONS"));
        ask(&mut peer, base + 95, "DELETE", "/a.txt", &[]);
        assert_eq!(peer.answer(base + 95).status, 405);
    }
    server.stop().cleanly();
}

fn bodies_stay_within_windows(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let mut peer = Peer::on(tcp(&server), &[(setting::INITIAL_WINDOW_SIZE, 1_000)]);
    peer.gives_back = false;
    peer.get(1, "/large.bin");
    peer.get(3, "/a.txt");
    let mut got = [0_usize; 2];
    let mut take = |peer: &mut Peer, until: [usize; 2]| {
        while got != until {
            let frame = peer.next().expect("a frame");
            if frame.kind == Kind::DATA {
                got[if frame.stream == 1 { 0 } else { 1 }] += frame.payload.len();
            }
            assert!(got[0] <= until[0] && got[1] <= until[1], "{got:?}");
        }
        peer.lives();
    };
    take(&mut peer, [1_000, 10]);
    peer.send(&window_update(1, 500));
    take(&mut peer, [1_500, 10]);
    // Section 6.9.2: a smaller setting may leave less than nothing.
    peer.send(&settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    peer.send(&window_update(1, 999));
    take(&mut peer, [1_500, 10]);
    peer.send(&window_update(1, 2));
    take(&mut peer, [1_501, 10]);
    // The connection's window is 65,535 whatever the stream's.
    peer.send(&window_update(1, 1_000_000));
    take(&mut peer, [65_525, 10]);
    peer.send(&window_update(0, 16_385));
    take(&mut peer, [81_910, 10]);
    peer.send(&reset(1, Code::CANCEL));
    peer.lives();
    server.stop().cleanly();
}

fn streams_take_turns(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let mut peer = Peer::on(tcp(&server), &[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    for stream in [1, 3, 5, 7] {
        peer.get(stream, "/large.bin");
    }
    let mut got = [0_usize; 4];
    let mut ended = 0;
    while ended < 4 {
        let frame = peer.next().expect("a frame");
        if frame.kind != Kind::DATA {
            continue;
        }
        let at = (frame.stream as usize - 1) / 2;
        got[at] += frame.payload.len();
        if frame.ends() {
            ended += 1;
        }
        let (least, most) = (got.iter().min().expect("four"), got.iter().max().expect("four"));
        // They began one after the other; from then on each has a frame in turn.
        assert!(ended > 0 || most - least <= 512 * 1024, "{got:?}");
    }
    assert_eq!(got, [LARGE_BYTES; 4]);
    server.stop().cleanly();
}

fn a_reset_stream_costs_the_others_nothing(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let mut peer = Peer::open(&server);
    for round in 0..20 {
        let stream = round * 4 + 1;
        peer.get(stream, "/large.bin");
        peer.get(stream + 2, "/medium.bin");
        peer.send(&reset(stream, Code::CANCEL));
        assert_eq!(peer.answer(stream + 2).body, pattern(16_385));
    }
    let files = server.descriptors().iter().filter(|name| name.ends_with("large.bin")).count();
    assert!(files <= 1, "only the cache has it open");
    server.stop().cleanly();
}

fn a_file_that_shrinks_resets_its_stream_only(driver: Driver) {
    let site = site();
    let path = site.file("shrinking.bin", &pattern(LARGE_BYTES));
    age(&path);
    let server = Setup::new(driver, site.path()).start();
    let mut peer = Peer::on(tcp(&server), &[(setting::INITIAL_WINDOW_SIZE, 100_000)]);
    peer.gives_back = false;
    peer.get(1, "/shrinking.bin");
    while peer.next().expect("a frame").kind != Kind::DATA {}
    let file = std::fs::File::options().write(true).open(&path).expect("ours");
    file.set_len(120_000).expect("ours");
    peer.send(&[window_update(0, 10_000_000), window_update(1, 10_000_000)].concat());
    let reset = peer.wait_for(Kind::RST_STREAM);
    assert_eq!((reset.stream, reset.code()), (1, Code::INTERNAL_ERROR));
    peer.get(3, "/a.txt");
    assert_eq!(peer.answer(3).body, b"0123456789");
    server.stop().cleanly();
}

fn bodies_of_requests_are_discarded(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--body-timeout", "2"]).start();
    let mut peer = Peer::open(&server);
    // More than a window, less than the limit: the windows are given back.
    peer.send(&headers(1, OPEN, &request("POST", "/a.txt", &[])));
    assert_eq!(peer.answer(1).status, 405, "the answer does not wait for what nobody reads");
    let mut room = 65_535_u32;
    for number in 0..60 {
        while room < 16_000 {
            let update = peer.wait_for(Kind::WINDOW_UPDATE);
            if update.stream == 1 {
                room += u32::from_be_bytes(update.payload.try_into().expect("four bytes"));
            }
        }
        room -= 16_000;
        peer.send(&data(1, u8::from(number == 59), &[7; 16_000]));
    }
    peer.lives();
    // Announced to be more than the limit: told so, and not waited for.
    peer.send(&headers(3, OPEN, &request("POST", "/a.txt", &[("content-length", "2000000")])));
    assert_eq!(peer.answer(3).status, 413);
    let reset = peer.wait_for(Kind::RST_STREAM);
    assert_eq!((reset.stream, reset.code()), (3, Code::NO_ERROR));
    // Who waits to be asked for the body is told the outcome instead.
    peer.send(&headers(
        5,
        OPEN,
        &request("PUT", "/a.txt", &[("expect", "100-continue"), ("content-length", "5")]),
    ));
    assert_eq!(peer.answer(5).status, 405);
    // One that never comes.
    peer.send(&headers(7, OPEN, &request("POST", "/a.txt", &[])));
    assert_eq!(peer.answer(7).status, 405);
    eventually("a late body is given up", || {
        let reset = peer.wait_for(Kind::RST_STREAM);
        (reset.stream == 7 && reset.code() == Code::NO_ERROR).then_some(())
    });
    peer.lives();
    server.stop().cleanly();
}
