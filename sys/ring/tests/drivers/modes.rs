//! The three receive modes as the layer above uses them: a switch is complete after the old operation's last
//! completion, what it over-read is served first, and no byte is lost whatever is dropped.

use crate::bench::{Bench, Peer, bytes_of, count, errno, is_end, on_each, pattern};
use ringway_ring::{Handle, Op, OpId, Payload};
use std::collections::VecDeque;

const RECEIVE: u64 = 11;

/// How a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Paused,
    Stream,
    Exact(u32),
}

/// A connection's receiving side, at its simplest.
struct Receiver {
    socket: Handle,
    mode: Mode,
    under_way: Option<OpId>,
    is_cancelled: bool,
    /// Received, not yet taken.
    inbox: VecDeque<u8>,
    /// Whether the last exact receive has come to its end.
    is_exact_done: bool,
    is_exact_under_way: bool,
}

impl Receiver {
    fn new(socket: Handle) -> Self {
        let inbox = VecDeque::new();
        Self {
            socket,
            mode: Mode::Paused,
            under_way: None,
            is_cancelled: false,
            inbox,
            is_exact_done: false,
            is_exact_under_way: false,
        }
    }

    /// Asks for another mode. The operation of the old one is cancelled; the new one starts after its end.
    fn switch(&mut self, bench: &mut Bench, mode: Mode) {
        (self.mode, self.is_exact_done) = (mode, false);
        match self.under_way {
            Some(id) if !self.is_cancelled => {
                self.is_cancelled = true;
                bench.ring.cancel(id);
            }
            Some(_) => {}
            None => self.start(bench),
        }
    }

    fn start(&mut self, bench: &mut Bench) {
        let socket = self.socket.clone();
        let op = match self.mode {
            Mode::Paused => return,
            Mode::Stream => Op::Stream { socket },
            Mode::Exact(want) => {
                let mut buffer = bench.ring.pool().get(want as usize).expect("memory");
                // What was over-read comes first.
                let filled = self.inbox.len().min(want as usize);
                for (to, from) in buffer.iter_mut().zip(self.inbox.drain(..filled)) {
                    *to = from;
                }
                let filled = u32::try_from(filled).expect("small");
                Op::Exact { socket, buffer, filled, want }
            }
        };
        self.is_exact_under_way = matches!(op, Op::Exact { .. });
        self.under_way = Some(bench.submit(op, RECEIVE));
        self.is_cancelled = false;
    }

    /// Takes what has completed.
    fn collect(&mut self, bench: &mut Bench) {
        while let Some(completion) = bench.try_next_of(RECEIVE) {
            assert_eq!(Some(completion.id), self.under_way, "a completion of a finished operation");
            assert!(!is_end(&completion), "the peer has not ended");
            let error = errno(&completion);
            assert!([None, Some(libc::ECANCELED), Some(libc::ENOBUFS)].contains(&error), "{completion:?}");
            let is_last = !completion.more;
            if let Payload::Finished(Op::Exact { buffer, filled, want, .. }) = &completion.payload {
                assert_eq!(completion.result.as_ref().ok().copied().unwrap_or(0), *filled);
                self.is_exact_done = filled == want && !self.is_cancelled;
                // It was taken from the front, so it goes back there.
                for &byte in buffer[..*filled as usize].iter().rev() {
                    self.inbox.push_front(byte);
                }
            }
            self.inbox.extend(bytes_of(completion));
            if is_last {
                self.under_way = None;
                self.is_exact_under_way = false;
                match self.mode {
                    Mode::Exact(_) if self.is_exact_done => self.mode = Mode::Paused,
                    _ => self.start(bench),
                }
            }
        }
    }
}

/// A writer that knows how far it is.
struct Writer {
    peer: Box<dyn Peer>,
    sent: usize,
}

impl Writer {
    fn write(&mut self, bytes: usize) {
        if let Ok(bytes) = self.peer.write(&pattern(RECEIVE, self.sent, bytes)) {
            self.sent += bytes;
        }
    }
}

/// Takes `bytes` from the inbox and compares them with what was sent at that place.
fn take(receiver: &mut Receiver, taken: &mut usize, bytes: usize, name: &str) {
    let got: Vec<u8> = receiver.inbox.drain(..bytes).collect();
    assert!(got == pattern(RECEIVE, *taken, bytes), "bytes lost or mixed at {taken} on {name}");
    *taken += bytes;
}

#[test]
fn thousands_of_switches_lose_no_byte() {
    on_each(|bench| {
        let (socket, peer) = bench.pair();
        let (mut receiver, mut writer) = (Receiver::new(socket), Writer { peer, sent: 0 });
        let (mut rng, mut taken, name) = (bench.seed.rng(), 0, bench.name());
        for _ in 0..count(4000, 200_000) {
            let mode = match rng.below(4) {
                0 => Mode::Paused,
                1 => Mode::Stream,
                _ => Mode::Exact(u32::try_from(rng.between(1, 300)).expect("small")),
            };
            receiver.switch(bench, mode);
            for _ in 0..rng.below(3) {
                writer.write(rng.between(1, 200));
                if rng.chance(600) {
                    bench.glance();
                }
                receiver.collect(bench);
            }
            // What an exact receive under way has in its buffer comes before the inbox.
            if !receiver.is_exact_under_way {
                let bytes = rng.below(receiver.inbox.len() + 1);
                take(&mut receiver, &mut taken, bytes, name);
            }
        }
        receiver.switch(bench, Mode::Stream);
        bench.drive("the rest", |bench| {
            receiver.collect(bench);
            if receiver.is_exact_under_way {
                return false;
            }
            let bytes = receiver.inbox.len();
            take(&mut receiver, &mut taken, bytes, name);
            taken == writer.sent
        });
    });
}

#[test]
fn exact_receives_that_are_interrupted_and_repeated_lose_no_byte() {
    on_each(|bench| {
        let (socket, peer) = bench.pair();
        let (mut receiver, mut writer) = (Receiver::new(socket), Writer { peer, sent: 0 });
        let (mut rng, mut taken, name) = (bench.seed.rng(), 0, bench.name());
        let records = count(800, 20_000);
        for record in 0..records {
            // Records of 8 to 400 bytes, each received by one exact receive that is interrupted at will.
            let want = rng.between(8, 400);
            let mut written = 0;
            receiver.switch(bench, Mode::Exact(u32::try_from(want).expect("small")));
            bench.drive("the record", |bench| {
                if written < want {
                    let before = writer.sent;
                    writer.write(rng.between(1, want - written));
                    written += writer.sent - before;
                }
                receiver.collect(bench);
                if !receiver.is_exact_done && rng.chance(300) {
                    receiver.switch(bench, Mode::Paused);
                    receiver.switch(bench, Mode::Exact(u32::try_from(want).expect("small")));
                }
                receiver.is_exact_done
            });
            assert_eq!(receiver.inbox.len(), want, "record {record} of {records} on {name}");
            take(&mut receiver, &mut taken, want, name);
        }
        assert_eq!(taken, writer.sent);
    });
}

#[test]
fn paused_connections_take_nothing_from_the_socket() {
    on_each(|bench| {
        let (socket, peer) = bench.pair();
        let (mut receiver, mut writer) = (Receiver::new(socket), Writer { peer, sent: 0 });
        receiver.switch(bench, Mode::Stream);
        bench.poll();
        receiver.switch(bench, Mode::Paused);
        bench.drive("the pause", |bench| {
            receiver.collect(bench);
            receiver.under_way.is_none()
        });
        let before = receiver.inbox.len();
        for _ in 0..20 {
            writer.write(1000);
            bench.poll();
            receiver.collect(bench);
        }
        assert_eq!((receiver.inbox.len(), bench.ring.in_flight()), (before, 0), "on {}", bench.name());
        receiver.switch(bench, Mode::Stream);
        let (mut taken, name) = (0, bench.name());
        bench.drive("what waited", |bench| {
            receiver.collect(bench);
            receiver.inbox.len() == writer.sent
        });
        take(&mut receiver, &mut taken, writer.sent, name);
    });
}
