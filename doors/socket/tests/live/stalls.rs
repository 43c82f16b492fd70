//! A handler that keeps its worker from everything else is told of while it does, and when it comes back.

use crate::stand::{Setup, eventually, on_each_driver};
use ringway_socket::{Connection, Handler, Message};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// Waits in a message until the test says that it may come back.
struct Stalling {
    gate: Arc<Mutex<Receiver<()>>>,
}

impl Handler for Stalling {
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        self.gate.lock().expect("no panic").recv().expect("the test says when");
        conn.reply(message).expect("it is open");
    }
}

#[test]
fn a_handler_that_does_not_come_back_is_named_and_so_is_its_worker() {
    on_each_driver(|driver| {
        let (release, gate) = channel();
        let gate = Arc::new(Mutex::new(gate));
        let setup = Setup::with(driver, move || Stalling { gate: Arc::clone(&gate) });
        let stand = setup.on(|terms| terms.handler = "test:stalling".into()).start();
        let mut stream = stand.connect();
        stream.write_all(b"x").expect("it reads");
        let has_line = |all: &[&str]| {
            let lines = stand.lines();
            lines.iter().find(|line| all.iter().all(|part| line.contains(part))).cloned().ok_or(lines)
        };
        let told = eventually("it is told of", || {
            has_line(&["endpoint test: handler test:stalling has kept the worker", "and still does"])
        });
        assert!(told.contains("ringway-worker") || told.contains("worker "), "{told}");
        assert!(has_line(&["came back"]).is_err(), "not yet");
        release.send(()).expect("it waits");
        let mut answer = [0];
        stream.read_exact(&mut answer).expect("the answer comes");
        eventually("that it is back is told", || has_line(&["handler test:stalling came back after"]));
        assert_eq!(stand.lines().len(), 2);
        drop(stream);
        stand.stop();
    });
}
