//! The measuring subcommands end with whole tables, whatever the numbers are on the machine at hand.

use crate::stand::{Run, engine_kinds, kinds, read, run};
use ringway_lab::measure::cores;

/// Whether the machine has the two cores that measuring takes; a missing one is told.
fn can_measure() -> bool {
    let can = cores::allowed().len() >= 2;
    if !can {
        eprintln!("SKIPPED: measuring takes two cores");
    }
    can
}

fn measured(arguments: &[&str]) -> Run {
    let run = read(&run(&[arguments, &["--json", "-", "--quiet"]].concat()));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

#[test]
fn echo_is_compared() {
    if !can_measure() {
        return;
    }
    let kinds = kinds();
    let names = kinds.join(",");
    for command in [&["ceiling", "--cases", "echo"][..], &["echo", "compare"][..]] {
        let flags = ["--kinds", &names, "--connections", "4,20", "--rounds", "2", "--measure-ms", "60"];
        let run = measured(&[command, &flags].concat());
        for table in ["echo-4", "echo-20"] {
            let rows = run.rows(table);
            let servers: Vec<&str> = rows.iter().filter_map(|row| row["server"].as_str()).collect();
            assert_eq!(servers, kinds);
            for row in rows {
                assert!(row["rate"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
                assert!(row["server CPU"].as_f64().is_some_and(|us| us > 0.1), "{row}");
                assert!(
                    row["CPU to plain-epoll"]["value"].as_f64().is_some_and(|ratio| ratio > 0.0),
                    "{row}"
                );
            }
        }
    }
}

#[test]
fn http_ceilings_are_measured_with_every_answer_checked() {
    if !can_measure() {
        return;
    }
    let kinds = kinds();
    let names = kinds.join(",");
    let run = measured(&[
        "ceiling",
        "--cases",
        "keep-alive,pipelined,close,large,large-memory",
        "--kinds",
        &names,
        "--connections",
        "4",
        "--rounds",
        "1",
        "--measure-ms",
        "400",
        "--warm-up-ms",
        "50",
    ]);
    for table in ["keep-alive-4", "pipelined-4", "close-4", "large-4", "large-memory-4"] {
        let rows = run.rows(table);
        assert_eq!(rows.len(), kinds.len());
        for row in rows {
            assert!(row["rate"].as_f64().is_some_and(|rate| rate > 0.0), "{table}: {row}");
            assert!(row["server CPU"].as_f64().is_some_and(|us| us > 0.1), "{table}: {row}");
        }
    }
    let figures = run.json["figures"].as_array().expect("figures");
    let names: Vec<&str> = figures.iter().filter_map(|figure| figure["name"].as_str()).collect();
    assert_eq!(names, ["ceilings", "ceilings-large"]);
}

/// Every mode there is.
const MODES: [&str; 9] = [
    "polled",
    "event",
    "adaptive",
    "udp-polled",
    "udp-event",
    "udp-adaptive",
    "udp-port",
    "udp-port-handover",
    "udp-plain",
];

#[test]
fn latencies_stand_beside_the_jitter_of_the_machine() {
    if !can_measure() {
        return;
    }
    for driver in engine_kinds() {
        let run = measured(&[
            "echo",
            "pingpong",
            "--driver",
            driver,
            "--connections",
            "1,2",
            "--rounds",
            "1",
            "--measure-ms",
            "60",
        ]);
        assert_eq!(run.rows("jitter").len(), 2);
        for table in ["pingpong-1", "pingpong-2"] {
            let rows = run.rows(table);
            let modes: Vec<&str> = rows.iter().filter_map(|row| row["mode"].as_str()).collect();
            assert_eq!(modes, MODES);
            for row in rows {
                let [p50, p999] = ["p50", "p99.9"].map(|name| row[name].as_f64().expect("a latency"));
                assert!(0.5 < p50 && p50 <= p999, "{row}");
            }
        }
        let figures = run.json["figures"].as_array().expect("figures");
        let lines: Vec<_> = figures.iter().map(|figure| figure["series"].as_array().map(Vec::len)).collect();
        assert_eq!(lines, [Some(3), Some(6)], "TCP and UDP");
    }
}
