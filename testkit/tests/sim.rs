//! The simulated network keeps its promises: a seed repeats its run, order within a direction, faults that happen.

use ringway_ring::{Handle, Op, Payload, Ring, RingOptions, Wait};
use ringway_testkit::sim::{Faults, SimNet, SimPeer};
use ringway_testkit::{Rng, Seed};
use std::io::ErrorKind;
use std::time::Duration;

/// What happened, in words that hold no addresses.
fn course(seed: u64) -> Vec<String> {
    let net = SimNet::new(seed, Faults::ROUGH);
    let mut ring = net.ring(&RingOptions::default()).expect("a ring");
    let address = "10.0.0.1:80".parse().expect("an address");
    let listener = net.listen(address).expect("a fresh address");
    let mut peers: Vec<SimPeer> = (0..5).map(|_| net.dial(address).expect("it listens")).collect();
    ring.submit(Op::Accept { listener: listener.clone() }, 0).expect("room");
    let (mut sockets, mut words, mut rng): (Vec<Handle>, _, _) = (Vec::new(), Vec::new(), Rng::new(1));
    for turn in 0..400 {
        ring.poll(Wait::Poll).expect("sound");
        while let Some(completion) = ring.next_completion() {
            let (token, more) = (completion.token, completion.more);
            words.push(format!("{turn} {token} {more} {:?} {:?}", completion.result, completion.payload));
            match completion.payload {
                Payload::Connection(socket) => {
                    sockets.push(socket.clone());
                    ring.submit(Op::Stream { socket }, sockets.len() as u64).expect("room");
                }
                Payload::Bytes(bytes) => {
                    let socket = sockets[usize::try_from(token).expect("small") - 1].clone();
                    words.push(format!(
                        "sent {:?}",
                        ring.try_send(&socket, &bytes).map_err(|error| error.kind())
                    ));
                }
                _ => {}
            }
            if !more && token == 0 {
                ring.submit(Op::Accept { listener: listener.clone() }, 0).expect("room");
            } else if !more && sockets.len() as u64 >= token {
                let socket = sockets[usize::try_from(token).expect("small") - 1].clone();
                ring.submit(Op::Stream { socket }, token).expect("room");
            }
        }
        let peer = rng.below(peers.len());
        words.push(format!("{:?}", peers[peer].write(&[1; 100]).map_err(|error| error.kind())));
        if turn == 300 {
            peers.pop();
        }
    }
    words
}

#[test]
fn a_seed_repeats_its_run_and_another_does_not() {
    let seed = Seed::take();
    let (first, second) = (course(seed.value()), course(seed.value()));
    assert_eq!(first, second);
    assert_ne!(first, course(seed.value().wrapping_add(1)));
}

fn ring_on(net: &SimNet) -> Ring {
    net.ring(&RingOptions::default()).expect("a ring")
}

#[test]
fn every_fault_happens_and_nothing_else_without_faults() {
    let seed = Seed::take();
    let net = SimNet::new(seed.value(), Faults::ROUGH);
    let mut ring = ring_on(&net);
    let (socket, peer) = net.pair();
    let (mut short, mut blocked, mut ended, mut starved) = (false, false, false, false);
    ring.submit(Op::Stream { socket: socket.clone() }, 1).expect("room");
    for _ in 0..5000 {
        let _full = peer.write(&[1; 1000]);
        match ring.try_send(&socket, &[1; 100]) {
            Ok(bytes) => short |= bytes < 100,
            Err(error) => blocked |= error.kind() == ErrorKind::WouldBlock,
        }
        let _empty = peer.read(&mut [0; 4096]);
        ring.poll(Wait::Poll).expect("sound");
        while let Some(completion) = ring.next_completion() {
            if !completion.more {
                ended |= completion.result.is_ok();
                starved |= completion.result.is_err_and(|error| error.raw_os_error() == Some(libc::ENOBUFS));
                ring.submit(Op::Stream { socket: socket.clone() }, 1).expect("room");
            }
        }
    }
    assert!(short && blocked && ended && starved, "{short} {blocked} {ended} {starved}");

    let calm = SimNet::new(seed.value(), Faults::NONE);
    let mut ring = ring_on(&calm);
    let (socket, peer) = calm.pair();
    for _ in 0..200 {
        assert_eq!(ring.try_send(&socket, &[1; 100]).expect("an empty window"), 100);
        assert_eq!(peer.read(&mut [0; 200]).expect("it was sent"), 100);
    }
}

#[test]
fn closes_resets_and_time_are_seen_on_both_sides() {
    let net = SimNet::new(1, Faults::NONE);
    let mut ring = ring_on(&net);
    let (socket, peer) = net.pair();
    let mut buffer = [0; 8];
    assert_eq!(peer.read(&mut buffer).expect_err("nothing yet").kind(), ErrorKind::WouldBlock);
    assert_eq!(ring.try_send(&socket, b"bye").expect("room"), 3);
    assert_eq!(net.open_sockets(), 1);
    drop(socket);
    assert_eq!((peer.read(&mut buffer).expect("sent before the end"), net.open_sockets()), (3, 0));
    assert_eq!(peer.read(&mut buffer).expect("the end"), 0);
    assert_eq!(peer.write(b"x").expect_err("nobody is there").kind(), ErrorKind::ConnectionReset);

    // Unread bytes turn a close into a reset.
    let (socket, peer) = net.pair();
    assert_eq!(peer.write(b"unread").expect("room"), 6);
    assert_eq!(peer.unread(), 6);
    drop(socket);
    assert_eq!(peer.read(&mut buffer).expect_err("a reset").kind(), ErrorKind::ConnectionReset);

    let (socket, peer) = net.pair();
    drop(peer);
    assert_eq!(ring.try_recv(&socket, &mut buffer).expect("the end"), 0);
    assert_eq!(ring.try_send(&socket, b"first").expect("taken, and answered with a reset"), 5);
    assert_eq!(ring.try_send(&socket, b"second").expect_err("reset").kind(), ErrorKind::BrokenPipe);

    assert_eq!(net.now(), Duration::ZERO);
    net.advance(Duration::from_secs(3));
    net.set_advances_itself(true);
    ring.poll(Wait::AtMost(Duration::from_secs(2))).expect("sound");
    assert_eq!(net.now(), Duration::from_secs(5));
}
