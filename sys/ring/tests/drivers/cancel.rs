//! Cancels and orphans: with a full submission queue, with an overflowing completion queue, at random under load.

use crate::bench::{Bench, Peer, bytes_of, count, errno, on_each, on_each_with, pattern};
use ringway_ring::{Chain, Gather, Handle, Interest, Op, OpId, Payload, RingOptions, ZeroCopy};

#[test]
fn ten_thousand_cancels_pass_a_full_submission_queue() {
    let options = RingOptions { submission_entries: 4, completion_entries: 8, ..RingOptions::default() };
    on_each_with(&options, |bench| {
        // The kernel drivers share few sockets (descriptors are scarce): in rounds where a direction takes one operation.
        let (pairs, rounds, each) = match bench.name() {
            "uring" => (50, 2, 100),
            "epoll" => (100, 100, 1),
            _ => (2000, 5, 1),
        };
        let ends: Vec<_> = (0..pairs).map(|_| bench.pair()).collect();
        let mut cancelled = 0;
        for _ in 0..rounds {
            let ids: Vec<OpId> = (0..each)
                .flat_map(|_| &ends)
                .map(|(socket, _)| {
                    let op = Op::Ready { socket: socket.clone(), interest: Interest::Readable };
                    bench.ring.submit(op, 1).expect("below the limit")
                })
                .collect();
            for &id in &ids {
                bench.ring.cancel(id);
                bench.ring.cancel(id);
            }
            for _ in &ids {
                assert_eq!(errno(&bench.next_of(1)), Some(libc::ECANCELED));
                cancelled += 1;
            }
            assert_eq!(bench.ring.in_flight(), 0, "on {}", bench.name());
        }
        assert_eq!(cancelled, 10_000);
    });
}

#[test]
fn no_completion_is_lost_when_the_queue_overflows() {
    let options = RingOptions { submission_entries: 4, completion_entries: 8, ..RingOptions::default() };
    on_each_with(&options, |bench| {
        let (pairs, each) = if bench.name() == "uring" { (50, 100) } else { (100, 1) };
        let ends: Vec<_> = (0..pairs).map(|_| bench.pair()).collect();
        let mut expected = std::collections::HashSet::new();
        for token in 0..each {
            for (socket, _) in &ends {
                let op = Op::Ready { socket: socket.clone(), interest: Interest::Writable };
                expected.insert(bench.submit(op, token));
            }
        }
        bench.drive("all completions", |bench| {
            while let Some(completion) = bench.try_next() {
                assert_eq!(completion.result.expect("writable"), 0);
                assert!(expected.remove(&completion.id), "completed twice");
            }
            expected.is_empty()
        });
    });
}

#[test]
fn streams_survive_an_overflowing_queue_byte_for_byte() {
    let options = RingOptions {
        submission_entries: 4,
        completion_entries: 8,
        stream_buffers: 64,
        stream_buffer_bytes: 256,
        ..RingOptions::default()
    };
    on_each_with(&options, |bench| {
        let mut ends: Vec<(Handle, Box<dyn Peer>)> = (0..20).map(|_| bench.pair()).collect();
        let per_connection = count(6000, 200_000);
        for (token, (socket, _)) in (0..).zip(&ends) {
            bench.submit(Op::Stream { socket: socket.clone() }, token);
        }
        let (mut sent, mut got) = ([0; 20], vec![Vec::new(); 20]);
        bench.drive("all streams", |bench| {
            for which in 0..20 {
                let piece = pattern(which as u64, sent[which], 1500.min(per_connection - sent[which]));
                if let Ok(bytes) = ends[which].1.write(&piece) {
                    sent[which] += bytes;
                }
            }
            while let Some(completion) = bench.try_next() {
                let which = usize::try_from(completion.token).expect("small");
                if !completion.more {
                    bench.submit(Op::Stream { socket: ends[which].0.clone() }, completion.token);
                }
                got[which].extend(bytes_of(completion));
            }
            got.iter().all(|got| got.len() >= per_connection)
        });
        for (which, got) in got.iter().enumerate() {
            assert!(*got == pattern(which as u64, 0, per_connection), "stream {which} on {}", bench.name());
        }
    });
}

/// One random operation on a socket.
fn random_op(bench: &Bench, rng: &mut ringway_testkit::Rng, socket: &Handle, receives: bool) -> Op {
    let socket = socket.clone();
    let pool = bench.ring.pool();
    if receives {
        return match rng.below(3) {
            0 => Op::Stream { socket },
            1 => {
                let buffer = pool.get(4000).expect("memory");
                Op::Exact { socket, buffer, filled: 0, want: 4000 }
            }
            _ => Op::Ready { socket, interest: Interest::Readable },
        };
    }
    let bytes = pool.copy_of(&pattern(1, 0, rng.between(1, 60_000))).expect("memory");
    match rng.below(4) {
        0 => Op::Send { socket, bytes, sent: 0 },
        1 => Op::SendZeroCopy(ZeroCopy::new(socket, bytes)),
        2 => {
            let (mut chain, mut rest) = (Chain::new(), bytes);
            while !rest.is_empty() {
                chain.push(rest.split_to(rest.len().min(300)));
            }
            Op::Gather(Gather::new(socket, chain))
        }
        _ => Op::Ready { socket, interest: Interest::Writable },
    }
}

#[test]
fn orphans_at_random_points_under_load_leave_nothing_behind() {
    on_each(|bench| {
        let mut rng = bench.seed.rng();
        let mut ends: Vec<(Handle, Box<dyn Peer>)> = (0..16).map(|_| bench.pair()).collect();
        // One operation a direction, as the layer above does it: the id, or when it is orphaned, its slot's end.
        let mut busy: Vec<[Option<OpId>; 2]> = vec![[None; 2]; ends.len()];
        let mut orphaned = 0;
        for _ in 0..count(3000, 60_000) {
            let which = rng.below(ends.len());
            let direction = rng.below(2);
            match busy[which][direction] {
                Some(id) if rng.chance(500) => {
                    bench.ring.orphan(id);
                    orphaned += 1;
                    // The connection goes with its operation: nobody knows what an orphan took or sent.
                    let other = busy[which][1 - direction].take();
                    other.into_iter().for_each(|id| bench.ring.orphan(id));
                    busy[which] = [None; 2];
                    ends[which] = bench.pair();
                }
                Some(_) => {}
                None => {
                    let op = random_op(bench, &mut rng, &ends[which].0, direction == 0);
                    let token = (which * 2 + direction) as u64;
                    busy[which][direction] = Some(bench.submit(op, token));
                }
            }
            let peer = &mut ends[rng.below(16)].1;
            if rng.chance(400) {
                let _full = peer.write(&[1; 3000]);
            }
            if rng.chance(400) {
                let _empty = peer.read(&mut [0; 30_000]);
            }
            if rng.chance(300) {
                bench.glance();
            }
            while let Some(completion) = bench.try_next() {
                let token = usize::try_from(completion.token).expect("small");
                let place = &mut busy[token / 2][token % 2];
                assert_eq!(*place, Some(completion.id), "an orphan was heard on {}", bench.name());
                if !completion.more {
                    *place = None;
                }
            }
        }
        assert!(orphaned > 100);
        for id in busy.into_iter().flatten().flatten() {
            bench.ring.orphan(id);
        }
        bench.drive("all orphans", |bench| {
            // The kernel keeps a zero-copy buffer until the peer has taken what was sent of it.
            for (_, peer) in &mut ends {
                while peer.read(&mut [0; 30_000]).is_ok_and(|bytes| bytes > 0) {}
            }
            assert!(bench.try_next().is_none());
            bench.ring.in_flight() == 0
        });
        assert_eq!(bench.ring.orphans(), 0);
        assert!(ends.iter().all(|(socket, _)| socket.holders() == if bench.is_simulated() { 2 } else { 1 }));
    });
}

#[test]
fn a_cancel_races_with_the_bytes_and_loses_none() {
    on_each(|bench| {
        let (socket, mut peer) = bench.pair();
        let mut rng = bench.seed.rng();
        let (mut sent, mut got) = (0, Vec::new());
        for _ in 0..count(1500, 50_000) {
            let id = bench.submit(Op::Stream { socket: socket.clone() }, 1);
            let steps = rng.below(4);
            for _ in 0..steps {
                if let Ok(bytes) = peer.write(&pattern(1, sent, rng.between(1, 40))) {
                    sent += bytes;
                }
                if rng.chance(500) {
                    bench.glance();
                }
            }
            bench.ring.cancel(id);
            loop {
                let completion = bench.next_of(1);
                let is_last = !completion.more;
                let known = [None, Some(libc::ECANCELED), Some(libc::ENOBUFS)].contains(&errno(&completion));
                assert!(known, "{completion:?}");
                got.extend(bytes_of(completion));
                if is_last {
                    break;
                }
            }
        }
        let left = sent - got.len();
        got.extend(bench.stream_exactly(&socket, 2, left));
        assert!(got == pattern(1, 0, sent), "{} of {sent} on {}", got.len(), bench.name());
    });
}

#[test]
fn a_cancel_of_what_has_ended_does_nothing() {
    on_each(|bench| {
        let (socket, _peer) = bench.pair();
        let id = bench.submit(Op::Ready { socket: socket.clone(), interest: Interest::Writable }, 1);
        bench.next_of(1);
        let next = bench.submit(Op::Stream { socket }, 2);
        // The slot is used again; the old name must not reach the new operation.
        bench.ring.cancel(id);
        bench.ring.orphan(id);
        for _ in 0..5 {
            bench.poll();
            assert!(
                !matches!(bench.try_next_of(2), Some(completion) if errno(&completion) == Some(libc::ECANCELED))
            );
        }
        assert_eq!((bench.ring.orphans(), bench.ring.counters().orphaned), (0, 0));
        bench.ring.cancel(next);
        let last = bench.last_of(2);
        assert!(matches!(last.payload, Payload::Finished(Op::Stream { .. })));
    });
}
