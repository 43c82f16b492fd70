//! What is left behind: nothing. Descriptors are counted, so these tests have a process of their own and take turns.
#![allow(unsafe_code, reason = "a process that may have to be left in the middle")]

#[allow(dead_code, reason = "the bench is shared with the larger suite")]
#[path = "../bench/mod.rs"]
mod bench;

mod drops;

use bench::{Bench, PATIENCE, Peer, count, on_each, pattern};
use ringway_ring::socket::{self, Address, DatagramSocketOptions, ListenOptions, RawAddress};
use ringway_ring::{
    Chain, Connect, DatagramOptions, Gather, Handle, Interest, Op, OpenFile, Payload, ReadFile, StatFile,
    Transmit, WriteFile, ZeroCopy,
};
use ringway_testkit::Scratch;
use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static TURN: Mutex<()> = Mutex::new(());

/// Keeps other tests of this process away and counts descriptors.
struct Descriptors {
    before: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Descriptors {
    fn count() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { before: open_descriptors(), _turn: turn }
    }

    /// As many are open as at the beginning. The kernel closes a ring's own references a moment after the ring, but
    /// those have no number any more.
    fn assert_all_closed(&self) {
        assert_eq!(open_descriptors(), self.before, "descriptors are left open");
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Every kind of operation, in every state a few polls bring about.
fn submit_everything(bench: &mut Bench, scratch: &Scratch) -> Vec<Box<dyn Peer>> {
    let mut peers = Vec::new();
    let socket = |bench: &mut Bench, peers: &mut Vec<Box<dyn Peer>>| {
        let (socket, mut peer) = bench.pair();
        let _room = peer.write(b"some bytes");
        peers.push(peer);
        socket
    };
    let (listener, dialer) = bench.listen();
    peers.extend((0..5).map(|_| dialer.dial()));
    let file = Handle::new(OwnedFd::from(File::open(scratch.path().join("file")).expect("there")));
    let log = Handle::new(OwnedFd::from(File::create(scratch.path().join("log")).expect("ours")));
    let directory = Handle::new(OwnedFd::from(File::open(scratch.path()).expect("there")));
    let pool = bench.ring.pool().clone();
    let big = pool.copy_of(&[7; 60_000]).expect("memory");
    let mut ops = vec![
        Op::Accept { listener },
        Op::Stream { socket: socket(bench, &mut peers) },
        Op::Ready { socket: socket(bench, &mut peers), interest: Interest::Writable },
        Op::Watch { socket: socket(bench, &mut peers) },
        Op::Open(OpenFile::beneath(directory, b"file").expect("no NUL")),
        Op::Stat(StatFile::new(file.clone())),
        Op::Read(ReadFile::new(file.clone(), pool.get(65_536).expect("memory"), 0, 65_536)),
        Op::Write(WriteFile::new(log, vec![1; 1000], 0)),
        Op::Transmit(Transmit::new(socket(bench, &mut peers), None, file, 0, 5_000_000)),
    ];
    let buffer = pool.get(4000).expect("memory");
    ops.push(Op::Exact { socket: socket(bench, &mut peers), buffer, filled: 0, want: 4000 });
    for _ in 0..3 {
        let full = socket(bench, &mut peers);
        while bench.ring.try_send(&full, &big).is_ok() {}
        ops.push(match ops.len() % 3 {
            0 => Op::Send { socket: full, bytes: big.clone(), sent: 0 },
            1 => Op::Gather(Gather::new(full, Chain::from(big.clone()))),
            _ => Op::SendZeroCopy(ZeroCopy::new(full, big.clone())),
        });
    }
    if !bench.is_simulated() {
        ops.push(hanging_connect());
        ops.push(datagrams(bench));
    }
    for op in ops {
        bench.submit(op, 1);
    }
    peers
}

/// Datagrams of which some have arrived.
fn datagrams(bench: &Bench) -> Op {
    let any = "127.0.0.1:0".parse().expect("an address");
    let fd = socket::bind_datagrams(any, &DatagramSocketOptions::default()).expect("loopback");
    let address = socket::local_address(fd.as_fd()).expect("bound");
    let sender = UdpSocket::bind(any).expect("loopback");
    for _ in 0..3 {
        sender.send_to(b"a datagram", address).expect("loopback");
    }
    let options = DatagramOptions { buffers: 64, ..DatagramOptions::default() };
    Op::Datagrams(bench.ring.datagrams(Handle::new(fd), &options).expect("memory"))
}

fn hanging_connect() -> Op {
    let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
    let any = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
    let listener = Handle::new(socket::listen(&any, &options).expect("loopback"));
    let address = socket::local_address(listener.kernel().expect("real")).expect("bound");
    let raw = RawAddress::new(&Address::Tcp(address)).expect("an address");
    Op::Connect(Connect::new(Handle::new(socket::stream_socket(&raw).expect("a socket")), raw))
}

#[test]
fn a_ring_dropped_with_everything_in_flight_leaves_nothing() {
    let descriptors = Descriptors::count();
    for polls in 0..4 {
        // The bench drops the ring and looks at its memory.
        on_each(|bench| {
            let scratch = Scratch::new("leaks");
            scratch.file("file", &pattern(1, 0, 5_000_000));
            let peers = submit_everything(bench, &scratch);
            for _ in 0..polls {
                bench.glance();
            }
            assert!(bench.ring.in_flight() > 0);
            // The peers live until the operations are gone: nothing ends by itself.
            bench.hold_until_dropped(peers);
        });
    }
    descriptors.assert_all_closed();
}

#[test]
fn everything_orphaned_leaves_nothing_in_a_ring_that_lives_on() {
    let descriptors = Descriptors::count();
    on_each(|bench| {
        let scratch = Scratch::new("leaks");
        scratch.file("file", &pattern(1, 0, 5_000_000));
        for round in 0..count(6, 100) {
            let mut peers = submit_everything(bench, &scratch);
            let mut ended = Vec::new();
            for _ in 0..round % 4 {
                bench.glance();
                ended.extend(std::iter::from_fn(|| bench.try_next()));
            }
            bench.orphan_all();
            bench.drive("all orphans", |bench| {
                // The kernel keeps a zero-copy buffer until the peer has taken what was sent of it.
                for peer in &mut peers {
                    while peer.read(&mut [0; 65_536]).is_ok_and(|bytes| bytes > 0) {}
                }
                assert!(bench.try_next().is_none(), "an orphan was heard on {}", bench.name());
                bench.ring.in_flight() == 0
            });
            drop(ended);
            assert_eq!(bench.ring.orphans(), 0);
        }
        if bench.is_simulated() {
            assert_eq!(bench.net().open_sockets(), 0);
        }
    });
    descriptors.assert_all_closed();
}

#[test]
fn rings_come_and_go() {
    let descriptors = Descriptors::count();
    for _ in 0..count(30, 1000) {
        on_each(|bench| {
            let (socket, mut peer) = bench.pair();
            bench.write_all(&mut *peer, b"hello");
            assert_eq!(bench.stream_exactly(&socket, 1, 5), b"hello");
        });
    }
    descriptors.assert_all_closed();
}

/// The most descriptors this process may have from now on; says how many it could have before.
fn limit_descriptors(count: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: I6: the kernel reads or writes one limit during each call.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, count);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

#[test]
fn exhausted_descriptors_end_an_accept_and_lose_no_connection() {
    let descriptors = Descriptors::count();
    bench::on_kernel(|bench| {
        let (listener, dialer) = bench.listen();
        let mut peers: Vec<_> = (0..20).map(|_| dialer.dial()).collect();
        let accept = |bench: &mut Bench| bench.submit(Op::Accept { listener: listener.clone() }, 1);
        // The limit is for numbers, of which some below the highest may be free: room for about five.
        let room = libc::rlim_t::try_from(open_descriptors() + 5).expect("small");
        let before = limit_descriptors(room);
        accept(bench);
        let mut sockets = Vec::new();
        let refused = loop {
            let completion = bench.next_of(1);
            match completion.payload {
                Payload::Connection(socket) => sockets.push(socket),
                _ => break completion,
            }
        };
        limit_descriptors(before);
        assert_eq!(
            (bench::errno(&refused), refused.more),
            (Some(libc::EMFILE), false),
            "on {}",
            bench.name()
        );
        assert!((1..15).contains(&sockets.len()), "{} on {}", sockets.len(), bench.name());
        let id = accept(bench);
        while sockets.len() < peers.len() {
            let Payload::Connection(socket) = bench.next_of(1).payload else { panic!("those that wait") };
            sockets.push(socket);
        }
        bench.ring.cancel(id);
        bench.last_of(1);
        for peer in &mut peers {
            assert_eq!(peer.write(b"x").expect("still connected"), 1);
        }
    });
    descriptors.assert_all_closed();
}

/// Set for the process that may hang.
const CHILD: &str = "RINGWAY_TEST_CHILD";

/// How that process says that it did not.
const CAME_THROUGH: i32 = 7;

#[test]
fn a_ring_dropped_with_a_stuck_write_does_not_wait_for_it() {
    if std::env::var_os(CHILD).is_some() {
        drop_rings_with_stuck_writes();
        // What the rings have left to the kernel is not for a leak checker to find.
        // SAFETY: I6: no memory is passed, and nothing of this process is needed any more.
        unsafe { libc::_exit(CAME_THROUGH) };
    }
    let descriptors = Descriptors::count();
    let myself = std::env::current_exe().expect("a test has a file");
    let mut child = std::process::Command::new(myself)
        .args(["a_ring_dropped_with_a_stuck_write_does_not_wait_for_it", "--exact"])
        .env(CHILD, "1")
        .spawn()
        .expect("the same file runs again");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("our child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("our child");
            panic!("the drop waits for a reader that never comes");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(CAME_THROUGH));
    descriptors.assert_all_closed();
}

fn drop_rings_with_stuck_writes() {
    bench::on_kernel(|bench| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let pipe = Handle::new(OwnedFd::from(writer));
        // More than any pipe holds, in as many writes as that takes.
        for _ in 0..100 {
            bench.submit(Op::Write(WriteFile::new(pipe.clone(), vec![0; 1 << 20], 0)), 1);
        }
        bench.glance();
        assert!(bench.ring.in_flight() > 0);
        // The reader stays: with it gone the writes would fail instead of waiting.
        let _kept = std::mem::ManuallyDrop::new(reader);
    });
}
