//! What goes wrong ends its own connection, for a reason that is told.

use crate::stand::{Setup, on_each_driver};
use ringway_socket::{Closed, Connection, Framing, Handler, Message, Reason};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

/// Echoes, panics where it is told to, and notes how connections end.
#[derive(Clone, Default)]
pub(crate) struct Noting {
    pub(crate) ends: Arc<Mutex<Vec<(u64, Reason)>>>,
}

impl Noting {
    pub(crate) fn ends(&self) -> Vec<(u64, Reason)> {
        self.ends.lock().expect("no panic").clone()
    }
}

impl Handler for Noting {
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        conn.set_user(conn.user() + 1);
        assert_ne!(message.payload(), b"panic", "as it was told");
        conn.reply(message).expect("it is open");
    }

    fn closed(&self, closed: &Closed) {
        self.ends.lock().expect("no panic").push((closed.user, closed.reason));
    }
}

#[test]
fn a_panic_takes_its_connection_only() {
    on_each_driver(|driver| {
        let noting = Noting::default();
        let made = noting.clone();
        let stand =
            Setup::with(driver, move || made.clone()).on(|terms| terms.framing = Framing::lines()).start();
        let (mut other, mut stream) = (stand.connect(), stand.connect());
        stream.write_all(b"fine\npanic\n").expect("it reads");
        let mut rest = Vec::new();
        let broken = stream.read_to_end(&mut rest).is_err();
        assert!(broken, "reset after {rest:?}");
        other.write_all(b"still\n").expect("it reads");
        let mut answer = [0; 6];
        other.read_exact(&mut answer).expect("the other one lives");
        drop(other);
        stand.until_resting();
        assert_eq!(noting.ends(), [(2, Reason::Panicked), (1, Reason::Peer)]);
        assert_eq!((stand.counted().panics, stand.counted().errors), (1, 1));
        let lines = stand.lines();
        assert!(
            lines[0].starts_with("Error endpoint test: the handler panicked; the connection of 127.0.0.1:")
        );
        assert!(lines[0].contains("as it was told"), "{lines:?}");
        stand.stop();
    });
}
