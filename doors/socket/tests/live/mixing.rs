//! Answers of every kind in one turn, in their order; what other threads send; handlers that are replaced.

use crate::stand::{Setup, Stand, eventually, on_each_driver, read_line};
use ringway_engine::ring::{DriverChoice, SLICE_BYTES_MAX};
use ringway_socket::{
    ByteOrder, Closed, Connection, Framing, Handler, Message, Reason, RemoteError, Sender, SocketProtocol,
    Terms,
};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Answers as the message's first byte says.
struct Mixer;

impl Handler for Mixer {
    fn message(&self, conn: &mut Connection<'_>, mut message: Message<'_>) {
        let sent = match message.payload().first() {
            Some(b'r') => conn.reply(message),
            Some(b's') => conn.send(message.payload()),
            Some(b't') => {
                message.payload_mut().make_ascii_uppercase();
                message.truncate(2);
                conn.reply(message)
            }
            Some(b'l') => {
                let slice = conn.pool().copy_of(message.payload()).expect("memory");
                conn.send_slice(slice)
            }
            Some(b'a') => {
                conn.send(b"before").and_then(|()| conn.reply(message)).and_then(|()| conn.send(b"behind"))
            }
            _ => Ok(()),
        };
        sent.expect("it is open");
    }
}

fn framed(framing: &Framing, payload: &[u8]) -> Vec<u8> {
    match framing {
        Framing::Length { .. } => {
            [&u32::try_from(payload.len()).expect("short").to_le_bytes()[..], payload].concat()
        }
        _ => [payload, b"\n"].concat(),
    }
}

#[test]
fn answers_of_every_kind_keep_their_order() {
    let mut said: Vec<Vec<u8>> = Vec::new();
    for (place, kind) in b"rrsrtrlsnarrrtlaasr".iter().cycle().take(600).enumerate() {
        // Some are longer than what is copied, some longer than a buffer.
        let len = [3, 40, 700, 5_000][place % 4] + if place % 97 == 5 { SLICE_BYTES_MAX } else { 0 };
        let mut message = vec![b'.'; len];
        message[0] = *kind;
        message[1] = b'0' + u8::try_from(place % 10).expect("small");
        said.push(message);
    }
    on_each_driver(|driver| {
        for framing in
            [Framing::Length { bytes: 4, order: ByteOrder::Little, inclusive: false }, Framing::lines()]
        {
            let stand = Setup::with(driver, || Mixer).on(|terms| terms.framing = framing.clone()).start();
            let (mut input, mut wanted) = (Vec::new(), Vec::new());
            for message in &said {
                input.extend(framed(&framing, message));
                match message[0] {
                    b'n' => {}
                    b't' => wanted.extend(framed(&framing, &message[..2].to_ascii_uppercase())),
                    b'a' => {
                        let parts: [&[u8]; 3] = [b"before", message, b"behind"];
                        parts.into_iter().for_each(|part| wanted.extend(framed(&framing, part)));
                    }
                    _ => wanted.extend(framed(&framing, message)),
                }
            }
            let mut stream = stand.connect();
            let mut writer = stream.try_clone().expect("a descriptor");
            std::thread::scope(|scope| {
                scope.spawn(|| writer.write_all(&input).expect("it reads"));
                let mut found = vec![0; wanted.len()];
                stream.read_exact(&mut found).expect("all answers come");
                let place = found.iter().zip(&wanted).position(|(one, other)| one != other);
                assert_eq!(place, None, "first difference of {} bytes", wanted.len());
            });
            drop((stream, writer));
            stand.until_resting();
            assert_eq!(stand.counted().bytes_out, wanted.len() as u64);
            stand.stop();
        }
    });
}

/// Gives out what reaches its connections.
#[derive(Clone, Default)]
struct Reachable {
    senders: Arc<Mutex<Vec<Sender>>>,
    ends: Arc<Mutex<Vec<(u64, Reason)>>>,
}

impl Handler for Reachable {
    fn opened(&self, conn: &mut Connection<'_>) {
        let sender = conn.sender();
        assert!(sender.is_same(&conn.sender()));
        self.senders.lock().expect("no panic").push(sender);
    }

    fn message(&self, _conn: &mut Connection<'_>, _message: Message<'_>) {}

    fn nudged(&self, conn: &mut Connection<'_>) {
        conn.set_user(conn.user() + 1);
        conn.send(b"nudged").expect("it is open");
    }

    fn closed(&self, closed: &Closed) {
        self.ends.lock().expect("no panic").push((closed.user, closed.reason));
    }
}

#[test]
fn other_threads_send_nudge_and_close_in_order() {
    on_each_driver(|driver| {
        let reachable = Reachable::default();
        let made = reachable.clone();
        let stand =
            Setup::with(driver, move || made.clone()).on(|terms| terms.framing = Framing::lines()).start();
        let mut stream = stand.connect();
        let sender =
            eventually("it is opened", || reachable.senders.lock().expect("no panic").pop().ok_or("nobody"));
        for number in 0..500 {
            sender.send(format!("{number}").into_bytes()).expect("it is open");
        }
        sender.nudge().expect("it is open");
        sender.send_raw(*b"raw\n").expect("it is open");
        sender.close().expect("it is open");
        for number in 0..500 {
            assert_eq!(read_line(&mut stream), format!("{number}"));
        }
        assert_eq!((&*read_line(&mut stream), &*read_line(&mut stream)), ("nudged", "raw"));
        assert_eq!(stream.read(&mut [0; 1]).expect("a good end"), 0);
        drop(stream);
        stand.until_resting();
        assert_eq!(*reachable.ends.lock().expect("no panic"), [(1, Reason::Handler)]);
        assert_eq!(sender.send(*b"late"), Err(RemoteError::Closed));
        stand.stop();
    });
}

/// Says which one it is, and that it is gone.
struct Numbered {
    number: u8,
    gone: Arc<Mutex<Vec<u8>>>,
}

impl Handler for Numbered {
    fn message(&self, conn: &mut Connection<'_>, _message: Message<'_>) {
        conn.send(&[b'0' + self.number]).expect("it is open");
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.gone.lock().expect("no panic").push(self.number);
    }
}

#[test]
fn open_connections_stay_with_the_handler_that_they_have() {
    on_each_driver(replaced);
}

fn replaced(driver: DriverChoice) {
    let gone = Arc::<Mutex<Vec<u8>>>::default();
    let numbered = |number: u8| {
        let gone = Arc::clone(&gone);
        Arc::new(move |_worker: &ringway_engine::WorkerHandle| {
            Ok(Rc::new(Numbered { number, gone: Arc::clone(&gone) }) as Rc<dyn Handler>)
        })
    };
    let stand: Stand = Setup::new(driver, numbered(1)).on(|terms| terms.framing = Framing::lines()).start();
    let ask = |stream: &mut std::net::TcpStream, said: &[u8]| {
        stream.write_all(said).expect("it reads");
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).expect("an answer");
        answer
    };
    let mut old = stand.connect();
    // The new one's messages are told apart in another way, in the midst of one of the old one's.
    assert_eq!(&ask(&mut old, b"a\nbegun"), b"1\n");
    let terms =
        Terms { framing: Framing::Fixed(1), counters: stand.terms.counters.clone(), ..Terms::default() };
    let protocol = SocketProtocol::factory(numbered(2), Arc::new(terms));
    let limits = ringway_engine::EndpointLimits::default();
    stand.server().control().swap(0, protocol, limits, None, None).expect("it is replaced");
    let mut new = stand.connect();
    new.write_all(b"xy").expect("it reads");
    let mut answer = [0; 2];
    new.read_exact(&mut answer).expect("two answers");
    assert_eq!(&answer, b"22");
    assert_eq!(&ask(&mut old, b" and ended\n"), b"1\n");
    assert!(gone.lock().expect("no panic").is_empty());
    drop(old);
    eventually("the old one is gone with its last connection", || {
        let gone = gone.lock().expect("no panic").clone();
        if gone == [1] { Ok(()) } else { Err(gone) }
    });
    drop(new);
    stand.until_resting();
    stand.stop();
    assert_eq!(*gone.lock().expect("no panic"), [1, 2]);
}
