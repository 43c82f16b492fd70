//! Filters with a handshake, put on an endpoint's connections by the engine: what protocols hear of them, and when.

use crate::stand::scramble::{self, ANSWER, CIPHER, KNOCK, Peer, REFUSAL, Strict};
use crate::stand::{Setup, Stand, eventually, on_each_driver};
use ringway_engine::ring::DriverChoice;
use ringway_engine::{Conn, EndpointLimits, Events, FilterSource, Protocol, Turn};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Echoes, and notes what it hears.
struct Witness {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Witness {
    fn note(&self, what: String) {
        self.heard.lock().expect("no test panics with it").push(what);
    }
}

impl Protocol for Witness {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let cipher = conn.session().map(|session| session.cipher);
        if events.has(Events::OPENED) {
            let of_stream = conn.detach();
            assert!(conn.is_filtered());
            self.note(format!("opened {cipher:?}, input {}", conn.has_input()));
            drop(of_stream);
        }
        if conn.is_broken() {
            self.note("broken".to_owned());
            return Turn::Close;
        }
        while let Some(bytes) = conn.take() {
            conn.send(bytes);
        }
        if conn.is_ended() {
            self.note("ended".to_owned());
            return Turn::Close;
        }
        Turn::Idle
    }

    fn closed(&self, _context: [u64; 2]) {
        self.note("closed".to_owned());
    }
}

struct Scene {
    stand: Stand,
    heard: Arc<Mutex<Vec<String>>>,
}

fn scene(driver: DriverChoice, limits: EndpointLimits) -> Scene {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let witness = Arc::clone(&heard);
    let mut setup = Setup::new(driver, move |_| Witness { heard: Arc::clone(&witness) });
    setup.endpoint.filter = Some(Arc::new(|_worker| Ok(Rc::new(Strict) as Rc<dyn FilterSource>)));
    setup.endpoint.limits = limits;
    Scene { stand: setup.start(), heard }
}

impl Scene {
    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no test panics with it").clone()
    }

    fn end(self) -> Vec<String> {
        self.stand.until_resting();
        self.stand.stop();
        let heard = self.heard.lock().expect("no test panics with it");
        heard.clone()
    }
}

fn shake(stream: &mut TcpStream) {
    stream.write_all(&KNOCK.to_be_bytes()).expect("the server reads");
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).expect("the filter answers");
    assert_eq!(answer, ANSWER);
}

fn opened(has_input: bool) -> String {
    format!("opened {:?}, input {has_input}", Some(CIPHER))
}

#[test]
fn a_protocol_hears_of_a_connection_once_its_session_is_there() {
    on_each_driver(|driver| {
        let scene = scene(driver, EndpointLimits::default());
        let mut stream = scene.stand.connect();
        let mut peer = Peer::default();
        let [first, second] = KNOCK.to_be_bytes();
        stream.write_all(&[first]).expect("the server reads");
        eventually("the half has come", || {
            let count = scene.stand.totals().bytes_received;
            if count == 1 { Ok(()) } else { Err(count) }
        });
        assert_eq!(scene.heard(), [""; 0]);
        // The rest of the handshake and the first record come together.
        let mut rest = vec![second];
        rest.extend(peer.seal(b"early", &[5]));
        rest.extend(peer.seal(b"", &[1]));
        stream.write_all(&rest).expect("the server reads");
        let mut answer = [0; 2 + 2 + 5];
        stream.read_exact(&mut answer).expect("answer and echo");
        assert_eq!(answer[..2], *ANSWER);
        peer.open(&answer[2..]);
        assert_eq!(peer.plain, b"early");
        // The last word, on a transport that stays open.
        stream.write_all(&[0, 0]).expect("the server reads");
        let mut end = Vec::new();
        stream.read_to_end(&mut end).expect("a good end");
        assert_eq!(end, [0, 0]);
        let totals = scene.stand.totals();
        assert_eq!((totals.handshakes, totals.handshakes_failed), (1, 0));
        assert_eq!(scene.end(), [opened(true), "ended".to_owned(), "closed".to_owned()]);
    });
}

#[test]
fn an_end_without_the_last_word_is_a_break() {
    on_each_driver(|driver| {
        let scene = scene(driver, EndpointLimits::default());
        let mut stream = scene.stand.connect();
        shake(&mut stream);
        stream.shutdown(Shutdown::Write).expect("open");
        eventually("the connection ends", || {
            let open = scene.stand.totals().open;
            if open == 0 { Ok(()) } else { Err(open) }
        });
        assert_eq!(scene.end(), [opened(false), "broken".to_owned(), "closed".to_owned()]);
    });
}

#[test]
fn a_handshake_has_a_time_limit_and_a_session_has_not() {
    on_each_driver(|driver| {
        let limits = EndpointLimits { handshake_ms_max: 200, ..EndpointLimits::default() };
        let scene = scene(driver, limits);
        let mut good = scene.stand.connect();
        shake(&mut good);
        let mut half = scene.stand.connect();
        half.write_all(&KNOCK.to_be_bytes()[..1]).expect("the server reads");
        let mut silent = scene.stand.connect();
        let began = Instant::now();
        for stream in [&mut half, &mut silent] {
            match stream.read(&mut [0; 1]) {
                Ok(count) => assert_eq!(count, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
        let mut peer = Peer::default();
        good.write_all(&peer.seal(b"still", &[5])).expect("the server reads");
        let mut echo = [0; 7];
        good.read_exact(&mut echo).expect("the echo");
        assert_eq!(scene.stand.totals().handshakes_failed, 2);
        good.write_all(&[0, 0]).expect("the server reads");
        let heard = scene.end();
        assert_eq!(heard, [opened(false), "ended".to_owned(), "closed".to_owned()]);
    });
}

#[test]
fn a_refused_handshake_delivers_its_reason_to_a_peer_that_goes_on_sending() {
    on_each_driver(|driver| {
        let scene = scene(driver, EndpointLimits::default());
        let mut stream = scene.stand.connect();
        let mut wire = 0x8000_u16.to_be_bytes().to_vec();
        wire.extend([7; 3_000]);
        stream.write_all(&wire).expect("the server reads");
        let mut found = Vec::new();
        let mut reader = stream.try_clone().expect("a descriptor");
        reader.read_to_end(&mut found).expect("a good end, not a reset");
        assert_eq!(found, REFUSAL);
        drop((stream, reader));
        assert_eq!(scene.end(), [""; 0]);
    });
}

struct Broken;

impl FilterSource for Broken {
    fn make(&self) -> Box<dyn ringway_engine::Filter> {
        if true { panic!("on purpose: a source of filters") } else { scramble::boxed() }
    }
}

#[test]
fn a_source_that_panics_costs_its_connection_only() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| Witness { heard: Arc::default() });
        setup.endpoint.filter = Some(Arc::new(|_worker| Ok(Rc::new(Broken) as Rc<dyn FilterSource>)));
        setup.endpoint.limits.connections_per_address_max = 1;
        let stand = setup.start();
        for round in 1..=2 {
            let mut stream = stand.connect();
            assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
            assert_eq!(stand.totals().panics, round);
        }
        stand.until_resting();
        stand.stop();
    });
}
