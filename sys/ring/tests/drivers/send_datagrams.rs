//! Sending datagrams in bulk: limits, refusals, trains with and without the kernel's help, full sockets.

use crate::bench::pattern;
use ringway_ring::socket::{self, Full, SEND_BYTES_MAX, SendBatch};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    receiver.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let address = receiver.local_addr().expect("bound");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    (sender, receiver, address)
}

fn received(receiver: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let bytes = receiver.recv(&mut buffer).expect("it comes");
    buffer.truncate(bytes);
    buffer
}

#[test]
fn many_leave_in_order_to_their_own_destinations() {
    let (sender, first, to_first) = pair();
    let second = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    second.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let to_second = second.local_addr().expect("bound");
    let mut batch = SendBatch::new(1000, 1 << 20);
    for number in 0..100u8 {
        let to = if number % 3 == 0 { to_second } else { to_first };
        batch.push(Some(to), &[number; 10]).expect("room");
    }
    let sent = socket::send_datagrams(sender.as_fd(), &mut batch).expect("loopback");
    assert_eq!((sent.datagrams, sent.bytes, batch.len()), (100, 1000, 0));
    for number in 0..100u8 {
        let receiver = if number % 3 == 0 { &second } else { &first };
        assert_eq!(received(receiver), [number; 10]);
    }
}

#[test]
fn a_full_batch_refuses_and_a_flushed_one_takes_again() {
    let (sender, receiver, to) = pair();
    let mut batch = SendBatch::new(3, 100);
    assert_eq!(batch.push(Some(to), &[1; 101]), Err(Full), "too many bytes");
    for number in 0..3 {
        batch.push(Some(to), &[number]).expect("room");
    }
    assert_eq!(batch.push(Some(to), &[3]), Err(Full), "too many messages");
    assert_eq!(batch.push_train(Some(to), &[3; 20], 10), Err(Full));
    assert_eq!(socket::send_datagrams(sender.as_fd(), &mut batch).expect("loopback").datagrams, 3);
    batch.push(Some(to), &[3; 100]).expect("room again");
    socket::send_datagrams(sender.as_fd(), &mut batch).expect("loopback");
    for number in 0..3 {
        assert_eq!(received(&receiver), [number]);
    }
    assert_eq!(received(&receiver), [3; 100]);
}

#[test]
fn what_is_too_long_is_refused_alone() {
    let (sender, receiver, to) = pair();
    let mut batch = SendBatch::new(10, 1 << 20);
    batch.push(Some(to), b"before").expect("room");
    batch.push(Some(to), &vec![0; SEND_BYTES_MAX + 1]).expect("taken");
    batch.push(Some(to), &vec![0; SEND_BYTES_MAX]).expect("taken");
    batch.push(Some(to), b"after").expect("room");
    let sent = socket::send_datagrams(sender.as_fd(), &mut batch).expect("loopback");
    assert_eq!(sent.datagrams, 3);
    let refused: Vec<_> =
        batch.refusals().iter().map(|refusal| (refusal.destination, refusal.bytes, refusal.errno)).collect();
    assert_eq!(refused, [(Some(to), SEND_BYTES_MAX + 1, libc::EMSGSIZE)]);
    assert_eq!(received(&receiver), b"before");
    assert_eq!(received(&receiver).len(), SEND_BYTES_MAX);
    assert_eq!(received(&receiver), b"after");
    assert!(batch.is_empty());
}

#[test]
fn trains_are_cut_by_the_kernel_or_by_us() {
    for kernel_cuts in [true, false] {
        let (sender, receiver, to) = pair();
        if !kernel_cuts {
            let no: libc::c_int = 1;
            // SAFETY: I6: the kernel reads the integer during the call. Without check sums there are no trains.
            let set = unsafe {
                let (pointer, len) = ((&raw const no).cast(), 4);
                libc::setsockopt(sender.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, pointer, len)
            };
            assert_eq!(set, 0, "{}", io::Error::last_os_error());
        }
        let mut batch = SendBatch::new(1000, 1 << 20);
        let payload = pattern(5, 0, 60_900);
        batch.push(Some(to), b"first").expect("room");
        batch.push_train(Some(to), &payload, 1400).expect("room");
        batch.push(Some(to), b"last").expect("room");
        let sent = socket::send_datagrams(sender.as_fd(), &mut batch).expect("loopback");
        assert_eq!((sent.datagrams, sent.bytes), (46, payload.len() + 9), "kernel cuts: {kernel_cuts}");
        assert_eq!(batch.refusals(), []);
        assert_eq!(received(&receiver), b"first");
        for segment in payload.chunks(1400) {
            assert!(received(&receiver) == segment);
        }
        assert_eq!(received(&receiver), b"last");
        // What is remembered: the next train is cut beforehand, and its room counted so.
        let mut few = SendBatch::new(1000, 1 << 20);
        std::mem::swap(&mut few, &mut batch);
        few.push_train(Some(to), &payload[..14_000], 1400).expect("room");
        assert_eq!(few.len(), if kernel_cuts { 1 } else { 10 });
    }
}

#[test]
fn a_full_socket_keeps_what_it_did_not_take() {
    let (sender, receiver) = UnixDatagram::pair().expect("descriptors");
    let mut batch = SendBatch::new(500, 2000);
    for number in 0..500u32 {
        batch.push(None, &number.to_le_bytes()).expect("room");
    }
    assert_eq!(batch.push(None, b"no room"), Err(Full));
    let (mut next, mut pushed, mut calls) = (0u32, 500u32, 0);
    while next < 1000 {
        let sent = socket::send_datagrams(sender.as_fd(), &mut batch).expect("a socket").datagrams;
        assert!(sent > 0 && batch.refusals().is_empty());
        calls += 1;
        // What has left makes room, and no more than that.
        for _ in 0..sent {
            batch.push(None, &pushed.to_le_bytes()).expect("room");
            pushed += 1;
        }
        assert_eq!(batch.push(None, &[0; 4]), Err(Full));
        for _ in 0..sent {
            let mut number = [0; 4];
            assert_eq!(receiver.recv(&mut number).expect("it is there"), 4);
            assert_eq!(u32::from_le_bytes(number), next);
            next += 1;
        }
        assert_eq!(batch.len(), 500);
    }
    assert!(calls > 1, "the socket was full at least once");
}

#[test]
fn a_closed_socket_is_an_error_of_the_whole() {
    let (sender, receiver) = UnixDatagram::pair().expect("descriptors");
    sender.shutdown(std::net::Shutdown::Write).expect("open");
    let mut batch = SendBatch::new(10, 1000);
    batch.push(None, b"x").expect("room");
    let error = socket::send_datagrams(sender.as_fd(), &mut batch).expect_err("shut down");
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    assert_eq!(batch.len(), 1);
    batch.clear();
    assert!(batch.is_empty());
    drop(receiver);
}
