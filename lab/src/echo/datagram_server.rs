//! Servers that say datagrams again: on a worker of the engine, on a port, and a blocking loop for comparison.

use crate::ceiling::Kind;
use crate::ceiling::serve::{Ending, Flags, Started, run_until_broken};
use crate::echo::datagrams::DATAGRAM_BYTES_MAX;
use crate::refusal::Refusal;
use ringway_engine::{
    DatagramHandler, Handover, Outgoing, Port, PortHandler, PortOptions, PortSocket, Server, ServerOptions,
    UdpEndpoint, WorkerHandle,
};
use ringway_ring::socket::{DatagramSocketOptions, bind_datagrams, local_address};
use ringway_ring::{Batch, DatagramOptions, DriverChoice, RingOptions};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Datagrams received and not given back by the server.
const BUFFERS: u16 = 1024;

/// How long a stopping server may finish what it has.
const STOP: Duration = Duration::from_secs(1);

/// Starts an echo server of datagrams: on workers, with `port` on a port of one ring and one thread, or (`plain-blocking`)
/// as a loop of two system calls.
///
/// # Errors
/// Refuses kinds that have no such server, and addresses that are taken.
pub fn start(
    kind: Kind,
    flags: &Flags,
    port: Option<Handover>,
    ends: Sender<Ending>,
) -> Result<Started, Refusal> {
    match (kind.driver(), port) {
        (Some(driver), None) => start_workers(driver, flags),
        (Some(driver), Some(handover)) => {
            let (socket, address) = bind(flags.address)?;
            let mut options =
                PortOptions { threads: 1, handover, wait: flags.wait, ..PortOptions::default() };
            options.ring.driver = driver;
            options.datagrams = datagrams();
            start_port(socket, address, &options)
        }
        (None, None) if kind == Kind::PlainBlocking => {
            let (socket, address) = bind(flags.address)?;
            start_blocking(socket, address, ends)
        }
        (None, None) => {
            Err(Refusal::new(format!("{kind} does not serve datagrams; uring, epoll and plain-blocking do")))
        }
        (None, Some(_)) => Err(Refusal::new(format!("{kind} has no engine, so it has no port"))),
    }
}

fn bind(address: SocketAddr) -> Result<(OwnedFd, SocketAddr), Refusal> {
    let socket = bind_datagrams(address, &DatagramSocketOptions::default())
        .map_err(Refusal::because(format!("cannot listen on {address}")))?;
    let bound = local_address(socket.as_fd()).unwrap_or(address);
    Ok((socket, bound))
}

fn datagrams() -> DatagramOptions {
    DatagramOptions { buffers: BUFFERS, payload_bytes: DATAGRAM_BYTES_MAX, ..DatagramOptions::default() }
}

fn start_workers(driver: DriverChoice, flags: &Flags) -> Result<Started, Refusal> {
    let handler = |_worker: &WorkerHandle| Ok(Rc::new(Again) as Rc<dyn DatagramHandler>);
    let endpoint =
        UdpEndpoint { datagrams: datagrams(), ..UdpEndpoint::new(flags.address, Arc::new(handler)) };
    let options = ServerOptions {
        workers: usize::try_from(flags.workers).unwrap_or(1),
        wait: flags.wait,
        ring: RingOptions { driver, ..RingOptions::default() },
        udp: vec![endpoint],
        ..ServerOptions::default()
    };
    let server = Server::start(&[], &options).map_err(|error| Refusal::new(error.to_string()))?;
    let address = server.udp_addresses().first().copied().unwrap_or(flags.address);
    let settings =
        vec![("wait mode", options.wait.to_string()), ("server's driver", server.report().to_string())];
    let stop = move || {
        server.drain(STOP);
        let totals = server.wait(STOP).map_err(Refusal::failed)?;
        Ok(totals.iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    Ok(Started { address, settings, stop: Box::new(stop) })
}

fn start_port(socket: OwnedFd, address: SocketAddr, options: &PortOptions) -> Result<Started, Refusal> {
    let port = Port::start(vec![vec![socket]], options, Arc::new(Again))
        .map_err(|error| Refusal::new(error.to_string()))?;
    let settings = vec![
        ("wait mode", options.wait.to_string()),
        ("handover", format!("{:?}", options.handover)),
        ("server's driver", port.report().to_string()),
    ];
    let stop = move || {
        let end = port.stop(STOP);
        if let Some((_, death)) = end.deaths.first() {
            return Err(Refusal::failed(format!("the port's ring died: {death}")));
        }
        Ok(end.totals.iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    Ok(Started { address, settings, stop: Box::new(stop) })
}

/// Says every datagram again.
struct Again;

impl Again {
    fn answer(batch: &Batch, out: &mut Outgoing<'_>) {
        for datagram in batch {
            // The kernel knows who sent it; without that nobody can be answered.
            let Some(source) = datagram.source() else { continue };
            // What the queue has no room for is lost, as datagrams may be, and counted by the engine.
            let _full = out.send(source, datagram.payload());
        }
    }
}

impl DatagramHandler for Again {
    fn datagrams(&self, batch: &mut Batch, out: &mut Outgoing<'_>) {
        Self::answer(batch, out);
    }
}

impl PortHandler for Again {
    fn batch(&self, _from: PortSocket, batch: &Batch, out: &mut Outgoing<'_>) {
        Self::answer(batch, out);
    }
}

fn start_blocking(socket: OwnedFd, address: SocketAddr, ends: Sender<Ending>) -> Result<Started, Refusal> {
    let socket = UdpSocket::from(socket);
    socket.set_nonblocking(false).map_err(Refusal::because("cannot wait at the socket"))?;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let work = move || {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            let (bytes, source) = socket.recv_from(&mut buffer)?;
            counted.fetch_add(1, Ordering::Relaxed);
            let _lost_as_datagrams_may_be = socket.send_to(&buffer[..bytes], source);
        }
    };
    run_until_broken(Kind::PlainBlocking, ends, work)?;
    let stop = move || Ok(vec![("datagrams".to_owned(), count.load(Ordering::Relaxed))]);
    Ok(Started { address, settings: Vec::new(), stop: Box::new(stop) })
}
