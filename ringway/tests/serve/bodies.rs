//! Request bodies that files have no use for: read, dropped, and the connection goes on.

use crate::server::{Driver, Setup, age};
use ringway_testkit::Scratch;

on_both_drivers!(
    a_body_is_dropped_and_the_next_request_answered,
    a_client_that_waits_for_continue_is_told_the_outcome,
    a_body_over_the_limit_is_refused,
);

fn a_body_is_dropped_and_the_next_request_answered(driver: Driver) {
    let site = Scratch::new("bodies");
    age(&site.file("a.txt", b"a"));
    let server = Setup::new(driver, site.path()).start();
    let next = "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    let large = "x".repeat(300_000);
    for (method, framed, status) in [
        ("POST", "Content-Length: 5\r\n\r\nhello".to_owned(), 405),
        ("POST", "Content-Length: 0\r\n\r\n".to_owned(), 405),
        ("GET", "Content-Length: 3\r\n\r\nabc".to_owned(), 200),
        ("PUT", format!("Content-Length: {}\r\n\r\n{large}", large.len()), 405),
        ("POST", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(), 405),
        ("GET", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 200),
        (
            "POST",
            "Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"
                .to_owned(),
            405,
        ),
        ("POST", format!("Transfer-Encoding: chunked\r\n\r\n493e0\r\n{large}\r\n0\r\n\r\n"), 405),
        // A body that looks like a request is none.
        ("POST", format!("Content-Length: {}\r\n\r\n{next}", next.len()), 405),
    ] {
        let message = format!("{method} /a.txt HTTP/1.1\r\nHost: a\r\n{framed}{next}{next}");
        let steps: &[&[usize]] = if message.len() > 10_000 { &[&[usize::MAX], &[5000]] } else { &[&[usize::MAX], &[1], &[9]] };
        for sizes in steps {
            let mut client = server.client();
            client.send_in_pieces(message.as_bytes(), sizes).expect("it reads");
            let answers = client.answers(3).unwrap_or_else(|error| panic!("{method} {sizes:?}: {error}"));
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [status, 200, 200], "{method} {}", framed.get(..40).unwrap_or(&framed));
            assert_eq!(answers[2].body, b"a");
            client.finish().expect("open");
            assert_eq!(client.until_end().expect("a FIN"), b"", "no answer too many");
        }
    }
}

fn a_client_that_waits_for_continue_is_told_the_outcome(driver: Driver) {
    let site = Scratch::new("continue");
    age(&site.file("a.txt", b"a"));
    let server = Setup::new(driver, site.path()).start();
    for (method, target, outcome) in [("POST", "/a.txt", 405), ("GET", "/a.txt", 200), ("PUT", "/none", 405)]
    {
        let mut client = server.client();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
        );
        client.send(head.as_bytes()).expect("it reads");
        let mut answer = client.answer(false).expect("an answer before the body");
        if answer.status == 100 {
            client.send(&[b'x'; 1000]).expect("it reads");
            answer = client.answer(false).expect("an answer");
        } else {
            assert_eq!(answer.field("connection"), Some("close"), "the body is not wanted and not read");
        }
        assert_eq!(answer.status, outcome, "{method} {target}");
    }
    let mut client = server.client();
    client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").expect("it reads");
    assert_eq!(
        client.answer(false).expect("an answer").status,
        200,
        "without a body there is nothing to wait for"
    );
    client
        .send(b"GET /a.txt HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
        .expect("it reads");
    assert_eq!(client.answer(false).expect("an answer").status, 200, "HTTP/1.0 knows no expectations");
    assert_eq!(server.ask("GET", "/a.txt", "Expect: miracles\r\n").status, 417);
}

fn a_body_over_the_limit_is_refused(driver: Driver) {
    let site = Scratch::new("too-large");
    age(&site.file("a.txt", b"a"));
    let server = Setup::new(driver, site.path()).start();
    // Announced: refused at once, and what is sent all the same does not destroy the answer.
    let mut client = server.client();
    client.send(b"POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n").expect("it reads");
    client.send(&vec![b'x'; 2_000_000]).expect("it reads and drops");
    let answer = client.answer(false).expect("an answer");
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
    assert_eq!(client.until_end().expect("a FIN, no reset"), b"");
    // Found out on the way.
    let mut client = server.client();
    client.send(b"POST /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").expect("it reads");
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..20 {
        client.send(&chunk).expect("it reads and drops");
    }
    assert_eq!(client.answer(false).expect("an answer").status, 413);
    assert_eq!(client.until_end().expect("a FIN, no reset"), b"");
}
