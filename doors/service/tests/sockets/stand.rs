//! A server with sockets of every kind, and a client that says frames byte by byte.

use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{Endpoint, EndpointLimits, Outbound, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_http::response::EncodeError;
use ringway_service::socket::client::Connector;
use ringway_service::socket::{
    Acceptor, AsyncSocket, Closed, DeflateOptions, GroupOptions, Groups, Message, OwnedMessage, Slow, Socket,
    SocketHandler, SocketOptions, spawned,
};
use ringway_service::{Placement, Service};
use ringway_testkit::{Answer, Client};
use ringway_web::exchange::Exchange;
use ringway_web::limits::WebLimits;
use ringway_web::pipeline::{Handled, Handler};
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use ringway_ws::encoder;
use ringway_ws::frame::Opcode;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Longest message of `/small`, in bytes.
pub(crate) const SMALL_BYTES: u32 = 1000;

/// What handlers have heard of.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) closed: Mutex<Vec<(u16, String)>>,
    pub(crate) messages: AtomicU64,
    pub(crate) panics: AtomicU64,
}

impl Heard {
    pub(crate) fn closed(&self) -> Vec<(u16, String)> {
        self.closed.lock().expect("no panic").clone()
    }
}

/// Sends back what comes, and does what it is told to.
struct Parrot {
    heard: Arc<Heard>,
    groups: Groups,
}

impl SocketHandler for Parrot {
    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        self.heard.messages.fetch_add(1, Ordering::AcqRel);
        let Message::Text(text) = message else {
            socket.send(message).expect("there is room");
            return;
        };
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "panic" => panic!("as it was asked to"),
            "close" => socket.close(ringway_service::socket::CloseCode::NORMAL, rest),
            "later" => socket.set_timeout(20),
            "join" => assert!(socket.join(&self.groups.group(rest))),
            "leave" => assert!(socket.leave(&self.groups.group(rest))),
            "tell" => {
                let (group, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                self.groups.group(group).send_except(Message::Text(rest), Some(socket.id()));
            }
            "ping" => socket.ping(rest.as_bytes()),
            "around" => {
                let behind = "behind ".repeat(6_000);
                for said in ["before", rest, rest, &behind, "after"] {
                    socket.send_text(said).expect("there is room");
                }
            }
            "last" => {
                socket.send_text(rest).expect("there is room");
                socket.send_text("more").expect("there is room");
                panic!("as it was asked to");
            }
            "much" => while socket.send_text("much of this is never read").is_ok() {},
            // One that closes hears what was on its way, and cannot answer.
            _ => assert_eq!(socket.send_text(text).is_ok(), socket.is_open()),
        }
    }

    fn pong(&mut self, socket: &mut Socket<'_>, payload: &[u8]) {
        socket.send_text(&format!("pong {}", String::from_utf8_lossy(payload))).expect("there is room");
    }

    fn timeout(&mut self, socket: &mut Socket<'_>) {
        socket.send_text("it is time").expect("there is room");
    }

    fn closed(&mut self, closed: &Closed<'_>) {
        self.heard.closed.lock().expect("no panic").push((closed.code, closed.reason.to_owned()));
    }
}

/// All doors.
struct Doors {
    connector: Connector,
    worker_acceptors: Vec<(&'static [u8], Acceptor)>,
    heard: Arc<Heard>,
    groups: Groups,
}

impl Doors {
    fn new(worker: &WorkerHandle, heard: &Arc<Heard>, groups: &Groups) -> Self {
        let usual = SocketOptions { close_ms_max: 400, stall_ms_max: 600, ..SocketOptions::default() };
        let of = |path: &'static [u8], options: SocketOptions| {
            let heard = Arc::clone(heard);
            let told = move || {
                heard.panics.fetch_add(1, Ordering::AcqRel);
            };
            (path, Acceptor::with_panics_told(worker.clone(), options, told))
        };
        let worker_acceptors = vec![
            of(b"/echo", usual.clone()),
            of(b"/async", usual.clone()),
            of(b"/via", usual.clone()),
            of(b"/deflate", SocketOptions { deflate: Some(DeflateOptions::default()), ..usual.clone() }),
            of(
                b"/small",
                SocketOptions {
                    message_bytes_max: SMALL_BYTES,
                    frame_bytes_max: SMALL_BYTES,
                    ..usual.clone()
                },
            ),
            of(b"/pings", SocketOptions { ping_ms: 60, pong_ms: 100, ..usual.clone() }),
            of(b"/idle", SocketOptions { idle_ms_max: 100, ..usual.clone() }),
            of(b"/chat", SocketOptions { protocols: vec!["chat".to_owned()], ..usual.clone() }),
        ];
        let asked = SocketOptions {
            protocols: vec!["chat".to_owned()],
            deflate: Some(DeflateOptions::default()),
            ..usual
        };
        let connector = Connector::new(worker.clone(), 0, asked).within(2_000);
        Self { connector, worker_acceptors, heard: Arc::clone(heard), groups: groups.clone() }
    }
}

impl Handler for Doors {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let Some((path, acceptor)) = self.worker_acceptors.iter().find(|(path, _)| *path == exchange.path)
        else {
            return Ok(Handled::NotMine);
        };
        if *path == b"/async" {
            let heard = Arc::clone(&self.heard);
            let reply = acceptor.accept(exchange, |_| {
                spawned(async move |mut socket| {
                    while let Some(message) = socket.next().await {
                        match message {
                            OwnedMessage::Text(text) if text == "enough" => return,
                            OwnedMessage::Text(text) if text == "panic" => panic!("as it was asked to"),
                            OwnedMessage::Text(text) if text == "stay" => std::future::pending().await,
                            OwnedMessage::Text(text) => drop(socket.send_text(&text).await),
                            OwnedMessage::Binary(bytes) => drop(socket.send_binary(&bytes).await),
                        }
                    }
                    heard.closed.lock().expect("no panic").extend(socket.closed());
                })
            });
            return reply.map(Handled::Answer);
        }
        if *path == b"/via" {
            let connector = self.connector.clone();
            return acceptor
                .accept(exchange, |_| spawned(|socket| pass_on(connector, socket)))
                .map(Handled::Answer);
        }
        let parrot = Parrot { heard: Arc::clone(&self.heard), groups: self.groups.clone() };
        acceptor.accept(exchange, |_| parrot).map(Handled::Answer)
    }
}

/// Opens a socket to where the first message says, and passes messages on in turn.
async fn pass_on(connector: Connector, mut near: AsyncSocket) {
    let Some(OwnedMessage::Text(url)) = near.next().await else { return };
    let mut far = match connector.open(&url, &[("X-Mark", "1")]).await {
        Ok(far) => far,
        Err(error) => {
            let _told = near.send_text(&error.to_string()).await;
            return;
        }
    };
    let _told = near.send_text("open").await;
    while let Some(message) = near.next().await {
        let message = match &message {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(bytes) => Message::Binary(bytes),
        };
        if far.send(message).await.is_err() {
            break;
        }
        match far.next().await {
            Some(OwnedMessage::Text(text)) => drop(near.send_text(&text).await),
            Some(OwnedMessage::Binary(bytes)) => drop(near.send_binary(&bytes).await),
            None => break,
        }
    }
    if let Some((code, reason)) = far.closed() {
        let _told = near.send_text(&format!("{code} {reason}")).await;
    }
}

pub(crate) struct Stand {
    server: Option<Server>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) groups: Groups,
}

impl Stand {
    pub(crate) fn start(driver: DriverChoice, workers: usize) -> Self {
        let heard = Arc::<Heard>::default();
        let options =
            GroupOptions { queue_messages_max: 8, queue_bytes_max: 64 * 1024, slow: Slow::DropOldest };
        let groups = Groups::new(options);
        let (doors_heard, doors_groups) = (Arc::clone(&heard), groups.clone());
        let server = serve(driver, workers, move |worker| {
            Ok(Site::with_handler("sockets", Doors::new(worker, &doors_heard, &doors_groups)))
        });
        Self { server: Some(server), heard, groups }
    }

    /// A server that runs one service.
    pub(crate) fn of_service(driver: DriverChoice, service: &Service) -> Self {
        let service = service.clone();
        let server = serve(driver, 1, move |worker| {
            let mut site = Site::new("service");
            site.handlers
                .push(service.handler(worker, &Placement::default()).map_err(std::io::Error::other)?);
            Ok(site)
        });
        Self { server: Some(server), heard: Arc::default(), groups: Groups::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let server = self.server.as_ref().expect("it runs");
        let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
        address
    }

    /// A connection on which nothing was said.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address()).expect("it listens")
    }

    /// The answer to a handshake with these lines besides the usual ones.
    pub(crate) fn handshake(&self, path: &str, lines: &str, early: &[u8]) -> (Peer, Answer) {
        let mut client = self.client();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        client.send(&[head.as_bytes(), early].concat()).expect("open");
        let answer = client.answer(true).expect("a head");
        (Peer { client }, answer)
    }

    /// An open socket.
    pub(crate) fn open(&self, path: &str) -> Peer {
        let (peer, answer) = self.handshake(path, "", b"");
        assert_eq!(answer.status, 101, "{}", answer.head);
        assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        peer
    }

    pub(crate) fn drain(&self) {
        self.server.as_ref().expect("it runs").drain(PATIENCE);
    }

    pub(crate) fn stop(mut self) {
        let server = self.server.take().expect("it runs");
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

/// A server with one site.
fn serve(
    driver: DriverChoice,
    workers: usize,
    site: impl Fn(&WorkerHandle) -> std::io::Result<Site> + Send + Sync + 'static,
) -> Server {
    let protocol = move |worker: &WorkerHandle| {
        let mut limits = WebLimits { body_ms_max: 100, ..WebLimits::default() };
        limits.h2.has_connect_protocol = true;
        let http = Http::new(Rc::new(Sites::new(site(worker)?)), limits, worker.pool().clone());
        Ok(Rc::new(http) as Rc<dyn Protocol>)
    };
    let address = Address::Tcp(([127, 0, 0, 1], 0).into());
    let endpoint = Endpoint {
        listen: ListenOptions { send_buffer_bytes: 64 * 1024, ..ListenOptions::default() },
        limits: EndpointLimits::default(),
        ..Endpoint::new(address, Arc::new(protocol))
    };
    let ring = RingOptions { driver, ..RingOptions::default() };
    let outbound = vec![Outbound::held(EndpointLimits::default())];
    let options = ServerOptions { workers, ring, outbound, ..ServerOptions::default() };
    Server::start(&[endpoint], &options).expect("it starts")
}

/// The other end of a socket.
pub(crate) struct Peer {
    pub(crate) client: Client,
}

/// A masked frame.
pub(crate) fn framed(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encoder::frame(opcode, payload, Some([7, 1, 200, 33]), &mut frame);
    frame
}

impl Peer {
    pub(crate) fn say(&mut self, text: &str) {
        self.client.send(&framed(Opcode::Text, text.as_bytes())).expect("open");
    }

    /// The next frame: its first byte and payload.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.client.exact(2).expect("a frame");
        let len = match head[1] {
            126 => {
                u16::from_be_bytes(self.client.exact(2).expect("a length").try_into().expect("two")).into()
            }
            127 => u64::from_be_bytes(self.client.exact(8).expect("a length").try_into().expect("eight")),
            short => u64::from(short),
        };
        (head[0], self.client.exact(usize::try_from(len).expect("it fits")).expect("a payload"))
    }

    /// The next text.
    pub(crate) fn text(&mut self) -> String {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x81, "{}", payload.escape_ascii());
        String::from_utf8(payload).expect("text")
    }

    /// The next frame, which closes: code and reason.
    pub(crate) fn close(&mut self) -> (u16, String) {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x88, "{}", payload.escape_ascii());
        let (code, reason) = payload.split_first_chunk().expect("a code");
        (u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned())
    }

    /// Answers a close frame; the end of the connection follows.
    pub(crate) fn answer_close(&mut self, code: u16) {
        self.client.send(&framed(Opcode::Close, &code.to_be_bytes())).expect("open");
        assert_eq!(self.client.until_end().expect("a FIN"), b"");
    }
}

pub(crate) fn on_each_driver(test: impl Fn(Stand)) {
    drivers().into_iter().for_each(|driver| test(Stand::start(driver, 1)));
}

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
