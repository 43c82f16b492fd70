//! Closed loops: every right answer is counted, however it is framed and whenever connections end.

use crate::stand::{Faulty, RIGHT, assert_counts, on_each_driver, run};
use ringway::serve::{LogTarget, Serve};
use ringway_lab::http::Plan;
use std::io::Write;
use std::time::Duration;

#[test]
fn exactly_as_many_requests_as_wanted_are_asked_and_right() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| exchange.answer(RIGHT));
        for (connections, workers, pipeline) in [(1, 1, 1), (4, 1, 16), (7, 2, 3)] {
            let before = server.connections();
            let plan = Plan { connections, workers, pipeline, ..server.plan(1000, driver) };
            let load = run(&plan);
            assert_counts(&load, 1000, &[]);
            assert_eq!(load.tally.body_bytes, 5000);
            assert_eq!(load.tally.connections, connections as u64);
            assert_eq!(server.connections() - before, connections + 1, "and the probe's");
            assert!(load.rate() > 0.0 && load.cpu > Duration::ZERO && load.busy > 0.0);
        }
    });
}

#[test]
fn connections_end_after_their_share_of_requests() {
    on_each_driver(|driver| {
        // It closes when it is asked to, as a server does.
        let server = Faulty::start(|exchange| {
            let is_last = exchange.head.contains("Connection: close");
            let is_due = exchange.request == 24 || exchange.head.starts_with("GET /close ");
            assert!(is_due || !is_last, "{}", exchange.head);
            exchange.answer(RIGHT).map(|goes_on| goes_on && !is_last)
        });
        let plan = Plan { requests_per_connection: Some(25), pipeline: 4, ..server.plan(1000, driver) };
        let load = run(&plan);
        assert_counts(&load, 1000, &[]);
        assert!(load.tally.connections >= 40, "{load:?}");
        let mut plan = Plan { requests_per_connection: Some(1), ..server.plan(200, driver) };
        plan.targets = vec![server.target("/close")];
        let load = run(&plan);
        assert_counts(&load, 200, &[]);
        assert!(load.tally.connections >= 200, "{load:?}");
    });
}

#[test]
fn requests_behind_an_orderly_close_are_asked_again() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| {
            let closes = exchange.request == 2;
            let answer = String::from_utf8_lossy(RIGHT).replace("Date", "Connection: close\r\nDate");
            exchange.answer(if closes { answer.as_bytes() } else { RIGHT }).map(|goes_on| goes_on && !closes)
        });
        let load = run(&Plan { pipeline: 4, ..server.plan(600, driver) });
        assert_counts(&load, 600, &[]);
        assert!(load.tally.resent > 0, "{load:?}");
    });
}

#[test]
fn every_framing_is_read() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let hinted =
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let until_close = "HTTP/1.0 200 OK\r\n\r\nhello";
    on_each_driver(|driver| {
        for (text, goes_on) in [(chunked, true), (hinted, true), (until_close, false)] {
            let server = Faulty::start(move |exchange| exchange.answer(text.as_bytes()).map(|_| goes_on));
            assert_counts(&run(&server.plan(100, driver)), 100, &[]);
        }
        let server = Faulty::start(|exchange| exchange.answer(b"HTTP/1.1 204 No Content\r\n\r\n"));
        assert_counts(&run(&server.plan(100, driver)), 100, &[]);
        let server = Faulty::start(|exchange| exchange.answer(&RIGHT[..RIGHT.len() - 5]));
        let mut plan = server.plan(100, driver);
        plan.targets[0].is_head = true;
        let load = run(&plan);
        assert_counts(&load, 100, &[]);
        assert_eq!(load.tally.body_bytes, 0);
    });
}

#[test]
fn answers_in_small_pieces_are_whole_answers() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| {
            // Each write leaves as a segment of its own.
            RIGHT.chunks(7).try_for_each(|piece| exchange.stream.write_all(piece))?;
            Ok(true)
        });
        assert_counts(&run(&Plan { pipeline: 3, ..server.plan(300, driver) }), 300, &[]);
    });
}

#[test]
fn heads_longer_than_a_buffer_are_read() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| {
            // The probe sees a short answer, so that the load's buffers are small.
            let padding = if exchange.is_probe() { 1 } else { 5000 + exchange.request % 3000 };
            let long =
                format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello", "y".repeat(padding));
            exchange.answer(long.as_bytes())
        });
        assert_counts(&run(&Plan { pipeline: 5, ..server.plan(300, driver) }), 300, &[]);
    });
}

#[test]
fn several_targets_are_asked_for_by_weight() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| {
            let (status, length) =
                if exchange.head.starts_with("GET /b ") { ("404 No", 7) } else { ("200 OK", 3) };
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{}", "z".repeat(length));
            exchange.answer(text.as_bytes())
        });
        let mut plan = Plan { pipeline: 8, ..server.plan(1000, driver) };
        plan.targets = vec![server.target("/a"), server.target("/b")];
        (plan.targets[0].weight, plan.targets[1].weight) = (3, 1);
        plan.targets[1].expect.status = Some(404);
        let load = run(&plan);
        assert_counts(&load, 1000, &[]);
        assert_eq!(load.tally.body_bytes, 750 * 3 + 250 * 7);
    });
}

#[test]
fn a_duration_ends_a_load_and_its_warm_up_is_not_counted() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| exchange.answer(RIGHT));
        let plan = Plan {
            requests: None,
            duration: Some(Duration::from_millis(300)),
            warm_up: Duration::from_millis(200),
            ..server.plan(1, driver)
        };
        let load = run(&plan);
        assert!(load.failure().is_none() && load.tally.answers > 0, "{load:?}");
        assert!(load.elapsed >= Duration::from_millis(250), "{load:?}");
        assert_eq!(load.tally.connections, 0, "they were made before it was measured");
    });
}

#[test]
fn ringway_itself_is_asked_for_small_and_large_files() {
    on_each_driver(|driver| {
        let scratch = ringway_testkit::Scratch::new("lab-http");
        scratch.file("small", &[b'a'; 100]);
        scratch.file("large", &[b'b'; 200 * 1024]);
        let mut serve = Serve::new(scratch.path());
        serve.listen = ringway::listen::parse("127.0.0.1:0").expect("an address");
        serve.log = LogTarget::Off;
        let server = serve.start().expect("the server starts");
        let url = ringway::listen::url(&server.addresses()[0], false);
        for (name, bytes, pipeline) in [("small", 100, 16), ("large", 200 * 1024, 1)] {
            let plan = Plan {
                requests: Some(2000),
                duration: None,
                connections: 20,
                pipeline,
                warm_up: Duration::ZERO,
                driver,
                ..Plan::get(&format!("{}/{name}", url.trim_end_matches('/'))).expect("a URL")
            };
            let load = run(&plan);
            assert_counts(&load, 2000, &[]);
            assert_eq!(load.tally.body_bytes, 2000 * bytes);
        }
        server.drain(Duration::from_secs(5));
        server.wait(Duration::from_secs(5)).expect("a good end");
    });
}
