//! Whole runs of `udp matrix` and `udp drain`, short ones.

use crate::stand::{json, table};

#[test]
fn a_small_matrix_has_every_table_and_figure() {
    let outcome =
        json("matrix --servers ring-event,plain-polled --work 0,100 --size 256 --seconds 0.1 --rounds 1");
    let handled = table(&outcome, "handled");
    assert_eq!(handled.len(), 2);
    for row in handled {
        for server in ["ring-event", "plain-polled"] {
            let percent = row[server].as_f64().expect("a percentage");
            assert!(percent > 0.0 && percent <= 100.0, "{server}: {percent}");
        }
    }
    assert_eq!(handled[1]["seed: traditional"], 63.86);
    assert!(table(&outcome, "cpu").iter().all(|row| row["ring-event"].as_f64().is_some_and(|us| us > 0.0)));
    // The two cases of trains stand beside the four of the matrix.
    let detail = table(&outcome, "detail");
    assert_eq!(detail.len(), 6);
    assert!(detail.iter().all(|row| row["dropped at the sockets"].is_f64()), "{detail:?}");
    let verdicts = table(&outcome, "bars").iter().map(|row| row["verdict"].as_str().expect("a verdict"));
    assert!(verdicts.clone().all(|verdict| ["pass", "missed", "not measured"].contains(&verdict)));
    assert!(verdicts.filter(|verdict| *verdict == "not measured").count() < table(&outcome, "bars").len());
    let figures: Vec<&str> = outcome["figures"]
        .as_array()
        .expect("figures")
        .iter()
        .filter_map(|figure| figure["name"].as_str())
        .collect();
    assert_eq!(figures, ["udp-handled", "udp-cpu"]);
}

#[test]
fn trains_and_the_readiness_driver_have_a_matrix_too() {
    let outcome =
        json("matrix --servers ring-port-1 --work 0 --seconds 0.1 --rounds 1 --gso --segments 20 --epoll");
    assert_eq!(table(&outcome, "detail").len(), 1);
    assert!(table(&outcome, "handled")[0]["ring-port-1"].as_f64().is_some_and(|percent| percent > 0.0));
}

#[test]
fn draining_measures_every_way() {
    let outcome = json("drain --rounds 1 --size 64 --handler compute:2us --port-threads 1,2");
    let ways = table(&outcome, "drain");
    assert!(ways.len() >= 4, "{ways:?}");
    assert!(ways.iter().all(|row| row["CPU per datagram"].as_f64().is_some_and(|ns| ns > 0.0)));
    let ports = table(&outcome, "ports");
    assert_eq!(ports.len(), 2);
    assert!(ports.iter().all(|row| row["rate"].as_f64().is_some_and(|rate| rate > 0.0)));
    assert_eq!(outcome["failure"], serde_json::Value::Null);
}
