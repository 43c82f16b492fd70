//! Datagrams: what is lost, late, doubled, overtaken or wrong is counted and told apart.

use crate::stand::{Run, Server, engine_kinds};
use crate::{failure, stress};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A server that answers each datagram with what `change` makes of its number and itself.
fn server(change: impl Fn(usize, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut number = 0;
        while let Ok((count, source)) = socket.recv_from(&mut buffer) {
            for answer in change(number, buffer[..count].to_vec()) {
                let _gone = socket.send_to(&answer, source);
            }
            number += 1;
        }
    });
    address.to_string()
}

fn count(run: &Run, column: &str) -> u64 {
    let value = run.rows("datagrams")[0][column].as_f64().expect("a number");
    value.to_string().parse().expect("a whole one")
}

const ONE: [&str; 5] = ["--udp", "--connections", "1", "--messages", "100"];

#[test]
fn datagrams_come_back() {
    for driver in engine_kinds() {
        let server = Server::start(&["echo", "serve", driver, "--udp"]);
        let address = server.address.to_string();
        let run = stress(
            &address,
            &["--udp", "--connections", "20", "--messages", "4000", "--size", "8-1400", "--driver", driver],
        )
        .succeeded();
        // A datagram more may be lost on a machine that is busy; none is wrong.
        assert_eq!(run.count("answers") + count(&run, "lost"), 4000, "{driver}");
        assert_eq!((count(&run, "sent"), count(&run, "twice")), (4000, 0), "{driver}");
        let run = stress(
            &address,
            &["--udp", "--connections", "3", "--seconds", "1", "--warm-up-ms", "50", "--rate-per-s", "200"],
        );
        let rate = run.succeeded().rows("load")[0]["rate"].as_f64().expect("a rate");
        assert!((50.0..=260.0).contains(&rate), "{rate} a second at 200");
    }
}

#[test]
fn lost_and_doubled_datagrams_are_counted() {
    let losing = server(|number, datagram| if number % 10 == 3 { Vec::new() } else { vec![datagram] });
    let run = stress(&losing, &[&ONE[..], &["--window", "16"]].concat()).succeeded();
    assert_eq!((count(&run, "lost"), run.count("answers"), count(&run, "sent")), (10, 90, 100));
    let doubling = server(|_, datagram| vec![datagram.clone(), datagram]);
    let run = stress(&doubling, &[&ONE[..], &["--window", "4"]].concat()).succeeded();
    // What comes behind the last answer is not waited for.
    assert!((99 - 4..=100).contains(&count(&run, "twice")), "{}", count(&run, "twice"));
    assert_eq!((count(&run, "lost"), run.count("answers")), (0, 100));
}

#[test]
fn overtaken_datagrams_are_counted() {
    let held = std::sync::Mutex::new(None::<Vec<u8>>);
    let swapping = server(move |_, datagram| {
        let mut held = held.lock().expect("ours");
        match held.take() {
            None => {
                *held = Some(datagram);
                Vec::new()
            }
            Some(before) => vec![datagram, before],
        }
    });
    let run = stress(&swapping, &[&ONE[..], &["--window", "2"]].concat()).succeeded();
    assert_eq!((count(&run, "overtaken"), count(&run, "lost")), (50, 0));
}

#[test]
fn wrong_datagrams_are_told_apart() {
    let words = |change: fn(Vec<u8>) -> Vec<u8>| {
        let address = server(move |_, datagram| vec![change(datagram)]);
        failure(&stress(&address, &["--udp", "--connections", "1", "--messages", "1", "--seed", "5"]))
    };
    let changed = words(|mut datagram| {
        datagram[20] ^= 1;
        datagram
    });
    assert!(
        changed.starts_with("wrong byte: connection 0: message 0, byte 20 of 64: expected "),
        "{changed}"
    );
    let short = words(|datagram| datagram[..50].to_vec());
    assert!(short.ends_with("message 0 of 64 bytes: the answer ends after 50 bytes"), "{short}");
    let long = words(|datagram| [&datagram[..], b"x"].concat());
    assert!(long.ends_with("message 0 of 64 bytes: 64 bytes are right, and the answer goes on"), "{long}");
    let tiny = words(|_| vec![1, 2, 3]);
    assert!(tiny.contains("a datagram of 3 bytes came, which none was"), "{tiny}");
    let foreign = words(|mut datagram| {
        datagram[7] ^= 0x80;
        datagram
    });
    assert!(
        foreign.contains("a datagram came that was never sent (its number is 8000000000000000)"),
        "{foreign}"
    );
}

#[test]
fn datagrams_of_another_connection_are_named() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound").to_string();
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    std::thread::spawn(move || {
        let mut first: Option<(Vec<u8>, SocketAddr)> = None;
        let mut buffer = [0; 4096];
        while let Ok((count, source)) = socket.recv_from(&mut buffer) {
            let (_, other) = first.get_or_insert((Vec::new(), source));
            let answer_to = if *other == source { continue } else { *other };
            socket.send_to(&buffer[..count], answer_to).expect("open");
        }
    });
    let words = failure(&stress(&address, &["--udp", "--connections", "2", "--messages", "2"]));
    let one =
        words.contains("message 0 of connection 1 came") || words.contains("message 0 of connection 0 came");
    assert!(words.starts_with("protocol error: ") && one, "{words}");
}

#[test]
fn a_server_that_never_answers_is_a_failure() {
    let silent = server(|_, _| Vec::new());
    let words = failure(&stress(&silent, &["--udp", "--connections", "2", "--messages", "4"]));
    assert!(words.contains("nothing came for 1.0 s; 4 messages are owed"), "{words}");
}
