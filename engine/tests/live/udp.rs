//! UDP endpoints: answers, trains, limits, panics, sends of one's own accord, draining, and what is counted.

use crate::stand::echo::TurnEcho;
use crate::stand::{PATIENCE, Setup, eventually, exchange, on_each_driver, pattern};
use ringway_engine::ring::socket::{DatagramSocketOptions, Refusal};
use ringway_engine::ring::{Batch, DatagramOptions, DriverChoice};
use ringway_engine::{
    DatagramHandler, Outgoing, Server, ServerOptions, StartError, Totals, UdpEndpoint, WaitMode, WorkerHandle,
};
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LOOPBACK: &str = "127.0.0.1:0";

/// A handler made of a function.
struct Handle<F>(F);

impl<F: Fn(&Batch, &mut Outgoing<'_>) + 'static> DatagramHandler for Handle<F> {
    fn datagrams(&self, batch: &mut Batch, out: &mut Outgoing<'_>) {
        (self.0)(batch, out);
    }
}

fn endpoint(
    address: &str,
    handle: impl Fn(&Batch, &mut Outgoing<'_>) + Clone + Send + Sync + 'static,
) -> UdpEndpoint {
    let address = address.parse().expect("an address");
    UdpEndpoint::new(
        address,
        Arc::new(
            move |_worker: &WorkerHandle| Ok(Rc::new(Handle(handle.clone())) as Rc<dyn DatagramHandler>),
        ),
    )
}

/// Sends every datagram back, those of trains as a train.
fn echo(batch: &Batch, out: &mut Outgoing<'_>) {
    for datagram in batch {
        let Some(source) = datagram.source() else { continue };
        let sent = match datagram.segment_bytes().and_then(|bytes| u16::try_from(bytes).ok()) {
            Some(bytes) => out.send_train(source, datagram.payload(), bytes),
            None => out.send(source, datagram.payload()),
        };
        // A full queue loses datagrams, as UDP may.
        let _lost = sent;
    }
}

fn setup(driver: DriverChoice, udp: Vec<UdpEndpoint>) -> Setup {
    let mut setup = Setup::new(driver, |_| TurnEcho::default());
    setup.options.udp = udp;
    setup
}

fn client(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv6() { "[::1]:0" } else { LOOPBACK };
    let client = UdpSocket::bind(any).expect("loopback");
    client.connect(server).expect("loopback");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket");
    client
}

fn received(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let bytes = client.recv(&mut buffer).expect("an answer");
    buffer.truncate(bytes);
    buffer
}

/// Waits until the counters say so.
fn until(server: &Server, what: &str, is_so: impl Fn(&Totals) -> bool) -> Totals {
    eventually(what, || {
        let totals = server.totals();
        if is_so(&totals) { Ok(totals) } else { Err(Box::new(totals)) }
    })
}

#[test]
fn every_worker_answers_whoever_asks() {
    on_each_driver(|driver| {
        for wait in ["event", "adaptive", "batch:8:300us"] {
            let mut setup = setup(driver, vec![endpoint(LOOPBACK, echo), endpoint("[::1]:0", echo)]);
            setup.options.workers = 2;
            setup.options.wait = wait.parse().expect("a mode");
            let stand = setup.start();
            let addresses = stand.server().udp_addresses().to_vec();
            let clients: Vec<_> = (0..20).map(|number| client(addresses[number % 2])).collect();
            for round in 0..20 {
                for client in &clients {
                    client.send(&pattern(round, round * 70)).expect("loopback");
                }
                for client in &clients {
                    assert!(received(client) == pattern(round, round * 70));
                }
            }
            // TCP goes on beside it.
            exchange(&mut stand.connect(), 10_000, 1000);
            let totals = stand.stop();
            assert_eq!((totals.datagrams_received, totals.datagrams_sent), (400, 400));
            let bytes = 20 * (0..20).map(|round| round * 70).sum::<u64>();
            assert_eq!((totals.datagram_bytes_received, totals.datagram_bytes_sent), (bytes, bytes));
            assert_eq!((totals.datagrams_dropped, totals.datagrams_refused, totals.panics), (0, 0, 0));
        }
    });
}

#[test]
fn trains_are_answered_with_trains() {
    on_each_driver(|driver| {
        let mut trains = endpoint(LOOPBACK, echo);
        trains.socket.gro = true;
        trains.datagrams = DatagramOptions { buffers: 32, ..DatagramOptions::default() };
        let stand = setup(driver, vec![trains]).start();
        let client = client(stand.server().udp_addresses()[0]);
        let mut batch = ringway_engine::ring::socket::SendBatch::new(10, 100_000);
        let payload = pattern(0, 20_700);
        batch.push_train(None, &payload, 1000).expect("room");
        use std::os::fd::AsFd;
        ringway_engine::ring::socket::send_datagrams(client.as_fd(), &mut batch).expect("loopback");
        for segment in payload.chunks(1000) {
            assert!(received(&client) == segment);
        }
        let totals = stand.stop();
        assert_eq!((totals.datagrams_received, totals.datagrams_sent), (1, 21));
    });
}

#[test]
fn a_panic_costs_its_batch_and_no_buffer() {
    on_each_driver(|driver| {
        let mut fragile = endpoint(LOOPBACK, |batch: &Batch, out: &mut Outgoing<'_>| {
            for datagram in batch {
                let Some(source) = datagram.source() else { continue };
                out.send(source, b"seen").expect("room");
                // Unwinds without the message that a panic prints.
                if datagram.payload() == b"boom" {
                    std::panic::resume_unwind(Box::new("as asked"));
                }
            }
        });
        fragile.datagrams = DatagramOptions { buffers: 8, ..DatagramOptions::default() };
        let stand = setup(driver, vec![fragile]).start();
        let client = client(stand.server().udp_addresses()[0]);
        for round in 0..50 {
            client.send(if round % 2 == 0 { b"boom" } else { b"fine" }).expect("loopback");
            assert_eq!(received(&client), b"seen", "what was answered before the panic leaves");
        }
        assert_eq!(stand.stop().panics, 25);
    });
}

/// Answers with more than the queue takes, and with what the kernel refuses.
struct Excessive {
    full: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl DatagramHandler for Excessive {
    fn datagrams(&self, batch: &mut Batch, out: &mut Outgoing<'_>) {
        let Some(source) = batch.last().and_then(|datagram| datagram.source()) else { return };
        let large = vec![1; 65_508];
        let answers: [&[u8]; 5] = [b"one", &large, b"two", b"three", b"four"];
        let full = answers.iter().filter(|answer| out.send(source, answer).is_err()).count();
        self.full.fetch_add(full, Ordering::SeqCst);
    }

    fn refused(&self, refusals: &[Refusal]) {
        assert!(refusals.iter().all(|refusal| refusal.bytes == 65_508 && refusal.destination.is_some()));
        self.refused.fetch_add(refusals.len(), Ordering::SeqCst);
    }
}

#[test]
fn what_does_not_fit_and_what_does_not_go_is_told_and_counted() {
    on_each_driver(|driver| {
        let (full, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (told_full, told_refused) = (Arc::clone(&full), Arc::clone(&refused));
        let address = LOOPBACK.parse().expect("an address");
        let make = move |_: &WorkerHandle| {
            let handler = Excessive { full: Arc::clone(&told_full), refused: Arc::clone(&told_refused) };
            Ok(Rc::new(handler) as Rc<dyn DatagramHandler>)
        };
        let mut excessive = UdpEndpoint::new(address, Arc::new(make));
        excessive.queue_messages_max = 3;
        let stand = setup(driver, vec![excessive]).start();
        let client = client(stand.server().udp_addresses()[0]);
        client.send(b"go").expect("loopback");
        assert_eq!((received(&client), received(&client)), (b"one".to_vec(), b"two".to_vec()));
        let totals = stand.stop();
        assert_eq!((full.load(Ordering::SeqCst), refused.load(Ordering::SeqCst)), (2, 1));
        assert_eq!((totals.datagrams_sent, totals.datagrams_refused), (2, 3));
    });
}

#[test]
fn a_worker_sends_of_its_own_accord() {
    on_each_driver(|driver| {
        let target = UdpSocket::bind(LOOPBACK).expect("loopback");
        target.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let to = target.local_addr().expect("bound");
        let mut setup = setup(driver, vec![endpoint(LOOPBACK, echo)]);
        setup.options.on_start = Some(Arc::new(move |worker: &WorkerHandle| {
            let here = worker.clone();
            worker.spawn(async move {
                for number in 0..5u8 {
                    here.sleep_until(here.now_ms() + 2).await;
                    let sent = here.send_datagrams(0, |out| out.send(to, &[number]));
                    assert_eq!(sent, Some(Ok(())));
                }
                assert_eq!(here.send_datagrams(1, |_| ()), None, "there is no second endpoint");
            });
        }));
        let stand = setup.start();
        for number in 0..5u8 {
            assert_eq!(received(&target), [number]);
        }
        let from = stand.server().udp_addresses()[0];
        target.send_to(b"back", from).expect("loopback");
        assert_eq!(received(&target), b"back");
        assert_eq!(stand.stop().panics, 0);
    });
}

#[test]
fn every_datagram_is_handled_or_counted_as_dropped() {
    on_each_driver(|driver| {
        let mut slow = endpoint(LOOPBACK, |batch: &Batch, _: &mut Outgoing<'_>| {
            // Busy for a while, so that the socket's small buffer overflows.
            let until = std::time::Instant::now() + Duration::from_micros(200);
            while std::time::Instant::now() < until {
                std::hint::black_box(batch.len());
            }
        });
        slow.socket = DatagramSocketOptions { receive_buffer_bytes: 4096, ..slow.socket };
        slow.datagrams = DatagramOptions { buffers: 4, payload_bytes: 500, ..DatagramOptions::default() };
        let stand = setup(driver, vec![slow]).start();
        let client = client(stand.server().udp_addresses()[0]);
        let sent = AtomicUsize::new(0);
        let send =
            || client.send(&vec![0; 400 + sent.fetch_add(1, Ordering::Relaxed) % 200]).expect("loopback");
        for _ in 0..5000 {
            send();
        }
        let server = stand.into_server();
        let handled = |totals: &Totals| totals.datagrams_received + totals.datagrams_dropped;
        // What is dropped is told by the next one that is not.
        until(&server, "all are handled or told", |totals| {
            send();
            handled(totals) >= 5000 && totals.datagrams_truncated > 0
        });
        server.drain(PATIENCE);
        let totals = server.wait(PATIENCE).expect("no worker dies");
        assert!(totals.datagrams_dropped > 0 && totals.datagrams_truncated > 0, "{totals:?}");
        // What the small socket held when reception ended is neither.
        let sent = sent.load(Ordering::Relaxed) as u64;
        assert!((sent - 20..=sent).contains(&handled(&totals)), "{sent} sent: {totals:?}");
    });
}

#[test]
fn a_flood_of_datagrams_leaves_connections_their_turns() {
    on_each_driver(|driver| {
        let mut loud = endpoint(LOOPBACK, |_: &Batch, _: &mut Outgoing<'_>| {});
        loud.datagrams.batch_max = 32;
        let stand = setup(driver, vec![loud]).start();
        let address = stand.server().udp_addresses()[0];
        let is_over = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let client = client(address);
                while is_over.load(Ordering::Relaxed) == 0 {
                    for _ in 0..100 {
                        client.send(&[1; 64]).expect("loopback");
                    }
                }
            });
            for _ in 0..5 {
                exchange(&mut stand.connect(), 50_000, 5000);
            }
            is_over.store(1, Ordering::Relaxed);
        });
        assert!(stand.stop().datagrams_received > 0);
    });
}

#[test]
fn what_cannot_be_had_is_told_at_the_start() {
    on_each_driver(|driver| {
        let taken = UdpSocket::bind(LOOPBACK).expect("loopback");
        let address = taken.local_addr().expect("bound");
        let mut options = ServerOptions { workers: 1, ..ServerOptions::default() };
        options.ring.driver = driver;
        options.udp = vec![endpoint(&address.to_string(), echo)];
        let error = Server::start(&[], &options).expect_err("somebody has the port");
        assert!(matches!(error, StartError::Datagrams(at, _) if at == address), "{error}");
        options.udp = vec![endpoint(LOOPBACK, echo)];
        options.ring.pool_bytes_max = 1 << 20;
        let error = Server::start(&[], &options).expect_err("1024 buffers are more");
        let text = error.to_string();
        assert!(text.starts_with("cannot receive datagrams on 127.0.0.1:0: "), "{text}");
        assert!(text.contains("exceed the limit"), "{text}");
        options.wait = WaitMode::Event;
        options.udp[0].datagrams.buffers = 16;
        let server = Server::start(&[], &options).expect("16 are not");
        server.drain(PATIENCE);
        server.wait(PATIENCE).expect("no worker dies");
    });
}

#[test]
fn sockets_that_were_passed_are_served_by_however_many_workers_there_are() {
    on_each_driver(|driver| {
        for (count, workers) in [(1, 1), (1, 3), (3, 1), (2, 2)] {
            let plain = endpoint(LOOPBACK, echo);
            let (address, sockets) = plain.bind_for(count).expect("loopback");
            assert_eq!(sockets.len(), count);
            let sockets: Vec<_> = sockets.into_iter().map(Arc::new).collect();
            // One generation after the other: what waits between them is not lost.
            for round in 0..2u8 {
                let asked: Vec<_> = (0..12).map(|_| client(address)).collect();
                asked.iter().for_each(|client| {
                    client.send(&[round]).expect("loopback");
                });
                let passed = UdpEndpoint { sockets: sockets.clone(), ..endpoint(LOOPBACK, echo) };
                let mut setup = setup(driver, vec![passed]);
                setup.options.workers = workers;
                let stand = setup.start();
                assert_eq!(stand.server().udp_addresses(), [address]);
                for client in &asked {
                    assert_eq!(received(client), [round], "{count} sockets, {workers} workers");
                }
                assert_eq!(stand.stop().datagrams_received, 12);
            }
        }
    });
}

#[test]
fn a_worker_without_a_socket_of_its_own_sends_by_anothers() {
    on_each_driver(|driver| {
        let target = client("127.0.0.1:9".parse().expect("an address"));
        let to = target.local_addr().expect("bound");
        let (address, sockets) = endpoint(LOOPBACK, echo).bind_for(1).expect("loopback");
        target.connect(address).expect("loopback");
        let sockets = sockets.into_iter().map(Arc::new).collect();
        let passed = UdpEndpoint { sockets, ..endpoint(LOOPBACK, echo) };
        let mut setup = setup(driver, vec![passed]);
        setup.options.workers = 2;
        setup.options.on_start = Some(Arc::new(move |worker: &WorkerHandle| {
            let sent = worker.send_datagrams(0, |out| out.send(to, b"here"));
            assert_eq!(sent, Some(Ok(())));
        }));
        let stand = setup.start();
        assert_eq!((received(&target), received(&target)), (b"here".to_vec(), b"here".to_vec()));
        assert_eq!(stand.stop().datagrams_sent, 2);
    });
}

#[test]
fn what_is_no_datagram_socket_is_refused() {
    let stream = std::net::TcpListener::bind(LOOPBACK).expect("loopback");
    let passed = UdpEndpoint { sockets: vec![Arc::new(stream.into())], ..endpoint(LOOPBACK, echo) };
    let options = ServerOptions { workers: 1, udp: vec![passed], ..ServerOptions::default() };
    let error = Server::start(&[], &options).expect_err("a stream socket").to_string();
    assert!(error.contains("not a datagram socket"), "{error}");
}

#[test]
fn datagrams_to_one_peer_leave_as_trains_and_arrive_singly() {
    on_each_driver(|driver| {
        let stand = setup(
            driver,
            vec![endpoint(LOOPBACK, |batch: &Batch, out: &mut Outgoing<'_>| {
                for datagram in batch {
                    let Some(source) = datagram.source() else { continue };
                    for bytes in [5, 5, 3, 5, 0, 0, 7] {
                        out.send_joined(source, &pattern(0, bytes)).expect("room");
                    }
                    assert_eq!(out.queued(), 5, "5 5 3, 5, an empty one, another, 7");
                    for _ in 0..130 {
                        out.send_joined(source, b"1234567").expect("room");
                    }
                    assert_eq!(out.queued(), 5 + 2, "64 to a train");
                }
            })],
        )
        .start();
        let client = client(stand.server().udp_addresses()[0]);
        client.send(b"go").expect("loopback");
        for bytes in [5, 5, 3, 5, 0, 0, 7] {
            assert_eq!(received(&client), pattern(0, bytes));
        }
        for _ in 0..130 {
            assert_eq!(received(&client), b"1234567");
        }
        let totals = stand.stop();
        assert_eq!((totals.datagrams_sent, totals.panics), (137, 0));
    });
}
