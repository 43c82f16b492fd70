//! Deadlines and limits: of connections that say nothing, too little, too much, or do not listen.

use crate::faults::Noting;
use crate::stand::{Setup, Stand, eventually, on_each_driver};
use ringway_engine::ring::DriverChoice;
use ringway_socket::{
    ByteOrder, Closed, Connection, ConnectionLimits, Framing, FramingFault, Handler, Message, Reason,
    SendError, Terms,
};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

/// No limit in time.
const NO_LIMITS: ConnectionLimits =
    ConnectionLimits { idle_ms_max: 0, read_ms_max: 0, stall_ms_max: 0, queue_bytes_max: 1 << 20 };

fn start(driver: DriverChoice, change: impl FnOnce(&mut Terms)) -> (Stand, Noting) {
    let noting = Noting::default();
    let made = noting.clone();
    let setup = Setup::with(driver, move || made.clone()).on(|terms| terms.limits = NO_LIMITS).on(change);
    (setup.start(), noting)
}

fn until_ended(noting: &Noting, count: usize) -> Vec<(u64, Reason)> {
    eventually("connections end", || {
        let ends = noting.ends();
        if ends.len() == count { Ok(ends) } else { Err(ends) }
    })
}

#[test]
fn who_says_nothing_is_closed_and_who_says_something_is_not() {
    on_each_driver(|driver| {
        let (stand, noting) = start(driver, |terms| terms.limits.idle_ms_max = 300);
        let (mut idle, mut busy) = (stand.connect(), stand.connect());
        let mut one = [0];
        while noting.ends().is_empty() {
            busy.write_all(b"x").expect("it reads");
            busy.read_exact(&mut one).expect("it is open");
        }
        assert_eq!(idle.read(&mut one).expect("a good end"), 0);
        assert_eq!(noting.ends(), [(0, Reason::Idle)]);
        drop(busy);
        until_ended(&noting, 2);
        assert_eq!((stand.counted().timeouts, stand.counted().errors), (1, 0));
        stand.stop();
    });
}

#[test]
fn a_message_that_drips_is_given_up() {
    on_each_driver(|driver| {
        let (stand, noting) = start(driver, |terms| {
            terms.framing = Framing::lines();
            terms.limits.read_ms_max = 300;
        });
        let (mut slow, mut good) = (stand.connect(), stand.connect());
        while noting.ends().is_empty() {
            // Every byte is a sign of life, and the line has no end all the same.
            let _reset_already = slow.write_all(b"x");
            good.write_all(b"line\n").expect("it reads");
            good.read_exact(&mut [0; 5]).expect("the answer comes");
        }
        assert_eq!(noting.ends(), [(0, Reason::Slow)]);
        assert!(stand.lines()[0].ends_with("is closed: a message was not whole after read_ms_max"));
        drop((slow, good));
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_peer_that_does_not_read_is_reset() {
    on_each_driver(|driver| {
        let (stand, noting) = start(driver, |terms| terms.limits.stall_ms_max = 400);
        let mut deaf = stand.connect();
        // Until no buffer on the way takes more, or the connection is gone.
        let chunk = vec![7; 1 << 20];
        while noting.ends().is_empty() && deaf.write_all(&chunk).is_ok() {}
        let ends = until_ended(&noting, 1);
        assert_eq!(ends[0].1, Reason::Stalled);
        let counted = stand.counted();
        assert_eq!((counted.timeouts, counted.errors), (1, 1));
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn what_is_too_long_or_cut_off_ends_with_a_clear_line() {
    on_each_driver(|driver| {
        let (stand, noting) = start(driver, |terms| {
            terms.framing = Framing::Length { bytes: 4, order: ByteOrder::Big, inclusive: false };
            terms.framing_limits.message_bytes_max = 1_000;
        });
        let mut long = stand.connect();
        long.write_all(b"\0\0\0\x01a\0\0\x10\0").expect("it reads");
        let mut answer = Vec::new();
        long.read_to_end(&mut answer).expect("a good end");
        assert_eq!(answer, b"\0\0\0\x01a", "what came before is answered");
        assert_eq!(until_ended(&noting, 1), [(1, Reason::Framing(FramingFault::TooLong(4_100)))]);
        let mut cut = stand.connect();
        cut.write_all(b"\0\0\0\x09abc").expect("it reads");
        cut.shutdown(std::net::Shutdown::Write).expect("a half-close");
        assert_eq!(cut.read(&mut [0; 8]).expect("a good end"), 0);
        assert_eq!(until_ended(&noting, 2)[1], (0, Reason::CutOff));
        let lines = stand.lines();
        assert!(lines[0].starts_with("Info endpoint test: the connection of 127.0.0.1:"));
        assert!(lines[0].ends_with("is closed: a message of 4100 bytes or more is beyond message_bytes_max"));
        assert!(lines[1].ends_with("is closed: the peer ended in the middle of a message"));
        assert_eq!((stand.counted().errors, stand.counted().faults), (2, 1));
        stand.until_resting();
        stand.stop();
    });
}

/// Calls itself, and speaks when its time has come.
#[derive(Clone, Default)]
struct Clockwork {
    refused: Arc<Mutex<Option<SendError>>>,
}

impl Handler for Clockwork {
    fn opened(&self, conn: &mut Connection<'_>) {
        conn.set_timeout(30);
    }

    fn message(&self, conn: &mut Connection<'_>, _message: Message<'_>) {
        // Never: what was asked for before is replaced.
        conn.set_timeout(0);
        let too_much = vec![0; 600];
        conn.send(&too_much).expect("one message may be as long as it likes");
        *self.refused.lock().expect("no panic") = conn.send(&too_much).err();
        conn.shut_down_write();
        assert_eq!(conn.send(b"x"), Err(SendError::Closed));
    }

    fn timeout(&self, conn: &mut Connection<'_>) {
        conn.set_user(conn.user() + 1);
        conn.send(b"tick").expect("it is open");
        if conn.user() < 3 {
            conn.set_timeout(30);
        }
    }

    fn closed(&self, closed: &Closed) {
        assert_eq!((closed.user, closed.reason), (3, Reason::Peer));
    }
}

#[test]
fn handlers_set_timeouts_fill_queues_and_close_by_halves() {
    on_each_driver(|driver| {
        let clockwork = Clockwork::default();
        let made = clockwork.clone();
        let stand =
            Setup::with(driver, move || made.clone()).on(|terms| terms.limits.queue_bytes_max = 500).start();
        let mut stream = stand.connect();
        let mut ticks = [0; 12];
        stream.read_exact(&mut ticks).expect("it speaks by itself");
        assert_eq!(&ticks, b"ticktickticktick"[..12].first_chunk().expect("twelve"));
        stream.write_all(b"now").expect("it reads");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the end of what is sent");
        assert_eq!(rest.len(), 600);
        assert_eq!(*clockwork.refused.lock().expect("no panic"), Some(SendError::Full));
        // The other direction is open still.
        assert_eq!(stand.counted().open(), 1);
        drop(stream);
        stand.until_resting();
        assert_eq!((stand.counted().timeouts, stand.counted().panics), (3, 0));
        stand.stop();
    });
}
