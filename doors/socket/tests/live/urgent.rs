//! Urgent data, sent with MSG_OOB, in each mode.

use crate::stand::{Setup, Stand, on_each_driver};
use ringway_engine::ring::DriverChoice;
use ringway_socket::{Closed, Connection, Handler, Message, Reason, Urgent};
use rustix::net::SendFlags;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Alarm {
    ends: Arc<Mutex<Vec<Reason>>>,
}

impl Handler for Alarm {
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        conn.reply(message).expect("it is open");
    }

    fn urgent(&self, conn: &mut Connection<'_>, byte: u8) {
        conn.send(&[b'<', byte, b'>']).expect("it is open");
    }

    fn closed(&self, closed: &Closed) {
        self.ends.lock().expect("no panic").push(closed.reason);
    }
}

fn start(driver: DriverChoice, urgent: Urgent) -> (Stand, Alarm) {
    let alarm = Alarm::default();
    let made = alarm.clone();
    let setup = Setup::with(driver, move || made.clone()).on(|terms| terms.urgent = urgent);
    (setup.start(), alarm)
}

fn send_urgent(stream: &TcpStream, bytes: &[u8]) {
    assert_eq!(rustix::net::send(stream, bytes, SendFlags::OOB).expect("it is sent"), bytes.len());
}

fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("the answer comes");
    bytes
}

#[test]
fn inline_it_stands_where_it_was_sent() {
    on_each_driver(|driver| {
        let (stand, _) = start(driver, Urgent::Inline);
        let mut stream = stand.connect();
        // At the very beginning, alone, and among others.
        send_urgent(&stream, b"a");
        assert_eq!(read(&mut stream, 1), b"a");
        stream.write_all(b"bc").expect("it reads");
        send_urgent(&stream, b"d");
        stream.write_all(b"ef").expect("it reads");
        assert_eq!(read(&mut stream, 5), b"bcdef");
        drop(stream);
        stand.until_resting();
        assert_eq!(stand.counted().urgent, 0);
        stand.stop();
    });
}

#[test]
fn separate_it_is_told_of_and_nothing_else_is_lost() {
    on_each_driver(|driver| {
        let (stand, _) = start(driver, Urgent::Separate);
        let mut stream = stand.connect();
        stream.write_all(b"ab").expect("it reads");
        assert_eq!(read(&mut stream, 2), b"ab");
        send_urgent(&stream, b"!");
        assert_eq!(read(&mut stream, 3), b"<!>");
        // The byte is the last one of what is sent so; what lies around it comes in its order.
        send_urgent(&stream, b"cd?");
        stream.write_all(b"ef").expect("it reads");
        let mut answer = read(&mut stream, 7);
        let place = answer.windows(3).position(|part| part == b"<?>").expect("it is told of");
        answer.drain(place..place + 3);
        assert_eq!(answer, b"cdef");
        drop(stream);
        stand.until_resting();
        assert_eq!(stand.counted().urgent, 2);
        stand.stop();
    });
}

#[test]
fn or_it_ends_the_connection() {
    on_each_driver(|driver| {
        let (stand, alarm) = start(driver, Urgent::Abort);
        let (mut stream, mut other) = (stand.connect(), stand.connect());
        stream.write_all(b"ab").expect("it reads");
        assert_eq!(read(&mut stream, 2), b"ab");
        send_urgent(&stream, b"!");
        let ended = stream.read(&mut [0; 8]);
        assert!(ended.is_err(), "a reset, not {ended:?}");
        other.write_all(b"x").expect("it reads");
        assert_eq!(read(&mut other, 1), b"x");
        drop(other);
        stand.until_resting();
        assert_eq!(*alarm.ends.lock().expect("no panic"), [Reason::Urgent, Reason::Peer]);
        let lines = stand.lines();
        assert!(
            lines[0].ends_with("is closed: urgent data came, which this endpoint does not take"),
            "{lines:?}"
        );
        stand.stop();
    });
}
