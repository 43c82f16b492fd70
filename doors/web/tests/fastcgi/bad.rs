//! Programs that send what is no record, close early, lie about lengths, hang, and refuse: what clients are told, what the log
//! says, and that no connection is used again wrongly.

use crate::program::{Program, Request, Served, end, record, stdout};
use crate::stand::{Setup, Stand, drivers, quick, text, upstream};
use ringway_http::fastcgi::{End, Kind};
use ringway_testkit::Scratch;
use ringway_web::upstream::{Balance, GroupOptions};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Does what the path asks for.
fn misbehave(served: &mut Served, request: &Request) -> io::Result<bool> {
    let hello = "Content-Type: text/plain\r\n\r\nhello";
    match request.param("PATH_INFO") {
        "/closes" => Ok(false),
        "/closes-in-head" => served.send(&stdout(b"Content-Type: te")).map(|()| false),
        "/closes-in-record" => served.send(&stdout(hello.as_bytes())[..20]).map(|()| false),
        "/closes-without-end" => served.send(&stdout(hello.as_bytes())).map(|()| false),
        "/http" => served.send(b"HTTP/1.1 200 OK\r\n\r\n").and_then(|()| served.wait_for_end()),
        "/version" => served.send(&[2, 6, 0, 1, 0, 0, 0, 0]).and_then(|()| served.wait_for_end()),
        "/kind" => served.send(&record(Kind::PARAMS, 1, b"x")).and_then(|()| served.wait_for_end()),
        "/other-request" => served.send(&record(Kind::STDOUT, 7, b"x")).and_then(|()| served.wait_for_end()),
        "/end-length" => {
            served.send(&record(Kind::END_REQUEST, 1, b"x")).and_then(|()| served.wait_for_end())
        }
        "/no-head" => served.answer(""),
        "/garbage-head" => served.answer("this is no head\r\n\r\nhello"),
        "/bad-status" => served.answer("Status: 99 Odd\r\n\r\nhello"),
        "/huge-head" => served.answer(&format!("X: {}\r\n\r\n", "x".repeat(100_000))),
        "/overloaded" => served.send(&end(End::Overloaded)).map(|()| true),
        "/exit" => served.send(&end(End::Complete(3))).map(|()| true),
        "/hangs" => served.wait_for_end(),
        "/hangs-in-head" => served.send(&stdout(b"X: y")).and_then(|()| served.wait_for_end()),
        "/short" => served.answer("Content-Length: 10\r\n\r\nhello"),
        "/long" => served.answer("Content-Length: 3\r\n\r\nhello"),
        "/late-short" => {
            served.send(&stdout(b"Content-Length: 100000\r\n\r\n"))?;
            served.send(&stdout(&[b'x'; 70_000]))?;
            served.send(&end(End::Complete(0))).map(|()| true)
        }
        "/late-close" => {
            served.send(&stdout(&[b"X: y\r\n\r\n".as_slice(), &[b'x'; 90_000]].concat())).map(|()| false)
        }
        "/late-body" => {
            served.send(&stdout(b"X: y\r\n\r\n"))?;
            std::thread::sleep(Duration::from_millis(50));
            served.answer("the body")
        }
        "/number" => served.answer(&format!("X: y\r\n\r\n{}", served.number)),
        "/more-behind" => {
            let bytes = [stdout(hello.as_bytes()), end(End::Complete(0)), stdout(b"whose is this?")].concat();
            served.send(&bytes).map(|()| true)
        }
        _ => served.answer(&format!("Content-Type: text/plain\r\n\r\nconnection {}", served.before)),
    }
}

fn with_program(name: &str, test: impl Fn(&Stand, &Program)) {
    let place = Scratch::new(name);
    for driver in drivers() {
        let program = Program::start(&place, "bad", misbehave);
        let stand = Stand::app(Setup { place: &place, driver, upstream: quick(&[&program.address()]) });
        test(&stand, &program);
        stand.stop();
    }
}

#[test]
fn what_is_no_answer_is_a_bad_gateway_and_the_log_says_why() {
    with_program("fastcgi-bad", |stand, program| {
        for (target, status, why) in [
            ("/closes", 502, "closed the connection"),
            ("/closes-in-head", 502, "closed the connection"),
            ("/closes-in-record", 502, "closed the connection"),
            ("/http", 502, "a record of version 72 instead of 1"),
            ("/version", 502, "a record of version 2 instead of 1"),
            ("/kind", 502, "a record of kind 4 where none can be"),
            ("/other-request", 502, "a record of request 7, which was never asked"),
            ("/end-length", 502, "a record of kind 3 with 1 bytes of content"),
            ("/no-head", 502, "without an answer (exit status 0)"),
            ("/exit", 502, "without an answer (exit status 3)"),
            ("/garbage-head", 502, "what is no answer: "),
            ("/bad-status", 502, "what is no answer: "),
            ("/huge-head", 502, "what is no answer: "),
            ("/overloaded", 503, "it is overloaded"),
            ("/hangs", 504, "sent nothing for 300 ms"),
            ("/hangs-in-head", 504, "sent nothing for 300 ms"),
            ("/short", 502, "announced 10 bytes and sent 5"),
            ("/long", 502, "announced 3 bytes and sent more"),
        ] {
            let answer = stand.get(&format!("/app{target}"));
            assert_eq!(answer.status, status, "{target}: {}", text(&answer));
            let line = stand.logged(&["fastcgi: ", why, &format!("/app{target} is answered {status}")]);
            assert!(line.contains(&program.address()) && line.contains(" of php "), "{line}");
            // Nobody gets what was meant for somebody else.
            assert!(text(&stand.get("/app/good")).starts_with("connection "), "after {target}");
        }
    });
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    with_program("fastcgi-cut", |stand, _| {
        for (target, why) in [
            ("/late-short", "announced 100000 bytes and sent 70000"),
            ("/late-close", "closed the connection before its answer was whole"),
            ("/closes-without-end", "closed the connection before its answer was whole"),
        ] {
            let mut client = stand.client();
            client.send(format!("GET /app{target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            match client.answer(false) {
                // It may be known before the client was told anything.
                Ok(answer) => assert_eq!(answer.status, 502, "{target}"),
                Err(error) => eprintln!("{target}: {error}"),
            }
            stand.logged(&["fastcgi: ", why]);
        }
    });
}

#[test]
fn connections_are_kept_and_only_clean_ones() {
    with_program("fastcgi-keep", |stand, program| {
        let said = |target: &str| text(&stand.get(&format!("/app{target}")));
        assert_eq!(said("/a"), "connection 0");
        assert_eq!(said("/a"), "connection 1");
        assert_eq!(program.connections(), 1);
        assert_eq!(said("/more-behind"), "hello");
        assert_eq!(said("/a"), "connection 0", "what came behind the end was nobody's");
        let head = stand.ask(b"HEAD /app/a HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(said("/a"), "connection 2", "what HEAD leaves away is read all the same");
        assert_eq!(program.connections(), 2);
    });
}

#[test]
fn a_body_that_nobody_wants_is_read_to_its_end_behind_the_answer() {
    let place = Scratch::new("fastcgi-unwanted");
    for driver in drivers() {
        let program = Program::start(&place, "late", misbehave);
        // The next request waits for the only connection there may be: a closed one would be followed by one of another number.
        let only = GroupOptions { connections_max: 1, ..upstream(&[&program.address()]) };
        let stand = Stand::app(Setup { place: &place, driver, upstream: only });
        let head = stand.ask(b"HEAD /app/late-body HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.status, head.field("x")), (200, Some("y")));
        assert_eq!(text(&stand.get("/app/number")), "0");
        stand.stop();
    }
}

#[test]
fn what_is_safe_is_asked_of_another_backend() {
    let place = Scratch::new("fastcgi-retry");
    for driver in drivers() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let bad = Program::start(&place, "bad", move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(false)
        });
        let good = Program::start(&place, "good", |served, request| {
            served.answer(&format!("X: y\r\n\r\ngood {}", request.param("REQUEST_METHOD")))
        });
        let mut backends = quick(&[&bad.address(), &good.address()]);
        backends.balance = Balance::FirstAlive;
        let stand = Stand::app(Setup { place: &place, driver, upstream: backends });
        assert_eq!(text(&stand.get("/app/x")), "good GET");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // Whether it was done nobody knows, so it is not done again.
        assert_eq!(stand.post("/app/x", "", b"buy").status, 502);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let put = b"PUT /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nput";
        assert_eq!(text(&stand.ask(put)), "good PUT", "a short body is sent again too");
        stand.stop();
    }
}

#[test]
fn a_backend_that_is_not_there_is_said_to_be_so() {
    let place = Scratch::new("fastcgi-nobody");
    for driver in drivers() {
        let nobody = format!("unix:{}/nobody.sock", place.path().display());
        let stand = Stand::app(Setup { place: &place, driver, upstream: quick(&[&nobody]) });
        assert_eq!(stand.get("/app/x").status, 502);
        stand.logged(&["fastcgi: ", "nobody.sock", "/app/x is answered 502"]);
        stand.stop();
    }
}

#[test]
fn a_client_that_hangs_up_aborts_the_request() {
    let place = Scratch::new("fastcgi-abort");
    for driver in drivers() {
        let (begun, aborted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&begun), Arc::clone(&aborted));
        let program = Program::start(&place, "slow", move |served, request| {
            if request.param("PATH_INFO") != "/slow" {
                return served.answer("X: y\r\n\r\n");
            }
            counts.0.fetch_add(1, Ordering::SeqCst);
            if request.param("QUERY_STRING") == "begin" {
                served.send(&stdout(b"X: y\r\n\r\nbegun"))?;
            }
            let ended = served.wait_for_end();
            counts.1.fetch_add(1, Ordering::SeqCst);
            ended
        });
        let stand = Stand::app(Setup { place: &place, driver, upstream: upstream(&[&program.address()]) });
        // One is gone, another one has ended its sending, as one that closes its end has.
        for (at, (query, is_gone)) in
            [("begin", true), ("wait", true), ("begin", false), ("wait", false)].into_iter().enumerate()
        {
            let mut client = stand.client();
            client.send(format!("GET /app/slow?{query} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            if query == "begin" {
                io::Read::read_exact(&mut client.stream(), &mut [0; 32]).unwrap();
            }
            eventually("it has begun", || begun.load(Ordering::SeqCst) > at);
            let left =
                if is_gone { client.abort().map(|()| None) } else { client.finish().map(|()| Some(client)) };
            let _stays_open = left.unwrap();
            eventually("the request is given up", || aborted.load(Ordering::SeqCst) > at);
        }
        assert_eq!(stand.get("/app/x").status, 200);
        stand.stop();
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "it is not so that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_slow_client_holds_the_program_back() {
    let place = Scratch::new("fastcgi-pressure");
    for driver in drivers() {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let program = Program::start(&place, "fast", move |served, _| {
            served.send(&stdout(b"X: y\r\n\r\n"))?;
            for _ in 0..500 {
                served.send(&stdout(&[b'x'; 60_000]))?;
                count.fetch_add(60_000, Ordering::SeqCst);
            }
            served.send(&end(End::Complete(0))).map(|()| true)
        });
        let stand = Stand::app(Setup { place: &place, driver, upstream: upstream(&[&program.address()]) });
        let mut client = stand.client();
        client.send(b"GET /app/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut first = [0; 1024];
        io::Read::read_exact(&mut client.stream(), &mut first).unwrap();
        // It comes to rest well before the end, however large the sockets' own buffers are.
        let mut before = usize::MAX;
        while before != sent.load(Ordering::SeqCst) {
            before = sent.load(Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(before < 500 * 60_000, "all of it was taken at once");
        let (mut rest, mut piece) = (0, vec![0; 1024 * 1024]);
        while rest < 500 * 60_000 {
            let count = io::Read::read(&mut client.stream(), &mut piece).unwrap();
            assert!(count > 0, "it ends after {rest} bytes");
            rest += count;
        }
        stand.stop();
    }
}
