//! Endpoints of datagrams on real sockets: answers, trains, peers and their time, limits, ticks, sends from other threads.

use ringway_engine::ring::DriverChoice;
use ringway_engine::ring::socket::{
    DatagramSocketOptions, Interface, SendBatch, bind_datagrams, join_multicast, send_datagrams,
    set_multicast_interface,
};
use ringway_engine::{Server, ServerOptions, UdpEndpoint};
use ringway_pace::TokenRate;
use ringway_socket::datagrams::{
    DatagramHandler, DatagramHandlerFactory, DatagramRules, DatagramSender, DatagramService, Expired, Peer,
    RelayOptions, Replies, Unsent, Why, echo, relay,
};
use ringway_socket::{EndpointCounters, EndpointTotals};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const LOOPBACK: &str = "127.0.0.1:0";
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server with one UDP endpoint on one worker.
struct Stand {
    server: Server,
    counters: EndpointCounters,
    address: SocketAddr,
}

impl Stand {
    fn start(
        driver: DriverChoice,
        handler: DatagramHandlerFactory,
        rules: DatagramRules,
        change: impl FnOnce(&mut UdpEndpoint),
    ) -> Self {
        let counters = EndpointCounters::default();
        let service = DatagramService::new(handler, rules, counters.clone());
        let mut endpoint = UdpEndpoint::new(LOOPBACK.parse().expect("an address"), service.factory());
        change(&mut endpoint);
        let mut options = ServerOptions { workers: 1, udp: vec![endpoint], ..ServerOptions::default() };
        options.ring.driver = driver;
        let server = Server::start(&[], &options).expect("a server");
        let address = server.udp_addresses()[0];
        Self { server, counters, address }
    }

    fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind(LOOPBACK).expect("loopback");
        client.connect(self.address).expect("loopback");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket");
        client
    }

    fn stop(self) -> EndpointTotals {
        self.server.drain(PATIENCE);
        self.server.wait(PATIENCE).expect("no worker dies");
        self.counters.totals()
    }
}

fn on_each_driver(test: impl Fn(DriverChoice)) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        eprintln!("{driver:?}");
        test(driver);
    }
}

fn received(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let bytes = client.recv(&mut buffer).expect("an answer");
    buffer.truncate(bytes);
    buffer
}

fn ask(client: &UdpSocket, question: &[u8]) -> Vec<u8> {
    client.send(question).expect("loopback");
    received(client)
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

/// Counts what a peer has sent in its word, and tells the test of all that happens.
struct Counting {
    events: Sender<Event>,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Expired(Expired),
    Ticked(usize),
}

impl DatagramHandler for Counting {
    fn datagram(&self, peer: &mut Peer<'_>, payload: &mut [u8], out: &mut Replies<'_>) {
        assert!(!peer.is_new() || peer.user() == 0);
        peer.set_user(peer.user() + 1);
        match &*payload {
            b"forget" => peer.forget(),
            // Unwinds without the message that a panic prints.
            b"boom" => std::panic::resume_unwind(Box::new("as asked")),
            b"all" => out.for_each_peer(|to, user, out| {
                out.send(to, format!("peer of {user}").as_bytes()).expect("room");
            }),
            _ => {}
        }
        payload.make_ascii_uppercase();
        let answer = format!("{} {}", String::from_utf8_lossy(payload), peer.user());
        out.reply(answer.as_bytes()).expect("room");
    }

    fn expired(&self, peer: &Expired, out: &mut Replies<'_>) {
        let said = out.send(peer.address, b"bye");
        assert_eq!(said.is_ok(), peer.why == Why::Idle);
        let _test_is_over = self.events.send(Event::Expired(*peer));
    }

    fn tick(&self, out: &mut Replies<'_>) {
        assert!(out.reply(b"to nobody").is_err());
        let _test_is_over = self.events.send(Event::Ticked(out.peers()));
    }
}

fn counting() -> (DatagramHandlerFactory, Receiver<Event>) {
    let (events, received) = channel();
    let make: DatagramHandlerFactory =
        Arc::new(move |_| Ok(Rc::new(Counting { events: events.clone() }) as Rc<dyn DatagramHandler>));
    (make, received)
}

fn known(peer_idle_ms: u64) -> DatagramRules {
    DatagramRules { peers_max: 100, peer_idle_ms, ..DatagramRules::default() }
}

#[test]
fn the_echo_says_datagrams_and_trains_again() {
    on_each_driver(|driver| {
        for gro in [false, true] {
            for rules in [DatagramRules::default(), known(60_000)] {
                let knows = u64::from(rules.peers_max > 0);
                let stand = Stand::start(driver, echo(), rules, |endpoint| {
                    endpoint.socket.gro = gro;
                    endpoint.datagrams.buffers = 64;
                    endpoint.datagrams.payload_bytes = 65_535;
                });
                let client = stand.client();
                for len in [0, 1, 64, 1400, 60_000] {
                    let question: Vec<u8> = (0..251).cycle().take(len).collect();
                    assert_eq!(ask(&client, &question), question);
                }
                let payload: Vec<u8> = (0..241).cycle().take(20_700).collect();
                let mut batch = SendBatch::new(10, 100_000);
                batch.push_train(None, &payload, 1000).expect("room");
                send_datagrams(client.as_fd(), &mut batch).expect("loopback");
                for segment in payload.chunks(1000) {
                    assert_eq!(received(&client), segment);
                }
                let totals = stand.stop();
                let bytes = 61_465 + 20_700;
                assert_eq!((totals.messages_in, totals.messages_out), (5 + 21, 5 + 21));
                assert_eq!((totals.bytes_in, totals.bytes_out), (bytes, bytes));
                assert_eq!((totals.opened, totals.closed), (knows, knows));
                assert_eq!((totals.errors, totals.faults, totals.refused), (0, 0, 0));
                assert!(totals.timed > 0);
            }
        }
    });
}

#[test]
fn a_peers_word_is_kept_while_it_sends_and_its_end_is_told() {
    on_each_driver(|driver| {
        let (handler, events) = counting();
        let stand = Stand::start(driver, handler, known(120), |_| {});
        let (client, other) = (stand.client(), stand.client());
        for round in 1..=30 {
            assert_eq!(ask(&client, b"hello"), format!("HELLO {round}").as_bytes());
        }
        assert_eq!(ask(&other, b"you"), b"YOU 1");
        assert_eq!(ask(&other, b"forget"), b"FORGET 2");
        assert_eq!(ask(&other, b"again"), b"AGAIN 1");
        let mut ended = Vec::new();
        for client in [&client, &other] {
            assert_eq!(received(client), b"bye");
        }
        for _ in 0..2 {
            let Event::Expired(expired) = events.recv_timeout(PATIENCE).expect("both expire") else {
                panic!()
            };
            ended.push((expired.address, expired.user, expired.why));
        }
        let at = |client: &UdpSocket| client.local_addr().expect("bound");
        ended.sort_by_key(|&(_, user, _)| user);
        assert_eq!(ended, [(at(&other), 1, Why::Idle), (at(&client), 30, Why::Idle)]);
        assert_eq!(ask(&client, b"hello"), b"HELLO 1");
        let totals = stand.stop();
        let Event::Expired(last) = events.recv_timeout(PATIENCE).expect("the last ends with the handler")
        else {
            panic!()
        };
        assert_eq!((last.user, last.why), (1, Why::Stopped));
        assert_eq!((totals.opened, totals.closed, totals.timeouts, totals.panics), (4, 4, 2, 0));
    });
}

#[test]
fn limits_hold_and_those_who_are_known_are_heard() {
    on_each_driver(|driver| {
        let (handler, _events) = counting();
        let rules = DatagramRules { peers_per_address_max: 3, ..known(60_000) };
        let stand = Stand::start(driver, handler, rules, |endpoint| {
            endpoint.datagrams.payload_bytes = 100;
        });
        let clients: Vec<_> = (0..3).map(|_| stand.client()).collect();
        for client in &clients {
            assert_eq!(ask(client, b"in"), b"IN 1");
        }
        let stranger = stand.client();
        stranger.send(b"me too").expect("loopback");
        // What is longer than the endpoint takes is no message.
        clients[0].send(&[b'x'; 101]).expect("loopback");
        assert_eq!(ask(&clients[0], b"still"), b"STILL 2");
        clients[0].send(b"all").expect("loopback");
        for client in &clients {
            assert!(received(client).starts_with(b"peer of "));
        }
        let totals = stand.stop();
        assert_eq!((totals.opened, totals.refused, totals.faults), (3, 1, 1));
        assert_eq!((totals.messages_in, totals.messages_out), (7, 8));
    });
}

#[test]
fn an_address_is_heard_as_often_as_its_rate_allows() {
    on_each_driver(|driver| {
        let rate_per_address = Some(TokenRate::new(1, 3_600_000, 5));
        let rules = DatagramRules { rate_per_address, ..DatagramRules::default() };
        let stand = Stand::start(driver, echo(), rules, |endpoint| endpoint.socket.gro = true);
        let client = stand.client();
        let mut batch = SendBatch::new(10, 1000);
        batch.push_train(None, &[7; 30], 10).expect("room");
        batch.push_train(None, &[8; 40], 10).expect("room");
        send_datagrams(client.as_fd(), &mut batch).expect("loopback");
        for byte in [7, 7, 7, 8, 8] {
            assert_eq!(received(&client), [byte; 10]);
        }
        eventually("all are judged", || stand.counters.totals().messages_in == 7);
        let totals = stand.stop();
        assert_eq!((totals.messages_out, totals.refused), (5, 2));
    });
}

#[test]
fn ticks_come_and_a_panic_costs_its_datagram_alone() {
    on_each_driver(|driver| {
        let (handler, events) = counting();
        let stand = Stand::start(driver, handler, DatagramRules { tick_ms: 10, ..known(60_000) }, |_| {});
        assert_eq!(events.recv_timeout(PATIENCE), Ok(Event::Ticked(0)));
        let client = stand.client();
        for _ in 0..20 {
            client.send(b"boom").expect("loopback");
            ask(&client, b"fine");
        }
        while events.recv_timeout(PATIENCE).expect("ticks go on") != Event::Ticked(1) {}
        let totals = stand.stop();
        assert_eq!((totals.panics, totals.messages_in, totals.messages_out), (20, 40, 20));
    });
}

/// Gives its sender to the test.
struct Lending(Sender<DatagramSender>);

impl DatagramHandler for Lending {
    fn datagram(&self, _peer: &mut Peer<'_>, _payload: &mut [u8], _out: &mut Replies<'_>) {}

    fn started(&self, sender: &DatagramSender) {
        self.0.send(sender.clone()).expect("the test listens");
    }
}

#[test]
fn other_threads_send_by_the_endpoints_socket() {
    on_each_driver(|driver| {
        let (lent, senders) = channel();
        let make: DatagramHandlerFactory =
            Arc::new(move |_| Ok(Rc::new(Lending(lent.clone())) as Rc<dyn DatagramHandler>));
        let rules = DatagramRules { posted_max: 50, posted_bytes_max: 10_000, ..DatagramRules::default() };
        let stand = Stand::start(driver, make, rules, |_| {});
        let sender = senders.recv_timeout(PATIENCE).expect("it starts");
        let client = stand.client();
        let to = client.local_addr().expect("bound");
        assert_eq!(sender.send(to, &[0; 10_001]), Err(Unsent::Full));
        let threads: Vec<_> = (0..4u8)
            .map(|number| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    // Fewer than the client's socket holds while nobody reads.
                    for round in 0..50u8 {
                        while sender.send(to, &[number, round]) == Err(Unsent::Full) {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0u8; 4];
        for _ in 0..200 {
            let datagram = received(&client);
            let expected = &mut next[usize::from(datagram[0])];
            assert_eq!(datagram[1], *expected, "in order");
            *expected += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let totals = stand.stop();
        assert_eq!((totals.messages_out, totals.bytes_out, totals.errors), (200, 400, 0));
        assert_eq!(sender.send(to, b"late"), Err(Unsent::Stopped));
    });
}

/// A group of this machine's loopback interface, one for each test and driver: tests run at once.
fn group(test: u8, driver: DriverChoice) -> IpAddr {
    let place = u8::from(driver == DriverChoice::Epoll);
    IpAddr::from([239, 255, 90 + test, 10 + place])
}

/// The loopback interface's index.
const LO: Interface = Interface::Index(1);

/// A member of a group at a port; its own socket.
fn member(group: IpAddr, port: u16) -> UdpSocket {
    let options = DatagramSocketOptions { reuse_port: true, ..DatagramSocketOptions::default() };
    let socket = bind_datagrams(SocketAddr::new(group, port), &options).expect("a group can be bound");
    join_multicast(socket.as_fd(), group, LO).expect("loopback carries groups");
    set_multicast_interface(socket.as_fd(), LO).expect("loopback");
    let socket = UdpSocket::from(socket);
    socket.set_nonblocking(false).expect("an option");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    socket
}

/// Who sends to groups of the loopback interface.
fn sender() -> UdpSocket {
    let socket = UdpSocket::bind(LOOPBACK).expect("loopback");
    set_multicast_interface(socket.as_fd(), LO).expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    socket
}

fn joins(endpoint: &mut UdpEndpoint, group: IpAddr) {
    endpoint.address = "0.0.0.0:0".parse().expect("an address");
    endpoint.groups = vec![(group, LO)];
    endpoint.socket.multicast_interface = LO;
}

#[test]
fn what_comes_by_a_group_goes_to_others_and_not_back() {
    on_each_driver(|driver| {
        let (listens, sends) = (group(0, driver), group(1, driver));
        let single = UdpSocket::bind(LOOPBACK).expect("loopback");
        single.set_read_timeout(Some(PATIENCE)).expect("an option");
        // Where the group is listened to is known only when the endpoint has its port.
        let probe = UdpSocket::bind(LOOPBACK).expect("loopback");
        let other_port = probe.local_addr().expect("bound").port();
        let far = member(sends, other_port);
        let to = vec![single.local_addr().expect("bound"), SocketAddr::new(sends, other_port)];
        let handler = relay(RelayOptions { to, subscribe: false }).expect("good options");
        let stand =
            Stand::start(driver, handler, DatagramRules::default(), |endpoint| joins(endpoint, listens));
        let sender = sender();
        for round in 0..20u8 {
            sender.send_to(&[round], SocketAddr::new(listens, stand.address.port())).expect("loopback");
            assert_eq!(received(&single), [round]);
            assert_eq!(received(&far), [round]);
        }
        let totals = stand.stop();
        assert_eq!((totals.messages_in, totals.messages_out, totals.errors), (20, 40, 0));
    });
}

#[test]
fn who_asks_gets_what_the_group_says_and_speaks_to_it() {
    on_each_driver(|driver| {
        let group = group(2, driver);
        let port = UdpSocket::bind(LOOPBACK).expect("loopback").local_addr().expect("bound").port();
        let to = vec![SocketAddr::new(group, port)];
        let handler = relay(RelayOptions { to, subscribe: true }).expect("good options");
        let stand = Stand::start(driver, handler, known(60_000), |endpoint| {
            joins(endpoint, group);
            endpoint.address.set_port(port);
            endpoint.socket.reuse_port = true;
        });
        let far = member(group, port);
        let asks = |socket: &UdpSocket, what: &[u8]| {
            socket.send_to(what, SocketAddr::from(([127, 0, 0, 1], port))).expect("loopback");
        };
        let (one, other) = (sender(), sender());
        asks(&one, b"first");
        assert_eq!(received(&far), b"first");
        asks(&other, b"second");
        assert_eq!(received(&far), b"second");
        assert_eq!(received(&one), b"second");
        // What the relay has sent to the group comes back to it, and goes no further; what others say does.
        sender().send_to(b"news", SocketAddr::new(group, port)).expect("loopback");
        assert_eq!((received(&one), received(&other)), (b"news".to_vec(), b"news".to_vec()));
        asks(&one, b"last");
        assert_eq!(received(&other), b"last", "and nothing before it");
        let totals = stand.stop();
        assert_eq!((totals.opened - totals.closed, totals.errors), (0, 0));
    });
}

#[test]
fn of_several_workers_one_gets_what_a_group_says() {
    on_each_driver(|driver| {
        let group = group(3, driver);
        let single = UdpSocket::bind(LOOPBACK).expect("loopback");
        single.set_read_timeout(Some(PATIENCE)).expect("an option");
        let to = vec![single.local_addr().expect("bound")];
        let handler = relay(RelayOptions { to, subscribe: false }).expect("good options");
        let counters = EndpointCounters::default();
        let service = DatagramService::new(handler, DatagramRules::default(), counters.clone());
        let mut endpoint = UdpEndpoint::new("0.0.0.0:0".parse().expect("an address"), service.factory());
        joins(&mut endpoint, group);
        let mut options = ServerOptions { workers: 3, udp: vec![endpoint], ..ServerOptions::default() };
        options.ring.driver = driver;
        let server = Server::start(&[], &options).expect("a server");
        let port = server.udp_addresses()[0].port();
        let sender = sender();
        for round in 0..20u8 {
            sender.send_to(&[round], SocketAddr::new(group, port)).expect("loopback");
            assert_eq!(received(&single), [round]);
        }
        server.drain(PATIENCE);
        server.wait(PATIENCE).expect("no worker dies");
        assert_eq!(counters.totals().messages_in, 20);
    });
}
