//! Overload: what becomes of connections that are too many, and endpoints that are flooded beside others that are not.

use crate::stand::echo::TurnEcho;
use crate::stand::{PATIENCE, Setup, Stand, connect, eventually, exchange, on_all_drivers_at_once, read_all};
use ringway_engine::ring::DriverChoice;
use ringway_engine::ring::socket::Address;
use ringway_engine::{
    BUSY_MAX, Balance, Conn, Endpoint, EndpointLimits, Events, OverCapacity, Protocol, ProtocolFactory, Turn,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

const CONNECTIONS_MAX: usize = 10;

/// An echo that tells who is one too many so.
#[derive(Default)]
struct Polite {
    echo: TurnEcho,
}

impl Protocol for Polite {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::BUSY) {
            assert!(events.has(Events::OPENED));
            let word = conn.pool().copy_of(b"busy").expect("room");
            conn.send(word);
            return Turn::Linger;
        }
        self.echo.turn(conn, events)
    }
}

fn stand(driver: DriverChoice, over_capacity: OverCapacity, workers: usize) -> Stand {
    let mut setup = Setup::new(driver, |_| Polite::default());
    setup.options.workers = workers;
    setup.endpoint.balance = Balance::LeastLoaded;
    let limits =
        EndpointLimits { connections_max: CONNECTIONS_MAX, over_capacity, ..EndpointLimits::default() };
    setup.endpoint.limits = limits;
    setup.start()
}

/// Connections that are served, as many as there is room for.
fn fill(stand: &Stand) -> Vec<TcpStream> {
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(|_| stand.connect()).collect();
    streams.iter_mut().for_each(|stream| exchange(stream, 100, 100));
    streams
}

#[test]
fn what_is_too_much_is_closed_or_told() {
    on_all_drivers_at_once(|driver| {
        for (policy, told) in [(OverCapacity::Drop, &b""[..]), (OverCapacity::Busy, b"busy")] {
            let stand = stand(driver, policy, 1);
            let mut streams = fill(&stand);
            for _ in 0..3 {
                let mut late = stand.connect();
                let mut found = Vec::new();
                match late.read_to_end(&mut found) {
                    Ok(_) => assert_eq!(found, told, "{policy:?}"),
                    Err(error) => {
                        assert_eq!((error.kind(), policy), (ErrorKind::ConnectionReset, OverCapacity::Drop))
                    }
                }
            }
            assert_eq!(stand.totals().refused, 3);
            streams.iter_mut().for_each(|stream| exchange(stream, 100, 100));
            streams.pop();
            eventually("there is room again", || {
                let mut next = stand.connect();
                next.write_all(b"!").map_err(|error| error.kind())?;
                let mut found = [0];
                next.read_exact(&mut found).map_err(|error| error.kind())?;
                if &found == b"!" { Ok(()) } else { Err(ErrorKind::Other) }
            });
            drop(streams);
            stand.until_resting();
            stand.stop();
        }
    });
}

#[test]
fn so_many_are_told_at_once_and_no_more() {
    on_all_drivers_at_once(|driver| {
        let stand = stand(driver, OverCapacity::Busy, 1);
        let streams = fill(&stand);
        // They keep their side open: each lingers and counts.
        let told: Vec<TcpStream> = (0..BUSY_MAX).map(|_| stand.connect()).collect();
        eventually("all are told", || match stand.totals().open {
            open if open == (CONNECTIONS_MAX + BUSY_MAX) as u64 => Ok(()),
            open => Err(open),
        });
        let mut late = stand.connect();
        let mut found = Vec::new();
        let _reset_or_not = late.read_to_end(&mut found);
        assert_eq!(found, b"", "nobody has time for it");
        for mut stream in told {
            assert_eq!(read_all(&mut stream), b"busy");
        }
        drop(streams);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn what_is_left_in_the_queue_is_served_when_there_is_room() {
    on_all_drivers_at_once(|driver| {
        for workers in [1, 2] {
            let stand = stand(driver, OverCapacity::Resist, workers);
            let mut streams = fill(&stand);
            streams.extend((1..workers).flat_map(|_| fill(&stand)));
            let mut late: Vec<TcpStream> = (0..60).map(|_| stand.connect()).collect();
            for stream in &mut late {
                stream.write_all(b"?").expect("the kernel takes it");
            }
            // Room comes bit by bit.
            while let Some(mut stream) = streams.pop() {
                exchange(&mut stream, 100, 100);
                let most = (CONNECTIONS_MAX * workers) as u64;
                // Where one accepts for others it sees their load a moment late.
                let slack = if workers == 1 { 0 } else { 60 };
                assert!(stand.totals().open <= most + slack, "{} are open", stand.totals().open);
            }
            for mut stream in late {
                let mut found = [0];
                stream.read_exact(&mut found).expect("everybody is served in the end");
                assert_eq!(&found, b"?");
            }
            assert_eq!(stand.totals().refused, 0);
            eventually("all have ended", || match stand.totals().open {
                0 => Ok(()),
                open => Err(open),
            });
            stand.stop();
        }
    });
}

/// Tells which endpoint each new connection came through; stands still at a `!` until the test lets it go.
struct Teller {
    endpoint: usize,
    opened: Sender<usize>,
    blocked: Sender<()>,
    gate: Arc<Mutex<Receiver<()>>>,
}

impl Protocol for Teller {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            self.opened.send(self.endpoint).expect("the test listens");
        }
        if conn.take().is_some_and(|bytes| bytes.starts_with(b"!")) {
            self.blocked.send(()).expect("the test waits");
            self.gate.lock().expect("nobody panics").recv_timeout(PATIENCE).expect("the test lets go");
        }
        if conn.is_ended() || conn.is_draining() { Turn::Close } else { Turn::Idle }
    }
}

#[test]
fn a_flooded_endpoint_leaves_another_its_turn() {
    const FLOOD: usize = 600;
    on_all_drivers_at_once(|driver| {
        let ((opened, order), (blocked, is_blocked), (gate, receiver)) = (channel(), channel(), channel());
        let receiver = Arc::new(Mutex::new(receiver));
        let teller = |endpoint: usize| -> ProtocolFactory {
            let (opened, blocked, gate) = (opened.clone(), blocked.clone(), Arc::clone(&receiver));
            Arc::new(move |_| {
                let (opened, blocked, gate) = (opened.clone(), blocked.clone(), Arc::clone(&gate));
                Ok(Rc::new(Teller { endpoint, opened, blocked, gate }) as Rc<dyn Protocol>)
            })
        };
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        setup.endpoint.protocol = teller(0);
        let stand = setup.start();
        let other = Endpoint::new(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), teller(1));
        stand.server().add(&other).expect("a free port");
        let Some((_, Address::Tcp(address))) = stand.server().control().addresses().pop() else {
            panic!("it is there")
        };
        let mut first = stand.connect();
        first.write_all(b"!").expect("the server reads");
        is_blocked.recv_timeout(PATIENCE).expect("the worker stands still");
        let flood: Vec<TcpStream> = (0..FLOOD).map(|_| stand.connect()).collect();
        let late = connect(address).expect("it listens");
        gate.send(()).expect("the worker waits");
        let order: Vec<usize> =
            (0..FLOOD + 2).map(|_| order.recv_timeout(PATIENCE).expect("all are opened")).collect();
        let place = order.iter().position(|&endpoint| endpoint == 1).expect("it is opened");
        assert!(place < FLOOD / 2, "it came last of all and was opened after {place} others");
        drop((first, flood, late));
        eventually("all have ended", || match stand.totals().open {
            0 => Ok(()),
            open => Err(open),
        });
        stand.stop();
    });
}
