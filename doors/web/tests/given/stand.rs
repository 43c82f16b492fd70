//! A server whose handlers read bodies of requests in every way.

use ringway_engine::heap::local_future;
use ringway_engine::ring::Slice;
use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{
    Balance, Conn, Endpoint, EndpointLimits, Events, Protocol, Server, ServerOptions, Turn, WorkerHandle,
};
use ringway_http::head::Known;
use ringway_http::multipart::Limits;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_testkit::Client;
use ringway_web::body_source::BodySource;
use ringway_web::exchange::Exchange;
use ringway_web::form::{Form, FormError, FormEvent};
use ringway_web::guest::Guest;
use ringway_web::limits::WebLimits;
use ringway_web::pipeline::{Finish, Handled, Handler, Served, ServedStage};
use ringway_web::protocol::Http;
use ringway_web::request_body::{BodyError, RequestBody};
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use ringway_web::spool::{SpoolError, SpoolOptions, SpoolSpace};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Longest body that is discarded, or taken without asking for more.
pub(crate) const BYTES_MAX: u64 = 1024 * 1024;

/// Longest body of a window, in milliseconds.
pub(crate) const WINDOW_MS: u64 = 400;

/// Whoever answers reads on only while this says so.
#[derive(Default)]
pub(crate) struct Gate {
    is_open: AtomicBool,
    pub(crate) taken: AtomicU64,
    /// Guests that have heard of their connection's end.
    pub(crate) guests_gone: AtomicU64,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }
}

/// Gives a body back as it comes.
struct Echo {
    body: RequestBody,
    waiting: VecDeque<Slice>,
}

impl BodySource for Echo {
    fn poll_piece(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        if let Some(slice) = self.waiting.pop_front() {
            return Poll::Ready(Ok(Some(slice)));
        }
        self.body.poll_next(context).map_err(io::Error::other)
    }
}

/// So many bytes in slices of so many, whatever was said of them.
struct Slices {
    worker: WorkerHandle,
    left: usize,
    size: usize,
}

impl BodySource for Slices {
    fn poll_piece(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        let count = self.left.min(self.size);
        if count == 0 {
            return Poll::Ready(Ok(None));
        }
        let Some(mut memory) = self.worker.slices().get(count) else {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        };
        memory[..count].fill(b's');
        self.left -= count;
        Poll::Ready(Ok(Some(memory.freeze(count))))
    }
}

struct Handlers {
    worker: WorkerHandle,
    gate: Arc<Gate>,
    space: SpoolSpace,
}

impl Handler for Handlers {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        match exchange.path {
            b"/echo" => {
                let Some(body) = exchange.take_body() else { return Ok(Handled::Close) };
                let length = body.length();
                let echo = Echo { body, waiting: VecDeque::new() };
                exchange.stream_with(Status::OK, b"", length, echo).map(Handled::Answer)
            }
            b"/count" => self.count(exchange, usize::MAX, false),
            b"/large" => {
                exchange.set_body_limit(u64::MAX);
                self.count(exchange, usize::MAX, false)
            }
            b"/gated" => {
                exchange.set_body_limit(u64::MAX);
                self.count(exchange, usize::MAX, true)
            }
            b"/first" => self.count(exchange, 1, false),
            b"/spool" => Ok(self.spool(exchange, false)),
            b"/hold" => Ok(self.spool(exchange, true)),
            b"/form" => Ok(self.form(exchange)),
            b"/early" => {
                drop(exchange.take_body());
                exchange.text(Status::OK, b"", b"early".to_vec()).map(Handled::Answer)
            }
            b"/ignore" => exchange.text(Status::OK, b"", b"ignored".to_vec()).map(Handled::Answer),
            b"/guest" => exchange.take_over(ECHO_LINES, self.guest()).map(Handled::Answer),
            b"/guest-later" => {
                let (gate, worker, guest) = (Arc::clone(&self.gate), self.worker.clone(), self.guest());
                Ok(Handled::Later(local_future(async move {
                    while !gate.is_open.load(Ordering::Acquire) {
                        worker.sleep_until(worker.now_ms() + 1).await;
                    }
                    let finish: Finish =
                        Box::new(move |exchange| exchange.take_over(ECHO_LINES, guest).map(Handled::Answer));
                    finish
                })))
            }
            b"/switch" => {
                let Some(mut body) = exchange.take_body() else { return Ok(Handled::Close) };
                body.unframed();
                let lines = b"Connection: upgrade\r\nUpgrade: echo\r\n";
                let echo = Echo { body, waiting: VecDeque::new() };
                exchange.switch_protocols(lines, echo).map(Handled::Answer)
            }
            path => match sizes(path) {
                Some([said, gives, size]) => {
                    let body = Slices { worker: self.worker.clone(), left: gives, size };
                    exchange.stream_with(Status::OK, b"", Some(said as u64), body).map(Handled::Answer)
                }
                None => Ok(Handled::NotMine),
            },
        }
    }
}

/// What a connection says that becomes an echo.
const ECHO_LINES: &[u8] = b"Connection: upgrade\r\nUpgrade: echo\r\n";

/// Longest silence of an echo, in milliseconds.
pub(crate) const SILENCE_MS: u64 = 2_000;

/// Gives back what comes on a connection of its own: in its turns, without a task. It tells when the server drains, and panics
/// when it is asked to.
struct EchoGuest {
    gate: Arc<Gate>,
    bytes: u64,
}

impl Guest for EchoGuest {
    fn turn(&mut self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::TIMEOUT) {
            return Turn::Close;
        }
        while conn.is_flushed() {
            let Some(piece) = conn.take() else { break };
            assert!(!piece.starts_with(b"panic"), "as it was asked to");
            self.bytes += piece.len() as u64;
            conn.send(piece);
        }
        if conn.is_draining() {
            if let Some(last) = conn.pool().copy_of(b"drained") {
                self.bytes += last.len() as u64;
                conn.send(last);
            }
            return Turn::Linger;
        }
        if conn.is_ended() && !conn.has_input() {
            return Turn::Close;
        }
        conn.set_deadline(conn.now_ms() + SILENCE_MS);
        Turn::Idle
    }

    fn closed(self: Box<Self>) {
        self.gate.guests_gone.fetch_add(1, Ordering::AcqRel);
    }

    fn body_bytes(&self) -> u64 {
        self.bytes
    }
}

impl Handlers {
    fn guest(&self) -> Box<dyn Guest> {
        Box::new(EchoGuest { gate: Arc::clone(&self.gate), bytes: 0 })
    }

    /// Answers with what the body came to, or why it did not.
    fn count(
        &self,
        exchange: &mut Exchange<'_>,
        pieces_max: usize,
        is_gated: bool,
    ) -> Result<Handled, EncodeError> {
        let Some(mut body) = exchange.take_body() else { return Ok(Handled::Close) };
        let (gate, worker) = (Arc::clone(&self.gate), self.worker.clone());
        let later = local_future(async move {
            while is_gated && !gate.is_open.load(Ordering::Acquire) {
                worker.sleep_until(worker.now_ms() + 1).await;
            }
            let outcome = read(&mut body, pieces_max, &gate).await;
            drop(body);
            let finish: Finish = Box::new(move |exchange| {
                let (status, text) = match outcome {
                    Ok((bytes, sum)) => (Status::OK, format!("{bytes} {sum}")),
                    Err(error) => (error.status(), error.to_string()),
                };
                exchange.text(status, b"", text.into_bytes()).map(Handled::Answer)
            });
            finish
        });
        Ok(Handled::Later(later))
    }
}

/// The answer to what has come of a body.
fn told<E: std::fmt::Display>(outcome: Result<String, E>, status: impl Fn(&E) -> Status) -> Finish {
    let (status, text) = match outcome {
        Ok(text) => (Status::OK, text),
        Err(error) => (status(&error), error.to_string()),
    };
    Box::new(move |exchange| exchange.text(status, b"", text.into_bytes()).map(Handled::Answer))
}

impl Handlers {
    /// Answers with what the body came to, read twice from where it was spooled.
    fn spool(&self, exchange: &mut Exchange<'_>, is_held: bool) -> Handled {
        exchange.set_body_limit(u64::MAX);
        let Some(mut body) = exchange.take_body() else { return Handled::Close };
        let (gate, space, worker) = (Arc::clone(&self.gate), self.space.clone(), self.worker.clone());
        Handled::Later(local_future(async move {
            let work = async {
                let spooled = space.spool(&mut body, &worker).await?;
                assert!(spooled.bytes().is_some() != spooled.file().is_some());
                while is_held && !gate.is_open.load(Ordering::Acquire) {
                    worker.sleep_until(worker.now_ms() + 1).await;
                }
                let mut reader = spooled.into_reader(worker.clone());
                let mut text = Vec::new();
                for _ in 0..2 {
                    reader.rewind();
                    let (mut bytes, mut sum) = (0, 0);
                    while let Some(piece) = reader.next().await? {
                        bytes += piece.len() as u64;
                        sum = piece.iter().fold(sum, |sum, byte| step(sum, *byte));
                    }
                    assert_eq!(bytes, reader.len());
                    text.push(format!("{bytes} {sum}"));
                }
                Ok::<String, SpoolError>(text.join(" "))
            };
            let outcome = work.await;
            told(outcome, SpoolError::status)
        }))
    }

    /// Answers with a line for each part of a form.
    fn form(&self, exchange: &mut Exchange<'_>) -> Handled {
        let content_type = exchange.request.sole(Known::ContentType).unwrap_or_default().to_vec();
        let Some(body) = exchange.take_body() else { return Handled::Close };
        let pool = self.worker.slices();
        Handled::Later(local_future(async move {
            let work = async {
                let limits = Limits::default();
                let mut form = Form::new(body, &content_type, limits, pool).map_err(FormError::Form)?;
                let (mut text, mut data) = (String::new(), Vec::new());
                while let Some(event) = form.next().await? {
                    match event {
                        FormEvent::Part(part) => {
                            let word = |bytes: Option<Box<[u8]>>| {
                                bytes.map_or("-".to_owned(), |bytes| {
                                    String::from_utf8_lossy(&bytes).into_owned()
                                })
                            };
                            let (filename, content_type) = (word(part.filename), word(part.content_type));
                            text += &format!("{} {filename} {content_type} ", word(Some(part.name)));
                        }
                        FormEvent::Data(piece) => data.extend_from_slice(&piece),
                        FormEvent::PartEnd => text += &format!("{}\n", counted(&std::mem::take(&mut data))),
                    }
                }
                Ok::<String, FormError>(text)
            };
            let outcome = work.await;
            told(outcome, |error| error.status())
        }))
    }
}

async fn read(body: &mut RequestBody, pieces_max: usize, gate: &Gate) -> Result<(u64, u64), BodyError> {
    let (mut bytes, mut sum) = (0, 0);
    for _ in 0..pieces_max {
        let Some(piece) = body.next().await? else { break };
        assert!(!piece.is_empty());
        bytes += piece.len() as u64;
        sum = piece.iter().fold(sum, |sum, byte| step(sum, *byte));
        gate.taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    Ok((bytes, sum))
}

fn step(sum: u64, byte: u8) -> u64 {
    (sum * 31 + u64::from(byte)) % 1_000_003
}

/// What `/count` says of these bytes.
pub(crate) fn counted(bytes: &[u8]) -> String {
    format!("{} {}", bytes.len(), bytes.iter().fold(0, |sum, byte| step(sum, *byte)))
}

fn sizes(path: &[u8]) -> Option<[usize; 3]> {
    let text = str::from_utf8(path).ok()?.strip_prefix("/sized/")?;
    let mut numbers = text.split('/').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// What was served, as the log would say it.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<(String, u16, u64)>>>);

impl Told {
    pub(crate) fn all(&self) -> Vec<(String, u16, u64)> {
        self.0.lock().expect("no panic").clone()
    }
}

impl ServedStage for Told {
    fn served(&self, served: &Served<'_>) {
        let path = served
            .request
            .map_or(String::new(), |request| String::from_utf8_lossy(request.path()).into_owned());
        self.0.lock().expect("no panic").push((path, served.status, served.body_bytes));
    }

    fn wants_details(&self) -> bool {
        false
    }
}

pub(crate) struct Stand {
    server: Option<Server>,
    pub(crate) space: SpoolSpace,
    pub(crate) gate: Arc<Gate>,
    pub(crate) told: Told,
}

impl Stand {
    fn start(driver: DriverChoice) -> Self {
        Self::on(driver, &std::env::temp_dir())
    }

    /// With bodies spooled to a directory.
    pub(crate) fn on(driver: DriverChoice, directory: &Path) -> Self {
        let options = SpoolOptions {
            directory: directory.into(),
            memory_bytes_max: 16 * 1024,
            body_bytes_max: 1_500_000,
            total_bytes_max: 2_000_000,
            ..SpoolOptions::default()
        };
        let space = SpoolSpace::open(options).expect("a directory");
        let handlers_space = space.clone();
        let (gate, told) = (Arc::new(Gate::default()), Told::default());
        let (handlers_gate, stage) = (Arc::clone(&gate), told.clone());
        let protocol = move |worker: &WorkerHandle| {
            let handlers = Handlers {
                worker: worker.clone(),
                gate: Arc::clone(&handlers_gate),
                space: handlers_space.clone(),
            };
            let mut site = Site::with_handler("given", handlers);
            site.served.push(Box::new(stage.clone()));
            let mut limits = WebLimits { body_ms_max: WINDOW_MS, ..WebLimits::default() };
            limits.body.body_bytes_max = BYTES_MAX;
            let http = Http::new(Rc::new(Sites::new(site)), limits, worker.pool().clone());
            Ok(Rc::new(http) as Rc<dyn Protocol>)
        };
        let endpoint = Endpoint {
            address: Address::Tcp(([127, 0, 0, 1], 0).into()),
            balance: Balance::default(),
            listen: ListenOptions::default(),
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
        Self { server, space, gate, told }
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.server.as_ref().expect("it runs");
        let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
        Client::connect(address).expect("it listens")
    }

    pub(crate) fn stop(self) {
        self.stop_after_panics(0);
    }

    /// Stops where so many turns have panicked.
    pub(crate) fn stop_after_panics(mut self, panics: u64) {
        let server = self.server.take().expect("it runs");
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, panics);
    }

    /// Begins to end while connections are open.
    pub(crate) fn drain(&self) {
        self.server.as_ref().expect("it runs").drain(PATIENCE);
    }
}

pub(crate) fn on_each_driver(test: impl Fn(Stand)) {
    drivers().into_iter().for_each(|driver| test(Stand::start(driver)));
}

/// What there is here.
pub(crate) fn drivers() -> Vec<DriverChoice> {
    match probe() {
        Ok(_) => vec![DriverChoice::Uring, DriverChoice::Epoll],
        Err(error) => {
            eprintln!("SKIPPED on io_uring: {error}");
            vec![DriverChoice::Epoll]
        }
    }
}

pub(crate) fn eventually(what: &str, check: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Bytes in which a piece that is lost, doubled or out of order shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 251).expect("small")).collect()
}
