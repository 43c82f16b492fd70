//! Datagrams when things go wrong: no buffers, lost batches, ICMP errors, drops, an interface down, wrong dimensions.

use crate::bench::{PATIENCE, errno, on_kernel, on_kernel_with};
use crate::datagrams::{PLAIN, RECEIVE, bind, next_batch, read, receive, receiver, sender, take};
use ringway_ring::socket::{self, DatagramSocketOptions, SendBatch};
use ringway_ring::{DatagramOptions, Op, Payload, Ring, RingOptions, Wait};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

const FEW: DatagramOptions =
    DatagramOptions { buffers: 16, payload_bytes: 100, batch_max: 256, huge_pages: false };

#[test]
fn without_buffers_datagrams_wait_in_the_socket() {
    on_kernel(|bench| {
        let receiver = receiver(bench, "127.0.0.1:0", &FEW);
        let sender = sender(receiver.address);
        for number in 0..200u8 {
            sender.send(&[number]).expect("loopback");
        }
        let mut held = Vec::new();
        bench.drive("all buffers out", |bench| {
            while let Some(completion) = bench.try_next_of(RECEIVE) {
                let Payload::Datagrams(batch) = completion.payload else { panic!("{completion:?}") };
                held.push(batch);
            }
            let counters = bench.ring.datagram_counters(receiver.id).expect("current");
            counters.out_of_buffers > 0
        });
        let mut numbers: Vec<u8> = held.iter().flat_map(read).map(|got| got.payload[0]).collect();
        assert_eq!(numbers.len(), 16, "every buffer was used on {}", bench.name());
        for batch in held {
            bench.ring.recycle(batch);
        }
        numbers.extend(take(bench, RECEIVE, 184).iter().map(|got| got.payload[0]));
        assert_eq!(numbers, (0..200).collect::<Vec<u8>>(), "on {}", bench.name());
        assert_eq!(socket::dropped_datagrams(receiver.socket.kernel().expect("real")).expect("told"), 0);
    });
}

#[test]
fn a_dropped_batch_gives_its_buffers_back_and_wakes_a_ring_that_waits_for_them() {
    on_kernel(|bench| {
        let receiver = receiver(bench, "127.0.0.1:0", &FEW);
        let sender = sender(receiver.address);
        for round in 0..20u8 {
            for number in 0..17 {
                sender.send(&[round, number]).expect("loopback");
            }
            let mut held = Vec::new();
            bench.drive("all buffers out", |bench| {
                while let Some(completion) = bench.try_next_of(RECEIVE) {
                    let Payload::Datagrams(batch) = completion.payload else { panic!("{completion:?}") };
                    held.push(batch);
                }
                let counters = bench.ring.datagram_counters(receiver.id).expect("current");
                counters.out_of_buffers > u64::from(round)
            });
            let panicked = std::thread::spawn(move || {
                let _held = held;
                // The hook that prints is not ours; a payload other than a message would print as well.
                std::panic::resume_unwind(Box::new("a handler's mistake"));
            });
            let began = Instant::now();
            while bench.ring.datagram_counters(receiver.id).expect("current").rearms <= u64::from(round) {
                bench.ring.poll(Wait::AtMost(PATIENCE)).expect("sound");
            }
            assert!(began.elapsed() < PATIENCE, "woken by the drop on {}", bench.name());
            assert!(panicked.join().is_err());
            assert_eq!(take(bench, RECEIVE, 1)[0].payload, [round, 16]);
        }
        assert_eq!(bench.ring.datagram_counters(receiver.id).expect("current").strangers, 0);
    });
}

#[test]
fn a_strangers_batch_is_dropped_not_taken() {
    on_kernel(|bench| {
        let first = receiver(bench, "127.0.0.1:0", &FEW);
        sender(first.address).send(b"of the first").expect("loopback");
        let batch = next_batch(bench, RECEIVE);
        // Same slot, same generation, another ring.
        let mut other = Ring::new(&RingOptions::default()).expect("a driver");
        let (socket, address) = bind("127.0.0.1:0", &PLAIN);
        let datagrams = other.datagrams(socket, &FEW).expect("memory");
        other.submit(Op::Datagrams(datagrams), RECEIVE).expect("room");
        sender(address).send(b"of the second").expect("loopback");
        let foreign = loop {
            other.poll(Wait::AtMost(PATIENCE)).expect("sound");
            if let Some(Payload::Datagrams(batch)) = other.next_completion().map(|found| found.payload) {
                break batch;
            }
        };
        bench.ring.recycle(foreign);
        assert_eq!(bench.ring.datagram_counters(first.id).expect("current").strangers, 0);
        assert_eq!(read(&batch)[0].payload, b"of the first");
        bench.ring.orphan(first.id);
        bench.drive("the end of the first", |bench| bench.ring.in_flight() == 0);
        bench.ring.recycle(batch);
    });
}

#[test]
fn a_full_completion_queue_loses_nothing() {
    let small = RingOptions { submission_entries: 4, completion_entries: 8, ..RingOptions::default() };
    on_kernel_with(&small, |bench| {
        let options = DatagramOptions { buffers: 256, ..FEW };
        let receivers = [receiver(bench, "127.0.0.1:0", &options), receiver(bench, "127.0.0.1:0", &options)];
        let senders = receivers.each_ref().map(|receiver| sender(receiver.address));
        let mut next = [0u8; 2];
        for _ in 0..20 {
            for number in 0..100 {
                for sender in &senders {
                    sender.send(&[number]).expect("loopback");
                }
            }
            bench.drive("all of both", |bench| {
                while let Some(completion) = bench.try_next_of(RECEIVE) {
                    let which = usize::from(completion.id == receivers[1].id);
                    let Payload::Datagrams(batch) = completion.payload else { panic!("{completion:?}") };
                    for got in read(&batch) {
                        assert_eq!(got.payload, [next[which] % 100], "order on {}", bench.name());
                        next[which] += 1;
                    }
                    bench.ring.recycle(batch);
                }
                next == [100, 100]
            });
            next = [0, 0];
        }
        let rearms =
            receivers.map(|receiver| bench.ring.datagram_counters(receiver.id).expect("current").rearms);
        let is_uring = bench.name() == "uring";
        assert!(!is_uring || rearms.iter().sum::<u64>() > 0, "the queue was never full: {rearms:?}");
    });
}

#[test]
fn icmp_errors_are_told_and_reception_goes_on() {
    on_kernel(|bench| {
        let (socket, _) = bind("127.0.0.1:0", &PLAIN);
        // Of an address that no other test uses: its port may be anybody's again.
        let nobody = UdpSocket::bind("127.0.0.77:0").expect("loopback");
        let peer = nobody.local_addr().expect("bound");
        drop(nobody);
        let fd = socket.kernel().expect("real");
        socket::connect_datagrams(fd, peer).expect("loopback");
        let id = receive(bench, socket.clone(), &DatagramOptions::default(), RECEIVE);
        // More than the errors in a row that are tried again at once.
        for round in 1..=30 {
            bench.glance();
            send_unheard(&socket);
            let completion = bench.next_of(RECEIVE);
            assert_eq!(errno(&completion), Some(libc::ECONNREFUSED), "round {round} on {}", bench.name());
            assert!(completion.more && matches!(completion.payload, Payload::None));
        }
        let counters = bench.ring.datagram_counters(id).expect("current");
        assert_eq!((counters.errors, counters.datagrams), (30, 0));
        let somebody = UdpSocket::bind(peer).expect("the port is free again");
        somebody.send_to(b"here now", socket::local_address(fd).expect("bound")).expect("loopback");
        assert_eq!(take(bench, RECEIVE, 1)[0].payload, b"here now");
        bench.ring.cancel(id);
        assert_eq!(errno(&bench.last_of(RECEIVE)), Some(libc::ECANCELED));
    });
}

/// Sends to a peer that is not there. An error left by an earlier datagram is taken by whoever asks the socket next: the
/// batch tries again, so that this one leaves and brings the next error about.
fn send_unheard(socket: &ringway_ring::Handle) {
    let mut batch = SendBatch::new(1, 100);
    batch.push(None, b"anybody?").expect("room");
    let sent = socket::send_datagrams(socket.kernel().expect("real"), &mut batch).expect("a socket");
    assert_eq!((sent.datagrams, batch.refusals().len()), (1, 0));
}

#[test]
fn a_reception_that_rests_or_starves_ends_when_it_is_cancelled() {
    on_kernel(|bench| {
        let receiver = receiver(bench, "127.0.0.1:0", &FEW);
        let sender = sender(receiver.address);
        for _ in 0..17 {
            sender.send(b"x").expect("loopback");
        }
        let mut held = Vec::new();
        bench.drive("all buffers out", |bench| {
            held.extend(std::iter::from_fn(|| bench.try_next_of(RECEIVE)));
            bench.ring.datagram_counters(receiver.id).expect("current").out_of_buffers > 0
        });
        bench.ring.cancel(receiver.id);
        let last = bench.next_of(RECEIVE);
        assert_eq!((errno(&last), last.more), (Some(libc::ECANCELED), false), "on {}", bench.name());
        drop(held);
        bench.drive("the end", |bench| bench.ring.in_flight() == 0);
    });
}

#[test]
fn what_the_kernel_drops_is_counted() {
    on_kernel(|bench| {
        let (socket, address) =
            bind("127.0.0.1:0", &DatagramSocketOptions { receive_buffer_bytes: 1, ..PLAIN });
        let fd = socket.kernel().expect("real");
        let sender = sender(address);
        for _ in 0..100 {
            sender.send(&[1; 1000]).expect("loopback");
        }
        let dropped = socket::dropped_datagrams(fd).expect("told");
        assert!((1..100).contains(&dropped), "{dropped} of 100");
        let kept = 100 - usize::try_from(dropped).expect("small");
        receive(bench, socket.clone(), &DatagramOptions::default(), RECEIVE);
        assert_eq!(take(bench, RECEIVE, kept).len(), kept);
        sender.send(b"after the flood").expect("loopback");
        let got = take(bench, RECEIVE, 1);
        assert_eq!(got[0].dropped, Some(dropped), "on {}", bench.name());
        let (receive_bytes, _) = socket::datagram_buffers(fd).expect("told");
        assert!(receive_bytes > 1, "the kernel has a least size");
    });
}

#[test]
fn dimensions_and_limits_are_refused_with_a_reason() {
    let little = RingOptions { pool_bytes_max: 1 << 20, ..RingOptions::default() };
    on_kernel_with(&little, |bench| {
        let (udp, _) = bind("127.0.0.1:0", &PLAIN);
        let (tcp, _peer) = crate::bench::tcp_pair();
        let kind = |socket: &ringway_ring::Handle, options: DatagramOptions| {
            bench.ring.datagrams(socket.clone(), &options).err().map(|error| error.kind())
        };
        let wrong = Some(io::ErrorKind::InvalidInput);
        assert_eq!(kind(&udp, DatagramOptions { buffers: 0, ..FEW }), wrong);
        assert_eq!(kind(&udp, DatagramOptions { buffers: 17, ..FEW }), wrong);
        assert_eq!(kind(&udp, DatagramOptions { payload_bytes: 0, ..FEW }), wrong);
        assert_eq!(kind(&udp, DatagramOptions { payload_bytes: 65_536, ..FEW }), wrong);
        assert_eq!(kind(&udp, DatagramOptions { batch_max: 0, ..FEW }), wrong);
        assert_eq!(kind(&tcp, FEW), wrong);
        assert_eq!(kind(&ringway_ring::Handle::simulated(1), FEW), wrong);
        let large = DatagramOptions { payload_bytes: 65_535, ..FEW };
        assert_eq!(kind(&udp, large), Some(io::ErrorKind::OutOfMemory), "16 x 64 KiB and headers");
        assert_eq!(kind(&udp, DatagramOptions { buffers: 8, ..large }), None);
    });
}

#[test]
fn a_socket_that_is_shut_down_ends_its_reception() {
    on_kernel(|bench| {
        let (socket, _) = bind("127.0.0.1:0", &PLAIN);
        let file = std::fs::File::open("/dev/null").expect("everywhere");
        let fd = socket.kernel().expect("real");
        receive(bench, socket.clone(), &FEW, RECEIVE);
        // The number now names something that is no socket, as if somebody had closed ours.
        // SAFETY: I6: both descriptors are open and ours.
        assert!(unsafe { libc::dup2(file.as_raw_fd(), fd.as_raw_fd()) } >= 0);
        let second = receive_again(bench, &socket);
        assert_eq!(second, Some(io::ErrorKind::Other), "on {}", bench.name());
    });
}

fn receive_again(bench: &crate::bench::Bench, socket: &ringway_ring::Handle) -> Option<io::ErrorKind> {
    // ENOTSOCK has no kind of its own.
    bench.ring.datagrams(socket.clone(), &FEW).err().map(|error| match error.raw_os_error() {
        Some(libc::ENOTSOCK) => io::ErrorKind::Other,
        _ => error.kind(),
    })
}

/// In a network of its own, whose only interface the test may take down.
#[test]
fn an_interface_that_goes_down_and_comes_back() {
    let alone = std::thread::spawn(|| {
        // SAFETY: I6: no memory is passed; it concerns this thread only.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return eprintln!("SKIPPED: no network of one's own: {}", io::Error::last_os_error());
        }
        set_loopback(true);
        on_kernel(|bench| {
            let receiver = receiver(bench, "127.0.0.1:0", &FEW);
            let sender = sender(receiver.address);
            let mut batch = SendBatch::new(10, 1000);
            let mut send = |text: &[u8]| {
                batch.push(None, text).expect("room");
                let sent = socket::send_datagrams(sender.as_fd(), &mut batch).expect("a socket").datagrams;
                (sent, batch.refusals().first().map(|refusal| refusal.errno))
            };
            assert_eq!(send(b"before"), (1, None));
            assert_eq!(take(bench, RECEIVE, 1)[0].payload, b"before");
            set_loopback(false);
            // Refused for want of a route, or lost on the route that is remembered: that is for the kernel to say.
            let (sent, refused) = send(b"lost");
            assert_eq!(sent, usize::from(refused.is_none()), "{refused:?}");
            bench.glance();
            assert!(bench.try_next().is_none(), "reception waits on {}", bench.name());
            set_loopback(true);
            assert_eq!(send(b"after"), (1, None));
            assert_eq!(take(bench, RECEIVE, 1)[0].payload, b"after", "on {}", bench.name());
        });
    });
    alone.join().expect("no assertion failed");
}

fn set_loopback(is_up: bool) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: I6: an all-zero request is valid; the kernel reads it during the call.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        request.ifr_ifru.ifru_flags = if is_up { 1 } else { 0 };
        let changed = libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request);
        assert_eq!(changed, 0, "{}", io::Error::last_os_error());
    }
}
