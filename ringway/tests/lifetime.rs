//! A connection's lifetime: answers before it leave the connection open, the first one after it is the last.

use ringway::engine::ring::{DriverChoice, probe, socket::Address};
use ringway::listen;
use ringway::serve::{LogTarget, Serve};
use ringway_testkit::{Client, Scratch};
use std::time::{Duration, Instant};

const LIFETIME: Duration = Duration::from_secs(1);

#[test]
fn the_first_answer_after_the_lifetime_is_the_last() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        if let (DriverChoice::Uring, Err(error)) = (driver, probe()) {
            eprintln!("SKIPPED on uring: {error}");
            continue;
        }
        let site = Scratch::new("lifetime");
        site.file("a.txt", b"hello");
        let mut serve = Serve::new(site.path());
        (serve.workers, serve.driver, serve.log) = (1, driver, LogTarget::Off);
        serve.listen = listen::parse("127.0.0.1:0").expect("an address");
        serve.limits.lifetime_ms_max = 1000;
        let server = serve.start().expect("it starts");
        let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
        let started = Instant::now();
        let mut client = Client::connect(address).expect("it listens");
        loop {
            client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
            let answer = client.answer(false).expect("an answer");
            let head = answer.head.to_ascii_lowercase();
            if head.contains("connection: close") {
                assert!(started.elapsed() >= LIFETIME, "too early on {driver:?}");
                break;
            }
            assert!(started.elapsed() < LIFETIME * 10, "never on {driver:?}");
        }
        assert!(client.until_end().expect("a clean end").is_empty());
        drop(client);
        server.drain(Duration::from_secs(5));
        server.wait(Duration::from_secs(5)).expect("no worker died");
    }
}
