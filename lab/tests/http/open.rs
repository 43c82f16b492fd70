//! Open loops: requests are sent when they are due, and latencies count from then on.

use crate::stand::{Faulty, RIGHT, assert_counts, on_each_driver, run};
use ringway_lab::http::Plan;
use ringway_lab::http::tally::FaultKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn timed(plan: Plan, rate: f64, milliseconds: u64) -> Plan {
    let duration = Some(Duration::from_millis(milliseconds));
    Plan { rate: Some(rate), requests: None, duration, ..plan }
}

#[test]
fn as_many_requests_are_sent_as_are_due() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| exchange.answer(RIGHT));
        for (workers, pipeline) in [(1, 1), (2, 4)] {
            let plan = timed(server.plan(1, driver), 1000.0, 500);
            let load = run(&Plan { connections: 16, workers, pipeline, ..plan });
            let due = load.tally.answers + load.tally.unsent;
            assert_counts(&load, load.tally.answers, &[]);
            // The measurement begins and ends within a tick of a worker's clock.
            assert!((450..=560).contains(&due), "{load:?}");
        }
        let plan =
            Plan { rate: Some(2000.0), warm_up: Duration::from_millis(50), ..server.plan(300, driver) };
        assert_counts(&run(&plan), 300, &[]);
    });
}

#[test]
fn a_stall_of_the_server_is_in_the_latencies_of_all_it_delayed() {
    on_each_driver(|driver| {
        let has_stalled = AtomicBool::new(false);
        let server = Faulty::start(move |exchange| {
            if exchange.request == 100 && !has_stalled.swap(true, Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(300));
            }
            exchange.answer(RIGHT)
        });
        let plan = timed(server.plan(1, driver), 500.0, 1000);
        let load = run(&Plan { connections: 1, ..plan });
        assert_counts(&load, load.tally.answers, &[]);
        // Of the 500 requests about 150 were due during the stall. A client that waits and then measures from the sending
        // would have seen one long latency.
        let p80_ms = load.tally.latency.percentile(80.0) / 1_000_000;
        let max_ms = load.tally.latency.max() / 1_000_000;
        assert!((30..=2000).contains(&p80_ms) && max_ms >= 295, "p80 {p80_ms} ms, max {max_ms} ms");
    });
}

#[test]
fn what_a_server_did_not_keep_up_with_is_told() {
    on_each_driver(|driver| {
        // One answer in 10 ms on each of two connections: at most 200 a second.
        let server = Faulty::start(|exchange| {
            std::thread::sleep(Duration::from_millis(10));
            exchange.answer(RIGHT)
        });
        let plan = timed(server.plan(1, driver), 2000.0, 500);
        let load = run(&Plan { connections: 2, ..plan });
        assert!(load.failure().is_none(), "{load:?}");
        assert!(load.tally.unsent > 500 && load.tally.answers < 300, "{load:?}");
        assert_eq!(load.tally.latency.count(), load.tally.answers + load.tally.unsent);
        assert!(load.tally.latency.percentile(50.0) > 100_000_000, "{load:?}");
    });
}

#[test]
fn a_silent_server_ends_an_open_loop_by_timeouts() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| match exchange.is_probe() {
            true => exchange.answer(RIGHT),
            false => Ok(true),
        });
        let plan = timed(server.plan(1, driver), 100.0, 300);
        let load = run(&Plan { timeout: Duration::from_millis(200), connections: 2, ..plan });
        let timeouts = load.tally.faults.of(FaultKind::Timeout);
        assert!(
            timeouts >= 2 && load.tally.answers == 0 && load.tally.faults.total() == timeouts,
            "{load:?}"
        );
    });
}

#[test]
fn connections_for_single_requests_are_made_when_they_are_due() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| exchange.answer(RIGHT).map(|_| exchange.is_probe()));
        let plan = Plan { rate: Some(1000.0), requests_per_connection: Some(1), ..server.plan(200, driver) };
        let load = run(&Plan { connections: 8, ..plan });
        assert_counts(&load, 200, &[]);
        assert!(load.tally.connections >= 200, "{load:?}");
    });
}

#[test]
fn urls_have_rates_of_their_own() {
    on_each_driver(|driver| {
        let server = Faulty::start(|exchange| {
            let length = if exchange.head.starts_with("GET /often ") { 10 } else { 1000 };
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "z".repeat(length));
            exchange.answer(text.as_bytes())
        });
        let mut plan = server.plan(500, driver);
        plan.targets = vec![server.target("/often"), server.target("/seldom")];
        (plan.targets[0].rate, plan.targets[1].rate) = (Some(800.0), Some(200.0));
        let load = run(&plan);
        assert_counts(&load, 500, &[]);
        let seldom = (load.tally.body_bytes - 5000) / 990;
        assert!((90..=110).contains(&seldom), "{seldom} of 500: {load:?}");
    });
}
