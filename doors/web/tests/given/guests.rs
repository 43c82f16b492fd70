//! Connections that a guest takes over: found at every turn, ended as others are, and told of at the end.

use crate::stand::{Stand, eventually, on_each_driver, pattern};
use ringway_testkit::Client;
use std::sync::atomic::Ordering;

fn ask(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").into_bytes()
}

/// A connection that is an echo's; `early` comes with the request.
fn open(stand: &Stand, path: &str, early: &[u8]) -> Client {
    let mut client = stand.client();
    client.send(&[&*ask(path), early].concat()).expect("open");
    let answer = client.answer(true).expect("a head");
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("echo")));
    client
}

fn gone(stand: &Stand) -> u64 {
    stand.gate.guests_gone.load(Ordering::Acquire)
}

#[test]
fn a_guest_has_all_bytes_from_the_first_behind_the_head() {
    on_each_driver(|stand| {
        stand.gate.open();
        for path in ["/guest", "/guest-later"] {
            let mut client = open(&stand, path, b"early ");
            let body = pattern(300_000);
            let mut got = client.exact(b"early ".len()).expect("what came with the request");
            assert_eq!(got, b"early ");
            for piece in body.chunks(30_000) {
                client.send(piece).expect("it reads");
                got = client.exact(piece.len()).expect("it answers");
                assert!(got == piece);
            }
        }
        eventually("both ends are told of", || gone(&stand) == 2);
        let told = stand.told.all();
        let expected = |path: &str| (path.to_owned(), 101, 300_006);
        assert_eq!(told, [expected("/guest"), expected("/guest-later")]);
        stand.stop();
    });
}

#[test]
fn guests_keep_their_own_time_and_hear_of_a_drain() {
    on_each_driver(|stand| {
        let mut silent = open(&stand, "/guest", b"");
        assert_eq!(silent.until_end().expect("a FIN"), b"", "its own deadline");
        eventually("the first is gone", || gone(&stand) == 1);
        let mut client = open(&stand, "/guest", b"x");
        assert_eq!(client.exact(1).expect("an echo"), b"x");
        stand.drain();
        assert_eq!(client.until_end().expect("a FIN"), b"drained");
        drop(client);
        eventually("so is the second", || gone(&stand) == 2);
        stand.stop();
    });
}

#[test]
fn a_guest_that_panics_costs_its_connection_only() {
    on_each_driver(|stand| {
        let mut well = open(&stand, "/guest", b"");
        let mut ill = open(&stand, "/guest", b"");
        ill.send(b"panic").expect("open");
        assert!(ill.until_end().is_err(), "a reset");
        well.send(b"well").expect("open");
        assert_eq!(well.exact(4).expect("an echo"), b"well");
        // Its place is another's.
        let mut next = open(&stand, "/guest", b"next");
        assert_eq!(next.exact(4).expect("an echo"), b"next");
        drop((well, next));
        eventually("those that did not panic say farewell", || gone(&stand) == 2);
        assert_eq!(stand.told.all().len(), 3, "the log hears of all");
        stand.stop_after_panics(1);
    });
}

#[test]
fn who_does_not_ask_for_another_protocol_gets_an_answer() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        client.send(b"GET /guest HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
        assert_eq!(client.answer(false).expect("an answer").status, 426);
        drop(client);
        assert_eq!(gone(&stand), 0, "no guest has had a connection");
        stand.stop();
    });
}
