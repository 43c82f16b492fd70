//! Connections that the engine's side opens: their first turn, their limits, their end.

use crate::stand::echo::TurnEcho;
use crate::stand::scramble::{self, Strict};
use crate::stand::{PATIENCE, Setup, Stand, eventually, exchange, on_each_driver, pattern};
use ringway_engine::ring::DriverChoice;
use ringway_engine::ring::socket::Address;
use ringway_engine::{
    Conn, DoorKey, EndpointLimits, Events, FilterSource, Outbound, Protocol, Turn, WorkerHandle,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What the asking side tells the test.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// Its first turn: context, whether input was there already.
    Opened([u64; 2], bool),
    /// Everything it received.
    Answer(Vec<u8>),
    /// Its end, with the context.
    Closed([u64; 2]),
    /// A connection could not be opened.
    Refused(io::ErrorKind),
}

/// Asks when it is opened, reads to the end.
struct Asker {
    question: Vec<u8>,
    news: Sender<News>,
}

impl Protocol for Asker {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            let context = conn.context();
            let has_input = conn.has_input();
            self.news.send(News::Opened(context, has_input)).expect("the test listens");
            let question = conn.pool().copy_of(&self.question).expect("room");
            conn.send(question);
            conn.set_context([context[0], context[1] + 1]);
        }
        if !conn.is_ended() {
            return Turn::Idle;
        }
        let mut answer = Vec::new();
        while let Some(slice) = conn.take() {
            answer.extend_from_slice(&slice);
        }
        self.news.send(News::Answer(answer)).expect("the test listens");
        Turn::Close
    }

    fn closed(&self, context: [u64; 2]) {
        self.news.send(News::Closed(context)).expect("the test listens");
    }
}

/// A server of no use but for its outbound connections: `opens` of them are tried, each to `address`.
fn setup(driver: DriverChoice, address: SocketAddr, places: &'static [usize]) -> (Setup, Receiver<News>) {
    let (news, received) = channel();
    let mut setup = Setup::new(driver, |_| TurnEcho::default());
    let asking = news.clone();
    setup.options.outbound = vec![Outbound {
        limits: EndpointLimits { connections_max: 2, ..EndpointLimits::default() },
        protocol: Arc::new(move |_| {
            let asker = Asker { question: pattern(0, 3000), news: asking.clone() };
            Ok(Rc::new(asker) as Rc<dyn Protocol>)
        }),
    }];
    setup.options.on_start = Some(Arc::new(move |worker: &WorkerHandle| {
        let (worker, news) = (worker.clone(), news.clone());
        worker.clone().spawn(async move {
            for (index, place) in places.iter().enumerate() {
                let until_ms = worker.now_ms() + 10_000;
                let socket =
                    worker.connect(&Address::Tcp(address), until_ms, false).await.expect("a listener");
                if let Err(error) = worker.open(*place, socket, [index as u64, 7]) {
                    news.send(News::Refused(error.kind())).expect("the test listens");
                }
            }
        });
    }));
    (setup, received)
}

#[test]
fn an_opened_connection_is_one_like_any_other() {
    on_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let (setup, news) = setup(driver, listener.local_addr().expect("bound"), &[0]);
        let stand = setup.start();
        let (mut peer, _) = listener.accept().expect("the asker connects");
        let mut question = vec![0; 3000];
        peer.read_exact(&mut question).expect("the question comes");
        assert_eq!(question, pattern(0, 3000));
        peer.write_all(b"an answer").expect("the asker reads");
        drop(peer);
        let next = || news.recv_timeout(PATIENCE).expect("the asker tells");
        assert_eq!(next(), News::Opened([0, 7], false));
        assert_eq!(next(), News::Answer(b"an answer".to_vec()));
        assert_eq!(next(), News::Closed([0, 8]));
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.connected, totals.accepted, totals.closed, totals.panics), (1, 0, 1, 0));
    });
}

#[test]
fn limits_and_unknown_places_refuse() {
    on_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let (setup, news) = setup(driver, listener.local_addr().expect("bound"), &[0, 1, 0, 0]);
        let stand = setup.start();
        let peers: Vec<_> = (0..4).map(|_| listener.accept().expect("the asker connects").0).collect();
        let mut refused = Vec::new();
        while refused.len() < 2 {
            match news.recv_timeout(PATIENCE).expect("the asker tells") {
                News::Refused(kind) => refused.push(kind),
                other => assert!(matches!(other, News::Opened(..)), "{other:?}"),
            }
        }
        assert_eq!(refused, [io::ErrorKind::InvalidInput, io::ErrorKind::QuotaExceeded]);
        eventually("two are open", || {
            let totals = stand.totals();
            (totals.open == 2 && totals.connected == 2 && totals.refused == 1)
                .then_some(())
                .ok_or_else(|| Box::new(totals))
        });
        drop(peers);
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
    });
}

/// Echoes to whoever comes, and opens a connection of its own when it is put at its door.
struct Both {
    worker: WorkerHandle,
    to: SocketAddr,
    has_filter: bool,
    news: Sender<News>,
}

/// What its own connection begins with.
const OWN: [u64; 2] = [7, 8];

impl Protocol for Both {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let context = conn.context();
        if context == OWN && events.has(Events::OPENED) {
            let is_agreed = conn.session().is_some();
            self.news.send(News::Opened(context, is_agreed)).expect("the test listens");
            let question = conn.pool().copy_of(b"question").expect("room");
            conn.send(question);
        }
        while let Some(slice) = conn.take() {
            match context {
                OWN => self.news.send(News::Answer(slice.to_vec())).expect("the test listens"),
                _ => conn.send(slice),
            }
        }
        if conn.is_ended() { Turn::Close } else { Turn::Idle }
    }

    fn closed(&self, context: [u64; 2]) {
        if context == OWN {
            self.news.send(News::Closed(context)).expect("the test listens");
        }
    }

    fn placed(&self, door: DoorKey) {
        let (worker, to, has_filter) = (self.worker.clone(), self.to, self.has_filter);
        let news = self.news.clone();
        self.worker.spawn(async move {
            let until_ms = worker.now_ms() + 10_000;
            let socket = worker.connect(&Address::Tcp(to), until_ms, false).await.expect("a listener");
            let filter = has_filter.then(|| Strict.make());
            if let Err(error) = worker.open_at(door, socket, filter, OWN) {
                news.send(News::Refused(error.kind())).expect("the test listens");
            }
        });
    }
}

fn both(driver: DriverChoice, to: SocketAddr, has_filter: bool, most: usize) -> (Stand, Receiver<News>) {
    let (news, received) = channel();
    let mut setup =
        Setup::new(driver, move |worker| Both { worker: worker.clone(), to, has_filter, news: news.clone() });
    setup.endpoint.limits.connections_max = most;
    setup.endpoint.limits.handshake_ms_max = 200;
    (setup.start(), received)
}

#[test]
fn a_protocol_opens_connections_beside_those_that_come() {
    on_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let (stand, news) = both(driver, listener.local_addr().expect("bound"), false, 2);
        let next = || news.recv_timeout(PATIENCE).expect("it tells");
        let (mut peer, _) = listener.accept().expect("it connects");
        assert_eq!(next(), News::Opened(OWN, false));
        let mut question = [0; 8];
        peer.read_exact(&mut question).expect("the question comes");
        peer.write_all(b"answer").expect("it reads");
        assert_eq!(next(), News::Answer(b"answer".to_vec()));
        exchange(&mut stand.connect(), 10_000, 1000);
        drop(peer);
        assert_eq!(next(), News::Closed(OWN));
        stand.until_resting();
        let totals = stand.stop();
        assert_eq!((totals.connected, totals.accepted, totals.panics), (1, 1, 0));
    });
}

#[test]
fn one_too_many_is_refused_at_the_door_whoever_opens_it() {
    on_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let (stand, news) = both(driver, listener.local_addr().expect("bound"), false, 0);
        assert_eq!(
            news.recv_timeout(PATIENCE).expect("it tells"),
            News::Refused(io::ErrorKind::QuotaExceeded)
        );
        assert_eq!(stand.stop().connected, 0);
    });
}

#[test]
fn a_connection_behind_a_filter_is_told_of_when_both_agree_and_always_of_its_end() {
    on_each_driver(|driver| {
        for agrees in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            let (stand, news) = both(driver, listener.local_addr().expect("bound"), true, 2);
            let next = || news.recv_timeout(PATIENCE).expect("it tells");
            let (mut peer, _) = listener.accept().expect("it connects");
            if agrees {
                peer.write_all(&scramble::KNOCK.to_be_bytes()).expect("it reads");
                assert_eq!(next(), News::Opened(OWN, true));
                let mut told = [0; 2 + 2 + 8];
                peer.read_exact(&mut told).expect("an answer to the knock, and a record");
                peer.write_all(&[0, 0]).expect("it reads");
            }
            // Where nothing is said, the handshake's time ends it.
            assert_eq!(next(), News::Closed(OWN));
            stand.until_resting();
            let totals = stand.stop();
            assert_eq!(
                (totals.handshakes, totals.handshakes_failed),
                (u64::from(agrees), u64::from(!agrees))
            );
        }
    });
}
