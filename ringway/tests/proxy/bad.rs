//! Upstreams that lie, break off, talk nonsense or say nothing: what the client is told, and what the log says.

use crate::stand::{Setup, ask, eventually, send};
use crate::upstream::Upstream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Asks an upstream that answers with `answer`, and then closes or waits, something that is done once only.
fn told(name: &str, answer: &'static [u8], keeps: bool) -> (u16, String) {
    let upstream = Upstream::start(move |talk| {
        let Some(_asked) = talk.request() else { return };
        talk.say(answer);
        if keeps {
            talk.until_end();
        }
    });
    let setup =
        Setup { upstream: "read_timeout = \"300ms\"".to_owned(), ..Setup::before(&[upstream.address()]) };
    let mut ringway = setup.start(name);
    let status = ringway.ask("POST /x", "", b"").status;
    ringway.wait_to_say(&upstream.address().to_string());
    (status, ringway.said())
}

#[test]
fn nonsense_is_answered_502_and_the_log_says_whose_it_is() {
    let cases: &[(&[u8], &str)] = &[
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP/1"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "version"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "whitespace"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "both Content-Length",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "more than one Content-Length",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer coding"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "nobody asked for",
        ),
    ];
    for (number, (answer, says)) in cases.iter().enumerate() {
        let (status, said) = told(&format!("proxy-nonsense-{number}"), answer, true);
        assert_eq!(status, 502, "{}", answer.escape_ascii());
        assert!(said.contains(says), "{}: {said}", answer.escape_ascii());
    }
}

#[test]
fn upstreams_that_say_nothing_or_half_are_given_up() {
    for (number, (answer, keeps, status, says)) in [
        (&b""[..], false, 502, "closed the connection before its answer"),
        (b"HTTP/1.1 200 O", false, 502, "closed the connection"),
        (b"", true, 504, "too long"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", true, 504, "too long"),
    ]
    .into_iter()
    .enumerate()
    {
        let (got, said) = told(&format!("proxy-silent-{number}"), answer, keeps);
        assert_eq!(got, status, "{}", answer.escape_ascii());
        assert!(said.contains(says), "{}: {said}", answer.escape_ascii());
    }
}

#[test]
fn a_head_without_end_is_given_up_and_so_are_endless_hints() {
    let upstream = Upstream::start(|talk| {
        let Some(asked) = talk.request() else { return };
        let (first, again): (&[u8], &[u8]) = match asked.target() {
            "/fields" => (b"HTTP/1.1 200 OK\r\n", b"X-Again: and again\r\n"),
            _ => (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        };
        talk.say(first);
        for _ in 0..10_000 {
            if !talk.try_say(again) {
                return;
            }
        }
        talk.until_end();
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-endless");
    assert_eq!(ringway.ask("POST /fields", "", b"").status, 502);
    assert_eq!(ringway.ask("POST /hints", "", b"").status, 502);
}

#[test]
fn a_body_that_is_cut_or_broken_cuts_the_clients_too() {
    let cases: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfXX",
    ];
    for (number, answer) in cases.iter().enumerate() {
        let upstream = Upstream::start(move |talk| {
            let Some(_asked) = talk.request() else { return };
            talk.say(answer);
        });
        let mut ringway = Setup::before(&[upstream.address()]).start(&format!("proxy-cut-{number}"));
        let mut client = ringway.client();
        send(&mut client, "GET /", "", b"");
        let error = client.answer(false).expect_err("what was sent looks whole");
        eprintln!("{}: {error}", answer.escape_ascii());
        ringway.wait_to_say(&upstream.address().to_string());
    }
}

#[test]
fn what_comes_behind_an_answer_is_never_taken_for_the_next_one() {
    let upstream = Upstream::start(|talk| {
        while talk.request().is_some() {
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-extra");
    let mut client = ringway.client();
    for round in 1..=5 {
        assert_eq!(ask(&mut client, "GET /", "", b"").body, b"ok");
        assert_eq!(upstream.connections(), round);
    }
}

#[test]
fn what_an_idle_connection_says_unasked_is_never_taken_for_an_answer() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let ends = std::sync::Mutex::new((wait, done));
    let upstream = Upstream::start(move |talk| {
        while talk.request().is_some() {
            talk.answer(b"ok");
            if talk.number == 0 {
                let ends = ends.lock().unwrap();
                ends.0.recv().unwrap();
                talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                ends.1.send(()).unwrap();
            }
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-unasked");
    let mut client = ringway.client();
    assert_eq!(ask(&mut client, "GET /", "", b"").body, b"ok");
    go.send(()).unwrap();
    is_done.recv().unwrap();
    assert_eq!(ask(&mut client, "GET /", "", b"").body, b"ok");
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn only_what_may_be_done_twice_is_tried_elsewhere() {
    let closes = Upstream::start(|talk| drop(talk.request()));
    let answers = Upstream::always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let setup = Setup {
        upstream: "balance = \"first-alive\"\nfail_max = 1000".to_owned(),
        ..Setup::before(&[closes.address(), answers.address()])
    };
    let ringway = setup.start("proxy-retry");
    assert_eq!(ringway.get("/").status, 200);
    assert_eq!(ringway.ask("DELETE /", "", b"").status, 200);
    let before = answers.heads().len();
    assert_eq!(ringway.ask("POST /", "", b"").status, 502);
    assert_eq!(ringway.ask("PATCH /", "", b"").status, 502);
    // Something of the body was given away, and nobody has it any more.
    assert_eq!(ringway.ask("PUT /", "", b"body").status, 502);
    assert_eq!(answers.heads().len(), before);
    assert_eq!(closes.heads().len(), 5, "each was tried once");
}

#[test]
fn tries_and_time_have_an_end() {
    let hangs: Vec<Upstream> = (0..4).map(|_| Upstream::start(|talk| drop(talk.until_end()))).collect();
    let addresses: Vec<_> = hangs.iter().map(Upstream::address).collect();
    let setup = Setup {
        upstream: "attempts = 3\ntry_timeout = \"200ms\"\nfail_max = 1000".to_owned(),
        ..Setup::before(&addresses)
    };
    let ringway = setup.start("proxy-hang");
    let began = Instant::now();
    assert_eq!(ringway.get("/").status, 504);
    assert!(began.elapsed() >= Duration::from_millis(550), "{:?}", began.elapsed());
    assert_eq!(hangs.iter().map(Upstream::connections).sum::<usize>(), 3);
    let setup = Setup {
        upstream: "try_timeout = \"20s\"".to_owned(),
        proxy: "timeout = \"300ms\"".to_owned(),
        ..setup
    };
    let ringway = setup.start("proxy-hang-total");
    let began = Instant::now();
    assert_eq!(ringway.get("/").status, 504);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn nobody_there_is_said_once_in_the_log() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut ringway = Setup::before(&[nobody]).start("proxy-nobody");
    assert_eq!(ringway.get("/").status, 502);
    ringway.wait_to_say(&nobody.to_string());
}

#[test]
fn nobody_is_asked_on_for_a_client_that_has_left() {
    let given_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given_up);
    let upstream = Upstream::start(move |talk| {
        let Some(asked) = talk.request() else { return };
        if asked.target() == "/begun" {
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun");
        }
        talk.until_end();
        count.fetch_add(1, Ordering::SeqCst);
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-left");
    for (at, (target, is_gone)) in
        [("/begun", true), ("/waits", true), ("/begun", false), ("/waits", false)].into_iter().enumerate()
    {
        let mut client = ringway.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        eventually("the upstream to be asked", || (upstream.heads().len() > at).then_some(()));
        // One is gone, another one has ended its sending, as one that closes its end has.
        let left =
            if is_gone { client.abort().map(|()| None) } else { client.finish().map(|()| Some(client)) };
        let _stays_open = left.unwrap();
        eventually("the upstream to be let go", || (given_up.load(Ordering::SeqCst) > at).then_some(()));
    }
}
