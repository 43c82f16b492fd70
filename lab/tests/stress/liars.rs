//! Servers that lie: what they did wrong is said with connection, message, byte, and where the bytes belong.

use crate::servers::{Wire, echo, frame, framed, honest, shake, tcp, tls, websocket};
use crate::{failure, stress};
use ringway_testkit::Scratch;
use std::net::Shutdown;

/// The seed is one whose messages differ in their first bytes already, so that places are the same in every run.
const ONE: [&str; 6] = ["--connections", "1", "--messages", "40", "--seed", "1"];

#[test]
fn a_changed_byte_is_named_with_its_place_in_every_frame() {
    for (frame, head, tail) in [("none", 0, 0), ("len16", 2, 0), ("len64", 8, 0), ("lines", 0, 1)] {
        for place in [0_usize, 5, 63, 64, 71, 700] {
            let address = tcp(move |stream, _| {
                echo(stream, |offset, bytes| {
                    if let Some(byte) = place.checked_sub(offset).and_then(|index| bytes.get_mut(index)) {
                        *byte ^= 0x01;
                    }
                });
            });
            let run = stress(&address, &[&ONE[..], &["--frame", frame]].concat());
            let words = failure(&run);
            let whole = head + 64 + tail;
            let (message, at) = (place / whole, place % whole);
            let where_it_is = match at {
                at if at < head => format!("byte {at} of its length"),
                at if at < head + 64 => format!("byte {} of 64", at - head),
                _ => "its end".to_owned(),
            };
            let start = format!("wrong byte: connection 0: message {message}, {where_it_is}: expected ");
            assert!(words.starts_with(&start), "{words}\nshould start with\n{start}");
            assert!(words.contains("this byte was changed"), "{words}");
            assert_eq!(
                (run.count("failures"), run.count("answers")),
                (1, message as u64),
                "what was right counts"
            );
        }
    }
}

/// Reads four messages of `bytes`, then says them in another order.
fn in_order(stream: &mut dyn Wire, bytes: usize, order: &[usize]) {
    let mut four = vec![0; 4 * bytes];
    if stream.read_exact(&mut four).is_err() {
        return;
    }
    let answer: Vec<u8> =
        order.iter().flat_map(|one| four[one * bytes..(one + 1) * bytes].to_vec()).collect();
    let _gone = stream.write_all(&answer).and_then(|()| stream.flush());
    // Until the client has seen it.
    let _ended = stream.read(&mut [0]);
}

#[test]
fn lost_repeated_and_reordered_messages_are_named_in_every_frame_and_behind_tls() {
    let place = Scratch::new("stress-order");
    for (order, what, cause) in [
        (&[0, 2, 3][..], "lost: connection 0: message 1", "byte 0 of message 2 came instead"),
        (&[0, 1, 1, 2, 3], "repeated: connection 0: message 2", "message 1 came again from its byte 0"),
        (
            &[0, 2, 1, 3],
            "out of order: connection 0: message 1",
            "byte 0 of message 2 came first, this one later",
        ),
    ] {
        for (frame, bytes) in [("none", 64), ("lines", 65)] {
            let address = tcp(move |stream, _| in_order(stream, bytes, order));
            let (sealed, _) = tls(&place, move |stream, _| in_order(stream, bytes, order));
            for (address, more) in [(address, &[][..]), (sealed, &["--tls"])] {
                let run = stress(&address, &[&ONE[..], &["--frame", frame, "--window", "4"], more].concat());
                let words = failure(&run);
                assert!(words.starts_with(what) && words.ends_with(cause), "{frame} {more:?}: {words}");
            }
        }
    }
}

#[test]
fn lost_and_repeated_bytes_are_counted() {
    let dropping = tcp(|stream, _| {
        echo(stream, |offset, bytes| {
            if offset == 0 {
                bytes.drain(100..350);
            }
        });
    });
    let size = ["--size", "1000"];
    let words = failure(&stress(&dropping, &[&ONE[..], &size].concat()));
    assert!(
        words.starts_with("lost: connection 0: message 0, byte 100 of 1000: ")
            && words.ends_with("250 bytes are lost: byte 350 of message 0 came instead"),
        "{words}"
    );
    let stuttering = tcp(|stream, _| {
        echo(stream, |offset, bytes| {
            if offset == 0 {
                let again = bytes[40..140].to_vec();
                bytes.splice(140..140, again);
            }
        });
    });
    let words = failure(&stress(&stuttering, &[&ONE[..], &size].concat()));
    assert!(words.ends_with("message 0 came again from its byte 40"), "{words}");
}

#[test]
fn answers_that_go_to_the_wrong_connection_are_recognised() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it listens").to_string();
    std::thread::spawn(move || {
        let mut pair = [0; 2].map(|_| listener.accept().expect("two clients").0);
        let mut messages = [[0; 64]; 2];
        for (stream, message) in pair.iter_mut().zip(&mut messages) {
            std::io::Read::read_exact(stream, message).expect("a message");
        }
        for (stream, message) in pair.iter_mut().zip(messages.iter().rev()) {
            std::io::Write::write_all(stream, message).expect("open");
        }
        // Until the clients have seen it.
        pair.iter_mut().for_each(|stream| drop(std::io::Read::read(stream, &mut [0])));
    });
    let run =
        stress(&address, &["--connections", "2", "--messages", "10", "--ramp-per-s", "20", "--seed", "1"]);
    let rows = run.rows("failures");
    let all: Vec<&str> = rows.iter().filter_map(|row| row["where and how"].as_str()).collect();
    assert!(
        all.iter().any(|words| words.starts_with("connection 0: message 0, byte 0 of 64")
            && words.ends_with("these are bytes of message 0 of connection 1")),
        "{all:?}"
    );
}

#[test]
fn only_the_wrong_connection_is_accused_and_further_failures_are_counted() {
    let address = tcp(|stream, number| echo(stream, |_, bytes| bytes[0] ^= u8::from(number == 3)));
    let run = stress(&address, &["--connections", "8", "--messages", "160", "--ramp-per-s", "100"]);
    assert!(failure(&run).contains("connection 3: message 0, byte 0 of 64"), "{}", failure(&run));
    assert_eq!((run.count("failures"), run.count("answers")), (1, 7 * 20));
    let address = tcp(|stream, _| echo(stream, |_, bytes| bytes[0] = !bytes[0]));
    let run = stress(&address, &["--connections", "40", "--messages", "80"]);
    assert_eq!((run.count("failures"), run.rows("failures").len()), (40, 16));
    assert!(run.stderr.starts_with("ringway-lab: 40 failures; the first: connection "), "{}", run.stderr);
}

#[test]
fn unasked_bytes_ends_and_silence_are_failures() {
    let chatty = tcp(|stream, _| echo(stream, |_, bytes| bytes.extend_from_slice(b"!!")));
    let words = failure(&stress(&chatty, &ONE));
    let right =
        "unasked bytes: connection 0: 2 bytes came behind the answers to all 1 messages that were sent";
    assert_eq!(words, right);

    let short = tcp(|stream, _| {
        let mut message = [0; 64];
        std::io::Read::read_exact(stream, &mut message).expect("a message");
        std::io::Write::write_all(stream, &message[..10]).expect("open");
        stream.shutdown(Shutdown::Write).expect("open");
        let _until_the_client_is_gone = std::io::Read::read(stream, &mut message);
    });
    let words = failure(&stress(&short, &ONE));
    let right =
        "closed by the server: connection 0: message 0, byte 10: the server closed and owes 1 messages";
    assert_eq!(words, right);

    let silent = tcp(|stream, _| while matches!(std::io::Read::read(stream, &mut [0; 64]), Ok(1..)) {});
    let words = failure(&stress(&silent, &[&ONE[..], &["--patience-seconds", "1"]].concat()));
    assert!(
        words.starts_with("no answer: connection 0: message 0, byte 0: nothing came for 1.0 s; 1 messages"),
        "{words}"
    );

    // Unread bytes make the close a reset.
    let resetting = tcp(|stream, _| while stream.peek(&mut [0]).unwrap_or(1) == 0 {});
    let words = failure(&stress(&resetting, &ONE));
    assert!(words.starts_with("broken: connection 0: message 0: broke: "), "{words}");
}

#[test]
fn nobody_there_is_a_failure_of_every_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it listens").to_string();
    drop(listener);
    let run = stress(&address, &["--connections", "3", "--messages", "6"]);
    assert!(failure(&run).starts_with("cannot connect: connection 0: no connection could be made: "));
    assert_eq!(run.count("failures"), 3);
}

#[test]
fn what_is_no_tls_or_no_websocket_is_no_handshake() {
    let address = tcp(|stream, _| honest(stream));
    let words = failure(&stress(&address, &[&ONE[..], &["--tls"]].concat()));
    assert!(words.starts_with("no handshake: connection 0: no handshake: TLS: "), "{words}");
    let refusing = tcp(|stream, _| drop(shake(stream, |answer| answer.replace("101 Switching", "404 Not"))));
    let words = failure(&stress(&refusing, &[&ONE[..], &["--frame", "websocket"]].concat()));
    assert!(words.contains("no handshake: the answer is \"HTTP/1.1 404 Not Protocols\", not 101"), "{words}");
    let closing = tcp(|stream, _| drop(std::io::Read::read(stream, &mut [0; 4096])));
    let words = failure(&stress(&closing, &[&ONE[..], &["--frame", "websocket"]].concat()));
    assert!(words.contains("no handshake: the server closed instead"), "{words}");
}

#[test]
fn websockets_that_lie_are_told_apart() {
    for (answer, part) in [
        (
            (|number, first, mut payload: Vec<u8>| {
                payload[9] ^= u8::from(number == 2);
                framed(first, &payload)
            }) as fn(usize, u8, Vec<u8>) -> Vec<u8>,
            "wrong byte: connection 0: message 2, byte 9 of 64: expected ",
        ),
        (
            |_, first, payload| framed(first, &payload[..60]),
            "wrong length: connection 0: message 0 of 64 bytes: the answer ends after 60 bytes",
        ),
        (
            |_, first, payload| framed(first, &[&payload[..], b"x"].concat()),
            "wrong length: connection 0: message 0 of 64 bytes: 64 bytes are right, and the answer goes on",
        ),
        (
            |_, _, payload| framed(0x81, &payload),
            "protocol error: connection 0: message 0: a message is text, not binary",
        ),
        (
            |_, _, payload| framed(0xc2, &payload),
            "protocol error: connection 0: message 0: a frame has reserved bits set",
        ),
        (
            |_, _, _| framed(0x88, &1011_u16.to_be_bytes()),
            "closed by the server: connection 0: message 0, byte 0: the server closed with code 1011 and owes 1 messages",
        ),
    ] {
        let address = tcp(move |stream, _| websocket(stream, answer));
        let words = failure(&stress(&address, &[&ONE[..], &["--frame", "websocket"]].concat()));
        assert!(words.starts_with(part), "{words}\nshould start with\n{part}");
    }
    // It answers, and at the end goes without a word.
    let silent = tcp(|stream, _| {
        if shake(stream, |answer| answer).is_ok() {
            while let Ok((first @ 0x82, payload)) = frame(stream) {
                std::io::Write::write_all(stream, &framed(first, &payload)).expect("open");
            }
        }
    });
    let words = failure(&stress(&silent, &[&ONE[..], &["--frame", "websocket"]].concat()));
    assert!(words.ends_with("message 40: the server ended a WebSocket without a close frame"), "{words}");
}
