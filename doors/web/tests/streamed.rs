//! Bodies that are made while they are sent, on real sockets and both drivers; and that what a site did is counted.

use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{Balance, Endpoint, EndpointLimits, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_testkit::Client;
use ringway_web::body_source::BodySource;
use ringway_web::exchange::Exchange;
use ringway_web::limits::WebLimits;
use ringway_web::pipeline::{Handled, Handler};
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::site_counters::{SiteBook, SiteTotals};
use ringway_web::sites::Sites;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the long body.
const LONG: usize = 300_000;

/// Pieces of the alphabet, `left` bytes of it, waiting a millisecond before every third piece.
struct Alphabet {
    left: usize,
    at: usize,
    pieces: u64,
    fails_at: Option<usize>,
    is_endless: bool,
    made: Arc<AtomicU64>,
    worker: WorkerHandle,
    sleep: Option<Pin<Box<ringway_engine::Sleep>>>,
}

impl BodySource for Alphabet {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(sleep) = &mut self.sleep {
            std::task::ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        } else if self.pieces % 3 == 2 {
            self.pieces += 1;
            self.sleep = Some(Box::pin(self.worker.sleep_until(self.worker.now_ms() + 1)));
            return self.poll_piece(context, memory);
        }
        if self.fails_at.is_some_and(|at| self.at >= at) {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        }
        self.pieces += 1;
        let count = memory.len().min(self.left).min(7_001);
        for byte in &mut memory[..count] {
            *byte = letter(self.at);
            self.at += 1;
        }
        self.left -= count;
        self.made.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn is_endless(&self) -> bool {
        self.is_endless
    }
}

fn letter(at: usize) -> u8 {
    b"abcdefghijklmnopqrstuvwxyz"[at % 26]
}

struct Streams {
    worker: WorkerHandle,
    made: Arc<AtomicU64>,
}

impl Handler for Streams {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let (left, fails_at, is_endless) = match exchange.path {
            b"/long" => (LONG, None, false),
            b"/empty" => (0, None, false),
            b"/fails" => (LONG, Some(20_000), false),
            b"/endless" => (usize::MAX, None, true),
            b"/text" => {
                let reply = exchange.text(Status::OK, b"Content-Type: text/plain\r\n", b"hello".to_vec())?;
                return Ok(Handled::Answer(reply));
            }
            _ => return Ok(Handled::NotMine),
        };
        let (made, worker) = (Arc::clone(&self.made), self.worker.clone());
        let body = Alphabet { left, at: 0, pieces: 0, fails_at, is_endless, made, worker, sleep: None };
        exchange.stream(Status::OK, b"Content-Type: text/plain\r\n", body).map(Handled::Answer)
    }
}

struct Stand {
    server: Option<Server>,
    book: Arc<SiteBook>,
    made: Arc<AtomicU64>,
}

impl Stand {
    fn start(driver: DriverChoice) -> Self {
        let (book, made) = (Arc::new(SiteBook::default()), Arc::new(AtomicU64::new(0)));
        let (site_book, bytes_made) = (Arc::clone(&book), Arc::clone(&made));
        let protocol = move |worker: &WorkerHandle| {
            let streams = Streams { worker: worker.clone(), made: Arc::clone(&bytes_made) };
            let mut site = Site::with_handler("streams", streams);
            site.counters = Some(site_book.open());
            let limits = WebLimits { send_window_ms: 2_000, ..WebLimits::default() };
            let http = Http::new(Rc::new(Sites::new(site)), limits, worker.pool().clone());
            Ok(Rc::new(http) as Rc<dyn Protocol>)
        };
        let listen = ListenOptions { send_buffer_bytes: 64 * 1024, ..ListenOptions::default() };
        let endpoint = Endpoint {
            address: Address::Tcp(([127, 0, 0, 1], 0).into()),
            balance: Balance::default(),
            listen,
            limits: EndpointLimits::default(),
            protocol: Arc::new(protocol),
            filter: None,
            preface: None,
            listeners: Vec::new(),
            urgent_inline: false,
        };
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options = ServerOptions { workers: 1, ring, ..ServerOptions::default() };
        let server = Some(Server::start(&[endpoint], &options).expect("it starts"));
        Self { server, book, made }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    fn client(&self) -> Client {
        let Address::Tcp(address) = self.server().addresses()[0].clone() else { panic!("TCP was asked for") };
        Client::connect(address).expect("it listens")
    }

    fn totals(&self) -> SiteTotals {
        self.book.totals()
    }

    fn stop(mut self) {
        let server = self.server.take().expect("it runs");
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

fn on_each_driver(test: impl Fn(Stand)) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        match (driver, probe()) {
            (DriverChoice::Uring, Err(error)) => eprintln!("SKIPPED on io_uring: {error}"),
            _ => test(Stand::start(driver)),
        }
    }
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn ask(client: &mut Client, line: &str, fields: &str) {
    client.send(format!("{line}\r\nHost: a\r\n{fields}\r\n").as_bytes()).expect("it is open");
}

#[test]
fn a_long_body_arrives_in_chunks_and_the_connection_goes_on() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        for path in ["/long", "/empty", "/long"] {
            ask(&mut client, &format!("GET {path} HTTP/1.1"), "");
        }
        ask(&mut client, "GET /text HTTP/1.1", "");
        let answers = client.answers(4).expect("in order");
        let whole: Vec<u8> = (0..LONG).map(letter).collect();
        for place in [0, 2] {
            assert_eq!(answers[place].field("transfer-encoding"), Some("chunked"));
            assert_eq!(answers[place].field("content-length"), None);
            assert!(answers[place].body == whole, "{} bytes", answers[place].body.len());
        }
        assert_eq!(answers[1].body, b"");
        assert_eq!((answers[3].field("content-length"), &*answers[3].body), (Some("5"), &b"hello"[..]));
        eventually("everything is counted", || stand.totals().active == 0);
        let totals = stand.totals();
        assert_eq!(totals.by_class, [0, 0, 4, 0, 0, 0]);
        assert_eq!(totals.body_bytes, 2 * LONG as u64 + 5);
        assert_eq!(totals.latencies.iter().sum::<u64>(), 4);
        stand.stop();
    });
}

#[test]
fn http_1_0_sees_the_end_of_the_connection_and_head_sees_no_body() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        ask(&mut client, "HEAD /long HTTP/1.1", "");
        let head = client.answer(true).expect("a head");
        assert_eq!(head.status, 200);
        ask(&mut client, "GET /long HTTP/1.0", "Connection: keep-alive\r\n");
        let answer = client.answer(false).expect("up to the end");
        assert_eq!((answer.field("connection"), answer.field("transfer-encoding")), (Some("close"), None));
        assert_eq!(answer.body.len(), LONG);
        drop(client);
        stand.stop();
    });
}

#[test]
fn a_request_with_a_body_is_answered_by_a_stream_too() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        ask(&mut client, "POST /long HTTP/1.1", "Content-Length: 3\r\n");
        client.send(b"abc").expect("it is open");
        assert_eq!(client.answer(false).expect("an answer").body.len(), LONG);
        ask(&mut client, "POST /long HTTP/1.1", "Content-Length: 3\r\nExpect: 100-continue\r\n");
        let answer = client.answer(false).expect("at once, the body is not wanted");
        assert_eq!((answer.status, answer.body.len()), (200, LONG));
        drop(client);
        stand.stop();
    });
}

#[test]
fn a_body_that_fails_is_not_taken_for_whole() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        ask(&mut client, "GET /fails HTTP/1.1", "");
        let error = client.answer(false).expect_err("no last chunk comes");
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
        assert!(kinds.contains(&error.kind()), "{error}");
        stand.stop();
    });
}

#[test]
fn an_endless_body_keeps_to_its_reader_and_ends_with_the_server() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        ask(&mut client, "GET /endless HTTP/1.1", "");
        eventually("it begins", || stand.made.load(Ordering::Relaxed) > 0);
        assert_eq!(stand.totals().active, 1);
        // A reader that does not read is cut after its window; what was made by then fits into the sockets' buffers.
        eventually("who does not read is cut", || stand.server().totals().open == 0);
        assert!(stand.made.load(Ordering::Relaxed) < 8_000_000, "{:?}", stand.made);
        assert_eq!(stand.totals().active, 0);
        drop(client);

        let mut reader = stand.client();
        ask(&mut reader, "GET /endless HTTP/1.1", "");
        let made = stand.made.load(Ordering::Relaxed);
        eventually("it begins again", || stand.made.load(Ordering::Relaxed) > made);
        let reading = std::thread::spawn(move || reader.answer(false));
        stand.stop();
        let answer = reading.join().expect("no panic").expect("ended with its last chunk");
        assert!(answer.body.iter().enumerate().all(|(at, byte)| *byte == letter(at)));
    });
}

#[cfg(feature = "h2")]
mod over_h2 {
    use super::{LONG, Stand, eventually, letter, on_each_driver};
    use ringway_h2::code::Code;
    use ringway_h2::frame::{
        HEAD_BYTES, Head, Kind, PREFACE, write_reset, write_settings, write_window_update,
    };
    use ringway_testkit::Client;
    use std::collections::HashMap;
    use std::io::{Read, Write};

    fn get(stream: u32, path: &str) -> Vec<u8> {
        let length = u8::try_from(path.len()).expect("short");
        // GET, http, the path and the authority, as literals without indexing.
        let block = [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x01, 1, b'a']].concat();
        let len = u32::try_from(block.len()).expect("short");
        [&Head { len, kind: Kind::HEADERS, flags: 5, stream }.bytes()[..], &block].concat()
    }

    /// Reads a frame, and opens the windows for what it brought.
    fn next(client: &Client) -> (Head, Vec<u8>) {
        let mut tcp = client.stream();
        let mut head = [0; HEAD_BYTES];
        tcp.read_exact(&mut head).expect("a frame");
        let head = Head::read(&head).expect("whole");
        let mut payload = vec![0; head.len as usize];
        tcp.read_exact(&mut payload).expect("a frame");
        if head.kind == Kind::DATA && head.len > 0 {
            let mut update = Vec::new();
            write_window_update(&mut update, 0, head.len);
            write_window_update(&mut update, head.stream, head.len);
            tcp.write_all(&update).expect("it reads");
        }
        (head, payload)
    }

    fn open(stand: &Stand, requests: &[Vec<u8>]) -> Client {
        let client = stand.client();
        let mut bytes = PREFACE.to_vec();
        write_settings(&mut bytes, &[]);
        bytes.extend(requests.concat());
        client.stream().write_all(&bytes).expect("it reads");
        client
    }

    #[test]
    fn bodies_in_the_making_share_a_connection_and_one_that_fails_is_reset_alone() {
        on_each_driver(|stand| {
            let paths = ["/long", "/fails", "/empty", "/text"];
            let requests: Vec<Vec<u8>> =
                (0_u32..).zip(paths).map(|(at, path)| get(at * 2 + 1, path)).collect();
            let client = open(&stand, &requests);
            let (mut bodies, mut ended): (HashMap<u32, Vec<u8>>, Vec<u32>) = Default::default();
            while ended.len() < 4 {
                let (head, payload) = next(&client);
                if head.kind == Kind::DATA {
                    bodies.entry(head.stream).or_default().extend(payload);
                } else if head.kind == Kind::RST_STREAM {
                    assert_eq!((head.stream, &payload[..]), (3, &Code::INTERNAL_ERROR.0.to_be_bytes()[..]));
                    ended.push(3);
                }
                if matches!(head.kind, Kind::DATA | Kind::HEADERS) && head.has(1) {
                    ended.push(head.stream);
                }
            }
            ended.sort_unstable();
            assert_eq!(ended, [1, 3, 5, 7]);
            assert!(bodies[&1].iter().enumerate().all(|(at, byte)| *byte == letter(at)));
            assert_eq!((bodies[&1].len(), &bodies[&7][..]), (LONG, &b"hello"[..]));
            assert!((20_000..LONG).contains(&bodies[&3].len()), "what was made until it failed");
            assert!(bodies.get(&5).is_none_or(Vec::is_empty));
            eventually("the site counts them", || stand.totals().by_class[2] == 4);
            stand.stop();
        });
    }

    #[test]
    fn endless_bodies_end_when_they_are_reset_or_the_server_drains() {
        on_each_driver(|stand| {
            let client = open(&stand, &[get(1, "/endless"), get(3, "/endless")]);
            while next(&client).0.kind != Kind::DATA {}
            eventually("both are made", || stand.totals().active == 2);
            let mut reset = Vec::new();
            write_reset(&mut reset, 1, Code::CANCEL);
            client.stream().write_all(&reset).expect("it reads");
            while stand.totals().active != 1 {
                next(&client);
            }
            let reader = std::thread::spawn(move || {
                loop {
                    let (head, _) = next(&client);
                    if head.kind == Kind::DATA && head.has(1) {
                        return head.stream;
                    }
                }
            });
            stand.stop();
            assert_eq!(reader.join().expect("it ended well"), 3);
        });
    }
}
