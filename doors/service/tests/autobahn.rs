//! Sockets against the Autobahn test suite: as a server with both interfaces on both drivers, and as a client.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions};
use ringway_engine::{Endpoint, EndpointLimits, Outbound, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_http::response::EncodeError;
use ringway_service::socket::client::Connector;
use ringway_service::socket::{
    Acceptor, AsyncSocket, DeflateOptions, Message, Origins, OwnedMessage, Socket, SocketHandler,
    SocketOptions, spawned,
};
use ringway_testkit::autobahn::{FuzzingServer, PATIENCE_OF_ALL, chosen, play_client, quick};
use ringway_web::exchange::Exchange;
use ringway_web::limits::WebLimits;
use ringway_web::pipeline::{Handled, Handler};
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;

const PATIENCE: Duration = Duration::from_secs(20);

/// The suite's largest messages have 16 MiB.
const MESSAGE_BYTES_MAX: u32 = 32 << 20;

/// What sockets are allowed here; `keeps` says whether compression keeps its context.
fn options(keeps: bool) -> SocketOptions {
    SocketOptions {
        message_bytes_max: MESSAGE_BYTES_MAX,
        frame_bytes_max: MESSAGE_BYTES_MAX,
        queue_bytes_max: MESSAGE_BYTES_MAX as usize * 2,
        origins: Origins::Any,
        deflate: Some(DeflateOptions {
            server_takeover: keeps,
            client_takeover: keeps,
            message_bytes_min: 0,
            ..DeflateOptions::default()
        }),
        ..SocketOptions::default()
    }
}

/// Sends back what comes.
struct Echo;

impl SocketHandler for Echo {
    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        // One that closes hears what was on its way, and cannot answer.
        assert_eq!(socket.send(message).is_ok(), socket.is_open());
    }
}

/// Sends back what comes, in a task.
async fn echo(mut socket: AsyncSocket) {
    while let Some(message) = socket.next().await {
        let sent = match &message {
            OwnedMessage::Text(text) => socket.send_text(text).await,
            OwnedMessage::Binary(bytes) => socket.send_binary(bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// `/` for callbacks, `/async` for tasks.
struct Doors {
    callbacks: Acceptor,
    tasks: Acceptor,
}

impl Handler for Doors {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let reply = if exchange.path == b"/async" {
            self.tasks.accept(exchange, |_| spawned(echo))
        } else {
            self.callbacks.accept(exchange, |_| Echo)
        };
        reply.map(Handled::Answer)
    }
}

/// A server of one worker, on which `begin` is called.
fn server(driver: DriverChoice, begin: impl Fn(&WorkerHandle) + Send + Sync + 'static) -> Server {
    let protocol = move |worker: &WorkerHandle| {
        let doors = Doors {
            callbacks: Acceptor::new(worker.clone(), options(true)),
            tasks: Acceptor::new(worker.clone(), options(false)),
        };
        let sites = Rc::new(Sites::new(Site::with_handler("echo", doors)));
        begin(worker);
        Ok(Rc::new(Http::new(sites, WebLimits::default(), worker.pool().clone())) as Rc<dyn Protocol>)
    };
    let address = Address::Tcp(([127, 0, 0, 1], 0).into());
    let ring = RingOptions { driver, ..RingOptions::default() };
    let outbound = vec![Outbound::held(EndpointLimits::default())];
    let options = ServerOptions { workers: 1, ring, outbound, ..ServerOptions::default() };
    Server::start(&[Endpoint::new(address, Arc::new(protocol))], &options).expect("it starts")
}

fn stop(server: Server) {
    server.drain(PATIENCE);
    assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
}

fn address(server: &Server) -> SocketAddr {
    let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
    address
}

#[test]
fn callbacks_pass_what_the_suites_client_plays() {
    let server = server(DriverChoice::default(), |_| {});
    let url = format!("ws://{}/", address(&server));
    play_client(&url, &chosen(), PATIENCE_OF_ALL).judge("callbacks");
    stop(server);
}

#[test]
fn tasks_pass_what_the_suites_client_plays() {
    let server = server(DriverChoice::Epoll, |_| {});
    let url = format!("ws://{}/async", address(&server));
    play_client(&url, &quick(), PATIENCE_OF_ALL).judge("tasks");
    stop(server);
}

/// Plays every case of the suite's server at this port, and tells how many there were.
async fn play(connector: Connector, port: u16, done: Sender<usize>) {
    let open = async |target: &str| {
        let url = format!("ws://127.0.0.1:{port}{target}");
        connector.open(&url, &[]).await.expect("the suite accepts")
    };
    let mut counting = open("/getCaseCount").await;
    let mut count = 0;
    while let Some(message) = counting.next().await {
        let OwnedMessage::Text(text) = message else { panic!("the count is text") };
        count = text.parse().expect("a number of cases");
    }
    for case in 1..=count {
        echo(open(&format!("/runCase?case={case}&agent=ringway")).await).await;
    }
    echo(open("/updateReports?agent=ringway").await).await;
    done.send(count).expect("the test waits");
}

#[test]
fn a_client_passes_what_the_suites_server_plays() {
    let suite = FuzzingServer::start(&chosen());
    let (done, counted) = channel();
    let port = suite.port();
    let begin = move |worker: &WorkerHandle| {
        let connector = Connector::new(worker.clone(), 0, options(true)).within(60_000);
        worker.spawn(play(connector, port, done.clone()));
    };
    let server = server(DriverChoice::default(), begin);
    let count = counted.recv_timeout(PATIENCE_OF_ALL).expect("all cases are played");
    let verdicts = suite.verdicts();
    assert_eq!(verdicts.count(), count);
    verdicts.judge("a client");
    stop(server);
}
