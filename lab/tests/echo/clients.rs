//! Right answers are found right, whatever is said, paused, cut off or half-closed.

use crate::stand::{Run, Server, engine_kinds, kinds, load, total};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

#[test]
fn every_server_says_everything_again() {
    for kind in kinds() {
        let server = Server::start(&["echo", "serve", kind]);
        let run =
            load(server.address, &["--connections", "50", "--messages", "40", "--message-bytes", "1-9000"])
                .succeeded();
        assert_eq!(run.count("answers"), 50 * 40, "{kind}");
        assert_eq!(run.count("opened"), 50);
        assert_eq!(run.count("failures"), 0);
        let totals = server.stop();
        assert_eq!(total(&totals, "accepted"), 50, "{kind}");
    }
}

#[test]
fn every_wait_mode_and_both_clients_drivers_do() {
    for kind in engine_kinds() {
        for wait in ["polled", "adaptive"] {
            let server = Server::start(&["echo", "serve", kind, "--wait", wait]);
            for driver in engine_kinds() {
                let run =
                    load(server.address, &["--connections", "3", "--messages", "100", "--driver", driver])
                        .succeeded();
                assert_eq!(run.count("answers"), 300, "{kind} {wait}, clients on {driver}");
                assert_eq!(run.json["settings"]["clients' driver"], driver);
            }
        }
    }
}

#[test]
fn large_messages_in_windows_come_back_whole() {
    for kind in kinds() {
        let server = Server::start(&["echo", "serve", kind]);
        let run = load(
            server.address,
            &["--connections", "4", "--messages", "10", "--message-bytes", "200000-700000", "--window", "3"],
        )
        .succeeded();
        assert_eq!(run.count("answers"), 40, "{kind}");
    }
}

#[test]
fn framed_messages_are_said_again_when_whole() {
    for kind in engine_kinds() {
        let server = Server::start(&["echo", "serve", kind, "--framing", "length"]);
        let run = load(
            server.address,
            &[
                "--connections",
                "30",
                "--messages",
                "30",
                "--message-bytes",
                "1-65532",
                "--framing",
                "length",
                "--window",
                "4",
            ],
        )
        .succeeded();
        assert_eq!(run.count("answers"), 900, "{kind}");
    }
}

#[test]
fn a_length_that_may_not_be_is_a_reset_and_half_a_message_is_none() {
    for kind in engine_kinds() {
        let server = Server::start(&["echo", "serve", kind, "--framing", "length"]);
        let mut stream = server.connect();
        stream.write_all(&[0, 0, 0, 1, b'a', 0, 1, 0, 0, b'b']).expect("the server reads");
        let error = stream.read_to_end(&mut Vec::new()).expect_err("65,536 bytes are too many");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kind}");
        for half in [&[0, 0][..], &[0, 0, 0, 9, b'x'], &[0, 0, 0x80, 0, b'x']] {
            let mut stream = server.connect();
            stream.write_all(&[&[0, 0, 0, 1, b'a'], half].concat()).expect("the server reads");
            stream.shutdown(Shutdown::Write).expect("open");
            let mut found = Vec::new();
            stream.read_to_end(&mut found).expect("a good end");
            assert_eq!(found, [0, 0, 0, 1, b'a'], "{kind}: only the whole message comes back");
        }
        server.stop();
    }
}

/// Connections that end in all three ways, again and again.
fn stormy(server: &Server, seed: &str) -> Run {
    let arguments = [
        "--connections",
        "40",
        "--messages",
        "60",
        "--message-bytes",
        "1-3000",
        "--disconnect-per-mille",
        "150",
        "--seed",
        seed,
    ];
    load(server.address, &arguments).succeeded()
}

#[test]
fn disconnects_are_survived_and_counted() {
    for kind in engine_kinds() {
        let server = Server::start(&["echo", "serve", kind]);
        let run = stormy(&server, "3");
        // A half-closed message is answered too, and counts.
        assert!(run.count("answers") >= 40 * 60, "{kind}");
        let ended = ["closed", "half-closed", "reset"].map(|way| run.count(way));
        assert!(ended.iter().all(|count| *count > 20), "{kind}: every way is taken: {ended:?}");
        assert_eq!(run.count("opened"), 40 + ended.iter().sum::<u64>() - last_lives(&run), "{kind}");
        let totals = server.stop();
        assert_eq!(total(&totals, "accepted"), run.count("opened"), "{kind}");
        assert_eq!(total(&totals, "closed"), total(&totals, "accepted"), "{kind}");
        assert_eq!((total(&totals, "open"), total(&totals, "panics")), (0, 0), "{kind}");
    }
}

/// Connections whose last message was also the end of a life on purpose: they did not come again.
fn last_lives(run: &Run) -> u64 {
    let ended: u64 = ["closed", "half-closed", "reset"].map(|way| run.count(way)).iter().sum();
    40 + ended - run.count("opened")
}

#[test]
fn a_seed_repeats_its_run() {
    let server = Server::start(&["echo", "serve", "epoll"]);
    let counts = |seed: &str| {
        let run = stormy(&server, seed);
        ["answers", "opened", "closed", "half-closed", "reset"].map(|column| run.count(column))
    };
    let first = counts("11");
    assert_eq!(counts("11"), first);
    assert_ne!(counts("12"), first, "another seed is another run");
}

#[test]
fn thousands_of_connections_at_once() {
    for kind in engine_kinds() {
        let server = Server::start(&["echo", "serve", kind]);
        let run = load(server.address, &["--connections", "4000", "--messages", "3"]).succeeded();
        assert_eq!((run.count("opened"), run.count("answers")), (4_000, 12_000), "{kind}");
        assert_eq!(total(&server.stop(), "closed"), 4_000, "{kind}");
    }
}

#[test]
fn pauses_and_ramps_take_their_time() {
    let server = Server::start(&["echo", "serve", "epoll"]);
    let run = load(
        server.address,
        &[
            "--connections",
            "10",
            "--messages",
            "5",
            "--pause-ms",
            "20-30",
            "--ramp-per-s",
            "50",
            "--window",
            "2",
        ],
    )
    .succeeded();
    // The last connection starts after 180 ms and pauses at least once between windows of two.
    let seconds = run.rows("load")[0]["time"].as_f64().expect("a time");
    assert!(seconds >= 0.2, "{seconds} s");
    assert!(run.count("answers") >= 50);
}

#[test]
fn a_time_is_measured_after_its_warm_up() {
    let server = Server::start(&["echo", "serve", "epoll"]);
    let run =
        load(server.address, &["--connections", "5", "--seconds", "1", "--warm-up-ms", "100"]).succeeded();
    let seconds = run.rows("load")[0]["time"].as_f64().expect("a time");
    assert!((1.0..5.0).contains(&seconds), "{seconds} s");
    assert!(run.count("answers") > 0);
    let latency = &run.rows("latency")[0];
    let [p50, p99, longest] =
        ["p50", "p99", "longest"].map(|name| latency[name].as_f64().expect("a latency"));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= longest, "{latency}");
}
