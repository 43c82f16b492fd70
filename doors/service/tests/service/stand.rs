//! Servers with a service, on both drivers.

use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{
    Balance, Endpoint, EndpointLimits, Outbound, Protocol, Server, ServerOptions, WorkerHandle,
};
use ringway_service::{Placement, Service};
use ringway_testkit::{Answer, Client};
use ringway_web::limits::WebLimits;
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs one service.
pub(crate) struct Stand {
    server: Option<Server>,
    pub(crate) service: Service,
}

impl Stand {
    pub(crate) fn start(driver: DriverChoice, service: Service, prefix: &str, workers: usize) -> Self {
        let (placed, prefix) = (service.clone(), prefix.to_owned());
        let protocol = move |worker: &WorkerHandle| {
            let placement = Placement { prefix: prefix.as_str().into(), ..Placement::default() };
            let mut site = Site::new("test");
            site.handlers.push(placed.handler(worker, &placement).map_err(std::io::Error::other)?);
            let http = Http::new(Rc::new(Sites::new(site)), WebLimits::default(), worker.pool().clone());
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
        let outbound = vec![Outbound::held(EndpointLimits::default())];
        let options = ServerOptions { workers, ring, outbound, ..ServerOptions::default() };
        let server = Some(Server::start(&[endpoint], &options).expect("it starts"));
        Self { server, service }
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.server.as_ref().expect("it runs");
        let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
        Client::connect(address).expect("it listens")
    }

    /// Asks on a connection of its own.
    pub(crate) fn ask(&self, line: &str, fields: &str, body: &str) -> Answer {
        let mut client = self.client();
        send(&mut client, line, fields, body);
        client.answer(line.starts_with("HEAD ")).expect("an answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), "", "")
    }

    /// Ends the server, whose turns and tasks must not have panicked: handlers' panics are the service's.
    pub(crate) fn stop(mut self) -> Service {
        let server = self.server.take().expect("it runs");
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
        self.service
    }
}

pub(crate) fn send(client: &mut Client, line: &str, fields: &str, body: &str) {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{line}\r\nHost: a\r\n{length}{fields}\r\n{body}");
    client.send(request.as_bytes()).expect("it is open");
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Runs a test on each driver, with a service of its own.
pub(crate) fn on_each_driver(make: impl Fn() -> Service, test: impl Fn(Stand)) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        match (driver, probe()) {
            (DriverChoice::Uring, Err(error)) => eprintln!("SKIPPED on io_uring: {error}"),
            _ => test(Stand::start(driver, make(), "", 1)),
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
