//! TLS on the engine, both ends: a server's endpoint, and a connection that this side opens and asks at once.

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{
    Conn, Endpoint, EndpointLimits, Events, Outbound, Protocol, Server, ServerOptions, Turn, WorkerHandle,
};
use ringway_tls::{Authorities, TicketKeys, TlsClient, TlsOptions, TlsServer, self_signed};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(20);

/// More than fits anywhere on the way.
const QUESTION_BYTES: usize = 3_000_000;

/// An answer and the version of TLS it came by, or what went wrong.
type News = Result<(Vec<u8>, &'static str), &'static str>;

/// Echoes; says bye when the other side has said that it is done.
struct Echo;

impl Protocol for Echo {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        assert!(!events.has(Events::OPENED) || conn.session().is_some(), "a session from the first turn on");
        if conn.is_broken() {
            return Turn::Abort;
        }
        while conn.can_send() {
            match conn.take() {
                Some(bytes) => conn.send(bytes),
                None => break,
            }
        }
        if conn.is_ended() && !conn.has_input() { Turn::Close } else { Turn::Idle }
    }
}

/// Asks before the handshake is done, and tells the test what it learns.
struct Asker {
    client: TlsClient,
    name: &'static str,
    question: Vec<u8>,
    answer: RefCell<Vec<u8>>,
    sent: RefCell<usize>,
    told: Sender<News>,
}

impl Asker {
    fn ask(&self, conn: &mut Conn<'_>) {
        let mut sent = self.sent.borrow_mut();
        while *sent < self.question.len() && conn.can_send() {
            let part = &self.question[*sent..self.question.len().min(*sent + 50_000)];
            let slice = conn.pool().copy_of(part).expect("room");
            *sent += part.len();
            conn.send(slice);
        }
    }
}

impl Protocol for Asker {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            conn.set_filter(self.client.filter(self.name).expect("a name"));
            assert!(conn.session().is_none());
        }
        self.ask(conn);
        let mut answer = self.answer.borrow_mut();
        while let Some(bytes) = conn.take() {
            answer.extend_from_slice(&bytes);
        }
        if answer.len() == self.question.len() {
            let protocol = conn.session().map_or("none", |session| session.protocol);
            self.told.send(Ok((std::mem::take(&mut answer), protocol))).expect("the test listens");
            return Turn::Close;
        }
        if conn.is_broken() || conn.is_ended() {
            self.told.send(Err("an early end")).expect("the test listens");
            return Turn::Abort;
        }
        Turn::Idle
    }
}

fn question() -> Vec<u8> {
    (0..QUESTION_BYTES as u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect()
}

/// A server of both: it serves at the one end and asks itself at the other.
fn start(driver: DriverChoice, name: &'static str) -> (Server, Receiver<News>) {
    let certificate = self_signed(&[], SystemTime::now()).expect("good names");
    let authorities = Authorities::Only(certificate.chain.clone());
    let client = TlsClient::new(&authorities, vec![b"http/1.1".to_vec()]).expect("an authority");
    let made = TlsServer::new(&TlsOptions::new(vec![certificate]), TicketKeys::new(), SystemTime::now());
    let (tls, problems) = made.expect("a good certificate");
    assert_eq!(problems, []);
    let address = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let echo = Arc::new(|_: &WorkerHandle| Ok(Rc::new(Echo) as Rc<dyn Protocol>));
    let endpoint = Endpoint { filter: Some(tls.filters()), ..Endpoint::new(address, echo) };
    let (told, news) = channel();
    let asker = move |_: &WorkerHandle| {
        let (client, told) = (client.clone(), told.clone());
        let asker = Asker {
            client,
            name,
            question: question(),
            answer: RefCell::default(),
            sent: RefCell::default(),
            told,
        };
        Ok(Rc::new(asker) as Rc<dyn Protocol>)
    };
    let outbound = Outbound { limits: EndpointLimits::default(), protocol: Arc::new(asker) };
    let (found, bound) = channel::<Address>();
    let bound = std::sync::Mutex::new(Some(bound));
    let options = ServerOptions {
        workers: 1,
        ring: RingOptions { driver, ..RingOptions::default() },
        outbound: vec![outbound],
        on_start: Some(Arc::new(move |worker: &WorkerHandle| {
            let (worker, bound) = (worker.clone(), bound.lock().expect("once").take().expect("one worker"));
            worker.clone().spawn(async move {
                let wait = worker.pool().run(move || bound.recv_timeout(PATIENCE).expect("the address"));
                let address = wait.expect("a thread").await.expect("no panic");
                let until_ms = worker.now_ms() + 10_000;
                let socket = worker.connect(&address, until_ms, false).await.expect("a listener");
                worker.open(0, socket, [0; 2]).expect("a place");
            });
        })),
        ..ServerOptions::default()
    };
    let server = Server::start(&[endpoint], &options).expect("it starts");
    found.send(server.addresses()[0].clone()).expect("the worker waits");
    (server, news)
}

fn on_each_driver(test: impl Fn(DriverChoice)) {
    // Asked on a thread of its own: the end of a ring interrupts waits on the thread that made it.
    match std::thread::spawn(probe).join().expect("no panic") {
        Ok(_features) => test(DriverChoice::Uring),
        Err(reason) => eprintln!("SKIPPED on io_uring: {reason}"),
    }
    test(DriverChoice::Epoll);
}

#[test]
fn what_is_asked_before_the_handshake_is_done_is_answered_after_it() {
    on_each_driver(|driver| {
        let (server, news) = start(driver, "localhost");
        let (answer, protocol) = news.recv_timeout(PATIENCE).expect("the asker tells").expect("an answer");
        assert!(answer == question() && protocol == "TLSv1.3");
        server.drain(PATIENCE);
        let totals = server.wait(PATIENCE).expect("no worker dies");
        assert_eq!((totals.handshakes, totals.handshakes_failed, totals.panics), (1, 0, 0));
    });
}

#[test]
fn a_server_of_another_name_is_asked_nothing() {
    on_each_driver(|driver| {
        let (server, news) = start(driver, "other.example");
        assert_eq!(news.recv_timeout(PATIENCE).expect("the asker tells"), Err("an early end"));
        server.drain(PATIENCE);
        let totals = server.wait(PATIENCE).expect("no worker dies");
        assert_eq!((totals.handshakes, totals.handshakes_failed, totals.panics), (0, 1, 0));
    });
}
