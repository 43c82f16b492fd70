//! A server with an axum application in it, on each driver.

use axum::Router;
use axum::body::HttpBody;
use axum::http::{Request, Response};
use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{
    Balance, Endpoint, EndpointLimits, Protocol, Server, ServerOptions, StartError, WorkerHandle,
};
use ringway_service::tower::{Body, BoxError, Tower};
use ringway_service::{Placement, Service};
use ringway_testkit::{Answer, Client};
use ringway_web::limits::WebLimits;
use ringway_web::pipeline::Handler;
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Longest body of a request that the server takes unless the application says otherwise.
pub(crate) const BYTES_MAX: u64 = 1024 * 1024;

pub(crate) struct Stand {
    server: Option<Server>,
    /// What the application did wrong.
    troubles: Arc<Mutex<Vec<String>>>,
}

impl Stand {
    /// Serves `tower`, mounted at `prefix`, on `workers` workers.
    pub(crate) fn start<S, B>(driver: DriverChoice, tower: Tower<S>, prefix: &str, workers: usize) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        B: HttpBody + 'static,
        B::Error: Into<BoxError>,
    {
        let troubles = Arc::new(Mutex::new(Vec::new()));
        let (noted, prefix) = (Arc::clone(&troubles), prefix.to_owned());
        let handler = move |worker: &WorkerHandle| {
            let noted = Arc::clone(&noted);
            let report = move |trouble: &dyn std::fmt::Display| {
                noted.lock().expect("no panic").push(trouble.to_string());
            };
            tower.handler(worker, &prefix, report)
        };
        let server = Some(serve(driver, handler, workers).expect("it starts"));
        Self { server, troubles }
    }

    /// Serves a service of Ringway on one worker.
    pub(crate) fn of(driver: DriverChoice, service: &Service, prefix: &str) -> Self {
        Self { server: Some(place(driver, service, prefix).expect("it starts")), troubles: Arc::default() }
    }

    /// Why a service cannot be set up.
    pub(crate) fn refused(service: &Service) -> String {
        place(DriverChoice::Epoll, service, "").expect_err("it cannot start").to_string()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let server = self.server.as_ref().expect("it runs");
        let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
        address
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address()).expect("it listens")
    }

    /// The answer to a request without a body, on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    pub(crate) fn ask(&self, request: &str) -> Answer {
        let mut client = self.client();
        client.send(request.as_bytes()).expect("it is open");
        client.answer(request.starts_with("HEAD ")).expect("an answer")
    }

    pub(crate) fn troubles(&self) -> Vec<String> {
        self.troubles.lock().expect("no panic").clone()
    }

    /// Stops the server; no worker may have noticed a panic.
    pub(crate) fn stop(mut self) {
        let server = self.server.take().expect("it runs");
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

/// Runs `test` against the application on every driver there is.
pub(crate) fn on_each_driver(router: impl Fn() -> Router, test: impl Fn(&Stand)) {
    with(|| Tower::new(router()), test);
}

/// The same for an application with settings.
pub(crate) fn with(tower: impl Fn() -> Tower<Router>, test: impl Fn(&Stand)) {
    for driver in drivers() {
        let stand = Stand::start(driver, tower(), "", 2);
        test(&stand);
        stand.stop();
    }
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

/// Bytes in which a piece that is lost, doubled or out of order shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 251).expect("small")).collect()
}

/// What comes up to `end`, on a connection that is not asked for whole answers.
pub(crate) fn until(client: &Client, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = client.stream();
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while !all.windows(end.len()).any(|window| window == end) {
        match stream.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => all.extend_from_slice(&piece[..count]),
        }
    }
    Ok(all)
}

fn place(driver: DriverChoice, service: &Service, prefix: &str) -> Result<Server, StartError> {
    let (service, prefix) = (service.clone(), prefix.to_owned());
    let handler = move |worker: &WorkerHandle| {
        let placement = Placement { prefix: prefix.as_str().into(), ..Placement::default() };
        service.handler(worker, &placement).map_err(io::Error::other)
    };
    serve(driver, handler, 1)
}

fn serve(
    driver: DriverChoice,
    handler: impl Fn(&WorkerHandle) -> io::Result<Box<dyn Handler>> + Send + Sync + 'static,
    workers: usize,
) -> Result<Server, StartError> {
    let protocol = move |worker: &WorkerHandle| {
        let mut site = Site::new("tower");
        site.handlers.push(handler(worker)?);
        let mut limits = WebLimits { send_window_ms: 2_000, ..WebLimits::default() };
        limits.body.body_bytes_max = BYTES_MAX;
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
    Server::start(&[endpoint], &ServerOptions { workers, ring, ..ServerOptions::default() })
}
