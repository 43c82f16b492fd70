//! The dropped-read test: 8-byte writes, and waits that are dropped while pending and taken up again. Nothing may be
//! lost and nothing may be left: not a byte, a slice, an operation, a descriptor.

use crate::Descriptors;
use crate::bench::{Bench, Peer, bytes_of, count, errno, on_each, on_kernel};
use ringway_ring::{Handle, Op, OpId, Payload};
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;

const READ: u64 = 1;

/// What each write carries: its number.
const RECORD_BYTES: usize = 8;

/// Numbers that arrived in order.
#[derive(Default)]
struct Check {
    rest: Vec<u8>,
    next: u64,
}

impl Check {
    /// Bytes that have arrived.
    fn arrived(&self) -> usize {
        usize::try_from(self.next).expect("small") * RECORD_BYTES + self.rest.len()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / RECORD_BYTES * RECORD_BYTES;
        for record in self.rest.drain(..whole).as_slice().chunks(RECORD_BYTES) {
            let number = u64::from_le_bytes(record.try_into().expect("eight bytes"));
            assert_eq!(number, self.next, "bytes were lost or came twice");
            self.next += 1;
        }
    }
}

struct Writer {
    peer: Box<dyn Peer>,
    /// Bytes written.
    written: usize,
}

impl Writer {
    /// Writes the next number, or what an almost full window has left of it.
    fn write(&mut self) {
        let number = (self.written / RECORD_BYTES) as u64;
        if let Ok(bytes) = self.peer.write(&number.to_le_bytes()[self.written % RECORD_BYTES..]) {
            self.written += bytes;
        }
    }
}

/// A wait for one record that can be dropped: what it had goes into the next one.
fn wait(bench: &mut Bench, socket: &Handle, had: &[u8]) -> OpId {
    let mut buffer = bench.ring.pool().get(RECORD_BYTES).expect("memory");
    buffer[..had.len()].copy_from_slice(had);
    let filled = u32::try_from(had.len()).expect("eight at most");
    let want = u32::try_from(RECORD_BYTES).expect("eight");
    bench.submit(Op::Exact { socket: socket.clone(), buffer, filled, want }, READ)
}

/// What the wait has when it is over.
fn had(bench: &mut Bench) -> Vec<u8> {
    let completion = bench.next_of(READ);
    assert!([None, Some(libc::ECANCELED)].contains(&errno(&completion)), "{completion:?}");
    let Payload::Finished(Op::Exact { buffer, filled, .. }) = completion.payload else { panic!("a read") };
    buffer[..filled as usize].to_vec()
}

#[test]
fn exact_reads_dropped_while_pending_lose_nothing() {
    let descriptors = Descriptors::count();
    on_each(|bench| {
        let (socket, peer) = bench.pair();
        let (mut writer, mut check) = (Writer { peer, written: 0 }, Check::default());
        let mut rng = bench.seed.rng();
        let (mut drops, mut had_bytes) = (0, Vec::new());
        let wanted = if bench.is_simulated() { count(10_000, 100_000) } else { 100_000 };
        let out = bench.ring.pool().slices_out();
        while drops < wanted {
            let id = wait(bench, &socket, &had_bytes);
            // The write comes before the wait is seen, between, after the drop, or not at all.
            let moment = rng.below(4);
            if moment == 0 {
                writer.write();
            }
            if rng.chance(500) {
                bench.glance();
            }
            if moment == 1 {
                writer.write();
            }
            bench.ring.cancel(id);
            drops += 1;
            if moment == 2 {
                writer.write();
            }
            had_bytes = had(bench);
            if had_bytes.len() == RECORD_BYTES {
                check.take(&std::mem::take(&mut had_bytes));
            }
            assert_eq!(bench.ring.in_flight(), 0);
        }
        check.take(&had_bytes);
        let left = writer.written - check.arrived();
        check.take(&bench.stream_exactly(&socket, 2, left));
        assert_eq!(check.arrived(), writer.written, "on {}", bench.name());
        assert!(check.next > 0 && bench.ring.pool().slices_out() <= out + 1);
    });
    descriptors.assert_all_closed();
}

#[test]
fn streams_dropped_while_pending_lose_nothing() {
    let descriptors = Descriptors::count();
    on_each(|bench| {
        let (socket, peer) = bench.pair();
        drop_streams(bench, &socket, peer);
    });
    descriptors.assert_all_closed();
}

#[test]
fn datagram_streams_dropped_while_pending_lose_nothing() {
    let descriptors = Descriptors::count();
    on_kernel(|bench| {
        let any = || UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let (ours, peer) = (any(), any());
        ours.connect(peer.local_addr().expect("bound")).expect("connects");
        peer.connect(ours.local_addr().expect("bound")).expect("connects");
        drop_streams(bench, &Handle::new(OwnedFd::from(ours)), Box::new(Datagrams(peer)));
    });
    descriptors.assert_all_closed();
}

/// Datagrams of one record each.
struct Datagrams(UdpSocket);

impl Peer for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    fn finish(&mut self) {}

    fn reset(self: Box<Self>) {}
}

/// Unread datagrams that a socket's buffer surely holds: beyond, the kernel would drop them by right.
const DATAGRAMS_MAX: usize = 64;

/// Drops streams at random moments of an 8-byte write, again and again.
fn drop_streams(bench: &mut Bench, socket: &Handle, peer: Box<dyn Peer>) {
    let (mut writer, mut check) = (Writer { peer, written: 0 }, Check::default());
    let mut rng = bench.seed.rng();
    let wanted = if bench.is_simulated() { count(10_000, 100_000) } else { count(30_000, 100_000) };
    for _ in 0..wanted {
        if writer.written - check.arrived() > DATAGRAMS_MAX * RECORD_BYTES {
            let left = writer.written - check.arrived();
            check.take(&bench.stream_exactly(socket, 2, left));
        }
        let id = bench.submit(Op::Stream { socket: socket.clone() }, READ);
        let moment = rng.below(4);
        if moment == 0 {
            writer.write();
        }
        if rng.chance(500) {
            bench.glance();
        }
        if moment == 1 {
            writer.write();
        }
        bench.ring.cancel(id);
        if moment == 2 {
            writer.write();
        }
        loop {
            let completion = bench.next_of(READ);
            let is_last = !completion.more;
            check.take(&bytes_of(completion));
            if is_last {
                break;
            }
        }
        assert_eq!(bench.ring.in_flight(), 0);
    }
    let left = writer.written - check.arrived();
    check.take(&bench.stream_exactly(socket, 2, left));
    assert_eq!(check.arrived(), writer.written, "on {}", bench.name());
}
