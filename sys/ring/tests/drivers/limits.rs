//! Limits: memory, operations, dimensions; each refuses or slows down, and recovers.

use crate::bench::{bytes_of, errno, on_each_with, pattern, tcp_pair};
use ringway_ring::{DriverChoice, Op, Payload, Ring, RingOptions};

#[test]
fn a_stream_survives_a_pool_at_its_limit() {
    // One block of 64 buffers, of which the kernel holds 16.
    let options = RingOptions { pool_bytes_max: 128 * 1024, stream_buffers: 16, ..RingOptions::default() };
    on_each_with(&options, |bench| {
        let (socket, mut peer) = bench.pair();
        let total = 400_000;
        let sent = pattern(1, 0, total);
        let (mut written, mut got, mut held, mut refusals) = (0, Vec::new(), Vec::new(), 0);
        let mut armed = false;
        bench.drive("the stream", |bench| {
            if !armed {
                bench.submit(Op::Stream { socket: socket.clone() }, 1);
                armed = true;
            }
            if let Ok(bytes) = peer.write(&sent[written..total.min(written + 30_000)]) {
                written += bytes;
            }
            while let Some(completion) = bench.try_next_of(1) {
                armed &= completion.more;
                if errno(&completion) == Some(libc::ENOBUFS) {
                    refusals += 1;
                    // What we hold is what is missing.
                    held.clear();
                }
                if let Payload::Bytes(slice) = completion.payload {
                    got.extend_from_slice(&slice);
                    held.push(slice);
                }
            }
            got.len() == total
        });
        assert!(got == sent, "on {}", bench.name());
        assert!(refusals > 0, "the limit was never met on {}", bench.name());
        assert!(bench.ring.counters().out_of_buffers > 0);
    });
}

#[test]
fn a_quiet_connection_is_heard_when_the_hungry_are_fed_first() {
    let options = RingOptions { pool_bytes_max: 128 * 1024, stream_buffers: 16, ..RingOptions::default() };
    on_each_with(&options, |bench| {
        let (loud, mut loud_peer) = bench.pair();
        let (quiet, mut quiet_peer) = bench.pair();
        bench.submit(Op::Stream { socket: loud.clone() }, 1);
        bench.submit(Op::Stream { socket: quiet.clone() }, 2);
        let noise = vec![0; 100_000];
        let mut heard = Vec::new();
        let mut said = false;
        bench.drive("the quiet one", |bench| {
            let _full = loud_peer.write(&noise);
            if !said {
                said = quiet_peer.write(b"psst").is_ok();
            }
            let (mut fed, mut ended) = ([false; 3], Vec::new());
            while let Some(completion) = bench.try_next() {
                let token = completion.token;
                if !completion.more {
                    ended.push(token);
                }
                let bytes = bytes_of(completion);
                fed[usize::from(token == 2) + 1] |= !bytes.is_empty();
                if token == 2 {
                    heard.extend(bytes);
                }
            }
            // In the order in which they ended, the loud one would take every buffer again, every time.
            ended.sort_by_key(|&token| fed[usize::from(token == 2) + 1]);
            for token in ended {
                let socket = if token == 1 { &loud } else { &quiet };
                bench.submit(Op::Stream { socket: socket.clone() }, token);
            }
            heard.len() == 4
        });
        assert_eq!(heard, b"psst");
    });
}

#[test]
fn operations_beyond_the_limit_are_handed_back() {
    let options = RingOptions { operations_max: 3, ..RingOptions::default() };
    on_each_with(&options, |bench| {
        let pairs: Vec<_> = (0..4).map(|_| bench.pair()).collect();
        let mut ids = Vec::new();
        for (socket, _) in &pairs[..3] {
            ids.push(bench.submit(Op::Stream { socket: socket.clone() }, 1));
        }
        let socket = pairs[3].0.clone();
        let before = socket.holders();
        let refused = bench.ring.submit(Op::Stream { socket: socket.clone() }, 9).expect_err("the limit");
        assert!(matches!(refused, Op::Stream { .. }));
        drop(refused);
        assert_eq!((socket.holders(), bench.ring.in_flight()), (before, 3));
        // An orphan counts until its last completion; then there is room again.
        bench.ring.orphan(ids[0]);
        assert_eq!((bench.ring.in_flight(), bench.ring.orphans()), (3, 1));
        bench.drive("the orphan's end", |bench| {
            assert!(bench.try_next_of(1).is_none());
            bench.ring.in_flight() == 2
        });
        bench.submit(Op::Stream { socket }, 9);
    });
}

#[test]
fn dimensions_out_of_range_are_refused() {
    for driver in [DriverChoice::Auto, DriverChoice::Uring, DriverChoice::Epoll] {
        let good = RingOptions { driver, ..RingOptions::default() };
        let wrong = [
            RingOptions { stream_buffers: 0, ..good },
            RingOptions { stream_buffers: 100, ..good },
            RingOptions { stream_buffer_bytes: 0, ..good },
            RingOptions { stream_buffer_bytes: 65_537, ..good },
        ];
        for options in wrong {
            let error = Ring::new(&options).expect_err("out of range");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{options:?}");
        }
    }
}

#[test]
fn the_smallest_ring_works() {
    let options = RingOptions {
        submission_entries: 1,
        completion_entries: 2,
        stream_buffers: 1,
        stream_buffer_bytes: 1,
        pool_bytes_max: 1,
        operations_max: 1,
        ..RingOptions::default()
    };
    on_each_with(&options, |bench| {
        let (socket, mut peer) = bench.pair();
        let sent = pattern(4, 0, 5000);
        bench.write_all(&mut *peer, &sent);
        assert!(bench.stream_exactly(&socket, 1, 5000) == sent, "on {}", bench.name());
    });
}

#[test]
fn the_report_says_what_was_chosen() {
    let ring = Ring::new(&RingOptions { driver: DriverChoice::Epoll, ..RingOptions::default() });
    assert_eq!(ring.expect("epoll is everywhere").report().to_string(), "epoll");
    let ring = Ring::new(&RingOptions::default()).expect("one of the two");
    let text = ring.report().to_string();
    assert!(text.starts_with("uring (") || text.starts_with("epoll (io_uring is not used: "), "{text}");
    let (socket, _peer) = tcp_pair();
    assert_eq!((socket.holders(), ring.in_flight()), (1, 0));
}
