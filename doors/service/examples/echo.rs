//! A server that sends every WebSocket message back, and those at `/all` to all that are there: `--port N`, `--workers N`,
//! `--deflate`, `--async`, `--epoll`.

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions};
use ringway_engine::{Endpoint, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_http::response::EncodeError;
use ringway_service::socket::{
    Acceptor, DeflateOptions, Group, GroupOptions, Message, Origins, OwnedMessage, Socket, SocketHandler,
    SocketOptions, spawned,
};
use ringway_web::exchange::Exchange;
use ringway_web::limits::WebLimits;
use ringway_web::pipeline::{Handled, Handler};
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The longest message that is echoed, in bytes: the suites of tests go up to 16 MiB.
const MESSAGE_BYTES_MAX: u32 = 64 << 20;

/// What the command line says.
#[derive(Clone, Copy, Debug)]
struct Choices {
    port: u16,
    workers: usize,
    deflates: bool,
    is_async: bool,
    driver: DriverChoice,
}

/// Sends back what comes.
struct Echo;

impl SocketHandler for Echo {
    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        if socket.send(message).is_err() {
            // A peer that asks for more than it reads.
            socket.close(ringway_service::socket::CloseCode::POLICY, "read what you asked for");
        }
    }
}

/// Sends what comes to everybody.
struct ToAll(Group);

impl SocketHandler for ToAll {
    fn opened(&mut self, socket: &mut Socket<'_>) {
        socket.join(&self.0);
    }

    fn message(&mut self, _socket: &mut Socket<'_>, message: Message<'_>) {
        self.0.send(message);
    }
}

/// Makes a socket of every request.
struct EchoDoor {
    acceptor: Acceptor,
    all: Group,
    is_async: bool,
}

impl Handler for EchoDoor {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let reply = if exchange.path == b"/all" {
            self.acceptor.accept(exchange, |_| ToAll(self.all.clone()))
        } else if self.is_async {
            self.acceptor.accept(exchange, |_| {
                spawned(async |mut socket| {
                    while let Some(message) = socket.next().await {
                        let sent = match &message {
                            OwnedMessage::Text(text) => socket.send_text(text).await,
                            OwnedMessage::Binary(bytes) => socket.send_binary(bytes).await,
                        };
                        if sent.is_err() {
                            break;
                        }
                    }
                })
            })
        } else {
            self.acceptor.accept(exchange, |_| Echo)
        };
        reply.map(Handled::Answer)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let choices = choices()?;
    let all = Group::new(GroupOptions::default());
    let protocol = move |worker: &WorkerHandle| {
        let options = SocketOptions {
            message_bytes_max: MESSAGE_BYTES_MAX,
            frame_bytes_max: MESSAGE_BYTES_MAX,
            queue_bytes_max: MESSAGE_BYTES_MAX as usize * 2,
            origins: Origins::Any,
            deflate: choices.deflates.then(|| DeflateOptions {
                server_takeover: true,
                client_takeover: true,
                ..DeflateOptions::default()
            }),
            ..SocketOptions::default()
        };
        let door = EchoDoor {
            acceptor: Acceptor::new(worker.clone(), options),
            is_async: choices.is_async,
            all: all.clone(),
        };
        let sites = Rc::new(Sites::new(Site::with_handler("echo", door)));
        let mut limits = WebLimits::default();
        limits.h2.has_connect_protocol = true;
        let http = Http::new(sites, limits, worker.pool().clone());
        Ok(Rc::new(http) as Rc<dyn Protocol>)
    };
    let address = Address::Tcp(([127, 0, 0, 1], choices.port).into());
    let ring = RingOptions { driver: choices.driver, ..RingOptions::default() };
    let options = ServerOptions { workers: choices.workers, ring, ..ServerOptions::default() };
    let server = Server::start(&[Endpoint::new(address, Arc::new(protocol))], &options)?;
    eprintln!("echo on {:?}", server.addresses());
    loop {
        // It ends when it is ended.
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn choices() -> Result<Choices, Box<dyn Error>> {
    let mut choices =
        Choices { port: 9001, workers: 1, deflates: false, is_async: false, driver: DriverChoice::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--port" => choices.port = words.next().unwrap_or_default().parse()?,
            "--workers" => choices.workers = words.next().unwrap_or_default().parse()?,
            "--deflate" => choices.deflates = true,
            "--async" => choices.is_async = true,
            "--epoll" => choices.driver = DriverChoice::Epoll,
            other => return Err(format!("what is {other}?").into()),
        }
    }
    Ok(choices)
}
