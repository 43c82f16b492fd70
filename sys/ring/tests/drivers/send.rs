//! Sending: whole, gathered, without copying, cut short.

use crate::bench::{Bench, errno, on_each, pattern, read_into};
use ringway_ring::{Chain, Completion, Gather, Handle, Op, OpId, Payload, Slice, ZeroCopy};

const SEND: u64 = 5;

fn slice(bench: &Bench, bytes: &[u8]) -> Slice {
    bench.ring.pool().copy_of(bytes).expect("memory")
}

/// Fills the window until nothing fits any more; how many bytes that took.
fn fill(bench: &mut Bench, socket: &Handle) -> usize {
    let (mut total, mut refusals) = (0, 0);
    // A simulated network also refuses when there is room, but not this often in a row.
    while refusals < 30 {
        match bench.ring.try_send(socket, &pattern(SEND, total, 16_000)) {
            Ok(bytes) => (total, refusals) = (total + bytes, 0),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                refusals += 1;
            }
        }
    }
    total
}

/// Every kind of sending operation, for 60,000 bytes of the pattern from `at`.
fn kinds(bench: &Bench, socket: &Handle, at: usize) -> [Op; 3] {
    let bytes = slice(bench, &pattern(SEND, at, 60_000));
    let mut chain = Chain::new();
    let mut rest = bytes.clone();
    // 300 slices of 200 bytes: several messages' worth.
    while !rest.is_empty() {
        chain.push(rest.split_to(200));
    }
    [
        Op::Send { socket: socket.clone(), bytes: bytes.clone(), sent: 0 },
        Op::Gather(Gather::new(socket.clone(), chain)),
        Op::SendZeroCopy(ZeroCopy::new(socket.clone(), bytes)),
    ]
}

#[test]
fn every_kind_of_send_delivers_all_to_a_slow_reader() {
    on_each(|bench| {
        for kind in 0..3 {
            let (socket, mut peer) = bench.pair();
            let before = fill(bench, &socket);
            let [op] = [kinds(bench, &socket, before).into_iter().nth(kind).expect("three kinds")];
            let name = op.name();
            bench.submit(op, SEND);
            bench.poll();
            assert!(bench.try_next_of(SEND).is_none(), "{name} must wait for room on {}", bench.name());
            let got = bench.read_exactly(&mut *peer, before + 60_000);
            assert!(got == pattern(SEND, 0, before + 60_000), "{name} on {}", bench.name());
            assert_eq!(bench.next_of(SEND).result.expect("sent"), 60_000, "{name} on {}", bench.name());
            peer.finish();
        }
    });
}

/// How many bytes a finished send has counted.
fn counted(completion: &Completion) -> usize {
    let counted = match &completion.payload {
        Payload::Finished(Op::Send { sent, .. }) => *sent,
        Payload::Finished(Op::Gather(gather)) => {
            assert_eq!(gather.sent() as usize + gather.left().len(), 60_000, "sent and left are the whole");
            gather.sent()
        }
        Payload::Finished(Op::SendZeroCopy(send)) => send.sent(),
        other => panic!("{other:?}"),
    };
    match &completion.result {
        Ok(result) => assert_eq!(*result, counted),
        Err(_) => assert_eq!((counted, errno(completion)), (0, Some(libc::ECANCELED))),
    }
    counted as usize
}

#[test]
fn a_cancelled_send_counts_exactly_what_the_peer_gets() {
    on_each(|bench| {
        for kind in 0..3 {
            let (socket, mut peer) = bench.pair();
            let before = fill(bench, &socket);
            let op = kinds(bench, &socket, before).into_iter().nth(kind).expect("three kinds");
            let name = op.name();
            let id: OpId = bench.submit(op, SEND);
            bench.poll();
            // Some of it may go before the cancel.
            let mut got = Vec::new();
            read_into(&mut *peer, &mut got, before / 2);
            bench.poll();
            bench.ring.cancel(id);
            bench.poll();
            bench.poll();
            // The kernel lets go of a zero-copy buffer when the peer has taken what was sent of it.
            let mut completion = None;
            bench.drive("the end of the send", |bench| {
                completion = bench.try_next_of(SEND);
                read_into(&mut *peer, &mut got, usize::MAX);
                completion.is_some()
            });
            let sent = counted(&completion.expect("driven until it was there"));
            bench.ring.shutdown(&socket, std::net::Shutdown::Write).expect("connected");
            bench.drive("the rest", |_| read_into(&mut *peer, &mut got, usize::MAX));
            let (total, driver) = (before + sent, bench.name());
            assert_eq!(got.len(), total, "{name} on {driver}");
            assert!(got == pattern(SEND, 0, total), "{name} on {driver}");
        }
    });
}

#[test]
fn a_send_starts_where_it_is_told() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let bytes = slice(bench, b"skipped, sent");
        bench.submit(Op::Send { socket: socket.clone(), bytes: bytes.clone(), sent: 9 }, SEND);
        assert_eq!(bench.next_of(SEND).result.expect("sent"), 13, "the result counts from the beginning");
        assert_eq!(bench.read_exactly(&mut *peer, 4), b"sent");
        bench.submit(Op::Send { socket, bytes, sent: 13 }, SEND);
        assert_eq!(bench.next_of(SEND).result.expect("nothing to do"), 13);
    });
}

#[test]
fn sends_to_a_peer_that_is_gone_fail() {
    on_each(|bench| {
        for kind in 0..3 {
            let (socket, peer) = bench.pair();
            peer.reset();
            let mut failed = None;
            // The first send may still be taken, in part or whole.
            for _ in 0..3 {
                let op = kinds(bench, &socket, 0).into_iter().nth(kind).expect("three kinds");
                bench.submit(op, SEND);
                let completion = bench.next_of(SEND);
                failed = errno(&completion);
                if failed.is_some() {
                    break;
                }
            }
            let known = [Some(libc::EPIPE), Some(libc::ECONNRESET)].contains(&failed);
            assert!(known, "kind {kind} on {}: {failed:?}", bench.name());
        }
    });
}

#[test]
fn an_empty_send_ends_at_once_even_when_nothing_fits() {
    on_each(|bench| {
        let (socket, _peer) = bench.pair();
        fill(bench, &socket);
        let mut empty = slice(bench, b"x");
        empty.advance(1);
        bench.submit(Op::Send { socket: socket.clone(), bytes: empty, sent: 0 }, 1);
        bench.submit(Op::Gather(Gather::new(socket, Chain::new())), 2);
        // The second is either served or refused as a second one in its direction, but never waits.
        assert_eq!(bench.next_of(1).result.expect("nothing to do"), 0);
        bench.next_of(2);
    });
}

#[test]
fn a_zero_copy_send_keeps_its_buffer_until_the_end() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let bytes = slice(bench, &pattern(SEND, 0, 60_000));
        let out = bench.ring.pool().slices_out();
        bench.submit(Op::SendZeroCopy(ZeroCopy::new(socket, bytes)), SEND);
        let mut got = Vec::new();
        let mut completion = None;
        bench.drive("the send", |bench| {
            read_into(&mut *peer, &mut got, 60_000);
            completion = bench.try_next_of(SEND);
            assert!(completion.is_some() || bench.ring.pool().slices_out() >= out);
            completion.is_some()
        });
        let completion = completion.expect("driven until it was there");
        let Payload::Finished(Op::SendZeroCopy(send)) = &completion.payload else { panic!("{completion:?}") };
        assert_eq!((send.sent(), send.bytes().len(), completion.more), (60_000, 60_000, false));
        bench.drive("the rest", |_| {
            read_into(&mut *peer, &mut got, 60_000);
            got.len() == 60_000
        });
        assert!(got == pattern(SEND, 0, 60_000));
    });
}

#[test]
fn a_zero_copy_send_does_not_keep_a_stalled_connection_open() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let before = fill(bench, &socket);
        let op = kinds(bench, &socket, before).into_iter().nth(2).expect("three kinds");
        let id = bench.submit(op, SEND);
        bench.poll();
        // Part of it goes into the queue of the socket and not to the peer, which reads no more after this.
        let mut got = Vec::new();
        read_into(&mut *peer, &mut got, before / 2);
        bench.poll();
        // Where all of it fitted it has ended, and nothing is left to show.
        while bench.try_next_of(SEND).is_some() {}
        bench.ring.orphan(id);
        bench.poll();
        bench.poll();
        if let Some(socket) = socket.kernel() {
            ringway_ring::socket::set_abort_on_close(socket).expect("a socket");
        }
        drop(socket);
        bench.drive("the end of the send", |bench| {
            assert!(bench.try_next_of(SEND).is_none(), "nobody waits any more");
            bench.ring.in_flight() == 0
        });
    });
}
