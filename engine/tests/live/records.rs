//! A record layer between transport and protocol: the same protocols, other bytes on the wire.

use crate::stand::echo::{TaskEcho, TurnEcho};
use crate::stand::scramble::{self, ANSWER, BOMB, KNOCK, Peer, RECORD_MAX, REFUSAL};
use crate::stand::{Setup, Stand, assert_same, eventually, on_each_driver, pattern};
use ringway_engine::ring::Handle;
use ringway_engine::{Conn, Events, Protocol, Turn};
use ringway_testkit::{Scratch, Seed};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// Reads to the end and opens what comes; the last word must be the last.
fn read_to_last_word(stream: &mut TcpStream, peer: &mut Peer) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).expect("a good end") {
            0 => break,
            count => peer.open(&buffer[..count]),
        }
    }
    assert!(peer.is_finished, "the last word comes before the end");
}

/// Reads until `bytes` plain bytes have come.
fn read_plain(stream: &mut TcpStream, peer: &mut Peer, bytes: usize) {
    let mut buffer = vec![0; 64 * 1024];
    while peer.plain.len() < bytes {
        let count = stream.read(&mut buffer).expect("the echo comes");
        assert_ne!(count, 0, "an end in the middle");
        peer.open(&buffer[..count]);
    }
}

fn both_echoes(test: impl Fn(&Stand)) {
    on_each_driver(|driver| {
        let filter = Some(scramble::boxed as fn() -> _);
        let by_turns = Setup::new(driver, move |_| TurnEcho { filter });
        let as_tasks = Setup::new(driver, move |_| TaskEcho { filter });
        for setup in [by_turns, as_tasks] {
            let stand = setup.with_small_sockets().start();
            test(&stand);
            stand.until_resting();
            stand.stop();
        }
    });
}

#[test]
fn an_echo_of_any_size_ends_with_the_last_word() {
    let seed = Seed::take();
    both_echoes(|stand| {
        let mut rng = seed.rng();
        for bytes in [1, 64, 5_000, 1_000_000] {
            let mut stream = stand.connect();
            let mut peer = Peer::default();
            let message = pattern(0, bytes);
            let wire = peer.seal(&message, &[1, 999, RECORD_MAX, 17, 512]);
            let mut writer = stream.try_clone().expect("a descriptor");
            let largest = rng.between(1, 40_000);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for part in wire.chunks(largest) {
                        writer.write_all(part).expect("the server reads");
                    }
                    writer.shutdown(Shutdown::Write).expect("open");
                });
                read_to_last_word(&mut stream, &mut peer);
            });
            assert_same(&peer.plain, &message, "the echo");
        }
    });
}

#[test]
fn records_split_at_every_byte_are_put_together() {
    both_echoes(|stand| {
        let length = Peer::default().seal(&pattern(0, 24), &[5, 12, 7]).len();
        for split in 1..length {
            let mut stream = stand.connect();
            let mut peer = Peer::default();
            let message = pattern(split, 24);
            let wire = peer.seal(&message, &[5, 12, 7]);
            let before = stand.totals().bytes_received;
            stream.write_all(&wire[..split]).expect("the server reads");
            eventually("the first part has been received by itself", || {
                let count = stand.totals().bytes_received - before;
                if count == split as u64 { Ok(()) } else { Err(count) }
            });
            stream.write_all(&wire[split..]).expect("the server reads");
            read_plain(&mut stream, &mut peer, message.len());
            assert_eq!(peer.plain, message);
            stream.shutdown(Shutdown::Write).expect("open");
            read_to_last_word(&mut stream, &mut peer);
        }
    });
}

/// Answers the first byte with parts of a file, through the filter, and closes.
struct Files {
    path: PathBuf,
}

/// Offset and length of the parts: an empty one and an end that is no multiple of anything.
const PARTS: [(u64, u64); 4] = [(0, 1), (3, 0), (5, 700_001), (700_000, 0)];

impl Protocol for Files {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            conn.set_filter(scramble::boxed());
        }
        if conn.take().is_none() {
            return Turn::Idle;
        }
        for (offset, bytes) in PARTS {
            let file = Handle::new(OwnedFd::from(File::open(&self.path).expect("the file is there")));
            let head = (offset != 3).then(|| conn.pool().copy_of(b"head").expect("room"));
            conn.send_file(head, file, offset, bytes, false);
        }
        Turn::Close
    }
}

#[test]
fn files_go_through_the_filter() {
    let scratch = Scratch::new("engine-records");
    let contents = pattern(0, 800_000);
    let path = scratch.file("contents", &contents);
    let mut wanted = Vec::new();
    for (offset, bytes) in PARTS {
        if offset != 3 {
            wanted.extend_from_slice(b"head");
        }
        let begin = usize::try_from(offset).expect("small");
        wanted.extend_from_slice(&contents[begin..begin + usize::try_from(bytes).expect("small")]);
    }
    on_each_driver(|driver| {
        let path = path.clone();
        let stand = Stand::start(driver, move |_| Files { path: path.clone() });
        let mut stream = stand.connect();
        let mut peer = Peer::default();
        stream.write_all(&peer.seal(b"?", &[1])).expect("the server reads");
        read_to_last_word(&mut stream, &mut peer);
        assert_same(&peer.plain, &wanted, "the file");
        stand.until_resting();
        stand.stop();
    });
}

/// Answers the first byte with a file on whose file system nobody can tell what is in memory.
struct Untold;

/// Its text does not change.
const UNTOLD: &str = "/proc/version";

impl Protocol for Untold {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            conn.set_filter(scramble::boxed());
        }
        if conn.take().is_none() {
            return Turn::Idle;
        }
        let bytes = std::fs::read(UNTOLD).expect("every Linux has it").len() as u64;
        for _ in 0..3 {
            let file = Handle::new(OwnedFd::from(File::open(UNTOLD).expect("every Linux has it")));
            let head = conn.pool().copy_of(b"head").expect("room");
            conn.send_file(Some(head), file, 0, bytes, false);
        }
        Turn::Close
    }
}

#[test]
fn files_that_must_be_waited_for_go_through_the_filter() {
    let contents = std::fs::read(UNTOLD).expect("every Linux has it");
    let wanted = [b"head", &contents[..]].concat().repeat(3);
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Untold);
        let mut stream = stand.connect();
        let mut peer = Peer::default();
        stream.write_all(&peer.seal(b"?", &[1])).expect("the server reads");
        read_to_last_word(&mut stream, &mut peer);
        assert_same(&peer.plain, &wanted, "the file");
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_file_that_is_too_short_ends_without_the_last_word() {
    let scratch = Scratch::new("engine-short");
    let path = scratch.file("contents", &pattern(0, 100_000));
    on_each_driver(|driver| {
        let path = path.clone();
        let stand = Stand::start(driver, move |_| Files { path: path.clone() });
        let mut stream = stand.connect();
        stream.write_all(&Peer::default().seal(b"?", &[1])).expect("the server reads");
        let mut found = Vec::new();
        let error = stream.read_to_end(&mut found).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_record_that_cannot_be_right_ends_its_connection_only() {
    both_echoes(|stand| {
        let mut good = (stand.connect(), Peer::default());
        for (bad, panics) in [(1_001_u16, 0), (0x8000, 0), (BOMB, 1)] {
            let before = stand.totals().panics;
            let mut stream = stand.connect();
            let mut peer = Peer::default();
            let wire = peer.seal(b"fine", &[4]);
            stream.write_all(&wire).expect("the server reads");
            read_plain(&mut stream, &mut peer, 4);
            stream.write_all(&bad.to_be_bytes()).expect("the server reads");
            let mut found = Vec::new();
            match stream.read_to_end(&mut found) {
                Ok(_) => {
                    let words = if panics == 0 { REFUSAL } else { b"" };
                    assert_eq!(found, words, "no last word: this end is not a good one");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            assert_eq!(stand.totals().panics, before + panics);
            let (stream, peer) = &mut good;
            let wire = peer.seal(&pattern(0, 2_000), &[777]);
            let bytes = peer.plain.len() + 2_000;
            stream.write_all(&wire).expect("the server reads");
            read_plain(stream, peer, bytes);
        }
    });
}

#[test]
fn a_filter_answers_by_itself_and_in_order() {
    both_echoes(|stand| {
        let mut stream = stand.connect();
        stream.write_all(&KNOCK.to_be_bytes()).expect("the server reads");
        let mut found = [0; 2];
        stream.read_exact(&mut found).expect("the filter answers");
        assert_eq!(found, ANSWER);
    });
}

#[test]
fn a_slow_reader_behind_a_filter_costs_a_bounded_amount() {
    both_echoes(|stand| {
        let idle = stand.totals().memory_bytes;
        let mut stream = stand.connect();
        let mut peer = Peer::default();
        let message = pattern(0, 7_000_000);
        let wire = peer.seal(&message, &[RECORD_MAX]);
        let mut writer = stream.try_clone().expect("a descriptor");
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                writer.write_all(&wire).expect("the server reads in the end");
                writer.shutdown(Shutdown::Write).expect("open");
            });
            eventually("the server stops taking", || {
                let now = stand.totals().bytes_received;
                std::thread::sleep(Duration::from_millis(60));
                let later = stand.totals().bytes_received;
                if now == later && later > 0 { Ok(()) } else { Err(later) }
            });
            assert!(!writing.is_finished(), "7 MB do not fit between the two");
            let memory = stand.totals().memory_bytes - idle;
            assert!(memory <= 1024 * 1024, "{memory} bytes");
            read_to_last_word(&mut stream, &mut peer);
        });
        assert_same(&peer.plain, &message, "the echo");
    });
}
