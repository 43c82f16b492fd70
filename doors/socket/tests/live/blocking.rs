//! Handlers that wait are called on threads: order, back-pressure, ends, and workers that go on meanwhile.

use crate::stand::{Setup, eventually, on_each_driver, pattern};
use ringway_engine::ring::DriverChoice;
use ringway_engine::{Endpoint, Server};
use ringway_socket::blocking::{
    BlockingFactory, BlockingHandler, BlockingOptions, Distant, EVENTS_MAX, Received, blocking,
};
use ringway_socket::{ByteOrder, Closed, Framing, HandlerFactory, Reason, Settings, SocketProtocol, builtin};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

/// Echoes on its thread; what it is told to wait for, it waits for there.
#[derive(Clone, Default)]
struct Waiting {
    gate: Option<Arc<Mutex<Receiver<()>>>>,
    seen: Arc<Mutex<Vec<(u64, ThreadId)>>>,
    ends: Arc<Mutex<Vec<(u64, Reason)>>>,
}

impl BlockingHandler for Waiting {
    fn message(&self, conn: &mut Distant, message: &mut Received) {
        conn.set_user(conn.user() + 1);
        self.seen.lock().expect("no panic").push((conn.user(), std::thread::current().id()));
        match message.payload() {
            b"wait" => {
                let gate = self.gate.as_ref().expect("there is one").lock().expect("no panic");
                gate.recv().expect("the test says when");
            }
            b"panic" => panic!("as it was told"),
            b"close" => return conn.close(),
            _ => {}
        }
        let answer = message.take();
        conn.send(answer).expect("there is room");
    }

    fn closed(&self, closed: &Closed) {
        self.ends.lock().expect("no panic").push((closed.user, closed.reason));
    }
}

fn moved(made: &Waiting, threads_max: usize) -> HandlerFactory {
    let made = made.clone();
    let factory: BlockingFactory =
        Arc::new(move |_thread| Ok(Rc::new(made.clone()) as Rc<dyn BlockingHandler>));
    blocking(factory, BlockingOptions { threads_max, ..BlockingOptions::default() })
}

fn setup(driver: DriverChoice, made: &Waiting, threads_max: usize) -> Setup {
    Setup::new(driver, moved(made, threads_max)).on(|terms| terms.framing = Framing::lines())
}

fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).expect("the answer comes");
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("it was text")
}

#[test]
fn while_one_waits_the_worker_answers_others_of_this_and_of_other_endpoints() {
    on_each_driver(|driver| {
        let (release, gate) = channel();
        let waiting = Waiting { gate: Some(Arc::new(Mutex::new(gate))), ..Waiting::default() };
        let stand = setup(driver, &waiting, 4).start();
        let (mut slow, mut quick) = (stand.connect(), stand.connect());
        slow.write_all(b"wait\n").expect("it reads");
        eventually("it waits", || {
            if waiting.seen.lock().expect("no panic").is_empty() { Err(()) } else { Ok(()) }
        });
        // The one worker answers on a connection that comes now, by another thread of the handler's.
        let mut late = stand.connect();
        late.write_all(b"late\n").expect("it reads");
        assert_eq!(line(&mut late), "late\n");
        drop(late);
        release.send(()).expect("it waits");
        assert_eq!(line(&mut slow), "wait\n");
        quick.write_all(b"quick\n").expect("it reads");
        assert_eq!(line(&mut quick), "quick\n");
        let seen = waiting.seen.lock().expect("no panic").clone();
        assert_ne!(seen[0].1, seen[1].1, "two threads");
        drop((slow, quick));
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn another_endpoint_of_the_same_worker_goes_on() {
    on_each_driver(|driver| {
        let (release, gate) = channel();
        let waiting = Waiting { gate: Some(Arc::new(Mutex::new(gate))), ..Waiting::default() };
        let setup = setup(driver, &waiting, 1);
        let terms = Arc::new(setup.terms.clone());
        let here = SocketProtocol::factory(moved(&waiting, 1), Arc::clone(&terms));
        let there = SocketProtocol::factory(
            builtin("echo", &Settings::default()).expect("it is one"),
            Arc::default(),
        );
        let address = setup.endpoint.address.clone();
        let endpoints = [Endpoint::new(address.clone(), here), Endpoint::new(address, there)];
        let server = Server::start(&endpoints, &setup.options).expect("it starts");
        let to = |place: usize| {
            let ringway_engine::ring::socket::Address::Tcp(to) = server.addresses()[place] else {
                panic!("TCP")
            };
            crate::stand::connect(to)
        };
        let (mut slow, mut other) = (to(0), to(1));
        slow.write_all(b"wait\n").expect("it reads");
        eventually("it waits", || {
            if waiting.seen.lock().expect("no panic").is_empty() { Err(()) } else { Ok(()) }
        });
        for round in 0..100 {
            let text = format!("round {round}\n");
            other.write_all(text.as_bytes()).expect("it reads");
            assert_eq!(line(&mut other), text);
        }
        release.send(()).expect("it waits");
        assert_eq!(line(&mut slow), "wait\n");
        drop((slow, other));
        server.drain(crate::stand::PATIENCE);
        server.wait(crate::stand::PATIENCE).expect("no worker dies");
    });
}

#[test]
fn messages_keep_their_order_and_a_peer_waits_for_a_handler_that_does() {
    on_each_driver(|driver| {
        const BYTES: usize = 1000;
        const COUNT: usize = 4000;
        let (release, gate) = channel();
        let waiting = Waiting { gate: Some(Arc::new(Mutex::new(gate))), ..Waiting::default() };
        let stand = setup(driver, &waiting, 2)
            .on(|terms| {
                terms.framing = Framing::Length { bytes: 2, order: ByteOrder::Big, inclusive: false };
                terms.limits.queue_bytes_max = 64 << 20;
            })
            .start();
        let mut stream = stand.connect();
        let mut writer = stream.try_clone().expect("a descriptor");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                writer.write_all(b"\0\x04wait").expect("it reads");
                for message in 0..COUNT {
                    let mut bytes = vec![0x03, 0xe8];
                    bytes.extend(pattern(message * BYTES, BYTES));
                    writer.write_all(&bytes).expect("it reads, in the end");
                }
            });
            // What the handler has not taken is bounded: the rest stays with the peer and the kernel.
            eventually("the handler is full", || {
                let taken = stand.counted().messages_in;
                if taken + 2 >= EVENTS_MAX as u64 { Ok(()) } else { Err(taken) }
            });
            let taken = stand.counted().messages_in;
            assert!(taken < COUNT as u64 / 2, "{taken} messages are too many to wait");
            release.send(()).expect("it waits");
            let mut head = [0; 6];
            stream.read_exact(&mut head).expect("the first answer");
            assert_eq!(&head, b"\0\x04wait");
            for message in 0..COUNT {
                let mut answer = vec![0; BYTES + 2];
                stream.read_exact(&mut answer).expect("the answers come");
                assert_eq!(&answer[2..], pattern(message * BYTES, BYTES), "message {message}");
            }
        });
        drop(stream);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn ends_come_last_and_panics_take_their_connection_only() {
    on_each_driver(|driver| {
        let waiting = Waiting::default();
        let stand = setup(driver, &waiting, 1).start();
        let mut other = stand.connect();
        let ends = |count: usize| {
            eventually("ends are told", || {
                let ends = waiting.ends.lock().expect("no panic").clone();
                if ends.len() >= count { Ok(ends) } else { Err(ends) }
            })
        };
        let mut stream = stand.connect();
        stream.write_all(b"one\npanic\nthree\n").expect("it reads");
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).is_err(), "reset after {rest:?}");
        assert_eq!(ends(1), [(2, Reason::Panicked)], "three was not handled");
        let mut stream = stand.connect();
        stream.write_all(b"one\nclose\n").expect("it reads");
        rest.clear();
        stream.read_to_end(&mut rest).expect("closed in good order");
        assert_eq!(rest, b"one\n");
        assert_eq!(ends(2)[1], (2, Reason::Handler));
        other.write_all(b"still\n").expect("it reads");
        assert_eq!(line(&mut other), "still\n");
        other.shutdown(std::net::Shutdown::Write).expect("it is open");
        rest.clear();
        other.read_to_end(&mut rest).expect("closed in good order");
        assert_eq!(ends(3)[2], (1, Reason::Peer));
        stand.until_resting();
        assert_eq!(stand.counted().panics, 1);
        assert!(stand.lines()[0].contains("the handler panicked; its connection is reset: as it was told"));
        stand.stop();
    });
}
