//! Watches: told of what comes without receiving it, once for what came at a time, and of what lasts.

use crate::bench::{Bench, count, on_each, on_kernel, pattern};
use ringway_ring::{Handle, Op, OpId};
use std::io::ErrorKind;

const WATCH: u64 = 1;

/// A receiver as a watch is meant for: it receives when it was told to, until a receive was short.
struct Watcher {
    socket: Handle,
    id: OpId,
    may_have: bool,
    lasts: bool,
    is_ended: bool,
    got: Vec<u8>,
}

impl Watcher {
    fn new(bench: &mut Bench, socket: &Handle) -> Self {
        let id = bench.submit(Op::Watch { socket: socket.clone() }, WATCH);
        let socket = socket.clone();
        Self { socket, id, may_have: false, lasts: false, is_ended: false, got: Vec::new() }
    }

    /// Takes in what was told.
    fn listen(&mut self, bench: &mut Bench) {
        while let Some(told) = bench.try_next_of(WATCH) {
            let result = told.result.expect("nothing fails");
            self.may_have = true;
            self.lasts |= result > 0;
            if !told.more {
                self.id = bench.submit(Op::Watch { socket: self.socket.clone() }, WATCH);
            }
        }
    }

    /// Receives as far as it was told that there may be something.
    fn receive(&mut self, bench: &mut Bench, piece: usize) {
        let mut buffer = vec![0; piece];
        while self.may_have && !self.is_ended {
            match bench.ring.try_recv(&self.socket, &mut buffer) {
                Ok(0) => self.is_ended = true,
                Ok(bytes) => {
                    self.got.extend_from_slice(&buffer[..bytes]);
                    self.may_have = bytes == piece || self.lasts;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.may_have = false,
                Err(error) => panic!("the receive fails: {error}"),
            }
        }
    }

    fn until(&mut self, bench: &mut Bench, what: &str, is_there: impl Fn(&Self) -> bool) {
        bench.drive(what, |bench| {
            self.listen(bench);
            self.receive(bench, 100);
            is_there(self)
        });
    }
}

#[test]
fn every_byte_and_the_end_are_told_of() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let mut watcher = Watcher::new(bench, &socket);
        for _ in 0..3 {
            bench.poll();
            watcher.listen(bench);
            assert!(!watcher.may_have, "nothing came on {}", bench.name());
        }
        let (mut sent, rounds) = (0, count(100, 2000));
        for round in 0..rounds {
            // Shorter than a receive, as long as one, longer; and now and then two pieces before anybody looks.
            for _ in 0..1 + round % 2 {
                let bytes = [1, 99, 100, 101, 350][round % 5];
                bench.write_all(&mut *peer, &pattern(1, sent, bytes));
                sent += bytes;
            }
            watcher.until(bench, "what was sent", |watcher| watcher.got.len() >= sent);
        }
        assert_eq!(watcher.got, pattern(1, 0, sent));
        peer.finish();
        watcher.until(bench, "the end", |watcher| watcher.is_ended);
        bench.ring.cancel(watcher.id);
        assert_eq!(bench.last_of(WATCH).id, watcher.id);
    });
}

#[test]
fn an_end_right_behind_the_last_bytes_is_not_missed() {
    on_each(|bench| {
        for round in 0..count(50, 1000) {
            let (socket, mut peer) = bench.pair();
            let mut watcher = Watcher::new(bench, &socket);
            if round % 2 == 0 {
                bench.poll();
            }
            bench.write_all(&mut *peer, b"the last words");
            peer.finish();
            watcher.until(bench, "bytes and end", |watcher| watcher.is_ended);
            assert_eq!(watcher.got, b"the last words");
            bench.ring.orphan(watcher.id);
        }
    });
}

#[test]
fn what_is_not_received_is_told_once() {
    // A simulated watch ends with what it tells, so another one tells it again.
    on_kernel(|bench| {
        let (socket, mut peer) = bench.pair();
        let mut watcher = Watcher::new(bench, &socket);
        bench.write_all(&mut *peer, b"x");
        bench.drive("the news", |bench| {
            watcher.listen(bench);
            watcher.may_have
        });
        for _ in 0..5 {
            bench.poll();
            assert!(bench.try_next_of(WATCH).is_none(), "told again on {}", bench.name());
        }
        bench.write_all(&mut *peer, b"y");
        watcher.may_have = false;
        watcher.until(bench, "both", |watcher| watcher.got == b"xy");
        bench.ring.orphan(watcher.id);
    });
}

#[test]
fn a_watch_of_a_connection_that_breaks_says_that_it_lasts() {
    on_kernel(|bench| {
        let (socket, peer) = bench.pair();
        let mut watcher = Watcher::new(bench, &socket);
        bench.poll();
        peer.reset();
        bench.drive("the news", |bench| {
            watcher.listen(bench);
            watcher.may_have
        });
        assert!(watcher.lasts);
        let error = bench.ring.try_recv(&socket, &mut [0; 8]).expect_err("it is reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        bench.ring.orphan(watcher.id);
    });
}
