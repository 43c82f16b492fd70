//! Connections outward: made when asked for, maintained, lost and found, encrypted, and told of in any case.

use crate::stand::{PATIENCE, Setup, Stand, on_each_driver};
use crate::tls;
use ringway_engine::WorkerHandle;
use ringway_engine::ring::DriverChoice;
use ringway_socket::outbound::{Connector, Maintained, Origin, PAUSE_MS_MIN, Target};
use ringway_socket::{Closed, Connection, Framing, Handler, Message, Reason, SocketProtocol};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// What the handler tells the test.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Opened { user: u64, is_outbound: bool, is_encrypted: bool },
    Message(u64, Vec<u8>),
    Draining(u64),
    Closed(u64, Reason),
}

/// Opens what it is told to when it starts; greets on what it has opened.
struct Caller {
    calls: Vec<(Target, u64, bool)>,
    kept: RefCell<Vec<Maintained>>,
    news: Sender<News>,
}

impl Caller {
    fn tell(&self, news: News) {
        let _test_is_over = self.news.send(news);
    }
}

impl Handler for Caller {
    fn started(&self, connector: &Connector) {
        for (target, user, is_maintained) in &self.calls {
            let mut target = target.clone();
            if target.tls.is_none() {
                target.tls = connector.client_tls();
            }
            if *is_maintained {
                self.kept.borrow_mut().push(connector.maintain(&target, *user).expect("room"));
            } else {
                connector.connect(&target, *user).expect("room");
            }
        }
    }

    fn opened(&self, conn: &mut Connection<'_>) {
        let (user, is_outbound) = (conn.user(), conn.is_outbound());
        let is_encrypted = conn.session().is_some();
        assert!(conn.connector().is_some());
        if is_outbound {
            conn.send(b"greetings").expect("room");
        }
        self.tell(News::Opened { user, is_outbound, is_encrypted });
    }

    fn message(&self, conn: &mut Connection<'_>, mut message: Message<'_>) {
        self.tell(News::Message(conn.user(), message.payload_mut().to_vec()));
        if !conn.is_outbound() {
            conn.reply(message).expect("room");
        }
    }

    fn draining(&self, conn: &mut Connection<'_>) {
        self.tell(News::Draining(conn.user()));
        conn.close();
    }

    fn closed(&self, closed: &Closed) {
        self.tell(News::Closed(closed.user, closed.reason));
    }
}

fn setup(
    driver: DriverChoice,
    calls: Vec<(Target, u64, bool)>,
) -> (Setup, Receiver<News>, impl Fn() -> Caller + Clone) {
    let (news, received) = channel();
    let make = move || Caller { calls: calls.clone(), kept: RefCell::default(), news: news.clone() };
    let setup = Setup::with(driver, make.clone()).on(|terms| {
        terms.framing = Framing::Delimiter(b"\n"[..].into());
    });
    (setup, received, make)
}

fn tcp(address: SocketAddr) -> Target {
    Target::new(Origin::Tcp(address))
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

fn next(news: &Receiver<News>) -> News {
    news.recv_timeout(PATIENCE).expect("the handler tells")
}

fn greeted(stream: &mut (impl Read + Write)) {
    let mut line = [0; 10];
    stream.read_exact(&mut line).expect("it greets");
    assert_eq!(&line, b"greetings\n");
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

const OUT: News = News::Opened { user: 7, is_outbound: true, is_encrypted: false };

#[test]
fn a_connection_that_was_asked_for_is_one_like_any_other() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (setup, news, _) = setup(driver, vec![(tcp(address), 7, false)]);
        let stand = setup.start();
        let mut peer = patient(listener.accept().expect("it connects").0);
        assert_eq!(next(&news), OUT);
        greeted(&mut peer);
        peer.write_all(b"one\ntwo\n").expect("it reads");
        assert_eq!(next(&news), News::Message(7, b"one".to_vec()));
        assert_eq!(next(&news), News::Message(7, b"two".to_vec()));
        // Others come in meanwhile.
        let mut client = stand.connect();
        client.write_all(b"hello\n").expect("it reads");
        let mut echo = [0; 6];
        client.read_exact(&mut echo).expect("it echoes");
        assert_eq!(next(&news), News::Opened { user: 0, is_outbound: false, is_encrypted: false });
        assert_eq!(next(&news), News::Message(0, b"hello".to_vec()));
        drop(client);
        assert_eq!(next(&news), News::Closed(0, Reason::Peer));
        drop(peer);
        assert_eq!(next(&news), News::Closed(7, Reason::Peer));
        stand.until_resting();
        assert_eq!(stand.counted().opened, 2);
        stand.stop();
    });
}

#[test]
fn unix_sockets_and_names_are_reached_too() {
    on_each_driver(|driver| {
        let path = std::env::temp_dir().join(format!("ringway-socket-{}-{driver:?}", std::process::id()));
        let unix = UnixListener::bind(&path).expect("a place for a socket");
        let (listener, address) = listener();
        let named = Target::new(Origin::Named("localhost".to_owned(), address.port()));
        let calls = vec![(Target::new(Origin::Unix(path.clone())), 7, false), (named, 8, false)];
        let (setup, news, _) = setup(driver, calls);
        let stand = setup.start();
        greeted(&mut unix.accept().expect("it connects").0);
        greeted(&mut patient(listener.accept().expect("it connects").0));
        let mut users: Vec<u64> = (0..4)
            .filter_map(|_| match next(&news) {
                News::Opened { user, .. } => Some(user),
                _ => None,
            })
            .collect();
        users.sort_unstable();
        assert_eq!(users, [7, 8]);
        stand.stop();
        std::fs::remove_file(path).expect("it was there");
    });
}

#[test]
fn one_that_cannot_be_made_brings_its_word_back() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        drop(listener);
        let (setup, news, _) = setup(driver, vec![(tcp(address), 9, false)]);
        let stand = setup.start();
        assert_eq!(next(&news), News::Closed(9, Reason::Unreachable));
        let lines = stand.lines();
        assert!(lines[0].contains(&format!("{address} cannot be reached: ")), "{lines:?}");
        assert_eq!((stand.counted().errors, stand.counted().opened), (1, 0));
        stand.stop();
    });
}

#[test]
fn one_too_many_is_told() {
    on_each_driver(|driver| {
        let (_listener, address) = listener();
        let (mut setup, news, _) = setup(driver, vec![(tcp(address), 9, false)]);
        setup.endpoint.limits.connections_max = 0;
        let stand = setup.start();
        assert_eq!(next(&news), News::Closed(9, Reason::Unreachable));
        assert!(stand.lines()[0].contains("connections_max"), "{:?}", stand.lines());
        stand.stop();
    });
}

#[test]
fn a_maintained_connection_comes_back_when_it_can() {
    on_each_driver(|driver| {
        let (first, address) = listener();
        let (setup, news, _) = setup(driver, vec![(tcp(address), 7, true)]);
        let stand = setup.start();
        greeted(&mut patient(first.accept().expect("it connects").0));
        assert_eq!(next(&news), OUT);
        // The peer was dropped: it comes again, not at once.
        let lost = Instant::now();
        let mut again = patient(first.accept().expect("it connects again").0);
        assert!(lost.elapsed() >= Duration::from_millis(PAUSE_MS_MIN - 20), "{:?}", lost.elapsed());
        greeted(&mut again);
        assert_eq!(next(&news), News::Closed(7, Reason::Peer));
        assert_eq!(next(&news), OUT);
        // Nobody listens for a while: it goes on trying, and says so once.
        drop((first, again));
        assert_eq!(next(&news), News::Closed(7, Reason::Peer));
        crate::stand::eventually("several tries fail", || {
            let errors = stand.counted().errors;
            if errors >= 2 { Ok(()) } else { Err(errors) }
        });
        assert_eq!(stand.lines().iter().filter(|line| line.contains("cannot be reached")).count(), 1);
        let second = TcpListener::bind(address).expect("nobody has the port");
        greeted(&mut patient(second.accept().expect("it connects").0));
        assert_eq!(next(&news), OUT);
        crate::stand::eventually("that is told", || {
            let lines = stand.lines();
            if lines.iter().any(|line| line.contains("is reached again")) { Ok(()) } else { Err(lines) }
        });
        stand.stop();
    });
}

#[test]
fn a_replaced_handler_lets_go_of_what_is_maintained_for_it() {
    on_each_driver(|driver| {
        let (listener, address) = listener();
        let (setup, news, make) = setup(driver, vec![(tcp(address), 7, true)]);
        let limits = setup.endpoint.limits;
        let stand = setup.start();
        let mut old = patient(listener.accept().expect("it connects").0);
        greeted(&mut old);
        assert_eq!(next(&news), OUT);
        let handlers = Arc::new(move |_: &WorkerHandle| Ok(Rc::new(make()) as Rc<dyn Handler>));
        let factory = SocketProtocol::factory(handlers, Arc::clone(&stand.terms));
        stand.server().swap(0, factory, limits, None, None).expect("it can be swapped");
        let mut new = patient(listener.accept().expect("the new one connects").0);
        greeted(&mut new);
        assert_eq!(old.read(&mut [0; 8]).expect("the old one closes in good order"), 0);
        drop(old);
        let mut told = [next(&news), next(&news), next(&news)];
        told.sort_by_key(|news| format!("{news:?}"));
        assert_eq!(told, [News::Closed(7, Reason::Handler), News::Draining(7), OUT]);
        // The old one's is not made again.
        listener.set_nonblocking(true).expect("an option");
        std::thread::sleep(Duration::from_millis(PAUSE_MS_MIN * 2));
        assert!(listener.accept().is_err());
        stand.stop();
    });
}

/// An endpoint behind TLS that calls itself.
fn encrypted(driver: DriverChoice, expected: &str) -> (Stand, Receiver<News>) {
    let (listener, address) = listener();
    let (filter, client_tls) = tls::pair(expected);
    let (mut setup, news, _) = setup(driver, vec![(tcp(address), 7, false)]);
    setup.endpoint.listeners = vec![Arc::new(listener.into())];
    setup.endpoint.filter = Some(filter);
    let setup = setup.on(|terms| terms.client_tls = Some(client_tls));
    (setup.start(), news)
}

#[test]
fn both_ends_are_encrypted() {
    on_each_driver(|driver| {
        let (stand, news) = encrypted(driver, tls::NAME);
        let mut told: Vec<_> = (0..4).map(|_| next(&news)).collect();
        told.sort_by_key(|news| format!("{news:?}"));
        let opened = |user, is_outbound| News::Opened { user, is_outbound, is_encrypted: true };
        let greetings = |user| News::Message(user, b"greetings".to_vec());
        assert_eq!(told, [greetings(0), greetings(7), opened(0, false), opened(7, true)]);
        stand.stop();
    });
}

#[test]
fn a_server_that_is_not_who_it_should_be_is_not_spoken_to() {
    on_each_driver(|driver| {
        let (stand, news) = encrypted(driver, "another.example");
        assert_eq!(next(&news), News::Closed(7, Reason::Unreachable));
        let lines = stand.lines();
        assert!(lines.iter().any(|line| line.contains("cannot be reached: TLS: ")), "{lines:?}");
        stand.until_resting();
        stand.stop();
    });
}
