//! What sockets cost: an echo allocates nothing, one that waits takes few bytes. Memory is counted for the process, so these
//! tests have one of their own.

use ringway_engine::ring::socket::Address;
use ringway_engine::{Endpoint, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_http::response::EncodeError;
use ringway_service::socket::{Acceptor, Message, Socket, SocketOptions};
use ringway_web::exchange::Exchange;
use ringway_web::limits::WebLimits;
use ringway_web::pipeline::{Handled, Handler};
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use ringway_ws::encoder;
use ringway_ws::frame::Opcode;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PATIENCE: Duration = Duration::from_secs(20);

/// Exchanges before counting, and those that are counted.
const WARM: usize = 100;
const COUNTED: usize = 1_000;

/// Sockets that wait; their other ends are in this process, too.
const SOCKETS: usize = 400;

/// Bytes of memory that one may take: what the process asks the allocator for, tables at their largest.
const BYTES_MAX: usize = 400;

struct Echo(Acceptor);

impl Handler for Echo {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let echo = |_: &_| {
            |socket: &mut Socket<'_>, message: Message<'_>| {
                socket.send(message).expect("there is room");
            }
        };
        self.0.accept(exchange, echo).map(Handled::Answer)
    }
}

fn start() -> (Server, SocketAddr) {
    let protocol = |worker: &WorkerHandle| {
        let echo = Echo(Acceptor::new(worker.clone(), SocketOptions::default()));
        let sites = Rc::new(Sites::new(Site::with_handler("echo", echo)));
        let http = Http::new(sites, WebLimits::default(), worker.pool().clone());
        Ok(Rc::new(http) as Rc<dyn Protocol>)
    };
    let endpoint = Endpoint::new(Address::Tcp(([127, 0, 0, 1], 0).into()), Arc::new(protocol));
    let options = ServerOptions { workers: 1, ..ServerOptions::default() };
    let server = Server::start(&[endpoint], &options).expect("it starts");
    let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
    (server, address)
}

fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head).expect("it reads");
    let mut answer = [0; 1024];
    let mut len = 0;
    while !answer[..len].ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut answer[len..]).expect("an answer");
        assert!(count > 0, "{}", answer[..len].escape_ascii());
        len += count;
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer[..len].escape_ascii());
    stream
}

#[test]
fn an_echo_allocates_nothing_and_a_socket_that_waits_is_small() {
    let (server, address) = start();
    let mut stream = open(address);
    let mut frame = Vec::new();
    encoder::frame(Opcode::Binary, &[7; 64], Some([1, 2, 3, 4]), &mut frame);
    let mut many = frame.repeat(16);
    let mut answer = [0; 66 * 16];
    let mut exchange = |frames: &mut [u8], answer: &mut [u8]| {
        stream.write_all(frames).expect("it reads");
        stream.read_exact(answer).expect("an answer");
        assert_eq!(answer[answer.len() - 66..][..3], [0x82, 64, 7]);
    };
    for _ in 0..WARM {
        exchange(&mut frame, &mut answer[..66]);
        exchange(&mut many, &mut answer);
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..COUNTED {
        exchange(&mut frame, &mut answer[..66]);
        exchange(&mut many, &mut answer);
    }
    let allocations = region.change().allocations;
    // A table may grow once more.
    assert!(allocations < 10, "{allocations} in {COUNTED} exchanges");

    let mut streams = Vec::with_capacity(SOCKETS);
    let region = Region::new(ALLOCATOR);
    streams.extend((0..SOCKETS).map(|_| open(address)));
    let change = region.change();
    let bytes = change.bytes_allocated - change.bytes_deallocated;
    eprintln!("{} bytes a socket", bytes / SOCKETS);
    assert!(bytes / SOCKETS <= BYTES_MAX, "{} bytes a socket", bytes / SOCKETS);
    drop((stream, streams));
    server.drain(PATIENCE);
    assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
}
