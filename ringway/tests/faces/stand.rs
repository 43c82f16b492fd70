//! A server with all of its faces over HTTP, the dashboard behind a password.

use ringway::engine::ring::socket::Address;
use ringway::engine::ring::{DriverChoice, RingOptions, probe};
use ringway::engine::{
    Endpoint, EndpointLimits, Outbound, Protocol, Server, ServerOptions, WorkerHandle, WorkerStart,
};
use ringway::faces::Desk;
use ringway::faces::dashboard::{Dashboard, Live};
use ringway::faces::health::Health;
use ringway::faces::metrics::Metrics;
use ringway::running::{EndpointPost, Posts, Running, SitePost};
use ringway::web::auth::gate::{Gate, GateLimits};
use ringway::web::auth::password::PasswordHash;
use ringway::web::auth::users::{UserTable, Users};
use ringway::web::auth::{Auth, AuthOptions};
use ringway::web::limits::WebLimits;
use ringway::web::pattern::Pattern;
use ringway::web::protocol::Http;
use ringway::web::routes::Route;
use ringway::web::rules::addresses::AddressSet;
use ringway::web::site::Site;
use ringway::web::site_counters::SiteBook;
use ringway::web::sites::Sites;
use ringway::web::upstream::Group;
use ringway_testkit::{Answer, Client};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `admin:secret`, as a browser sends it.
pub(crate) const CREDENTIALS: &str = "Authorization: Basic YWRtaW46c2VjcmV0\r\n";

pub(crate) struct Stand {
    server: Option<Server>,
    pub(crate) running: Arc<Running>,
    pub(crate) live: Live,
}

/// What every worker's faces are made from.
#[derive(Clone)]
struct Parts {
    desk: Desk,
    live: Live,
    book: Arc<SiteBook>,
    auth: Arc<AuthOptions>,
    gate: Gate,
    allow: AddressSet,
}

impl Parts {
    fn site(&self, worker: &WorkerHandle) -> std::io::Result<Site> {
        let mut site = Site::new("example.org");
        site.counters = Some(self.book.open());
        let everybody = AddressSet::new(["0.0.0.0/0".parse().expect("a network")]);
        site.handlers.push(Box::new(Health::new(self.desk.clone(), "/health/live", "/health/ready")));
        site.handlers.push(Box::new(Metrics::new(self.desk.clone(), "/metrics", everybody)));
        site.handlers.push(Box::new(Metrics::new(self.desk.clone(), "/closed", self.allow.clone())));
        let pattern = Pattern::prefix("/ringway").expect("a pattern");
        let mut route = Route::new(pattern);
        route.stages.push(Box::new(Auth::new(Arc::clone(&self.auth), self.gate.clone(), None)?));
        route.handlers.push(Box::new(Dashboard::new(self.live.clone(), worker, "/ringway/")));
        site.routes.add(route).expect("the only one");
        // The same without a stage in front of it: nobody is let in.
        site.handlers.push(Box::new(Dashboard::new(self.live.clone(), worker, "/open/")));
        Ok(site)
    }
}

impl Stand {
    pub(crate) fn start(driver: DriverChoice) -> Self {
        Self::start_with(driver, Vec::new(), None)
    }

    /// With these upstreams, and what workers begin with.
    pub(crate) fn start_with(
        driver: DriverChoice,
        upstreams: Vec<Arc<Group>>,
        on_start: Option<WorkerStart>,
    ) -> Self {
        let desk = Desk::default();
        let hash = PasswordHash::create(b"secret").expect("a hash");
        let hash = PasswordHash::parse(&hash).expect("its own");
        let table = UserTable::new(HashMap::from([("admin".into(), hash)]));
        let auth = AuthOptions { users: Some(Users::fixed(table)), ..AuthOptions::new("Ringway") };
        let parts = Parts {
            live: Live::new(desk.clone()),
            desk,
            book: Arc::default(),
            auth: Arc::new(auth),
            gate: Gate::new(GateLimits::default()),
            allow: AddressSet::new(["192.0.2.0/24".parse().expect("a network")]),
        };
        let made = parts.clone();
        let protocol = move |worker: &WorkerHandle| {
            let sites = Rc::new(Sites::new(made.site(worker)?));
            let http = Http::new(sites, WebLimits::default(), worker.pool().clone());
            Ok(Rc::new(http) as Rc<dyn Protocol>)
        };
        let endpoint = Endpoint::new(Address::Tcp(([127, 0, 0, 1], 0).into()), Arc::new(protocol));
        let ring = RingOptions { driver, ..RingOptions::default() };
        let outbound = vec![Outbound::held(EndpointLimits::default())];
        let options = ServerOptions { workers: 2, ring, outbound, on_start, ..ServerOptions::default() };
        let server = Server::start(&[endpoint], &options).expect("it starts");
        let address = server.addresses()[0].to_string();
        let endpoint = EndpointPost { name: "web".to_owned(), address, speaks: "HTTP/1.1".to_owned() };
        let site = SitePost {
            name: "example.org".to_owned(),
            hosts: vec!["example.org".to_owned()],
            root: None,
            scope: None,
            book: Arc::clone(&parts.book),
        };
        let posts =
            Posts { endpoints: vec![Some(endpoint)], sites: vec![site], upstreams, ..Posts::default() };
        let running = Arc::new(Running::new(&server, 3, posts));
        parts.desk.open(Arc::clone(&running));
        Self { server: Some(server), running, live: parts.live }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let server = self.server.as_ref().expect("it runs");
        let Address::Tcp(address) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
        address
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address()).expect("it listens")
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, line: &str, fields: &str) -> Answer {
        let mut client = self.client();
        ask(&mut client, line, fields);
        client.answer(line.starts_with("HEAD")).expect("an answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), "")
    }

    pub(crate) fn stop(mut self) {
        let server = self.server.take().expect("it runs");
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

pub(crate) fn ask(client: &mut Client, line: &str, fields: &str) {
    client.send(format!("{line}\r\nHost: example.org\r\n{fields}\r\n").as_bytes()).expect("it is open");
}

pub(crate) fn on_each_driver(test: impl Fn(Stand)) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        match (driver, probe()) {
            (DriverChoice::Uring, Err(error)) => eprintln!("SKIPPED on io_uring: {error}"),
            _ => test(Stand::start(driver)),
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
