//! Measures what taking datagrams out of a full socket buffer costs: CPU time a datagram, user and kernel.
//!
//! `cargo run --release -p ringway-ring --example drain -- [BYTES [uring|epoll [poll|batch [BUFFERS]]]]`
//!
//! A socket is filled with 1,024 datagrams and emptied, 300 times after a warm-up; only the emptying is timed.
#![allow(
    unsafe_code,
    reason = "the thread's CPU clock and its binding to a core have no safe interface here"
)]
#![allow(clippy::print_stdout, reason = "the result is for a terminal")]

use ringway_ring::socket::{self, DatagramSocketOptions};
use ringway_ring::{DatagramOptions, DriverChoice, Handle, Op, Payload, Ring, RingOptions, Wait};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

const DATAGRAMS: usize = 1024;
const WARM_UP_ROUNDS: u32 = 20;
const ROUNDS: u32 = 300;
const SOCKET_BUFFER_BYTES: u32 = 32 << 20;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let bytes: usize = argument(0).and_then(|bytes| bytes.parse().ok()).unwrap_or(1024);
    let driver = if argument(1) == Some("epoll") { DriverChoice::Epoll } else { DriverChoice::Uring };
    let wait = match argument(2) {
        Some("batch") => Wait::Batch { completions: 32, at_most: Duration::from_micros(20), limit: None },
        _ => Wait::Forever,
    };
    let buffers = argument(3).and_then(|buffers| buffers.parse().ok()).unwrap_or(1024);
    bind_to_first_core();
    let mut ring = Ring::new(&RingOptions { driver, ..RingOptions::default() })?;
    let options = DatagramSocketOptions {
        receive_buffer_bytes: SOCKET_BUFFER_BYTES,
        ..DatagramSocketOptions::default()
    };
    let any = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    let receiver = Handle::new(socket::bind_datagrams(any, &options)?);
    let sender = sender_to(&receiver)?;
    let options = DatagramOptions { buffers, ..DatagramOptions::default() };
    let datagrams = ring.datagrams(receiver, &options)?;
    let submitted = ring.submit(Op::Datagrams(datagrams), 0);
    submitted.map_err(|_op| io::Error::other("the ring takes more than one operation"))?;
    let payload = vec![7; bytes];
    let (mut spent, mut rest) = (Duration::ZERO, 0);
    for round in 0..WARM_UP_ROUNDS + ROUNDS {
        for _ in 0..DATAGRAMS {
            sender.send(&payload)?;
        }
        let began = cpu_time();
        rest += drain(&mut ring, wait, bytes)?;
        if round >= WARM_UP_ROUNDS {
            spent += cpu_time() - began;
        }
    }
    let each = spent.as_secs_f64() * 1e9 / f64::from(ROUNDS) / DATAGRAMS as f64;
    println!("{bytes} B on {}: {each:.1} ns each (checked {rest})", ring.report().driver);
    Ok(())
}

fn sender_to(receiver: &Handle) -> io::Result<UdpSocket> {
    let no_address = || io::Error::other("a bound socket has an address");
    let address = receiver.kernel().and_then(socket::local_address).ok_or_else(no_address)?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    socket::set_datagram_buffers(sender.as_fd(), 0, SOCKET_BUFFER_BYTES)?;
    sender.connect(address)?;
    Ok(sender)
}

/// Takes one filling; sums the payloads' lengths, as the plain C loop does.
fn drain(ring: &mut Ring, wait: Wait, bytes: usize) -> io::Result<usize> {
    let (mut count, mut sum) = (0, 0);
    while count < DATAGRAMS {
        ring.poll(wait)?;
        while let Some(completion) = ring.next_completion() {
            if let Payload::Datagrams(batch) = completion.payload {
                sum += batch.iter().map(|datagram| datagram.payload().len() / bytes).sum::<usize>();
                count += batch.len();
                ring.recycle(batch);
            }
        }
    }
    Ok(sum)
}

fn bind_to_first_core() {
    // SAFETY: I6: an all-zero set is valid; the kernel reads it during the call.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut cores);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cores);
    }
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: I6: the kernel writes the time during the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
