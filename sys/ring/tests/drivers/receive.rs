//! Receiving: streams, exact receives, readiness, ends and resets.

use crate::bench::{
    Bench, Peer, bytes_of, count, errno, is_end, on_each, on_kernel, pattern, read_into, tcp_pair,
};
use ringway_ring::{Completion, Handle, Interest, Op, OpId, Payload, SliceMut};

const RECEIVE: u64 = 7;

/// Starts an exact receive of `want` bytes, `filled` of them in place.
fn exact(bench: &mut Bench, socket: &Handle, filled: &[u8], want: u32) -> OpId {
    let mut buffer = bench.ring.pool().get(want as usize).expect("memory");
    buffer[..filled.len()].copy_from_slice(filled);
    let filled = u32::try_from(filled.len()).expect("small");
    bench.submit(Op::Exact { socket: socket.clone(), buffer, filled, want }, RECEIVE)
}

/// What an exact receive came to: its result and its buffer.
fn finished(completion: Completion) -> (u32, SliceMut) {
    let result = completion.result.expect("an exact receive with bytes");
    let Payload::Finished(Op::Exact { buffer, filled, .. }) = completion.payload else {
        panic!("{completion:?}", completion = completion.payload)
    };
    assert_eq!(result, filled, "the result counts all bytes in place");
    (result, buffer)
}

#[test]
fn a_stream_brings_every_byte_in_order_and_then_the_end() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let total = 300_000;
        let sent = pattern(1, 0, total);
        let (mut written, mut got) = (0, Vec::new());
        bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
        let mut ended = false;
        bench.drive("the stream", |bench| {
            while written < total {
                let Ok(bytes) = peer.write(&sent[written..total.min(written + 7001)]) else { break };
                written += bytes;
                if written == total {
                    peer.finish();
                }
            }
            while let Some(completion) = bench.try_next_of(RECEIVE) {
                ended = is_end(&completion);
                if !completion.more && !ended {
                    bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
                }
                got.extend(bytes_of(completion));
            }
            ended
        });
        assert!(got == sent, "{} bytes on {}", got.len(), bench.name());
    });
}

#[test]
fn a_large_stream_brings_much_at_once() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let sent = pattern(3, 0, 40_000);
        bench.write_all(&mut *peer, &sent);
        bench.submit(Op::LargeStream { socket: socket.clone() }, RECEIVE);
        let (mut got, mut largest) = (Vec::new(), 0);
        while got.len() < sent.len() {
            let completion = bench.next_of(RECEIVE);
            if !completion.more {
                bench.submit(Op::LargeStream { socket: socket.clone() }, RECEIVE);
            }
            let bytes = bytes_of(completion);
            largest = largest.max(bytes.len());
            got.extend(bytes);
        }
        assert!(got == sent, "{} bytes on {}", got.len(), bench.name());
        // What is simulated comes in pieces of any length.
        assert!(
            largest > 2 * 2048 || bench.name() == "simulated",
            "{largest} bytes at once on {}",
            bench.name()
        );
        peer.finish();
        while !is_end(&bench.next_of(RECEIVE)) {
            bench.submit(Op::LargeStream { socket: socket.clone() }, RECEIVE);
        }
    });
}

#[test]
fn bytes_and_end_that_come_together_are_both_heard() {
    on_each(|bench| {
        for started_first in [false, true] {
            let (socket, mut peer) = bench.pair();
            if started_first {
                bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
                bench.poll();
            }
            bench.write_all(&mut *peer, b"the end");
            peer.finish();
            if !started_first {
                bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
            }
            let mut got = Vec::new();
            loop {
                let completion = bench.next_of(RECEIVE);
                if is_end(&completion) {
                    break;
                }
                if !completion.more {
                    bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
                }
                got.extend(bytes_of(completion));
            }
            assert_eq!(got, b"the end", "on {}", bench.name());
        }
    });
}

#[test]
fn an_exact_receive_gathers_many_small_writes() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let sent = pattern(2, 0, 20_000);
        exact(bench, &socket, &sent[..3], 20_000);
        let mut rng = bench.seed.rng();
        let mut at = 3;
        while at < sent.len() {
            let end = sent.len().min(at + rng.between(1, 700));
            bench.write_all(&mut *peer, &sent[at..end]);
            assert!(
                bench.try_next_of(RECEIVE).is_none() || end == sent.len(),
                "complete before the last byte"
            );
            bench.poll();
            at = end;
        }
        let (bytes, buffer) = finished(bench.next_of(RECEIVE));
        assert!(bytes == 20_000 && buffer[..20_000] == sent[..], "on {}", bench.name());
    });
}

#[test]
fn an_exact_receive_ends_early_with_the_stream() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        exact(bench, &socket, b"ab", 100);
        bench.poll();
        bench.write_all(&mut *peer, b"cde");
        bench.poll();
        peer.finish();
        let (bytes, buffer) = finished(bench.next_of(RECEIVE));
        assert_eq!((bytes, &buffer[..5]), (5, &b"abcde"[..]));
        // Nothing at all before the end is a result of 0, not an error.
        exact(bench, &socket, b"", 100);
        assert_eq!(finished(bench.next_of(RECEIVE)).0, 0);
    });
}

#[test]
fn a_cancelled_exact_receive_keeps_what_arrived() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let id = exact(bench, &socket, b"", 100);
        bench.poll();
        bench.write_all(&mut *peer, b"twelve bytes");
        bench.poll();
        bench.poll();
        bench.ring.cancel(id);
        let completion = bench.next_of(RECEIVE);
        // What it did not take (a cancel may be early) is still there; together nothing is lost.
        let mut got = match completion.result {
            Ok(_) => {
                let (bytes, buffer) = finished(completion);
                buffer[..bytes as usize].to_vec()
            }
            Err(_) => {
                assert_eq!(errno(&completion), Some(libc::ECANCELED));
                Vec::new()
            }
        };
        assert!(bench.is_simulated() || got.len() == 12, "the kernel had given them on {}", bench.name());
        let left = 12 - got.len();
        got.extend(bench.stream_exactly(&socket, 8, left));
        assert_eq!(got, b"twelve bytes");
    });
}

#[test]
fn a_cancelled_exact_receive_without_bytes_says_so() {
    on_each(|bench| {
        let (socket, _peer) = bench.pair();
        let id = exact(bench, &socket, b"", 10);
        bench.poll();
        bench.ring.cancel(id);
        assert_eq!(errno(&bench.next_of(RECEIVE)), Some(libc::ECANCELED));
        // With bytes in place from the start, those are the result.
        let id = exact(bench, &socket, b"abc", 10);
        bench.ring.cancel(id);
        assert_eq!(finished(bench.next_of(RECEIVE)).0, 3);
    });
}

#[test]
fn transfers_of_nothing_end_at_once() {
    on_each(|bench| {
        let (socket, _peer) = bench.pair();
        exact(bench, &socket, b"full", 4);
        assert_eq!(finished(bench.next_of(RECEIVE)).0, 4, "without waiting for the peer");
        // More than the buffer holds is cut: the kernel must not write behind it.
        let mut buffer = bench.ring.pool().get(256).expect("memory");
        buffer.fill(1);
        bench.submit(Op::Exact { socket, buffer, filled: u32::MAX, want: u32::MAX }, RECEIVE);
        assert_eq!(finished(bench.next_of(RECEIVE)).0, 256);
    });
}

#[test]
fn readiness_comes_with_the_first_byte_and_takes_nothing() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let ready = |interest| Op::Ready { socket: socket.clone(), interest };
        bench.submit(ready(Interest::Writable), 1);
        assert_eq!(bench.next_of(1).result.expect("an empty window"), 0);
        bench.submit(ready(Interest::Readable), 2);
        for _ in 0..3 {
            bench.poll();
            assert!(bench.try_next_of(2).is_none(), "nothing to read on {}", bench.name());
        }
        bench.write_all(&mut *peer, b"x");
        assert_eq!(bench.next_of(2).result.expect("a byte is there"), 0);
        assert_eq!(bench.stream_exactly(&socket, 3, 1), b"x");
        peer.finish();
        bench.submit(ready(Interest::Readable), 4);
        assert_eq!(bench.next_of(4).result.expect("the end can be read"), 0);
    });
}

#[test]
fn a_reset_ends_receives_with_an_error_after_the_bytes() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        bench.write_all(&mut *peer, b"before");
        assert_eq!(bench.stream_exactly(&socket, 1, 6), b"before");
        let mut id = bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
        bench.poll();
        peer.reset();
        let last = loop {
            let last = bench.last_of(RECEIVE);
            if errno(&last) != Some(libc::ENOBUFS) {
                break last;
            }
            id = bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
        };
        assert_eq!((errno(&last), last.id), (Some(libc::ECONNRESET), id));
    });
}

#[test]
fn a_second_receive_in_the_same_direction_is_refused_where_it_would_steal() {
    on_each(|bench| {
        if bench.name() == "uring" {
            // The kernel serves both; the layer above never asks for it.
            return;
        }
        let (socket, _peer) = bench.pair();
        bench.submit(Op::Stream { socket: socket.clone() }, 1);
        bench.submit(Op::Stream { socket: socket.clone() }, 2);
        assert_eq!(errno(&bench.last_of(2)), Some(libc::EBUSY));
        bench.submit(Op::Ready { socket, interest: Interest::Writable }, 3);
        assert_eq!(bench.next_of(3).result.expect("the other direction is free"), 0);
    });
}

#[test]
fn direct_receives_and_operations_share_a_socket() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let rounds = count(200, 5000);
        for round in 0..rounds {
            // A direct receive that finds nothing must not make the operation after it deaf.
            let mut buffer = [0; 16];
            let nothing = bench.ring.try_recv(&socket, &mut buffer).expect_err("nothing was sent");
            assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
            if round % 2 == 0 {
                bench.write_all(&mut *peer, &pattern(3, round * 16, 16));
            }
            let id =
                bench.submit(Op::Ready { socket: socket.clone(), interest: Interest::Readable }, RECEIVE);
            if round % 2 == 1 {
                bench.write_all(&mut *peer, &pattern(3, round * 16, 16));
            }
            assert_eq!(bench.next_of(RECEIVE).id, id);
            let mut got = Vec::new();
            bench.drive("the direct receive", |bench| {
                while got.len() < 16 {
                    match bench.ring.try_recv(&socket, &mut buffer[..16 - got.len()]) {
                        Ok(bytes) => got.extend_from_slice(&buffer[..bytes]),
                        Err(_) => return false,
                    }
                }
                true
            });
            assert_eq!(got, pattern(3, round * 16, 16), "round {round} on {}", bench.name());
        }
    });
}

#[test]
fn bytes_around_urgent_data_all_arrive() {
    on_kernel(|bench| {
        let (socket, mut peer) = tcp_pair();
        bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
        bench.poll();
        for round in 0..50 {
            peer.write(b"before").expect("room");
            send_urgent(&peer);
            peer.write(b"after").expect("room");
            let mut got = Vec::new();
            bench.drive("what surrounds the urgent byte", |bench| {
                while let Some(completion) = bench.try_next_of(RECEIVE) {
                    assert!(completion.more, "{completion:?}");
                    got.extend(bytes_of(completion));
                }
                got.len() >= 11
            });
            assert_eq!(got, b"beforeafter", "round {round} on {}", bench.name());
        }
    });
}

fn send_urgent(peer: &std::net::TcpStream) {
    use std::os::fd::AsRawFd;
    // SAFETY: I6: the kernel reads one byte during the call.
    let sent = unsafe { libc::send(peer.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
}

#[test]
fn many_streams_at_once_do_not_mix() {
    on_each(|bench| {
        let connections = 40;
        let per_connection = count(4000, 100_000);
        let mut ends: Vec<(Handle, Box<dyn Peer>)> = (0..connections).map(|_| bench.pair()).collect();
        for (token, (socket, _)) in (0..).zip(&ends) {
            bench.submit(Op::Stream { socket: socket.clone() }, token);
        }
        let mut rng = bench.seed.rng();
        let mut got = vec![Vec::new(); connections];
        let mut sent = vec![0; connections];
        bench.drive("all streams", |bench| {
            for _ in 0..connections {
                let which = rng.below(connections);
                let bytes = rng.between(1, 900).min(per_connection - sent[which]);
                let piece = pattern(which as u64, sent[which], bytes);
                if let Ok(bytes) = ends[which].1.write(&piece) {
                    sent[which] += bytes;
                }
            }
            for which in 0..connections {
                while let Some(completion) = bench.try_next_of(which as u64) {
                    if !completion.more {
                        bench.submit(Op::Stream { socket: ends[which].0.clone() }, which as u64);
                    }
                    got[which].extend(bytes_of(completion));
                }
            }
            got.iter().all(|got| got.len() == per_connection)
        });
        for (which, got) in got.iter().enumerate() {
            assert!(*got == pattern(which as u64, 0, per_connection), "stream {which} on {}", bench.name());
        }
    });
}

#[test]
fn a_peer_that_echoes_gets_everything_back() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let sent = pattern(9, 0, 50_000);
        let (mut written, mut echoed) = (0, Vec::new());
        bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
        let mut waiting = std::collections::VecDeque::new();
        let mut sending = false;
        bench.drive("the echo", |bench| {
            if let Ok(bytes) = peer.write(&sent[written..sent.len().min(written + 1500)]) {
                written += bytes;
            }
            while let Some(completion) = bench.try_next_of(RECEIVE) {
                if !completion.more {
                    bench.submit(Op::Stream { socket: socket.clone() }, RECEIVE);
                }
                if let Payload::Bytes(slice) = completion.payload {
                    waiting.push_back(slice);
                }
            }
            sending &= bench.try_next_of(8).is_none();
            if !sending && let Some(bytes) = waiting.pop_front() {
                bench.submit(Op::Send { socket: socket.clone(), bytes, sent: 0 }, 8);
                sending = true;
            }
            read_into(&mut *peer, &mut echoed, sent.len());
            echoed.len() == sent.len()
        });
        assert!(echoed == sent, "on {}", bench.name());
    });
}
