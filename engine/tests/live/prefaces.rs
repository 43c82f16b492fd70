//! Prefaces: what a proxy in front says before filter and protocol begin, whom it is believed from, and what counts then.

use crate::stand::scramble::{ANSWER, KNOCK, Peer, Strict};
use crate::stand::{Setup, Stand, connect, eventually, on_each_driver, pattern};
use ringway_engine::ring::DriverChoice;
use ringway_engine::{Conn, EndpointLimits, Events, Expected, FilterSource, Preface, Protocol, Said, Turn};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A line of one word: the client's address, or `-` for the proxy itself.
#[derive(Default)]
struct Line {
    is_distrustful: AtomicBool,
}

impl Preface for Line {
    fn expects(&self, peer: Option<SocketAddr>) -> Expected {
        assert!(peer.is_some_and(|peer| peer.ip().is_loopback()));
        if self.is_distrustful.load(Ordering::SeqCst) { Expected::Stranger } else { Expected::Preface }
    }

    fn read(&self, bytes: &[u8], peer: Option<SocketAddr>) -> Said {
        assert!(peer.is_some_and(|peer| peer.ip().is_loopback()), "the proxy, not whom it speaks for");
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Said::More };
        match std::str::from_utf8(&bytes[..end]) {
            Ok("-") => Said::Done { bytes: end + 1, client: None },
            Ok("panic") => panic!("on purpose: a preface"),
            Ok(line) => line
                .parse()
                .map_or(Said::Refused, |client| Said::Done { bytes: end + 1, client: Some(client) }),
            Err(_no_text) => Said::Refused,
        }
    }
}

/// Tells whom it takes its peer for, and echoes.
struct Greeter;

impl Protocol for Greeter {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            let peer = conn.peer().expect("a TCP connection");
            let greeting = if peer.ip().is_loopback() { "the proxy;".to_owned() } else { format!("{peer};") };
            let greeting = conn.pool().copy_of(greeting.as_bytes()).expect("room");
            conn.send(greeting);
        }
        while let Some(bytes) = conn.take() {
            conn.send(bytes);
        }
        if conn.is_ended() { Turn::Close } else { Turn::Idle }
    }
}

fn setup(driver: DriverChoice) -> Setup {
    let mut setup = Setup::new(driver, |_| Greeter);
    setup.endpoint.preface = Some(Arc::new(Line::default()));
    setup
}

fn read_until(stream: &mut TcpStream, end: u8) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while text.last() != Some(&end) {
        stream.read_exact(&mut byte).expect("it comes");
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("a greeting")
}

fn is_reset(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 8]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn it_is_read_in_whatever_pieces_it_comes() {
    on_each_driver(|driver| {
        let stand = setup(driver).start();
        let text = b"203.0.113.9:4000\nhello";
        for split in 1..text.len() {
            let mut stream = stand.connect();
            stream.write_all(&text[..split]).expect("it reads");
            if split <= 16 {
                let before = stand.totals();
                eventually("the first part is taken in", || {
                    let totals = stand.totals();
                    (totals.bytes_received >= before.bytes_received.max(split as u64)).then_some(()).ok_or(())
                });
            }
            stream.write_all(&text[split..]).expect("it reads");
            assert_eq!(read_until(&mut stream, b';'), "203.0.113.9:4000;");
            assert_eq!(read_until(&mut stream, b'o'), "hello");
        }
        // One that speaks for itself, and a long message right behind.
        let mut stream = stand.connect();
        let body = pattern(0, 300_000);
        let mut writer = stream.try_clone().expect("a descriptor");
        let all = [b"-\n", &body[..]].concat();
        let writing = std::thread::spawn(move || writer.write_all(&all).expect("it reads"));
        assert_eq!(read_until(&mut stream, b';'), "the proxy;");
        let mut echoed = vec![0; body.len()];
        stream.read_exact(&mut echoed).expect("the echo comes");
        assert!(echoed == body);
        writing.join().expect("no panic");
        drop(stream);
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn who_is_not_believed_or_not_understood_is_cut() {
    on_each_driver(|driver| {
        let line = Arc::new(Line::default());
        let mut setup = setup(driver);
        setup.endpoint.preface = Some(Arc::clone(&line) as Arc<dyn Preface>);
        setup.endpoint.limits.handshake_ms_max = 200;
        let stand = setup.start();
        for words in [&b"who am I\n"[..], b"\xff\n", b"panic\n"] {
            let mut stream = stand.connect();
            stream.write_all(words).expect("it reads");
            assert!(is_reset(&mut stream), "{}", words.escape_ascii());
        }
        let mut endless = stand.connect();
        let _cut_meanwhile = endless.write_all(&[b'x'; 500_000]);
        assert!(is_reset(&mut endless));
        // One that says nothing, one that says half of it, one that ends.
        let mut slow = [stand.connect(), stand.connect(), stand.connect()];
        slow[1].write_all(b"203.0.").expect("it reads");
        slow[2].shutdown(std::net::Shutdown::Write).expect("it is open");
        assert!(slow.iter_mut().all(is_reset));
        line.is_distrustful.store(true, Ordering::SeqCst);
        let mut stranger = stand.connect();
        let _too_late = stranger.write_all(b"203.0.113.9:4000\n");
        assert!(is_reset(&mut stranger));
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.panics, totals.refused, totals.turns), (1, 1, 0));
    });
}

#[test]
fn limits_for_addresses_count_whom_it_speaks_for() {
    on_each_driver(|driver| {
        let mut setup = setup(driver);
        setup.endpoint.limits =
            EndpointLimits { connections_per_address_max: 2, ..EndpointLimits::default() };
        let stand = setup.start();
        let open = |who: &str| {
            let mut stream = stand.connect();
            stream.write_all(format!("{who}\n").as_bytes()).expect("it reads");
            stream
        };
        let mut good: Vec<TcpStream> =
            ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "-", "-", "-"].map(open).into();
        for stream in &mut good {
            assert!(read_until(stream, b';').len() > 1);
        }
        assert!(is_reset(&mut open("192.0.2.1:3")), "two are open already");
        // Its share is given back with the connection.
        drop(good.remove(0));
        eventually("there is room again", || {
            let mut stream = open("192.0.2.1:4");
            let mut byte = [0];
            (matches!(stream.read(&mut byte), Ok(1))).then_some(()).ok_or(())
        });
        drop(good);
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn a_filter_begins_behind_it() {
    fn talk(stand: &Stand, first: &[&[u8]]) {
        let mut stream = connect(stand.address()).expect("the server listens");
        for part in first {
            stream.write_all(part).expect("it reads");
        }
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).expect("the handshake is answered");
        assert_eq!(answer, ANSWER);
        let mut layer = Peer::default();
        let sealed = layer.seal(b"ping", &[4]);
        stream.write_all(&sealed).expect("it reads");
        let mut buffer = [0; 500];
        while layer.plain.len() < b"198.51.100.4:77;ping".len() {
            let count = stream.read(&mut buffer).expect("it comes");
            layer.open(&buffer[..count]);
        }
        assert_eq!(layer.plain, b"198.51.100.4:77;ping");
    }
    on_each_driver(|driver| {
        let mut setup = setup(driver);
        setup.endpoint.filter = Some(Arc::new(|_worker| Ok(Rc::new(Strict) as Rc<dyn FilterSource>)));
        let stand = setup.start();
        let knock = KNOCK.to_be_bytes();
        let together = [&b"198.51.100.4:77\n"[..], &knock].concat();
        talk(&stand, &[&together]);
        talk(&stand, &[b"198.51.100.4:77\n", &knock]);
        talk(&stand, &[b"198.51.", b"100.4:77\n\xff", &knock[1..]]);
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.panics, totals.handshakes), (0, 3));
    });
}

/// Some are proxies that say nothing of the connection, others clients.
struct Plain {
    is_proxy: AtomicBool,
}

impl Preface for Plain {
    fn expects(&self, _peer: Option<SocketAddr>) -> Expected {
        if self.is_proxy.load(Ordering::SeqCst) { Expected::Proxy } else { Expected::Client }
    }

    fn read(&self, _bytes: &[u8], _peer: Option<SocketAddr>) -> Said {
        panic!("nobody has to say anything");
    }
}

#[test]
fn proxies_that_say_nothing_of_connections_are_not_counted() {
    on_each_driver(|driver| {
        let plain = Arc::new(Plain { is_proxy: AtomicBool::new(true) });
        let mut setup = setup(driver);
        setup.endpoint.preface = Some(Arc::clone(&plain) as Arc<dyn Preface>);
        setup.endpoint.limits =
            EndpointLimits { connections_per_address_max: 1, ..EndpointLimits::default() };
        let stand = setup.start();
        let mut open: Vec<TcpStream> = (0..4).map(|_| stand.connect()).collect();
        for stream in &mut open {
            assert_eq!(read_until(stream, b';'), "the proxy;");
        }
        plain.is_proxy.store(false, Ordering::SeqCst);
        let mut client = stand.connect();
        assert_eq!(read_until(&mut client, b';'), "the proxy;", "the first of its own");
        assert!(is_reset(&mut stand.connect()), "and the last");
        drop((open, client));
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}
