//! Servers that lie: what they did wrong is said with connection, place and bytes.

use crate::stand::load;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A server that calls `serve` with each connection and its number on a thread of its own. Its threads end with their
/// connections, the listener with the test's process.
fn liar(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it listens");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream.expect("a connection"), number));
        }
    });
    address
}

/// Echoes, with `change` made to what comes; `change` is given where in the stream it stands.
fn echo(mut stream: TcpStream, mut change: impl FnMut(usize, &mut Vec<u8>)) {
    let mut offset = 0;
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut bytes = buffer[..count].to_vec();
        change(offset, &mut bytes);
        offset += count;
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

#[test]
fn a_changed_byte_is_named_with_its_place() {
    for place in [0_usize, 63, 64, 1_000, 5_000] {
        let address = liar(move |stream, _| {
            echo(stream, |offset, bytes| {
                if let Some(byte) = place.checked_sub(offset).and_then(|index| bytes.get_mut(index)) {
                    *byte ^= 0x01;
                }
            });
        });
        let run = load(
            address,
            &["--connections", "1", "--messages", "100", "--seed", "1", "--pattern", "counting"],
        );
        let failure = run.first_failure();
        let right = place % 256;
        let expected = format!(
            "wrong byte: connection 0: byte {place} of its stream (byte {} of message {}) should be {right:02x} and is {:02x}",
            place % 64,
            place / 64,
            right ^ 1
        );
        assert!(failure.starts_with(&expected), "{failure}\nshould start with\n{expected}");
        assert!(
            failure.contains(&format!("[{right:02x}]")) && failure.contains(&format!("[{:02x}]", right ^ 1))
        );
        assert_eq!(run.count("failures"), 1);
        assert_eq!(run.count("answers"), place as u64 / 64, "what was right before it counts");
        assert!(
            run.stderr.contains(&failure["wrong byte: ".len()..]),
            "it is the last word, too: {}",
            run.stderr
        );
    }
}

#[test]
fn only_the_wrong_connection_is_accused() {
    let address = liar(|stream, number| {
        echo(stream, |_, bytes| {
            if number == 3 {
                bytes[0] = !bytes[0];
            }
        });
    });
    let run = load(address, &["--connections", "8", "--messages", "20", "--ramp-per-s", "100"]);
    assert!(run.first_failure().contains("connection 3: byte 0 of its stream"), "{}", run.first_failure());
    assert_eq!((run.count("failures"), run.count("answers")), (1, 7 * 20));
}

#[test]
fn a_wrong_length_prefix_is_told_from_a_wrong_payload() {
    let address = liar(|stream, _| echo(stream, |_, bytes| bytes[3] += 1));
    let run = load(address, &["--connections", "1", "--messages", "5", "--framing", "length"]);
    let failure = run.first_failure();
    assert!(
        failure.contains("(byte 3 of the length prefix of message 0) should be 40 and is 41"),
        "{failure}"
    );
}

#[test]
fn lost_repeated_and_foreign_bytes_are_recognised() {
    let dropping = liar(|stream, _| {
        echo(stream, |offset, bytes| {
            if offset == 0 {
                bytes.drain(100..350);
            }
        });
    });
    let arguments = ["--connections", "1", "--messages", "5", "--message-bytes", "1000"];
    let failure = load(dropping, &arguments).first_failure();
    assert!(
        failure.contains("byte 100 of its stream") && failure.contains("250 bytes of the stream are missing"),
        "{failure}"
    );
    let stuttering = liar(|stream, _| {
        echo(stream, |offset, bytes| {
            if offset == 0 {
                let again = bytes[40..140].to_vec();
                bytes.splice(140..140, again);
                bytes.truncate(1000);
            }
        });
    });
    let failure = load(stuttering, &arguments).first_failure();
    assert!(
        failure.contains("byte 140 of its stream") && failure.contains("the last 100 bytes"),
        "{failure}"
    );
}

#[test]
fn answers_that_go_to_the_wrong_connection_are_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        let mut pair = [0; 2].map(|_| listener.accept().expect("two clients").0);
        let mut messages = [[0; 64]; 2];
        for (stream, message) in pair.iter_mut().zip(&mut messages) {
            stream.read_exact(message).expect("a message");
        }
        pair[0].write_all(&messages[1]).expect("open");
        pair[1].write_all(&messages[0]).expect("open");
        // Until the clients have seen it.
        pair.iter_mut().for_each(|stream| drop(stream.read(&mut [0])));
    });
    let run = load(address, &["--connections", "2", "--messages", "5", "--ramp-per-s", "20"]);
    let rows = run.rows("failures");
    let all: Vec<&str> = rows.iter().filter_map(|row| row["where and how"].as_str()).collect();
    assert!(
        all.iter().any(|text| text.contains("connection 0: byte 0")
            && text.ends_with("those of connection 1 at this place")),
        "{all:?}"
    );
}

#[test]
fn unasked_bytes_ends_and_silence_are_failures() {
    let chatty = liar(|stream, _| echo(stream, |_, bytes| bytes.extend_from_slice(b"!!")));
    let failure = load(chatty, &["--connections", "1", "--messages", "5"]).first_failure();
    assert!(
        failure.contains("unasked bytes: connection 0: 2 bytes came behind byte 64 of its stream"),
        "{failure}"
    );

    let short = liar(|mut stream, _| {
        let mut message = [0; 64];
        stream.read_exact(&mut message).expect("a message");
        stream.write_all(&message[..10]).expect("open");
        stream.shutdown(Shutdown::Write).expect("open");
        let _until_the_client_is_gone = stream.read(&mut message);
    });
    let failure = load(short, &["--connections", "1", "--messages", "5"]).first_failure();
    assert!(
        failure.contains(
            "closed by the server: connection 0: the server closed after 10 bytes of its stream and owes 54"
        ),
        "{failure}"
    );

    let silent = liar(|mut stream, _| while matches!(stream.read(&mut [0; 64]), Ok(1..)) {});
    let failure =
        load(silent, &["--connections", "1", "--messages", "5", "--patience-seconds", "1"]).first_failure();
    assert!(failure.contains("no answer: connection 0: nothing came for 1.0 s after 0 bytes"), "{failure}");
}

#[test]
fn failures_beyond_the_first_are_counted() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let address = liar(move |stream, _| {
        count.fetch_add(1, Ordering::Relaxed);
        echo(stream, |_, bytes| bytes[0] = !bytes[0]);
    });
    let run = load(address, &["--connections", "40", "--messages", "5"]);
    assert_eq!(run.count("failures"), 40);
    assert_eq!(run.rows("failures").len(), 16);
    assert_eq!(seen.load(Ordering::Relaxed), 40);
    assert!(run.stderr.starts_with("ringway-lab: 40 failures; the first: connection "), "{}", run.stderr);
}

#[test]
fn nobody_there_is_a_failure_of_every_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it listens");
    drop(listener);
    let run = load(address, &["--connections", "3", "--messages", "5"]);
    assert!(run.first_failure().contains("cannot connect: connection 0: no connection could be made: "));
    assert_eq!(run.count("failures"), 3);
}

#[test]
fn a_server_that_resets_is_told_from_one_that_closes() {
    let address = liar(|stream, _| {
        // Unread bytes make the close a reset.
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while stream.peek(&mut [0]).unwrap_or(0) == 0 && std::time::Instant::now() < deadline {}
    });
    let failure = load(address, &["--connections", "1", "--messages", "5"]).first_failure();
    assert!(failure.starts_with("broken: connection 0: broke after 0 bytes of its stream: "), "{failure}");
}
