//! Bodies, both ways, of every framing and size.

use crate::stand::{Setup, ask, send};
use crate::upstream::Upstream;
use ringway_testkit::Client;
use std::time::Duration;

/// Bytes that are unlike each other, so that none can be lost, doubled or moved unseen.
fn unlike(count: usize) -> Vec<u8> {
    (0..count).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[4]).collect()
}

#[test]
fn bodies_of_requests_arrive_framed_once() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.request() {
            talk.answer(&asked.body);
        }
    });
    let ringway =
        Setup { limits: "body_size = \"16 MiB\"".to_owned(), ..Setup::before(&[upstream.address()]) };
    let ringway = ringway.start("proxy-uploads");
    let mut client = ringway.client();
    for size in [1, 100, 5_000, 70_000, 3_000_000] {
        let body = unlike(size);
        assert_eq!(ask(&mut client, "POST /up", "", &body).body, body, "{size}");
        let head = upstream.last_head();
        assert!(head.contains(&format!("\r\nContent-Length: {size}")), "{head}");
        // Chunks of another size than they come in, with what has no meaning here.
        client.send(b"PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for chunk in body.chunks(100_000) {
            client.send(format!("{:x};a=b\r\n", chunk.len()).as_bytes()).unwrap();
            client.send(chunk).unwrap();
            client.send(b"\r\n").unwrap();
        }
        client.send(b"0\r\nX-Trailer: 1\r\n\r\n").unwrap();
        let answer = client.answer(false).unwrap();
        assert_eq!(answer.body, body, "{size} in chunks");
        let head = upstream.last_head();
        assert!(
            head.contains("\r\nTransfer-Encoding: chunked") && !head.contains("Content-Length"),
            "{head}"
        );
    }
    assert_eq!(ask(&mut client, "POST /none", "", b"").status, 200);
    assert!(upstream.last_head().contains("\r\nContent-Length: 0"));
    assert_eq!(ask(&mut client, "DELETE /none", "", b"").status, 200);
    assert!(!upstream.last_head().contains("Content-Length"));
    assert_eq!(upstream.connections(), 1, "one connection is enough");
}

#[test]
fn bodies_of_answers_arrive_whatever_frames_them() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.request() {
            let (kind, size) = asked.target()[1..].split_once('/').unwrap();
            let body = unlike(size.parse().unwrap());
            match kind {
                "length" => talk.answer(&body),
                "chunks" => {
                    talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(9_999) {
                        talk.say(format!("{:X}\r\n", chunk.len()).as_bytes());
                        talk.say(chunk);
                        talk.say(b"\r\n");
                    }
                    talk.say(b"0\r\n\r\n");
                }
                _ => {
                    talk.say(b"HTTP/1.0 200 OK\r\n\r\n");
                    talk.say(&body);
                    return;
                }
            }
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-downloads");
    let mut client = ringway.client();
    for size in [0, 1, 100, 20_000, 200_000, 5_000_000] {
        for kind in ["length", "chunks", "end"] {
            let answer = ask(&mut client, &format!("GET /{kind}/{size}"), "", b"");
            assert_eq!(answer.status, 200);
            assert!(answer.body == unlike(size), "{kind} of {size}: {} bytes", answer.body.len());
            let says_length = answer.field("content-length").is_some();
            assert_eq!(says_length, kind == "length", "{kind} of {size}");
        }
    }
    // HTTP/1.0 knows no chunks.
    let mut old = ringway.client();
    old.send(b"GET /chunks/100 HTTP/1.0\r\n\r\n").unwrap();
    let answer = old.until_end().unwrap();
    assert!(answer.ends_with(&unlike(100)) && !answer.windows(7).any(|window| window == b"chunked"));
}

#[test]
fn answers_without_body_have_none_and_leave_the_connection_usable() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.request() {
            talk.say(match asked.target() {
                "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".as_slice(),
                "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
                "/hints" => b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4321\r\n\r\n",
            });
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-bodiless");
    let mut client = ringway.client();
    for _ in 0..3 {
        let head = ask(&mut client, "HEAD /x", "", b"");
        assert_eq!((head.status, head.field("content-length")), (200, Some("4321")));
        assert_eq!(ask(&mut client, "GET /204", "", b"").field("content-length"), None);
        assert_eq!(ask(&mut client, "GET /304", "", b"").field("etag"), Some("\"a\""));
        assert_eq!(ask(&mut client, "GET /hints", "", b"").body, b"ok");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_answer_before_the_request_has_ended_is_given_and_the_connection_not_used_again() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.head() {
            if asked.target() == "/big" {
                talk.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
                talk.until_end();
                return;
            }
            talk.answer(b"next");
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-early");
    let mut client = ringway.client();
    client.send(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").unwrap();
    client.send(&[b'x'; 1000]).unwrap();
    assert_eq!(client.answer(false).unwrap().body, b"big");
    drop(client);
    assert_eq!(ringway.get("/next").body, b"next");
    assert_eq!(upstream.connections(), 2, "what is left of a body would be taken for a request");
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.request() {
            assert_eq!(asked.field("expect"), None);
            talk.answer(&asked.body);
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-continue");
    let mut client = ringway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 100);
    client.send(b"abc").unwrap();
    assert_eq!(client.answer(false).unwrap().body, b"abc");
}

#[test]
fn a_body_beyond_its_limit_never_reaches_the_upstream_whole() {
    let upstream = Upstream::always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let setup = Setup { proxy: "body_size = \"1000 B\"".to_owned(), ..Setup::before(&[upstream.address()]) };
    let ringway = setup.start("proxy-limit");
    assert_eq!(ringway.ask("POST /", "", &[b'x'; 1000]).status, 200);
    assert_eq!(ringway.ask("POST /", "", &[b'x'; 1001]).status, 413);
    assert_eq!(upstream.heads().len(), 1);
    let mut client = ringway.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n").unwrap();
    client.send(&[b'x'; 1500]).unwrap();
    client.send(b"\r\n0\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 413);
}

/// A client that reads nothing must not have the upstream's whole answer gathered for it.
#[test]
fn a_slow_client_slows_its_upstream_and_nobody_else() {
    const ALL: usize = 64 * 1024 * 1024;
    let given = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&given);
    let upstream = Upstream::start(move |talk| {
        while let Some(asked) = talk.request() {
            if asked.target() != "/large" {
                talk.answer(b"small");
                continue;
            }
            talk.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n").as_bytes());
            while counted.load(std::sync::atomic::Ordering::SeqCst) < ALL && talk.try_say(&[b'x'; 65_536]) {
                counted.fetch_add(65_536, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-slow-client");
    let mut slow = ringway.client();
    send(&mut slow, "GET /large", "", b"");
    // Until it stands still: sockets on the way hold some megabytes.
    let mut before = usize::MAX;
    let held = crate::stand::eventually("the upstream to be slowed", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = given.load(std::sync::atomic::Ordering::SeqCst);
        let is_still = now > 0 && now == before;
        before = now;
        is_still.then_some(now)
    });
    assert!(held < ALL / 2, "{held} bytes were taken from the upstream for nobody");
    assert_eq!(ringway.get("/small").body, b"small");
    slow.set_patience(Duration::from_secs(60));
    assert_eq!(slow.answer(false).unwrap().body.len(), ALL);
}

#[test]
fn a_slow_upstream_slows_its_client() {
    const ALL: usize = 64 * 1024 * 1024;
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |talk| {
        let Some(_asked) = talk.head() else { return };
        wait.lock().unwrap().recv().unwrap();
        let body = talk.take(ALL).unwrap();
        talk.answer(format!("{}", body.len()).as_bytes());
    });
    let setup = Setup { proxy: "body_size = \"100 MiB\"".to_owned(), ..Setup::before(&[upstream.address()]) };
    let ringway = setup.start("proxy-slow-upstream");
    let mut client: Client = ringway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {ALL}\r\n\r\n").as_bytes()).unwrap();
    client.set_patience(Duration::from_millis(500));
    let piece = vec![b'x'; 1024 * 1024];
    let mut sent = 0;
    // A write that does not go through may have gone through in part.
    let stream = client.stream().try_clone().unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while let Ok(count) = std::io::Write::write(&mut &stream, &piece[..piece.len().min(ALL - sent)]) {
        sent += count;
        assert!(sent < ALL / 2, "{sent} bytes were taken for an upstream that reads nothing");
    }
    go.send(()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    while sent < ALL {
        sent += std::io::Write::write(&mut &stream, &piece[..piece.len().min(ALL - sent)]).unwrap();
    }
    client.set_patience(Duration::from_secs(60));
    assert_eq!(client.answer(false).unwrap().body, format!("{ALL}").as_bytes());
}
