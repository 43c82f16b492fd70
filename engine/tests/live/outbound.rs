//! Connections that the engine's side opens: their first turn, their limits, their end.

use crate::stand::echo::TurnEcho;
use crate::stand::{PATIENCE, Setup, eventually, on_each_driver, pattern};
use ringway_engine::ring::DriverChoice;
use ringway_engine::ring::socket::Address;
use ringway_engine::{Conn, EndpointLimits, Events, Outbound, Protocol, Turn, WorkerHandle};
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
