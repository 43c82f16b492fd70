//! What goes wrong ends its own connection, for a reason that is told.

use crate::stand::{Setup, eventually, on_each_driver};
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

/// Counts its ticks; the second one goes wrong.
struct Ticking {
    ticks: Arc<Mutex<u32>>,
}

impl Handler for Ticking {
    fn message(&self, _conn: &mut Connection<'_>, _message: Message<'_>) {}

    fn tick_ms(&self) -> u64 {
        5
    }

    fn tick(&self, _worker: &ringway_engine::WorkerHandle) {
        let ticks = {
            let mut ticks = self.ticks.lock().expect("nothing panics while it is held");
            *ticks += 1;
            *ticks
        };
        assert_ne!(ticks, 2, "the second tick");
    }
}

#[test]
fn ticks_go_on_after_one_that_panicked() {
    on_each_driver(|driver| {
        let ticks = Arc::<Mutex<u32>>::default();
        let made = Arc::clone(&ticks);
        let stand = Setup::with(driver, move || Ticking { ticks: Arc::clone(&made) }).start();
        eventually("several ticks", || {
            let ticks = *ticks.lock().expect("no panic");
            if ticks >= 5 { Ok(()) } else { Err(ticks) }
        });
        assert_eq!(stand.counted().panics, 1);
        assert!(stand.lines()[0].contains("the handler panicked in tick: "), "{:?}", stand.lines());
        stand.stop();
    });
}
