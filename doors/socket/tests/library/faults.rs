//! What libraries do wrong: told by file and function, at the cost of one connection; the server goes on.

use crate::stand::{Like, Stand, alone, build, drivers, in_c, in_rust, of_sdk, until_unmapped};
use ringway_socket::Framing;
use ringway_socket::library::{Asked, Library, LibraryOptions};
use ringway_testkit::Scratch;
use std::io::{Read, Write};
use std::path::Path;

const SOURCE: &str = include_str!("faults.c");

#[test]
fn what_a_library_does_wrong_is_told_and_costs_it_that() {
    let _alone = alone();
    let scratch = Scratch::new("faults");
    let path = build(&scratch, "faults", SOURCE);
    for driver in drivers() {
        let stand = Stand::start(driver, &path, "", &Like::default());
        let mut client = stand.lines_of();
        let mut ask = |what: &str| client.ask(what).parse::<i32>().expect("a number");
        let named = |function: &str, what: &str| {
            let line = stand.until_heard(&format!("`{function}` with {what}"));
            assert!(line.contains("faults.so") && line.contains("on thread "), "{line}");
        };
        assert_eq!(ask("k"), 0);
        assert_eq!(ask("o"), -6, "a connection of an earlier callback");
        named("conn_send", "a connection outside of the callback");
        assert_eq!(ask("t"), -6, "another thread");
        named("conn_send", "a connection outside of the callback");
        assert_eq!(ask("l"), -4, "more than is taken");
        named("conn_send", "more than is taken");
        assert_eq!(ask("i"), -3, "no part of the message");
        named("conn_send_in_place", "arguments that make no sense");
        assert_eq!((ask("f"), ask("F")), (-3, -3), "no file");
        named("conn_send_file", "arguments that make no sense");
        assert_eq!(ask("K"), -3, "no kind of message");
        assert_eq!((ask("g"), ask("b")), (-1, -2), "no such connection, no broadcasts");
        assert_eq!(ask("q"), -6, "a connection is no peer");
        assert_eq!((ask("c"), ask("C")), (-3, -3), "no place, no such flag");
        assert_eq!(ask("?"), 99, "it goes on");
        drop(client);
        stand.until_resting();
        assert_eq!(stand.counted().faults, 0, "none of it was a fault of a connection");
        stand.stop();
    }
    until_unmapped("faults");
}

#[test]
fn a_message_is_sent_in_place_once_and_a_thread_reaches_a_connection_by_its_key() {
    let _alone = alone();
    let scratch = Scratch::new("keys");
    let path = build(&scratch, "keys", SOURCE);
    for driver in drivers() {
        let stand = Stand::start(driver, &path, "", &Like::default());
        let mut client = stand.connect();
        let mut ask = |what: &[u8], wanted: &[u8]| {
            client.write_all(what).expect("it reads");
            let mut room = vec![0; wanted.len()];
            client.read_exact(&mut room).expect("an answer");
            assert_eq!(room, wanted, "{}", String::from_utf8_lossy(&room));
        };
        ask(b"double", b"double-2\n");
        ask(b"k", b"0\n");
        ask(b"p", b"0\nposted");
        drop(client);
        stand.until_resting();
        // The key of a connection that is gone does no harm.
        let mut other = stand.lines_of();
        assert_eq!(other.ask("p"), "-1");
        drop(other);
        stand.until_resting();
        stand.stop();
    }
    until_unmapped("keys");
}

#[test]
fn a_word_without_meaning_and_a_message_too_long_reset_the_connection_alone() {
    let _alone = alone();
    let scratch = Scratch::new("words");
    let path = build(&scratch, "words", SOURCE);
    for driver in drivers() {
        let stand = Stand::start(driver, &path, "", &Like::default());
        let mut bystander = stand.lines_of();
        assert_eq!(bystander.ask("?"), "99");
        for (what, said, reason) in [
            (vec![b'u'], "its `message` says 7, which means nothing", 6),
            (vec![b'?'; 101], "it takes no message of 101 bytes", 4),
        ] {
            let mut client = stand.connect();
            client.write_all(&what).expect("it reads");
            assert!(!matches!(client.read(&mut [0; 10]), Ok(1..)), "the end");
            let line = stand.until_heard(said);
            assert!(line.contains("words.so") && line.contains("endpoint test"), "{line}");
            stand.until_heard(&format!("closed for {reason}"));
        }
        assert_eq!(stand.counted().faults, 2);
        assert_eq!(bystander.ask("?"), "99");
        drop(bystander);
        stand.until_resting();
        stand.stop();
    }
    until_unmapped("words");
}

#[test]
fn sizes_that_make_no_sense_cost_the_connection() {
    let _alone = alone();
    let scratch = Scratch::new("sizes");
    let path = build(&scratch, "sizes", SOURCE);
    for driver in drivers() {
        let like = Like { message_bytes_max: 1_000, ..Like::framed(Framing::Handler) };
        let stand = Stand::start(driver, &path, "", &like);
        let mut bystander = stand.lines_of();
        assert_eq!(bystander.ask("?"), "99");
        for (first, said) in [
            (b'N', "its `measure` says Unknown(-7), which means nothing"),
            (b'H', "endpoint test: the connection of 127.0.0.1"),
            (b'Z', "endpoint test: the connection of 127.0.0.1"),
        ] {
            let mut client = stand.connect();
            // With a size that never comes, all that may be kept.
            let _reset = client.write_all(&[first; 5_000]);
            assert!(!matches!(client.read(&mut [0; 10]), Ok(1..)), "the end");
            stand.until_heard(said);
        }
        stand.until_heard("sizes.so: its `measure`");
        assert_eq!(bystander.ask("?"), "99");
        drop(bystander);
        stand.until_resting();
        stand.stop();
    }
    until_unmapped("sizes");
}

#[test]
fn a_panic_in_rust_costs_its_connection() {
    let _alone = alone();
    for driver in drivers() {
        let stand = Stand::start(driver, &of_sdk("fragile"), "", &Like::default());
        assert_eq!(stand.library.health(), Ok(()));
        let mut bystander = stand.lines_of();
        assert_eq!(bystander.ask("so far so good"), "SO FAR SO GOOD");
        let mut client = stand.connect();
        client.write_all(b"panic").expect("it reads");
        assert!(!matches!(client.read(&mut [0; 10]), Ok(1..)), "the end");
        stand.until_heard("the handler panicked: as it was told");
        let line = stand.until_heard("its `message` panicked, and the connection is reset");
        assert!(line.contains("libfragile.so"), "{line}");
        stand.until_heard("last \"\", Fault");
        assert_eq!(bystander.ask("and on"), "AND ON");
        drop(bystander);
        stand.until_heard("last \"and on\\n\", Peer");
        stand.until_resting();
        stand.stop();
        let stand = Stand::start(driver, &of_sdk("fragile"), "", &Like::framed(Framing::Handler));
        let mut client = stand.connect();
        client.write_all(b"3abc0!").expect("it reads");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("what was good before");
        assert_eq!(&answer, b"3ABC0");
        assert!(!matches!(client.read(&mut answer), Ok(1..)), "the end");
        stand.until_heard("its `measure` says Panicked");
        stand.stop();
    }
}

/// Why a library is not taken for an endpoint.
fn refusal(path: &Path, asked: Asked, config: &str) -> String {
    let options = LibraryOptions { asked, ..LibraryOptions::default() };
    let error = Library::load(path, config, options).expect_err("it is refused").to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    error
}

#[test]
fn what_is_no_library_for_an_endpoint_is_refused_with_its_name() {
    let _alone = alone();
    let scratch = Scratch::new("refused");
    let echo = in_c("echo");
    let bytes = std::fs::read(&echo).expect("built");
    // What only debuggers read lies at the end, and may be more than the rest.
    let part = &bytes[..bytes.len() / 8];
    let told = [
        (
            refusal(&in_c("service"), Asked::Connections, ""),
            "it has no connection handler; it has a request handler",
        ),
        (refusal(&echo, Asked::Framing, ""), "`ringway_connection_handler.measure` is missing"),
        (refusal(&echo, Asked::Datagrams, ""), "`ringway_connection_handler.datagram` is missing"),
        (
            refusal(&in_c("udp_echo"), Asked::Connections, ""),
            "`ringway_connection_handler.message` is missing",
        ),
        (refusal(&in_c("gateway"), Asked::Connections, ""), "the gateway needs a target"),
        (refusal(&in_rust("mail"), Asked::Connections, ""), "the mailbox is empty"),
        (refusal(&of_sdk("fragile"), Asked::Connections, "panic"), "it panicked: at its beginning"),
        (refusal(&scratch.file("text.so", b"no library"), Asked::Connections, ""), "no shared library"),
        (refusal(&scratch.file("cut.so", part), Asked::Connections, ""), "not whole"),
        (refusal(&scratch.path().join("none.so"), Asked::Connections, ""), "cannot be read"),
    ];
    for (said, wanted) in told {
        assert!(said.contains(wanted), "{said}");
    }
    let other = SOURCE.replace(".abi = RINGWAY_ABI", ".abi = 7");
    let said = refusal(&build(&scratch, "other", &other), Asked::Connections, "");
    assert!(said.contains("built for version 7 of the plug-in interface"), "{said}");
    let short = SOURCE.replace(".struct_size = sizeof handler", ".struct_size = 12");
    let said = refusal(&build(&scratch, "short", &short), Asked::Connections, "");
    assert!(said.contains("`ringway_connection_handler.struct_size` is 12"), "{said}");
    let empty = SOURCE.replace(".message = message,", "");
    let empty = empty.replace("static int32_t message(", "__attribute__((unused)) static int32_t message(");
    let said = refusal(&build(&scratch, "empty", &empty), Asked::Connections, "");
    assert!(said.contains("`ringway_connection_handler.message` is missing"), "{said}");
    for name in ["other", "short", "empty", "echo", "gateway"] {
        until_unmapped(name);
    }
}
