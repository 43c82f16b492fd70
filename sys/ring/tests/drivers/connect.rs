//! Connecting: made, refused, hanging until cancelled; over TCP, Unix sockets and the simulated network.

use crate::bench::{Bench, errno, on_each, on_kernel};
use ringway_ring::socket::{self, Address, ListenOptions, RawAddress};
use ringway_ring::{Connect, Handle, Op, OpId};
use ringway_testkit::Scratch;
use std::net::SocketAddr;

const CONNECT: u64 = 4;

fn raw(address: SocketAddr) -> RawAddress {
    RawAddress::new(&Address::Tcp(address)).expect("an address")
}

fn nowhere() -> SocketAddr {
    "10.0.0.9:9".parse().expect("an address")
}

fn connect(bench: &mut Bench, address: RawAddress, token: u64) -> (Handle, OpId) {
    let socket = match address.socket_address() {
        Some(_) if bench.is_simulated() => bench.net().socket(),
        _ => Handle::new(socket::stream_socket(&address).expect("a socket")),
    };
    let id = bench.submit(Op::Connect(Connect::new(socket.clone(), address)), token);
    (socket, id)
}

#[test]
fn a_connect_is_made_and_carries_bytes() {
    on_kernel(|bench| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = raw(listener.local_addr().expect("bound"));
        let (socket, _) = connect(bench, address, CONNECT);
        assert_eq!(bench.next_of(CONNECT).result.expect("connected"), 0);
        let (mut peer, _) = listener.accept().expect("it waits");
        std::io::Write::write_all(&mut peer, b"welcome").expect("room");
        assert_eq!(bench.stream_exactly(&socket, 1, 7), b"welcome");
    });
}

#[test]
fn a_simulated_connect_is_made_refused_or_hangs() {
    on_each(|bench| {
        if !bench.is_simulated() {
            return;
        }
        let served: SocketAddr = "10.0.0.7:7".parse().expect("an address");
        bench.net().serve(served);
        let (socket, _) = connect(bench, raw(served), CONNECT);
        assert_eq!(bench.next_of(CONNECT).result.expect("connected"), 0);
        let peer = bench.net().answered(served).expect("it arrived");
        assert_eq!(peer.write(b"welcome").expect("an empty window"), 7);
        assert_eq!(bench.stream_exactly(&socket, 1, 7), b"welcome");
        connect(bench, raw(nowhere()), CONNECT);
        assert_eq!(errno(&bench.next_of(CONNECT)), Some(libc::ECONNREFUSED));
    });
}

#[test]
fn a_connect_to_nobody_is_refused() {
    on_kernel(|bench| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = raw(listener.local_addr().expect("bound"));
        drop(listener);
        connect(bench, address, CONNECT);
        assert_eq!(errno(&bench.next_of(CONNECT)), Some(libc::ECONNREFUSED), "on {}", bench.name());
    });
}

/// An address where nobody answers, and what keeps it so.
fn silent(bench: &mut Bench) -> (RawAddress, Option<Handle>) {
    if bench.is_simulated() {
        bench.net().swallow(nowhere());
        return (raw(nowhere()), None);
    }
    // A queue of one: what comes after the first connection gets no answer at all.
    let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
    let any = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
    let listener = Handle::new(socket::listen(&any, &options).expect("loopback"));
    let address = raw(socket::local_address(listener.kernel().expect("real")).expect("bound"));
    connect(bench, address, 1);
    bench.next_of(1).result.expect("the first fits");
    (address, Some(listener))
}

#[test]
fn a_connect_that_hangs_is_no_connection_and_ends_when_cancelled() {
    on_each(|bench| {
        let (address, _listener) = silent(bench);
        let hanging: Vec<(Handle, OpId)> = (10..20).map(|token| connect(bench, address, token)).collect();
        for _ in 0..10 {
            bench.poll();
            for token in 10..20 {
                assert!(bench.try_next_of(token).is_none(), "nobody answered on {}", bench.name());
            }
        }
        for (token, (_, id)) in (10..).zip(&hanging) {
            bench.ring.cancel(*id);
            assert_eq!(errno(&bench.next_of(token)), Some(libc::ECANCELED), "on {}", bench.name());
        }
        let holders = if bench.is_simulated() { 2 } else { 1 };
        assert!(hanging.iter().all(|(socket, _)| socket.holders() == holders), "the operations have let go");
    });
}

#[test]
fn unix_connects_are_made_refused_and_turned_away() {
    on_kernel(|bench| {
        let scratch = Scratch::new("connect");
        let path = Address::Unix(scratch.path().join("socket"));
        let address = RawAddress::new(&path).expect("a short path");
        connect(bench, address, CONNECT);
        assert_eq!(errno(&bench.next_of(CONNECT)), Some(libc::ENOENT));
        let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
        let listener = socket::listen(&path, &options).expect("a fresh path");
        let _first = connect(bench, address, CONNECT);
        assert_eq!(bench.next_of(CONNECT).result.expect("room for one"), 0);
        // Unix sockets have no way to wait for a full queue without blocking; it must not look like a connection.
        connect(bench, address, CONNECT);
        let full = bench.next_of(CONNECT);
        assert_eq!(errno(&full), Some(libc::EAGAIN), "on {}", bench.name());
        drop(listener);
        connect(bench, address, CONNECT);
        assert_eq!(errno(&bench.next_of(CONNECT)), Some(libc::ECONNREFUSED));
    });
}
