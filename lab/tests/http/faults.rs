//! Servers with faults: each one is counted under its kind, with a sentence, and nothing hangs.

use crate::stand::{Exchange, Faulty, RIGHT, assert_counts, on_each_driver, run};
use ringway_lab::Progress;
use ringway_lab::http::load;
use ringway_lab::http::tally::FaultKind;
use ringway_lab::http::{Load, Plan};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Forty requests to a server that does the same wrong thing to all but the probe, and what was said of it.
fn wrong(
    kind: FaultKind,
    sentence: &str,
    fault: impl Fn(&mut Exchange<'_>) -> io::Result<bool> + Copy + Send + Sync + 'static,
) {
    on_each_driver(|driver| {
        let server = Faulty::start(move |exchange| match exchange.is_probe() {
            true => exchange.answer(RIGHT),
            false => fault(exchange),
        });
        let load = run(&Plan { timeout: Duration::from_millis(300), ..server.plan(40, driver) });
        assert_counts(&load, 0, &[(kind, 40)]);
        assert!(
            load.tally.examples.iter().any(|example| example.contains(sentence)),
            "{:?}",
            load.tally.examples
        );
    });
}

#[test]
fn another_status_is_told() {
    wrong(FaultKind::Status, "GET /x: status 503 instead of 200", |exchange| {
        exchange.answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello")
    });
}

#[test]
fn another_length_is_told() {
    wrong(FaultKind::Length, "GET /x: a body of 4 bytes instead of 5", |exchange| {
        exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell")
    });
}

#[test]
fn a_body_that_is_cut_is_told() {
    wrong(FaultKind::Cut, "GET /x: the connection ended after 3 of 5 bytes of the body", |exchange| {
        exchange.answer(&RIGHT[..RIGHT.len() - 2]).map(|_| false)
    });
}

#[test]
fn a_connection_that_ends_without_an_answer_is_told() {
    wrong(FaultKind::Cut, "the connection ended before the answer began", |_| Ok(false));
}

#[test]
fn a_reset_is_told() {
    wrong(FaultKind::Reset, "GET /x: the connection was reset", |exchange| {
        ringway_ring::socket::set_abort_on_close(exchange.stream.as_fd())?;
        Ok(false)
    });
}

#[test]
fn what_is_no_answer_is_told() {
    wrong(FaultKind::Malformed, "GET /x: the answer is not HTTP/1: \"SSH-2.0-OpenSSH\\r\\n\"", |exchange| {
        exchange.answer(b"SSH-2.0-OpenSSH\r\n")
    });
    wrong(FaultKind::Malformed, "malformed Content-Length", |exchange| {
        exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello")
    });
    wrong(FaultKind::Malformed, "malformed chunk size", |exchange| {
        exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello")
    });
}

#[test]
fn a_peer_that_says_nothing_or_drips_times_out() {
    wrong(FaultKind::Timeout, "GET /x: no answer within 300 ms", |_| Ok(true));
    wrong(FaultKind::Timeout, "after 3 of 5 bytes of the body", |exchange| {
        exchange.answer(&RIGHT[..RIGHT.len() - 2])
    });
}

#[test]
fn answers_that_nobody_asked_for_are_told() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| match exchange.is_probe() {
            true => exchange.answer(RIGHT),
            false => exchange.answer(&[RIGHT, RIGHT].concat()),
        });
        let load = run(&server.plan(40, driver));
        // The first of each pair is right; the second is the answer to nothing, or to the next request of a pipeline.
        assert!(load.tally.faults.of(FaultKind::Malformed) > 0, "{load:?}");
        assert!(load.tally.examples.iter().any(|example| example.starts_with("bytes that nobody asked for")));
        assert!(load.failure().is_some());
    });
}

#[test]
fn a_server_that_goes_away_refuses_connections() {
    on_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        // It answers the probe and is gone.
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the probe comes");
            let mut request = [0; 1024];
            let _whole = io::Read::read(&mut stream, &mut request).expect("it asks");
            stream.write_all(RIGHT).expect("it reads");
        });
        let mut plan = Plan::get(&format!("http://{address}/x")).expect("a URL");
        plan.requests = Some(20);
        plan.duration = None;
        plan.warm_up = Duration::ZERO;
        plan.connections = 4;
        plan.driver = driver;
        let load: Load = run(&plan);
        serving.join().expect("no panic");
        let connect = load.tally.faults.of(FaultKind::Connect);
        // Those that were in its queue when it went were reset.
        assert_eq!((load.tally.answers, load.tally.faults.total()), (0, 20), "{load:?}");
        assert!(connect >= 16, "{load:?}");
    });
}

#[test]
fn a_load_with_faults_goes_on_and_counts_what_is_right() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| match exchange.request % 4 {
            3 if !exchange.is_probe() => exchange.answer(&RIGHT[..20]).map(|_| false),
            _ => exchange.answer(RIGHT),
        });
        let load = run(&server.plan(400, driver));
        let cut = load.tally.faults.of(FaultKind::Cut);
        // Four connections, of which each may be within its four requests at the end.
        assert!((97..=100).contains(&cut), "{load:?}");
        assert_counts(&load, 400 - cut, &[(FaultKind::Cut, cut)]);
    });
}

#[test]
fn a_server_that_cannot_be_asked_is_refused_in_a_sentence() {
    let refusal = |plan: &Plan| load::run(plan, &Progress::silent()).expect_err("no load").to_string();
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback");
    let nobody = Plan::get(&format!("http://{gone}/")).expect("a URL");
    assert!(refusal(&nobody).contains("cannot be asked: Connection refused"));
    static IS_SILENT: AtomicBool = AtomicBool::new(false);
    let server = Faulty::start(|exchange| match IS_SILENT.load(Ordering::Relaxed) {
        true => Ok(true),
        false => exchange.answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    });
    let mut plan = Plan { timeout: Duration::from_millis(200), ..server.plan(10, Default::default()) };
    assert!(refusal(&plan).ends_with("status 404; say --expect-status 404 if that is meant"));
    plan.targets[0].expect.status = Some(200);
    assert!(refusal(&plan).ends_with("status 404 instead of 200"));
    plan.targets[0].expect.status = Some(404);
    plan.targets[0].expect.length = Some(7);
    assert!(refusal(&plan).ends_with("a body of 0 bytes instead of 7"));
    IS_SILENT.store(true, Ordering::Relaxed);
    assert!(refusal(&plan).ends_with("no answer within 200 ms"));
}
