//! Receiving datagrams: batches, sources, sizes, trains, destinations, groups, order and fairness.

use crate::bench::{Bench, errno, on_kernel, pattern};
use ringway_ring::socket::{self, DatagramSocketOptions, Interface, SendBatch};
use ringway_ring::{Batch, DatagramOptions, Handle, Op, OpId, Payload, Ring, Wait};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsFd;

pub(crate) const RECEIVE: u64 = 3;

pub(crate) const PLAIN: DatagramSocketOptions = DatagramSocketOptions {
    reuse_port: false,
    receive_buffer_bytes: 4 << 20,
    send_buffer_bytes: 0,
    gro: false,
    counts_drops: true,
    reports_destination: false,
    multicast_interface: Interface::Any,
    multicast_hops: 0,
};

/// A socket that is being received from.
pub(crate) struct Receiver {
    pub(crate) id: OpId,
    pub(crate) socket: Handle,
    pub(crate) address: SocketAddr,
}

/// One datagram as it was found in a batch.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) payload: Vec<u8>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) is_truncated: bool,
    pub(crate) sent_bytes: usize,
    pub(crate) dropped: Option<u32>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) segments: Vec<Vec<u8>>,
}

pub(crate) fn bind(address: &str, options: &DatagramSocketOptions) -> (Handle, SocketAddr) {
    let address = address.parse().expect("an address");
    let socket = Handle::new(socket::bind_datagrams(address, options).expect("loopback"));
    let address = socket::local_address(socket.kernel().expect("real")).expect("bound");
    (socket, address)
}

pub(crate) fn receive(bench: &mut Bench, socket: Handle, options: &DatagramOptions, token: u64) -> OpId {
    let datagrams = bench.ring.datagrams(socket, options).expect("memory");
    bench.submit(Op::Datagrams(datagrams), token)
}

pub(crate) fn receiver(bench: &mut Bench, address: &str, options: &DatagramOptions) -> Receiver {
    let (socket, address) = bind(address, &PLAIN);
    let id = receive(bench, socket.clone(), options, RECEIVE);
    Receiver { id, socket, address }
}

pub(crate) fn sender(address: SocketAddr) -> UdpSocket {
    let any = if address.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
    let sender = UdpSocket::bind(any).expect("loopback");
    sender.connect(address).expect("loopback");
    sender
}

pub(crate) fn read(batch: &Batch) -> Vec<Got> {
    let got = |datagram: ringway_ring::Datagram<'_>| Got {
        payload: datagram.payload().to_vec(),
        source: datagram.source(),
        is_truncated: datagram.is_truncated(),
        sent_bytes: datagram.sent_bytes(),
        dropped: datagram.dropped(),
        destination: datagram.destination().map(|destination| destination.address),
        segments: datagram.segments().map(<[u8]>::to_vec).collect(),
    };
    batch.iter().map(got).collect()
}

/// The next batch with this token.
pub(crate) fn next_batch(bench: &mut Bench, token: u64) -> Batch {
    let completion = bench.next_of(token);
    match completion.payload {
        Payload::Datagrams(batch) => {
            assert_eq!(completion.result.ok(), u32::try_from(batch.len()).ok());
            assert!(completion.more && !batch.is_empty());
            batch
        }
        other => panic!("{other:?} on {}", bench.name()),
    }
}

/// The next `count` datagrams with this token, their buffers given back.
pub(crate) fn take(bench: &mut Bench, token: u64, count: usize) -> Vec<Got> {
    let mut got = Vec::new();
    while got.len() < count {
        let batch = next_batch(bench, token);
        got.extend(read(&batch));
        bench.ring.recycle(batch);
    }
    assert_eq!(got.len(), count, "on {}", bench.name());
    got
}

#[test]
fn datagrams_come_whole_in_order_and_with_their_sources() {
    on_kernel(|bench| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = receiver(bench, address, &DatagramOptions::default());
            let senders = [sender(receiver.address), sender(receiver.address)];
            let total = 600;
            let payload = |number: usize| pattern(number as u64, 0, number % 1500);
            let mut got = Vec::new();
            for number in 0..total {
                senders[number % 2].send(&payload(number)).expect("loopback");
                if number % 100 == 99 {
                    got.extend(take(bench, RECEIVE, 100));
                }
            }
            for (number, got) in got.iter().enumerate() {
                assert!(got.payload == payload(number), "datagram {number} on {}", bench.name());
                assert_eq!(got.source, senders[number % 2].local_addr().ok());
                assert_eq!((got.is_truncated, got.dropped), (false, None));
                assert_eq!((got.sent_bytes, got.segments.len()), (number % 1500, 1));
            }
            let counters = bench.ring.datagram_counters(receiver.id).expect("current");
            assert_eq!((counters.datagrams, counters.errors, counters.strangers), (total as u64, 0, 0));
            bench.ring.orphan(receiver.id);
        }
    });
}

#[test]
fn empty_largest_and_cut_datagrams() {
    on_kernel(|bench| {
        let large = DatagramOptions { buffers: 8, payload_bytes: 65_535, ..DatagramOptions::default() };
        let whole = receiver(bench, "127.0.0.1:0", &large);
        let whole_sender = sender(whole.address);
        let sizes = [0, 65_507, 0, 0, 1, 40_000];
        for bytes in sizes {
            whole_sender.send(&pattern(9, 0, bytes)).expect("loopback");
        }
        for (got, bytes) in take(bench, RECEIVE, sizes.len()).iter().zip(sizes) {
            assert!(got.payload == pattern(9, 0, bytes), "{bytes} bytes on {}", bench.name());
            assert!(!got.is_truncated);
            assert_eq!(got.source, whole_sender.local_addr().ok());
        }
        bench.ring.orphan(whole.id);
        let small = DatagramOptions { payload_bytes: 100, ..DatagramOptions::default() };
        let cut = receiver(bench, "127.0.0.1:0", &small);
        let cut_sender = sender(cut.address);
        for bytes in [100, 101, 9000] {
            cut_sender.send(&pattern(1, 0, bytes)).expect("loopback");
        }
        let got = take(bench, RECEIVE, 3);
        assert!(got.iter().all(|got| got.payload == pattern(1, 0, 100)));
        let cuts: Vec<_> = got.iter().map(|got| (got.is_truncated, got.sent_bytes)).collect();
        assert_eq!(cuts, [(false, 100), (true, 101), (true, 9000)], "on {}", bench.name());
    });
}

#[test]
fn trains_come_as_one_and_fall_into_their_segments() {
    on_kernel(|bench| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (socket, address) = bind(address, &DatagramSocketOptions { gro: true, ..PLAIN });
            let small = bench.ring.datagrams(socket.clone(), &DatagramOptions::default());
            assert!(small.is_err(), "trains do not fit small buffers");
            let options =
                DatagramOptions { buffers: 16, payload_bytes: 65_535, ..DatagramOptions::default() };
            let id = receive(bench, socket, &options, RECEIVE);
            let sender = sender(address);
            let mut batch = SendBatch::new(100, 1 << 20);
            // A shorter last one, equal ones, and single datagrams between.
            for bytes in [3500, 4000, 999, 0, 1001] {
                batch.push_train(None, &pattern(4, 0, bytes), 1000).expect("room");
            }
            let sent = socket::send_datagrams(sender.as_fd(), &mut batch).expect("loopback");
            assert_eq!((sent.datagrams, sent.bytes), (4 + 4 + 1 + 1 + 2, 9500));
            let mut segments = Vec::new();
            let mut trains = 0;
            bench.drive("the segments", |bench| {
                while let Some(completion) = bench.try_next_of(RECEIVE) {
                    let Payload::Datagrams(batch) = completion.payload else { panic!("{completion:?}") };
                    for got in read(&batch) {
                        trains += usize::from(got.segments.len() > 1);
                        segments.extend(got.segments);
                    }
                    bench.ring.recycle(batch);
                }
                segments.len() == sent.datagrams
            });
            let sizes: Vec<usize> = segments.iter().map(Vec::len).collect();
            assert_eq!(sizes, [1000, 1000, 1000, 500, 1000, 1000, 1000, 1000, 999, 0, 1000, 1]);
            assert!(segments.concat().starts_with(&pattern(4, 0, 3500)));
            assert!(trains >= 3, "{trains} trains on {}", bench.name());
            bench.ring.orphan(id);
        }
    });
}

#[test]
fn a_batch_is_bounded_and_a_loud_socket_leaves_room_for_a_quiet_one() {
    on_kernel(|bench| {
        let options = DatagramOptions { batch_max: 10, ..DatagramOptions::default() };
        let loud = receiver(bench, "127.0.0.1:0", &options);
        let (socket, address) = bind("127.0.0.1:0", &PLAIN);
        let quiet = receive(bench, socket, &options, RECEIVE + 1);
        let loud_sender = sender(loud.address);
        for number in 0..500u32 {
            loud_sender.send(&number.to_le_bytes()).expect("loopback");
        }
        sender(address).send(b"me too").expect("loopback");
        let (mut numbers, mut polls, mut heard) = (Vec::new(), 0, None);
        while numbers.len() < 500 {
            bench.ring.poll(Wait::AtMost(crate::bench::PATIENCE)).expect("sound");
            polls += 1;
            let mut batches = 0;
            while let Some(completion) = bench.ring.next_completion() {
                let Payload::Datagrams(batch) = completion.payload else { panic!("{completion:?}") };
                if completion.id == quiet {
                    heard.get_or_insert(polls);
                } else {
                    batches += 1;
                    assert!(
                        batch.len() <= 10,
                        "{} in a batch on {}",
                        batch.len(),
                        bench.ring.report().driver
                    );
                    let number = |got: &Got| u32::from_le_bytes(got.payload[..].try_into().expect("four"));
                    numbers.extend(read(&batch).iter().map(number));
                }
                bench.ring.recycle(batch);
            }
            assert!(batches <= 1, "{batches} batches of one socket in a poll");
        }
        assert_eq!(numbers, (0..500).collect::<Vec<_>>(), "order on {}", bench.name());
        assert!(heard.is_some_and(|poll| poll <= 3), "heard in poll {heard:?} on {}", bench.name());
        assert!(polls >= 50);
    });
}

#[test]
fn batches_fill_while_others_are_out_and_cross_threads() {
    on_kernel(|bench| {
        let receiver = receiver(bench, "127.0.0.1:0", &DatagramOptions::default());
        let sender = sender(receiver.address);
        let mut out = Vec::new();
        for number in 0..20u8 {
            sender.send(&[number; 50]).expect("loopback");
            out.push(next_batch(bench, RECEIVE));
        }
        let read = std::thread::spawn(move || {
            let payloads: Vec<_> = out.iter().flat_map(read).map(|got| got.payload).collect();
            (payloads, out)
        });
        let (payloads, out) = read.join().expect("reads");
        assert!(payloads == (0..20u8).map(|number| vec![number; 50]).collect::<Vec<_>>());
        for batch in out {
            bench.ring.recycle(batch);
        }
    });
}

#[test]
fn buffers_that_come_back_in_any_order_are_filled_and_found_again() {
    on_kernel(|bench| {
        let options = DatagramOptions { buffers: 16, payload_bytes: 64, ..DatagramOptions::default() };
        let receiver = receiver(bench, "127.0.0.1:0", &options);
        let sender = sender(receiver.address);
        let mut rng = bench.seed.rng();
        let mut out = Vec::new();
        for number in 0..2000u32 {
            sender.send(&number.to_le_bytes()).expect("loopback");
            let batch = next_batch(bench, RECEIVE);
            assert_eq!(batch.len(), 1);
            out.push((number, batch));
            while out.len() > 14 || (!out.is_empty() && rng.chance(450)) {
                let (number, batch) = out.swap_remove(rng.between(0, out.len() - 1));
                assert_eq!(read(&batch)[0].payload, number.to_le_bytes(), "on {}", bench.name());
                if rng.chance(100) { drop(batch) } else { bench.ring.recycle(batch) }
            }
        }
        let counters = bench.ring.datagram_counters(receiver.id).expect("current");
        assert_eq!((counters.datagrams, counters.strangers), (2000, 0));
    });
}

#[test]
fn destinations_and_groups() {
    on_kernel(|bench| {
        let options = DatagramSocketOptions { reports_destination: true, ..PLAIN };
        for (any, group, own) in [("0.0.0.0:0", "239.9.8.7", "127.0.0.1"), ("[::]:0", "ff01::9:8:7", "::1")] {
            let (socket, address) = bind(any, &options);
            let (group, own): (IpAddr, IpAddr) = (group.parse().expect("ip"), own.parse().expect("ip"));
            let id = receive(bench, socket.clone(), &DatagramOptions::default(), RECEIVE);
            let fd = socket.kernel().expect("real");
            let loopback = Interface::Index(1);
            socket::join_multicast(fd, group, loopback).expect("loopback carries groups");
            assert!(socket::join_multicast(fd, group, loopback).is_err(), "a member already");
            let sender = sender(SocketAddr::new(own, address.port()));
            let group_address = match group {
                IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
                IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, address.port(), 0, 1)),
            };
            let to_group = UdpSocket::bind(SocketAddr::new(own, 0)).expect("loopback");
            socket::set_multicast_interface(to_group.as_fd(), loopback).expect("loopback");
            match to_group.send_to(b"all", group_address) {
                Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => {
                    eprintln!("SKIPPED: loopback has no route to {group}");
                    socket::leave_multicast(fd, group, loopback).expect("a member");
                    bench.ring.orphan(id);
                    continue;
                }
                sent => assert_eq!(sent.expect("loopback"), 3),
            }
            sender.send(b"one").expect("loopback");
            let got = take(bench, RECEIVE, 2);
            let destinations: Vec<_> = got.iter().map(|got| got.destination).collect();
            assert_eq!(destinations, [Some(group), Some(own)], "on {}", bench.name());
            socket::leave_multicast(fd, group, loopback).expect("a member");
            to_group.send_to(b"nobody", group_address).expect("loopback");
            sender.send(b"only me").expect("loopback");
            assert_eq!(take(bench, RECEIVE, 1)[0].payload, b"only me");
            bench.ring.orphan(id);
        }
    });
}

#[test]
fn a_cancelled_reception_ends_after_its_last_batch_and_can_begin_again() {
    on_kernel(|bench| {
        let options = DatagramOptions { batch_max: 4, ..DatagramOptions::default() };
        let Receiver { id, address, .. } = receiver(bench, "127.0.0.1:0", &options);
        let sender = sender(address);
        let mut number = 0u32;
        let mut expected = 0u32;
        let mut id = id;
        for round in 0..crate::bench::count(300, 30_000) {
            for _ in 0..round % 13 {
                sender.send(&number.to_le_bytes()).expect("loopback");
                number += 1;
            }
            for _ in 0..round % 3 {
                bench.glance();
            }
            bench.ring.cancel(id);
            loop {
                let completion = bench.next_of(RECEIVE);
                let (error, more) = (errno(&completion), completion.more);
                match completion.payload {
                    Payload::Datagrams(batch) => {
                        for got in read(&batch) {
                            assert_eq!(got.payload, expected.to_le_bytes(), "on {}", bench.name());
                            expected += 1;
                        }
                        bench.ring.recycle(batch);
                    }
                    Payload::Finished(op) => {
                        assert_eq!((error, more), (Some(libc::ECANCELED), false));
                        id = bench.submit(op, RECEIVE);
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let left = usize::try_from(number - expected).expect("small");
        for got in take(bench, RECEIVE, left) {
            assert_eq!(got.payload, expected.to_le_bytes());
            expected += 1;
        }
        assert_eq!(bench.ring.counters().strangers, 0);
    });
}

#[test]
fn a_batch_outlives_its_operation_and_its_ring() {
    for driver in [ringway_ring::DriverChoice::Uring, ringway_ring::DriverChoice::Epoll] {
        let options = ringway_ring::RingOptions { driver, ..Default::default() };
        let mut ring = match Ring::new(&options) {
            Ok(ring) => ring,
            Err(error) => {
                eprintln!("SKIPPED on {driver:?}: {error}");
                continue;
            }
        };
        let (socket, address) = bind("127.0.0.1:0", &PLAIN);
        let datagrams = ring.datagrams(socket, &DatagramOptions::default()).expect("memory");
        let id = ring.submit(Op::Datagrams(datagrams), 0).expect("room");
        sender(address).send(b"what lasts").expect("loopback");
        let mut batch = None;
        while batch.is_none() {
            ring.poll(Wait::AtMost(crate::bench::PATIENCE)).expect("sound");
            batch = ring.next_completion().and_then(|completion| match completion.payload {
                Payload::Datagrams(batch) => Some(batch),
                _ => None,
            });
        }
        let (batch, pool) = (batch.expect("looked for"), ring.pool().clone());
        ring.orphan(id);
        drop(ring);
        assert_eq!(read(&batch)[0].payload, b"what lasts");
        assert!(pool.mapped_bytes() > 0, "the batch's memory is counted");
        drop(batch);
        crate::bench::assert_all_back(&pool, "a ring that is gone");
    }
}
