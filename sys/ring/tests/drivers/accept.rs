//! Accepting connections: bursts, interruptions, cancels.

use crate::bench::{Bench, on_each};
use ringway_ring::{Handle, Op, Payload};

const ACCEPT: u64 = 1;

/// Accepts `wanted` connections, starting again when the operation ends early.
fn accept(bench: &mut Bench, listener: &Handle, wanted: usize) -> Vec<Handle> {
    let mut connections = Vec::new();
    let mut id = bench.submit(Op::Accept { listener: listener.clone() }, ACCEPT);
    while connections.len() < wanted {
        let completion = bench.next_of(ACCEPT);
        if !completion.more {
            id = bench.submit(Op::Accept { listener: listener.clone() }, ACCEPT);
        }
        if let Payload::Connection(socket) = completion.payload {
            assert_eq!(completion.result.expect("with a connection"), 0);
            connections.push(socket);
        }
    }
    bench.ring.cancel(id);
    let last = bench.last_of(ACCEPT);
    assert!(!matches!(last.payload, Payload::Connection(_)), "nobody else connected");
    connections
}

#[test]
fn a_burst_is_accepted_whole_and_every_connection_works() {
    on_each(|bench| {
        let (listener, dialer) = bench.listen();
        let mut peers: Vec<_> = (0..150).map(|_| dialer.dial()).collect();
        let sockets = accept(bench, &listener, peers.len());
        assert_eq!(sockets.len(), peers.len());
        // Every peer is heard on one socket of its own.
        for (mark, peer) in (0..).zip(&mut peers) {
            assert_eq!(peer.write(&[mark]).expect("an empty window"), 1);
        }
        let mut heard: Vec<u8> =
            sockets.iter().map(|socket| bench.stream_exactly(socket, 2, 1)).map(|bytes| bytes[0]).collect();
        heard.sort_unstable();
        assert_eq!(heard, (0..150).collect::<Vec<u8>>());
    });
}

#[test]
fn connections_that_come_one_by_one_need_no_new_operation() {
    on_each(|bench| {
        let (listener, dialer) = bench.listen();
        bench.submit(Op::Accept { listener: listener.clone() }, ACCEPT);
        for _ in 0..20 {
            let _peer = dialer.dial();
            let accepted = loop {
                let completion = bench.next_of(ACCEPT);
                if !completion.more {
                    assert!(bench.is_simulated(), "{completion:?}");
                    bench.submit(Op::Accept { listener: listener.clone() }, ACCEPT);
                }
                if let Payload::Connection(socket) = completion.payload {
                    break socket;
                }
            };
            drop(accepted);
        }
    });
}

#[test]
fn an_orphaned_accept_closes_what_it_still_accepts() {
    on_each(|bench| {
        let (listener, dialer) = bench.listen();
        let id = bench.submit(Op::Accept { listener }, ACCEPT);
        let mut peers: Vec<_> = (0..10).map(|_| dialer.dial()).collect();
        bench.poll();
        bench.ring.orphan(id);
        bench.drive("the orphan's end", |bench| {
            while let Some(completion) = bench.try_next() {
                // What was handed over before the orphaning is ours; it is closed by the drop.
                assert!(completion.more || bench.is_simulated());
            }
            bench.ring.in_flight() == 0
        });
        // The listener is gone with its operation, so every peer sees an end or a reset.
        for peer in &mut peers {
            bench.drive("the peer's end", |_| match peer.read(&mut [0; 8]) {
                Ok(count) => count == 0,
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            });
        }
    });
}

#[test]
fn exhausted_descriptors_are_told_and_mended() {
    use ringway_testkit::sim::Faults;
    crate::bench::on_simulated(&Default::default(), Faults::NONE, |bench| {
        let (listener, dialer) = bench.listen();
        // The listener and two connections.
        bench.net().set_descriptors_max(3);
        let peers: Vec<_> = (0..5).map(|_| dialer.dial()).collect();
        bench.submit(Op::Accept { listener: listener.clone() }, ACCEPT);
        let mut sockets = Vec::new();
        let last = loop {
            let completion = bench.next_of(ACCEPT);
            match completion.payload {
                Payload::Connection(socket) => sockets.push(socket),
                _ => break completion,
            }
        };
        assert_eq!((last.more, crate::bench::errno(&last)), (false, Some(libc::EMFILE)));
        assert_eq!(sockets.len(), 2);
        sockets.clear();
        bench.net().set_descriptors_max(100);
        assert_eq!(accept(bench, &listener, 3).len(), 3, "those that waited are served");
        drop(peers);
    });
}
