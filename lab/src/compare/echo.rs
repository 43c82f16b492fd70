//! Echoes over TCP and by datagrams: what a message costs servers that say everything again, and what a connection that waits costs them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringway_ring::DriverChoice;
use ringway_ring::socket::Address;

use super::idle::{Idle, PATIENCE};
use super::made::Made;
use crate::echo::client;
use crate::echo::plan::{Length, Moment, Plan};
use crate::echo::script::{Framing, Pattern, Script, Sizes};
use crate::http::Served;
use crate::http::url::Url;
use crate::measure::cores;
use crate::progress::Progress;
use crate::refusal::Refusal;
use crate::stress;

/// What a connection says once before it waits.
const SAID: [u8; 64] = *b"A message of sixty-four bytes, which is what the bars speak of.\n";

/// After so long a datagram is lost.
const DATAGRAM_PATIENCE: Duration = Duration::from_millis(500);

/// What is asked of the clients.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) connections: u32,
    pub(super) bytes: u32,
    pub(super) window: u32,
    pub(super) time: Duration,
    pub(super) warm_up: Duration,
    pub(super) core: usize,
}

impl Load {
    fn plan(&self, address: SocketAddr) -> Plan {
        let sizes = Sizes { low: self.bytes, high: self.bytes };
        Plan {
            address,
            connections: self.connections,
            ramp_per_s: 0,
            shape: Script { key: 0, sizes, pattern: Pattern::Seeded, framing: Framing::Raw },
            window: self.window,
            length: Length::Time { warm_up: self.warm_up, measured: self.time },
            pause_ms: (0, 0),
            disconnect_per_mille: 0,
            // The same bytes for every server and in every round.
            seed: 1,
            driver: DriverChoice::Auto,
            is_polled: false,
            patience: PATIENCE,
        }
    }
}

impl Load {
    fn datagram_plan(&self, address: SocketAddr) -> stress::plan::Plan {
        let frame = stress::frame::Frame::None;
        let sizes = stress::message::Sizes::Fixed(self.bytes);
        stress::plan::Plan {
            address: Address::Tcp(address),
            connections: self.connections,
            ramp_per_s: 0,
            shape: stress::cursor::Shape {
                messages: stress::message::Messages { seed: 1, sizes, alphabet: frame.alphabet() },
                frame,
            },
            sealing: None,
            ask: stress::upgrade::Ask { host: String::new(), path: String::new() },
            window: self.window,
            rate_per_s: 0,
            length: stress::plan::Length::Time { warm_up: self.warm_up, measured: self.time },
            pause_ms: (0, 0),
            disconnects: stress::plan::Disconnects { share: 0, ways: [stress::plan::Way::Close; 3] },
            driver: DriverChoice::Auto,
            patience: DATAGRAM_PATIENCE,
            interval: PATIENCE,
        }
    }
}

/// Says messages for as long as is wanted and checks every byte of what comes back.
///
/// # Errors
/// When the server cannot be reached or a byte is wrong.
pub(super) fn load<C: Send>(
    load: &Load,
    served: &mut Served,
    clocks: impl Fn(&mut Served) -> C + Send,
    progress: &Progress,
) -> Result<(Made, C, C), Refusal> {
    progress.stage(&format!("{} connections to an echo", load.connections));
    let plan = load.plan(Url::parse(&served.url)?.address()?);
    on_core(load.core, move || {
        let (mut before, mut after) = (None, None);
        let report = client::run(&plan, &mut |moment| match moment {
            Moment::Begin => before = Some(clocks(served)),
            Moment::End => after = Some(clocks(served)),
            Moment::Underway(..) => {}
        })?;
        if let Some(failure) = report.failures.first() {
            return Err(Refusal::failed(failure.to_string()));
        }
        let (before, after) = before.zip(after).ok_or_else(unmeasured)?;
        Ok((Made::all_right(report.messages, report.client_cpu), before, after))
    })
}

/// The same by datagrams. What is lost is no answer, and no mistake.
///
/// # Errors
/// When the server's command names no port for datagrams, nothing is answered or a byte is wrong.
pub(super) fn datagrams<C: Send>(
    load: &Load,
    served: &mut Served,
    clocks: impl Fn(&mut Served) -> C + Send,
    progress: &Progress,
) -> Result<(Made, C, C), Refusal> {
    progress.stage(&format!("{} sockets to an echo of datagrams", load.connections));
    let no_port = || Refusal::new("a case of datagrams needs {udp-port} in the server's command");
    let plan = load.datagram_plan(served.datagrams.ok_or_else(no_port)?);
    on_core(load.core, move || {
        let (mut before, mut after) = (None, None);
        let report = stress::datagrams::run(&plan, None, &mut |moment| match moment {
            stress::plan::Moment::Begin => before = Some(clocks(served)),
            stress::plan::Moment::End => after = Some(clocks(served)),
            stress::plan::Moment::Underway { .. } => {}
        })?;
        if let Some(failure) = report.failures.first() {
            return Err(Refusal::failed(failure.to_string()));
        }
        let (before, after) = before.zip(after).ok_or_else(unmeasured)?;
        Ok((Made::all_right(report.messages, report.client_cpu), before, after))
    })
}

fn unmeasured() -> Refusal {
    Refusal::failed("the echo was not measured")
}

/// Runs clients on a thread whose core is theirs alone.
fn on_core<T: Send>(core: usize, run: impl FnOnce() -> Result<T, Refusal> + Send) -> Result<T, Refusal> {
    std::thread::scope(|scope| {
        let talking = scope.spawn(move || cores::pin(core).and_then(|()| run()));
        talking.join().map_err(|_panic| Refusal::failed("the thread of the clients died"))?
    })
}

/// Opens `count` connections, has each of them echo once, and reads the server's memory with all open.
///
/// # Errors
/// When the server cannot be reached or says something else.
pub(super) fn idle(served: &mut Served, count: usize, progress: &Progress) -> Result<Idle, Refusal> {
    crate::http::load::raise_descriptors(count)?;
    let address = Url::parse(&served.url)?.address()?;
    let before_kib = served.read().resident_kib;
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let connection = ask_once(address)
            .map_err(|error| Refusal::failed(format!("connection {} of {count}: {error}", index + 1)))?;
        open.push(connection);
        progress.step("connections that wait", index as u64, count as u64);
    }
    let with_kib = served.read().resident_kib;
    Ok(Idle { connections: open.len(), before_kib, with_kib })
}

/// A connection that has had its one echo.
fn ask_once(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(&SAID)?;
    let mut heard = [0; SAID.len()];
    connection.read_exact(&mut heard)?;
    if heard == SAID { Ok(connection) } else { Err(std::io::Error::other("what came is not what was said")) }
}
