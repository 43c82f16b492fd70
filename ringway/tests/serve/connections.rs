//! Connections: how long they live, how many requests they take at once, and on what they come.

use crate::server::{Driver, Setup, age, eventually, pattern};
use ringway_testkit::{Client, Scratch};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

on_both_drivers!(
    a_connection_lives_as_its_requests_say,
    pipelined_requests_are_answered_in_order,
    large_bodies_in_a_pipeline_keep_their_place,
    nothing_is_answered_behind_a_close,
    a_client_that_has_finished_sending_is_still_answered,
    methods_and_forms_of_targets,
    unix_sockets,
    several_workers_and_addresses,
);

fn a_connection_lives_as_its_requests_say(driver: Driver) {
    let site = Scratch::new("persistence");
    age(&site.file("a.txt", b"a"));
    age(&site.file("large.bin", &pattern(2_000_000)));
    let server = Setup::new(driver, site.path()).start();
    let before = server.sockets();
    for (head, connection, closes) in [
        ("HTTP/1.1\r\nHost: a\r\n", None, false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", Some("close"), true),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n", Some("close"), true),
        ("HTTP/1.0\r\n", Some("close"), true),
        ("HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n", Some("keep-alive"), false),
        ("HTTP/1.0\r\nConnection: keep-alive, close\r\n", Some("close"), true),
    ] {
        for (target, bytes) in [("/a.txt", 1), ("/large.bin", 2_000_000), ("/none", 0)] {
            let mut client = server.client();
            let request = format!("GET {target} {head}\r\n");
            client.send(request.as_bytes()).expect("it reads");
            let answer = client.answer(false).expect("an answer");
            assert_eq!(answer.field("connection"), connection, "{head:?}");
            assert!(bytes == 0 || answer.body.len() == bytes, "{head:?}");
            if closes {
                // We keep our end open: the end of the stream is the server's FIN.
                assert_eq!(client.until_end().expect("a FIN, no reset"), b"", "{head:?}");
            } else {
                client.send(request.as_bytes()).expect("it still reads");
                assert_eq!(client.answer(false).expect("another answer").status, answer.status);
            }
        }
    }
    eventually("closed connections are forgotten", || (server.sockets() == before).then_some(()));
    server.stop().cleanly();
}

fn pipelined_requests_are_answered_in_order(driver: Driver) {
    let site = Scratch::new("pipeline");
    for number in 0..50 {
        age(&site.file(&format!("{number}.txt"), format!("file {number}").as_bytes()));
    }
    let server = Setup::new(driver, site.path()).start();
    for sizes in [&[100_000][..], &[1460], &[7, 300, 1], &[61]] {
        let mut client = server.client();
        let mut requests = Vec::new();
        for number in 0..600 {
            let method = if number % 3 == 0 { "HEAD" } else { "GET" };
            let line = format!("{method} /{}.txt HTTP/1.1\r\nHost: a\r\nX: {number}\r\n\r\n", number % 55);
            requests.extend_from_slice(line.as_bytes());
        }
        client.send_in_pieces(&requests, sizes).expect("it reads");
        for number in 0..600 {
            let answer = client.answer(number % 3 == 0).expect("an answer");
            let expected = if number % 55 < 50 { 200 } else { 404 };
            assert_eq!(answer.status, expected, "{number} of {sizes:?}");
            if number % 3 != 0 && expected == 200 {
                assert_eq!(String::from_utf8_lossy(&answer.body), format!("file {}", number % 55));
            }
        }
    }
}

fn large_bodies_in_a_pipeline_keep_their_place(driver: Driver) {
    let site = Scratch::new("pipeline-large");
    let (large, middle) = (pattern(3_000_000), pattern(40_000));
    age(&site.file("large.bin", &large));
    age(&site.file("middle.bin", &middle));
    age(&site.file("small.txt", b"small"));
    let server = Setup::new(driver, site.path()).start();
    let order =
        ["small.txt", "large.bin", "small.txt", "small.txt", "middle.bin", "large.bin", "none", "middle.bin"];
    let mut client = server.client();
    let mut requests = Vec::new();
    let rounds = 4;
    for name in order.iter().cycle().take(order.len() * rounds) {
        requests.extend_from_slice(format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
    client.send(&requests).expect("it reads");
    for (place, name) in order.iter().cycle().take(order.len() * rounds).enumerate() {
        let answer = client.answer(false).expect("an answer");
        let expected: Option<&[u8]> = match *name {
            "small.txt" => Some(b"small"),
            "large.bin" => Some(&large),
            "middle.bin" => Some(&middle),
            _ => None,
        };
        match expected {
            Some(body) => assert!(answer.status == 200 && answer.body == body, "{place}: {name}"),
            None => assert_eq!(answer.status, 404, "{place}"),
        }
    }
}

fn nothing_is_answered_behind_a_close(driver: Driver) {
    let site = Scratch::new("behind-close");
    let large = pattern(8_000_000);
    age(&site.file("a.txt", b"a"));
    age(&site.file("large.bin", &large));
    let server = Setup::new(driver, site.path()).start();
    let next = "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    for (last, body) in [
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &b"a"[..]),
        ("GET /a.txt HTTP/1.0\r\n\r\n", b"a"),
        ("GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &large),
        ("GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", &large),
    ] {
        // What follows comes together with it, or while the answer is on its way.
        for is_together in [true, false] {
            let mut stream =
                server.narrow(&if is_together { [last, next, next].concat() } else { last.to_owned() });
            let mut all = vec![0; 20];
            stream.read_exact(&mut all).expect("it answers");
            if !is_together {
                // Once the server has closed, the kernel may say so.
                let _closed_meanwhile = stream.write_all(next.as_bytes());
            }
            match stream.read_to_end(&mut all) {
                Ok(_) => {
                    let head = all.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
                    assert!(all[head..] == *body, "{last:?}: {} bytes", all.len());
                }
                // A server that has closed at once, as it was asked to, resets who sends on.
                Err(error) => assert!(!is_together && body.len() == 1, "{error}: {last:?}"),
            }
        }
    }
    server.stop().cleanly();
}

fn a_client_that_has_finished_sending_is_still_answered(driver: Driver) {
    let site = Scratch::new("half-closed");
    let large = pattern(4_000_000);
    age(&site.file("large.bin", &large));
    let server = Setup::new(driver, site.path()).start();
    let mut client = server.client();
    client
        .send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("it reads");
    client.finish().expect("open");
    let answers = client.answers(2).expect("two answers");
    assert!(answers[0].body == large);
    assert_eq!(answers[1].status, 404);
    assert_eq!(client.until_end().expect("a FIN"), b"");
    // Half a request, and then nothing more: there is nothing to answer.
    let mut client = server.client();
    client.send(b"GET /large.bin HTTP/1.1\r\nHo").expect("it reads");
    client.finish().expect("open");
    assert_eq!(client.until_end().expect("a FIN"), b"");
}

fn methods_and_forms_of_targets(driver: Driver) {
    let site = Scratch::new("methods");
    age(&site.file("a.txt", b"a"));
    let server = Setup::new(driver, site.path()).start();
    for method in ["PUT", "DELETE", "PATCH", "POST", "TRACE", "PROPFIND", "get"] {
        let answer = server.ask(method, "/a.txt", "");
        assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    for target in ["/a.txt", "*", "/none", "http://example.org"] {
        let answer = server.ask("OPTIONS", target, "");
        assert_eq!((answer.status, answer.field("allow")), (204, Some("GET, HEAD, OPTIONS")), "{target}");
        assert_eq!(answer.field("content-length"), None, "RFC 9110, section 8.6");
    }
    for (target, status) in [
        ("http://example.org/a.txt", 200),
        ("HTTP://example.org:80/a.txt?x", 200),
        ("http://example.org", 200),
        ("http://[::1]:8080/a.txt", 200),
        ("https://example.org/none", 404),
        ("ftp://example.org/a.txt", 400),
        ("http://user@example.org/a.txt", 400),
        ("http:///a.txt", 400),
        ("example.org/a.txt", 400),
        ("*", 400),
    ] {
        assert_eq!(server.get(target).status, status, "{target}");
    }
    assert_eq!(server.ask("CONNECT", "example.org:80", "").status, 501);
    let page = server.ask("GET", "/none", "Accept: text/html\r\n");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.starts_with(b"<!doctype html>"));
}

fn unix_sockets(driver: Driver) {
    let site = Scratch::new("unix");
    let large = pattern(1_000_000);
    age(&site.file("files/large.bin", &large));
    let path = site.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let setup =
        Setup::new(driver, &site.path().join("files")).with(&["--listen", &listen, "--log", "combined"]);
    let ask = || {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        stream
            .write_all(b"GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers and closes");
        answer
    };
    let server = setup.start();
    let answer = ask();
    assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(&large));
    let ended = server.stop().cleanly();
    assert!(ended.stdout.starts_with(b"unix - - ["), "{}", String::from_utf8_lossy(&ended.stdout));
    // What a server left behind is no obstacle for the next one.
    let again = setup.start();
    assert!(ask().ends_with(&large));
    again.stop().cleanly();
}

fn several_workers_and_addresses(driver: Driver) {
    let site = Scratch::new("workers");
    age(&site.file("a.txt", b"a"));
    for balance in ["reuseport", "least-loaded"] {
        let arguments =
            ["--workers", "3", "--balance", balance, "--listen", "127.0.0.1:0", "--listen", "[::1]:0"];
        let server = Setup::new(driver, site.path()).with(&arguments).start();
        let mut clients: Vec<Client> = (0..30).map(|_| server.client()).collect();
        for _ in 0..3 {
            for client in &mut clients {
                client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
            }
            for client in &mut clients {
                assert_eq!(client.answer(false).expect("an answer").body, b"a");
            }
        }
        drop(clients);
        server.stop().cleanly();
    }
}
