//! Bodies of requests in handlers' hands, answers in slices, and connections that change their protocol; on real sockets and
//! both drivers.

mod guests;
#[cfg(feature = "h2")]
mod over_h2;
mod spooled;
mod stand;

use ringway_testkit::Client;
use stand::{BYTES_MAX, counted, eventually, on_each_driver, pattern};
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::Ordering;

/// A body by its length, and in chunks of so many bytes.
fn by_length(body: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\nX-Sum: 1\r\nY: 2\r\n\r\n");
    bytes
}

fn post(path: &str, fields: &str, framed: &[u8]) -> Vec<u8> {
    [format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}").as_bytes(), framed].concat()
}

fn text(answer: &ringway_testkit::Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn bodies_reach_handlers_whole_however_they_come() {
    on_each_driver(|stand| {
        for body in [pattern(1), pattern(5_000), pattern(300_000)] {
            for framed in [by_length(&body), in_chunks(&body, 1 + body.len() / 3), in_chunks(&body, 4_000)] {
                for path in ["/count", "/echo", "/large"] {
                    let message = [post(path, "", &framed), post("/ignore", "", &by_length(b"x"))].concat();
                    let sizes: &[&[usize]] = if message.len() < 20_000 {
                        &[&[usize::MAX], &[1], &[13]]
                    } else {
                        &[&[usize::MAX], &[4_001]]
                    };
                    for sizes in sizes {
                        let mut client = stand.client();
                        client.send_in_pieces(&message, sizes).expect("it reads");
                        let answers = client.answers(2).unwrap_or_else(|error| panic!("{path}: {error}"));
                        assert_eq!(answers[0].status, 200, "{path}: {}", text(&answers[0]));
                        if path == "/echo" {
                            assert!(answers[0].body == body, "{} bytes", answers[0].body.len());
                        } else {
                            assert_eq!(text(&answers[0]), counted(&body), "{path}");
                        }
                        assert_eq!(
                            text(&answers[1]),
                            "ignored",
                            "the next request begins where the body ends"
                        );
                    }
                }
            }
        }
        stand.stop();
    });
}

#[test]
fn a_request_without_a_body_has_an_empty_one() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        for path in ["/count", "/echo", "/early"] {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("open");
        }
        let answers = client.answers(3).expect("in order");
        assert_eq!([text(&answers[0]), text(&answers[1]), text(&answers[2])], ["0 0", "", "early"]);
        assert_eq!(answers[1].field("content-length"), Some("0"));
        stand.stop();
    });
}

#[test]
fn limits_hold_and_a_handler_may_raise_them() {
    on_each_driver(|stand| {
        let body = pattern(usize::try_from(BYTES_MAX).expect("small") + 1);
        for framed in [by_length(&body), in_chunks(&body, 60_000)] {
            let mut client = stand.client();
            client.send(&post("/large", "", &framed)).expect("it reads");
            assert_eq!(text(&client.answer(false).expect("an answer")), counted(&body));
            for path in ["/count", "/ignore"] {
                let mut client = stand.client();
                client.send(&post(path, "", &framed)).expect("it reads and drops");
                assert_eq!(client.answer(false).expect("an answer").status, 413, "{path}");
                assert_eq!(client.until_end().expect("a FIN, no reset"), b"", "nothing can follow");
            }
        }
        stand.stop();
    });
}

#[test]
fn a_body_that_is_none_is_refused_whoever_reads_it() {
    on_each_driver(|stand| {
        for path in ["/count", "/large", "/ignore"] {
            for bad in ["5\r\nhelloX", "x\r\n", "5\nhello\r\n0\r\n\r\n", "1\r\na\r\n0\r\nHost: b\r\n\r\n"] {
                let framed = format!("Transfer-Encoding: chunked\r\n\r\n{bad}");
                let mut client = stand.client();
                client.send(&post(path, "", framed.as_bytes())).expect("it reads");
                let answer = client.answer(false).expect("an answer");
                assert_eq!(
                    (answer.status, answer.field("connection")),
                    (400, Some("close")),
                    "{path} {bad:?}"
                );
                assert_eq!(client.until_end().expect("a FIN"), b"");
            }
        }
        stand.stop();
    });
}

#[test]
fn who_waits_to_be_told_is_told_when_the_body_is_wanted() {
    on_each_driver(|stand| {
        let fields = "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let mut client = stand.client();
        client.send(&post("/count", fields, b"")).expect("open");
        assert_eq!(client.answer(false).expect("an interim answer").status, 100);
        client.send(b"hello").expect("open");
        assert_eq!(text(&client.answer(false).expect("an answer")), counted(b"hello"));
        for path in ["/ignore", "/early"] {
            let mut client = stand.client();
            client.send(&post(path, fields, b"")).expect("open");
            assert_eq!(client.answer(false).expect("the answer at once").status, 200, "{path}");
        }
        stand.stop();
    });
}

#[test]
fn what_a_handler_leaves_is_not_taken_for_the_next_request() {
    on_each_driver(|stand| {
        let body = pattern(400_000);
        for path in ["/early", "/first", "/ignore"] {
            for framed in [by_length(&body), in_chunks(&body, 7_000)] {
                let mut client = stand.client();
                client.send(&post(path, "", &framed)).expect("it reads");
                client.send(&post("/count", "", &by_length(b"next"))).expect("it reads");
                assert_eq!(client.answer(false).expect("an answer").status, 200, "{path}");
                assert_eq!(text(&client.answer(false).expect("an answer")), counted(b"next"), "{path}");
            }
        }
        stand.stop();
    });
}

#[test]
fn a_client_cannot_send_faster_than_the_handler_reads() {
    on_each_driver(|stand| {
        let bytes = 32 * 1024 * 1024;
        let mut client = stand.client();
        client
            .send(&post("/gated", "", format!("Content-Length: {bytes}\r\n\r\n").as_bytes()))
            .expect("open");
        let mut tcp = client.stream().try_clone().expect("a socket");
        let body = pattern(bytes);
        let sent = body.clone();
        let sender = std::thread::spawn(move || {
            tcp.set_write_timeout(Some(std::time::Duration::from_millis(500))).expect("a socket");
            let mut at = 0;
            while at < sent.len() {
                match tcp.write(&sent[at..]) {
                    Ok(count) => at += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            at
        });
        let at = sender.join().expect("no panic");
        // What the sockets' buffers take, and a little of the server's.
        assert!(at < bytes / 2, "{at} bytes went into nowhere");
        assert_eq!(stand.gate.taken.load(Ordering::Relaxed), 0);
        stand.gate.open();
        client.stream().write_all(&body[at..]).expect("it reads now");
        assert_eq!(text(&client.answer(false).expect("an answer")), counted(&body));
        stand.stop();
    });
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    on_each_driver(|stand| {
        for path in ["/count", "/large", "/ignore"] {
            let mut client = stand.client();
            client.send(&post(path, "Content-Length: 10\r\n\r\n", b"hello")).expect("open");
            assert_eq!(client.answer(false).expect("an answer").status, 408, "{path}");
            assert_eq!(client.until_end().expect("a FIN"), b"");
        }
        stand.stop();
    });
}

#[test]
fn slices_of_every_size_go_out_and_their_length_is_kept_to() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        for [bytes, size] in
            [[0, 1], [1, 1], [5_000, 7], [300_000, 4_096], [300_000, 4_097], [900_000, 65_536]]
        {
            client
                .send(format!("GET /sized/{bytes}/{bytes}/{size} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                .expect("open");
            let answer = client.answer(false).expect("an answer");
            assert_eq!(answer.field("content-length"), Some(&*bytes.to_string()));
            assert!(answer.body == vec![b's'; bytes], "{} of {bytes}", answer.body.len());
        }
        client.send(b"HEAD /sized/77/77/7 HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
        assert_eq!(client.answer(true).expect("a head").field("content-length"), Some("77"));
        eventually("the log has them with their bytes", || {
            stand.told.all().iter().map(|(_, _, bytes)| bytes).sum::<u64>() == 1_505_001
        });
        for wrong in ["/sized/100/99/10", "/sized/100/109/11", "/sized/300000/299999/4097"] {
            let mut client = stand.client();
            client.send(format!("GET {wrong} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("open");
            client.answer(false).expect_err("an answer that is not what was said is none");
        }
        eventually("what was broken off is told of too", || stand.told.all().len() == 10);
        stand.stop();
    });
}

#[test]
fn a_connection_changes_its_protocol() {
    on_each_driver(|stand| {
        let ask = "GET /switch HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        for first in ["", "at once"] {
            let mut client = stand.client();
            client.send(format!("{ask}{first}").as_bytes()).expect("open");
            let head = interim(&client);
            assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: echo"), "{head}");
            let large = pattern(400_000);
            let mut tcp = client.stream();
            let mut writer = tcp.try_clone().expect("a socket");
            let sent = large.clone();
            let sender = std::thread::spawn(move || {
                writer.write_all(&sent).expect("it reads");
                writer.shutdown(std::net::Shutdown::Write).expect("a FIN");
            });
            let mut echoed = Vec::new();
            tcp.read_to_end(&mut echoed).expect("until the end");
            sender.join().expect("no panic");
            assert!(echoed == [first.as_bytes(), &large].concat(), "{} bytes", echoed.len());
        }
        // Who asks for nothing gets nothing.
        let mut client = stand.client();
        client.send(b"GET /switch HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
        assert_eq!(client.answer(false).expect("an answer").status, 502);
        eventually("they are told of", || {
            let told = stand.told.all();
            told.contains(&("/switch".to_owned(), 101, 400_007)) && told.len() == 3
        });
        stand.stop();
    });
}

/// Reads one head, byte by byte.
fn interim(client: &Client) -> String {
    let mut head = Vec::new();
    let mut tcp = client.stream();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}
