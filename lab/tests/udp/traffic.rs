//! Whatever is sent slowly enough is counted, by every receiver, from every kind of generator.

use crate::stand::{SERVERS, Serving, figure, json};

/// Datagrams of a test: they fit the smallest receive buffer there is, so nothing can be lost.
const COUNT: u32 = 96;

fn exactly_counted(serve: &str, send: &str) {
    let serving = Serving::start(serve);
    let sent = json(&format!("send --to {} --size 64 --count {COUNT} {send}", serving.to()));
    assert_eq!(figure(&sent, "datagrams"), f64::from(COUNT), "{send}");
    assert_eq!(figure(&sent, "refused by the kernel"), 0.0);
    let served = serving.succeed();
    for (name, expected) in
        [("datagrams", f64::from(COUNT)), ("out of order", 0.0), ("longer than expected", 0.0)]
    {
        assert_eq!(figure(&served, name), expected, "{name}: {serve} and {send}");
    }
    assert!(figure(&served, "time") > 0.0 && figure(&served, "CPU per datagram") > 0.0);
    assert_eq!(served["failure"], serde_json::Value::Null);
}

#[test]
fn every_receiver_counts_what_was_sent() {
    for server in SERVERS {
        exactly_counted(&format!("--server {server}"), "--rate 20000");
    }
}

#[test]
fn rings_count_the_same_on_readiness() {
    for server in SERVERS.iter().filter(|server| server.starts_with("ring")) {
        exactly_counted(&format!("--server {server} --epoll"), "--rate 20000");
    }
}

#[test]
fn coalesced_trains_are_counted_one_by_one() {
    for server in SERVERS.iter().filter(|server| server.starts_with("ring")) {
        // 96 is no multiple of 10: the last train is shorter.
        exactly_counted(&format!("--server {server} --gro"), "--gso 10");
    }
    exactly_counted("--server plain-polled", "--gso 10");
}

#[test]
fn batches_threads_and_both_are_counted() {
    exactly_counted("--server ring-event", "--batch 16");
    exactly_counted("--server ring-event", "--batch 7 --gso 3");
    exactly_counted("--server ring-port-1 --rings 3", "--threads 3");
    exactly_counted("--server plain-port-N --threads 3", "--threads 2 --rate 30000");
}

#[test]
fn rings_of_a_port_listen_on_a_port_number_each() {
    let serving = Serving::start("--server ring-port-N --threads 2 --rings 3");
    assert_eq!(serving.addresses.len(), 3);
    json(&format!("send --to {} --size 64 --count 9", serving.to()));
    assert_eq!(figure(&serving.succeed(), "datagrams"), 9.0);
}

#[test]
fn ipv6_work_huge_pages_and_large_datagrams() {
    exactly_counted("--server ring-event --bind [::1]:0 --work 100", "--rate 20000");
    exactly_counted("--server plain-port-1 --bind [::1]:0", "--rate 20000");
    exactly_counted("--server ring-port-1 --huge-pages --buffers 4096", "--rate 20000");
    let serving = Serving::start("--server ring-event --size 9000 --buffers 64 --results 16");
    json(&format!("send --to {} --size 9000 --count 20", serving.to()));
    assert_eq!(figure(&serving.succeed(), "datagrams"), 20.0);
}
