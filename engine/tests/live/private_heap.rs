//! What connections need lives on their worker's heap, and goes back to it.

use crate::stand::{Stand, on_each_driver};
use ringway_engine::heap::Local;
use ringway_engine::{Conn, Events, Protocol, Turn};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Tells how many blocks of the worker's heap are out (`n`), from a turn, or holds the connection by a task (`t`) until
/// another byte comes.
struct Teller;

impl Protocol for Teller {
    fn turn(&self, conn: &mut Conn<'_>, _events: Events) -> Turn {
        let Some(bytes) = conn.take_joined() else {
            return if conn.is_ended() { Turn::Close } else { Turn::Idle };
        };
        let mut stream = match bytes.first() {
            Some(b't') => conn.detach(),
            _ => {
                let count = u8::try_from(Local::stats().live_blocks).unwrap_or(u8::MAX);
                let mut answer = conn.pool().get(1).expect("there is memory");
                answer[0] = count;
                conn.send(answer.freeze(1));
                return Turn::Idle;
            }
        };
        Turn::task(async move {
            stream.send(stream.slice_of(b"b").expect("there is memory"));
            let Ok(Some(byte)) = stream.read_beyond(0).await else { return Turn::Abort };
            stream.send(byte);
            Turn::Idle
        })
    }
}

/// Sends a byte and reads one.
fn ask(stream: &mut TcpStream, question: u8) -> u8 {
    let mut answer = [0];
    stream.write_all(&[question]).and_then(|()| stream.read_exact(&mut answer)).expect("it answers");
    answer[0]
}

#[test]
fn tasks_are_on_the_workers_heap_and_leave_nothing_there() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Teller);
        let (mut observer, mut busy) = (stand.connect(), stand.connect());
        let _warm = (ask(&mut observer, b'n'), ask(&mut busy, b'n'));
        let before = ask(&mut observer, b'n');
        for _ in 0..3 {
            assert_eq!(ask(&mut busy, b't'), b'b');
            assert!(ask(&mut observer, b'n') > before, "the task is on the heap");
            assert_eq!(ask(&mut busy, b'x'), b'x');
            assert_eq!(ask(&mut busy, b'n'), before, "the task has left nothing");
        }
        drop((observer, busy));
        stand.stop();
    });
}
