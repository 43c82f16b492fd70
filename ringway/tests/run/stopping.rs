//! The end: when what is under way is finished, when the time is up, and at once.

use crate::stand::{Stand, eventually, on_both_drivers};
use ringway_testkit::Client;
use rustix::process::Signal;
use std::io::Read;
use std::time::{Duration, Instant};

const LARGE: usize = 24 << 20;

fn download(stand: &Stand, running: &crate::stand::Running) -> Client {
    stand.file("site/large", &vec![b'x'; LARGE]);
    let mut client = Client::connect(running.address()).unwrap();
    client.send(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut first = [0; 1];
    client.stream().read_exact(&mut first).unwrap();
    client
}

#[test]
fn what_is_under_way_is_finished() {
    on_both_drivers(|driver| {
        let stand = Stand::new(&format!("run-stop-{driver}"), driver);
        let mut running = stand.start();
        let mut client = download(&stand, &running);
        running.signal(Signal::TERM);
        running.wait_to_say("Stopping");
        let rest = client.until_end().unwrap();
        assert!(rest.len() > LARGE, "head and body");
        assert!(running.wait().success());
        assert!(running.said().contains("Stopped: 1 connections"), "{}", running.said());
    });
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let stand = Stand::new("run-stop-twice", "auto");
    let mut running = stand.start();
    let _client = download(&stand, &running);
    running.signal(Signal::TERM);
    running.wait_to_say("Stopping");
    let began = Instant::now();
    running.signal(Signal::INT);
    running.wait();
    assert!(began.elapsed() < Duration::from_secs(15), "the drain would have taken 30 s");
    eventually("no server process is left", || running.servers().is_empty().then_some(()));
}
