//! Transmit-file: head and file to quick and slow readers, cold files, files that shrink, cancels.

use crate::bench::{Bench, count, errno, on_each, on_each_with, on_kernel, pattern, read_into};
use ringway_ring::{Completion, Handle, Op, Payload, Progress, RingOptions, Transmit};
use ringway_testkit::Scratch;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

const TRANSMIT: u64 = 3;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// A file of `bytes` bytes of the pattern.
fn file(scratch: &Scratch, bytes: usize) -> Handle {
    let path = scratch.file("file", &pattern(TRANSMIT, 0, bytes));
    Handle::new(OwnedFd::from(File::open(path).expect("there")))
}

fn transmit(bench: &Bench, socket: &Handle, file: &Handle, range: std::ops::Range<u64>) -> Box<Transmit> {
    let head = bench.ring.pool().copy_of(HEAD);
    Transmit::new(socket.clone(), head, file.clone(), range.start, range.end - range.start)
}

fn sent(completion: &Completion) -> u64 {
    let Payload::Finished(Op::Transmit(transmit)) = &completion.payload else { panic!("{completion:?}") };
    transmit.sent()
}

#[test]
fn head_and_file_arrive_whole_at_a_slow_reader() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let bytes = count(3_000_000, 40_000_000);
        let file = file(&scratch, bytes);
        let (socket, mut peer) = bench.pair();
        let op = transmit(bench, &socket, &file, 0..bytes as u64);
        bench.submit(Op::Transmit(op), TRANSMIT);
        let (mut got, mut rng) = (Vec::new(), bench.seed.rng());
        let mut completion = None;
        bench.drive("the file", |bench| {
            let some = got.len() + rng.between(1, 200_000);
            read_into(&mut *peer, &mut got, some);
            completion = completion.take().or_else(|| bench.try_next_of(TRANSMIT));
            got.len() >= HEAD.len() + bytes && completion.is_some()
        });
        let completion = completion.expect("driven until it was there");
        let total = HEAD.len() + bytes;
        assert_eq!(completion.result.as_ref().ok().map(|&sent| sent as usize), Some(total));
        assert_eq!(sent(&completion), total as u64);
        assert!(got[..HEAD.len()] == *HEAD && got[HEAD.len()..] == pattern(TRANSMIT, 0, bytes));
    });
}

#[test]
fn ranges_and_heads_alone() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let file = file(&scratch, 100_000);
        let (socket, mut peer) = bench.pair();
        for range in [0..1, 99_999..100_000, 5000..30_000, 7..7] {
            let op = transmit(bench, &socket, &file, range.clone());
            bench.submit(Op::Transmit(op), TRANSMIT);
            let bytes = usize::try_from(range.end - range.start).expect("small");
            let got = bench.read_exactly(&mut *peer, HEAD.len() + bytes);
            let from = usize::try_from(range.start).expect("small");
            assert!(got[HEAD.len()..] == pattern(TRANSMIT, from, bytes), "{range:?} on {}", bench.name());
            assert_eq!(bench.next_of(TRANSMIT).result.expect("sent") as usize, HEAD.len() + bytes);
        }
    });
}

#[test]
fn a_direct_transmit_goes_on_as_an_operation() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let bytes = 9_000_000;
        let file = file(&scratch, bytes);
        let (socket, mut peer) = bench.pair();
        let mut op = transmit(bench, &socket, &file, 0..bytes as u64);
        op.assume_warm();
        let progress = bench.ring.try_transmit(&mut op).expect("a whole file");
        assert!(matches!(progress, Progress::Blocked | Progress::Yield), "{progress:?}");
        assert_eq!(op.sent() + op.left(), (HEAD.len() + bytes) as u64);
        bench.submit(Op::Transmit(op), TRANSMIT);
        let got = bench.read_exactly(&mut *peer, HEAD.len() + bytes);
        assert!(got[HEAD.len()..] == pattern(TRANSMIT, 0, bytes), "on {}", bench.name());
        assert_eq!(sent(&bench.next_of(TRANSMIT)), (HEAD.len() + bytes) as u64);
    });
}

#[test]
fn a_file_that_shrinks_ends_with_an_error_and_never_with_other_bytes() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let (bytes, kept) = (8_000_000, 5_000_000);
        let file = file(&scratch, bytes);
        let (socket, mut peer) = bench.pair();
        let op = transmit(bench, &socket, &file, 0..bytes as u64);
        bench.submit(Op::Transmit(op), TRANSMIT);
        let mut got = Vec::new();
        bench.drive("some of the file", |_| {
            read_into(&mut *peer, &mut got, 300_000);
            got.len() >= 300_000
        });
        let writable = File::options().write(true).open(scratch.path().join("file")).expect("ours");
        writable.set_len(kept).expect("ours");
        let mut completion = None;
        bench.drive("the error", |bench| {
            read_into(&mut *peer, &mut got, usize::MAX);
            completion = bench.try_next_of(TRANSMIT);
            completion.is_some()
        });
        let completion = completion.expect("driven until it was there");
        assert!(completion.result.is_err(), "{completion:?}");
        drop((socket, completion));
        bench.drive("what was sent", |_| read_into(&mut *peer, &mut got, usize::MAX));
        // What follows the cut in the file's last page may be sent as zeros by the kernel, but never beyond the cut
        // plus what was handed over before it.
        let whole = pattern(TRANSMIT, 0, bytes);
        let body = &got[HEAD.len()..];
        assert!(body.len() < bytes, "{} bytes on {}", body.len(), bench.name());
        let same = body.iter().zip(&whole).take_while(|(got, sent)| got == sent).count();
        assert!(same >= body.len().min(usize::try_from(kept).expect("small")), "on {}", bench.name());
    });
}

#[test]
fn a_range_beyond_the_end_is_an_error() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let file = file(&scratch, 1000);
        let (socket, mut peer) = bench.pair();
        let op = transmit(bench, &socket, &file, 500..2000);
        bench.submit(Op::Transmit(op), TRANSMIT);
        let completion = bench.next_of(TRANSMIT);
        assert_eq!(errno(&completion), Some(libc::EIO));
        assert_eq!(sent(&completion), (HEAD.len() + 500) as u64);
        let got = bench.read_exactly(&mut *peer, HEAD.len() + 500);
        assert!(got[HEAD.len()..] == pattern(TRANSMIT, 500, 500));
        let mut op = transmit(bench, &socket, &file, 1000..1001);
        let ended = (0..200).find_map(|_| bench.ring.try_transmit(&mut op).err());
        assert_eq!(ended.expect("it must end").kind(), std::io::ErrorKind::UnexpectedEof);
    });
}

/// Drops a file from the page cache as far as the file system lets us; says whether its last byte is really out.
fn chill(bench: &Bench, file: &Handle) -> bool {
    if bench.is_simulated() {
        bench.net().chill(file);
        return true;
    }
    // SAFETY: I6: the kernel writes one byte during the last call, and the others take no memory. What is dirty cannot be dropped, so it is written first.
    unsafe {
        libc::fsync(file.raw());
        libc::posix_fadvise(file.raw(), 0, 0, libc::POSIX_FADV_DONTNEED);
        let mut byte = 0u8;
        let vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let end = libc::lseek(file.raw(), 0, libc::SEEK_END);
        libc::preadv2(file.raw(), &raw const vector, 1, end - 1, libc::RWF_NOWAIT) < 0
            && std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
    }
}

#[test]
fn a_cold_file_is_read_off_the_worker_first() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let bytes = 1_500_000;
        let file = file(&scratch, bytes);
        let is_cold = chill(bench, &file);
        let (socket, mut peer) = bench.pair();
        let op = transmit(bench, &socket, &file, 0..bytes as u64);
        bench.submit(Op::Transmit(op), TRANSMIT);
        let got = bench.read_exactly(&mut *peer, HEAD.len() + bytes);
        assert!(got[HEAD.len()..] == pattern(TRANSMIT, 0, bytes), "on {}", bench.name());
        assert_eq!(sent(&bench.next_of(TRANSMIT)), (HEAD.len() + bytes) as u64);
        // A temporary directory in memory has no cold files.
        let reads = bench.ring.counters().cold_reads;
        assert!(reads > 0 || !is_cold, "{reads} cold reads on {}", bench.name());
        assert_eq!(bench.ring.in_flight(), 0, "the inner reads are gone");
    });
}

#[test]
fn a_cold_file_that_shrank_is_an_error_too() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let file = file(&scratch, 400_000);
        File::options()
            .write(true)
            .open(scratch.path().join("file"))
            .and_then(|file| file.set_len(100_000))
            .expect("ours");
        chill(bench, &file);
        let (socket, mut peer) = bench.pair();
        let op = transmit(bench, &socket, &file, 0..400_000);
        bench.submit(Op::Transmit(op), TRANSMIT);
        bench.read_exactly(&mut *peer, HEAD.len() + 100_000);
        assert_eq!(errno(&bench.next_of(TRANSMIT)), Some(libc::EIO), "on {}", bench.name());
    });
}

#[test]
fn cold_transmits_without_memory_wait_and_then_go_on() {
    let options = RingOptions { pool_bytes_max: 128 * 1024, stream_buffers: 1, ..RingOptions::default() };
    on_each_with(&options, |bench| {
        let scratch = Scratch::new("transmit");
        let bytes = 300_000;
        let file = file(&scratch, bytes);
        chill(bench, &file);
        let (socket, mut peer) = bench.pair();
        // Everything the pool has.
        let mut all = Vec::new();
        for size in [65_536, 16_384, 2048, 256] {
            all.extend(std::iter::from_fn(|| bench.ring.pool().get(size)));
        }
        let op = Transmit::new(socket, None, file, 0, bytes as u64);
        bench.submit(Op::Transmit(op), TRANSMIT);
        let polls = bench.ring.counters().polls;
        for _ in 0..20 {
            bench.poll();
        }
        assert_eq!(bench.ring.counters().polls, polls + 20);
        all.clear();
        let got = bench.read_exactly(&mut *peer, bytes);
        assert!(got == pattern(TRANSMIT, 0, bytes), "on {}", bench.name());
        bench.last_of(TRANSMIT);
    });
}

#[test]
fn many_transmits_of_a_cold_file_take_little_memory() {
    let readers = 40;
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let bytes = 70_000;
        let file = file(&scratch, bytes);
        chill(bench, &file);
        let before = bench.ring.pool().mapped_bytes();
        let mut peers = Vec::new();
        for _ in 0..readers {
            let (socket, peer) = bench.pair();
            peers.push(peer);
            let op = Transmit::new(socket, None, file.clone(), 0, bytes as u64);
            bench.submit(Op::Transmit(op), TRANSMIT);
        }
        // Until all of them have had a turn: then those that may have begun to read.
        bench.poll();
        let most = bench.ring.pool().mapped_bytes() - before;
        assert!(most <= 16 * 64 * 1024, "{most} bytes for reading ahead on {}", bench.name());
        for peer in &mut peers {
            let got = bench.read_exactly(&mut **peer, bytes);
            assert!(got == pattern(TRANSMIT, 0, bytes), "on {}", bench.name());
        }
        for _ in 0..readers {
            bench.next_of(TRANSMIT);
        }
        assert_eq!(bench.ring.in_flight(), 0, "the inner reads are gone");
    });
}

#[test]
fn transmits_that_wait_for_other_cold_files_can_be_given_up() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let file = file(&scratch, 200_000);
        chill(bench, &file);
        let mut peers = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..64 {
            let (socket, peer) = bench.pair();
            peers.push(peer);
            let op = Transmit::new(socket, None, file.clone(), 0, 200_000);
            ids.push(bench.submit(Op::Transmit(op), TRANSMIT));
        }
        bench.poll();
        // Where the file could not be made cold, some have ended.
        while bench.try_next_of(TRANSMIT).is_some() {}
        ids.iter().rev().for_each(|id| bench.ring.orphan(*id));
        bench.drive("all orphans", |bench| {
            assert!(bench.try_next_of(TRANSMIT).is_none(), "nobody waits any more");
            bench.ring.in_flight() == 0
        });
        assert_eq!((file.holders(), bench.ring.orphans()), (1, 0), "on {}", bench.name());
        assert_eq!(bench.ring.counters().strangers, 0, "on {}", bench.name());
    });
}

#[test]
fn a_cancelled_transmit_counts_exactly_what_the_peer_gets() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let bytes = 9_000_000;
        let file = file(&scratch, bytes);
        let mut rng = bench.seed.rng();
        for round in 0..12 {
            let is_cold = round % 3 == 0;
            if is_cold {
                chill(bench, &file);
            }
            let (socket, mut peer) = bench.pair();
            let op = transmit(bench, &socket, &file, 0..bytes as u64);
            let id = bench.submit(Op::Transmit(op), TRANSMIT);
            let mut got = Vec::new();
            for _ in 0..rng.below(5) {
                bench.poll();
                let some = got.len() + rng.below(100_000);
                read_into(&mut *peer, &mut got, some);
            }
            bench.ring.cancel(id);
            let completion = bench.next_of(TRANSMIT);
            assert_eq!(errno(&completion), Some(libc::ECANCELED));
            let total = usize::try_from(sent(&completion)).expect("small");
            drop((socket, completion));
            bench.drive("the rest", |_| read_into(&mut *peer, &mut got, usize::MAX));
            assert_eq!(got.len(), total, "round {round} on {}", bench.name());
            let body = got.get(HEAD.len()..).unwrap_or_default();
            assert!(*body == pattern(TRANSMIT, 0, body.len()), "round {round} on {}", bench.name());
        }
    });
}

#[test]
fn orphaned_transmits_let_go_of_everything() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let file = file(&scratch, 2_000_000);
        let mut rng = bench.seed.rng();
        for round in 0..30 {
            if round % 2 == 0 {
                chill(bench, &file);
            }
            let (socket, peer) = bench.pair();
            let op = transmit(bench, &socket, &file, 0..2_000_000);
            let id = bench.submit(Op::Transmit(op), TRANSMIT);
            for _ in 0..rng.below(4) {
                bench.poll();
            }
            let mut ended = bench.try_next_of(TRANSMIT).is_some();
            if round % 3 == 0 {
                peer.reset();
                bench.poll();
                ended |= bench.try_next_of(TRANSMIT).is_some();
            }
            if !ended {
                bench.ring.orphan(id);
            }
        }
        bench.drive("all orphans", |bench| {
            assert!(bench.try_next_of(TRANSMIT).is_none(), "nobody waits any more");
            bench.ring.in_flight() == 0
        });
        assert_eq!((file.holders(), bench.ring.orphans()), (1, 0), "on {}", bench.name());
    });
}

#[test]
fn a_reset_ends_a_transmit() {
    on_each(|bench| {
        let scratch = Scratch::new("transmit");
        let file = file(&scratch, 9_000_000);
        let (socket, peer) = bench.pair();
        let op = transmit(bench, &socket, &file, 0..9_000_000);
        bench.submit(Op::Transmit(op), TRANSMIT);
        for _ in 0..3 {
            bench.poll();
        }
        peer.reset();
        let error = errno(&bench.next_of(TRANSMIT));
        assert!([Some(libc::EPIPE), Some(libc::ECONNRESET)].contains(&error), "{error:?}");
    });
}

#[test]
fn long_transmits_take_turns() {
    on_kernel(|bench| {
        let scratch = Scratch::new("transmit");
        let bytes: usize = 6_000_000;
        let file = file(&scratch, bytes);
        // Unix sockets with large buffers would take it whole; a poll in between must see the other connection.
        let (socket, peer) = crate::bench::tcp_pair();
        socket_buffer(&peer, 16 << 20);
        let op = transmit(bench, &socket, &file, 0..bytes as u64);
        bench.submit(Op::Transmit(op), TRANSMIT);
        let (other, mut other_peer) = bench.pair();
        bench.submit(Op::Stream { socket: other }, 1);
        bench.write_all(&mut *other_peer, b"me too");
        bench.poll();
        bench.poll();
        let heard = bench.next_of(1);
        assert_eq!(heard.result.expect("bytes"), 6);
        let mut peer: Box<dyn crate::bench::Peer> = Box::new(peer);
        bench.read_exactly(&mut *peer, HEAD.len() + bytes);
        bench.next_of(TRANSMIT);
    });
}

fn socket_buffer(socket: &impl AsRawFd, bytes: i32) {
    // SAFETY: I6: the kernel reads one integer during the call.
    unsafe {
        let value = (&raw const bytes).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, value, 4);
    }
}
