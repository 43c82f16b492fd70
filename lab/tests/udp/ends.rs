//! How trials end: by a short datagram, by their time, with what was lost on the way and what was out of order.

use crate::stand::{SERVERS, Serving, figure, json};
use std::net::UdpSocket;

fn sender() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a socket")
}

#[test]
fn the_first_short_datagram_ends_a_trial() {
    for server in SERVERS {
        let serving = Serving::start(&format!("--server {server}"));
        let socket = sender();
        for address in &serving.addresses {
            for length in [64, 64, 80, 64, 63, 64, 64] {
                socket.send_to(&[1; 80][..length], address).expect("loopback takes it");
            }
        }
        let rings = serving.addresses.len() as f64;
        let served = serving.succeed();
        let counted = figure(&served, "datagrams");
        // Threads of a pool take datagrams at the same time: what is behind the end may be on the way already.
        let beside = if server == "plain-port-N" { 2.0 } else { 0.0 };
        assert!((3.0 * rings..=3.0 * rings + beside).contains(&counted), "{server}: {counted}");
        assert_eq!(figure(&served, "longer than expected"), rings, "{server}");
    }
}

#[test]
fn a_trial_that_nobody_ends_is_over_when_its_time_is() {
    for server in ["plain-polled", "plain-port-N", "ring-polled", "ring-event", "ring-port-N"] {
        let serving = Serving::start(&format!("--server {server} --timeout 1"));
        sender().send_to(&[1; 64], &serving.addresses[0]).expect("loopback takes it");
        let served = serving.succeed();
        assert_eq!(figure(&served, "datagrams"), 1.0, "{server}");
        let note = served["notes"][0].as_str().expect("a note");
        assert!(note.starts_with("nobody ended the trial"), "{note}");
    }
}

#[test]
fn what_the_kernel_drops_is_told() {
    for server in ["plain-polled", "ring-event"] {
        // A receive buffer of a few datagrams, and milliseconds of work for each.
        let serving = Serving::start(&format!("--server {server} --receive-buffer 4096 --work 3000000"));
        let sent = json(&format!("send --to {} --size 64 --count 400", serving.to()));
        let served = serving.succeed();
        let (counted, dropped) = (figure(&served, "datagrams"), figure(&served, "dropped at the sockets"));
        assert!(counted < 400.0 && dropped > 0.0, "{server}: {counted} counted, {dropped} dropped");
        // Short datagrams are dropped as well.
        assert!(
            counted + dropped >= figure(&sent, "datagrams"),
            "{server}: {counted} counted, {dropped} dropped"
        );
        assert!(figure(&served, "dropped in the network namespace") >= dropped);
    }
}

#[test]
fn datagrams_out_of_order_fail_a_trial() {
    let serving = Serving::start("--server ring-event");
    let socket = sender();
    for sequence in [1_u64, 3, 2] {
        let mut datagram = [0; 64];
        datagram[..2].copy_from_slice(b"rw");
        datagram[4..12].copy_from_slice(&sequence.to_le_bytes());
        socket.send_to(&datagram, &serving.addresses[0]).expect("loopback takes it");
    }
    socket.send_to(&[], &serving.addresses[0]).expect("loopback takes it");
    let (code, served, said) = serving.finish();
    assert_eq!(code, Some(1));
    assert!(said.contains("1 datagrams came out of their flow's order"), "{said}");
    assert_eq!(figure(&served, "datagrams"), 3.0);
}
