//! A server of sites under test.

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{
    Endpoint, EndpointLimits, FilterFactory, Protocol, ProtocolFactory, Server, ServerOptions, WorkerHandle,
};
use ringway_testkit::{Answer, Client};
use ringway_web::file_cache::CacheLimits;
use ringway_web::file_store::FileStore;
use ringway_web::limits::WebLimits;
use ringway_web::load::LoadOptions;
use ringway_web::pattern::Pattern;
use ringway_web::pipeline::Handler;
use ringway_web::protocol::Http;
use ringway_web::respond::Respond;
use ringway_web::root::{OpenRoot, RootOptions};
use ringway_web::routes::Route;
use ringway_web::sites::Sites;
use ringway_web::static_files::{FilesOptions, StaticFiles};
use ringway_web::tries::Tries;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the sites of a worker.
pub(crate) type Build = Arc<dyn Fn(&WorkerHandle) -> Sites + Send + Sync>;

pub(crate) struct Stand {
    server: Option<Server>,
}

impl Stand {
    fn start(driver: DriverChoice, filter: Option<FilterFactory>, build: &Build) -> Self {
        let address = Address::Tcp(([127, 0, 0, 1], 0).into());
        let endpoint = Endpoint { filter, ..Endpoint::new(address, factory(build)) };
        let ring = RingOptions { driver, ..RingOptions::default() };
        let options = ServerOptions { workers: 1, ring, ..ServerOptions::default() };
        Self { server: Some(Server::start(&[endpoint], &options).expect("it starts")) }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    pub(crate) fn client(&self) -> Client {
        let Address::Tcp(address) = self.server().addresses()[0].clone() else { panic!("TCP was asked for") };
        Client::connect(address).expect("it listens")
    }

    /// Asks `host` for `target` on a connection of its own.
    pub(crate) fn get(&self, host: &str, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    pub(crate) fn ask(&self, head: &str) -> Answer {
        let mut client = self.client();
        client.send(head.as_bytes()).expect("it is open");
        client.answer(head.starts_with("HEAD")).expect("an answer")
    }

    /// Changes to other sites, as a reload does.
    pub(crate) fn swap(&self, build: &Build) {
        self.server().swap(0, factory(build), EndpointLimits::default(), None, None).expect("it changes");
    }

    fn stop(mut self) {
        let server = self.server.take().expect("it runs");
        server.drain(PATIENCE);
        assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

pub(crate) fn factory(build: &Build) -> ProtocolFactory {
    let build = Arc::clone(build);
    Arc::new(move |worker: &WorkerHandle| {
        let http = Http::new(Rc::new(build(worker)), WebLimits::default(), worker.pool().clone());
        Ok(Rc::new(http) as Rc<dyn Protocol>)
    })
}

/// Runs a test of these sites on each driver that this kernel has.
pub(crate) fn on_each_driver(
    build: impl Fn(&WorkerHandle) -> Sites + Send + Sync + 'static,
    test: impl Fn(&Stand),
) {
    on_each_driver_through(None, build, test);
}

/// The same with connections that go through a filter.
pub(crate) fn on_each_driver_through(
    filter: Option<FilterFactory>,
    build: impl Fn(&WorkerHandle) -> Sites + Send + Sync + 'static,
    test: impl Fn(&Stand),
) {
    let build: Build = Arc::new(build);
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        if let (DriverChoice::Uring, Err(error)) = (driver, probe()) {
            eprintln!("SKIPPED on io_uring: {error}");
            continue;
        }
        let stand = Stand::start(driver, filter.clone(), &build);
        test(&stand);
        stand.stop();
    }
}

/// A handler that says `text`.
pub(crate) fn says(text: &str) -> Respond {
    Respond::new(200, "text/plain", text.as_bytes().into()).expect("it can be sent")
}

/// A route whose handler is `handler`.
pub(crate) fn route(pattern: &str, handler: impl Handler + 'static) -> Route {
    let mut route = Route::new(Pattern::parse(pattern).expect("a pattern"));
    route.handlers.push(Box::new(handler));
    route
}

/// The files below `root`.
pub(crate) fn files(
    worker: &WorkerHandle,
    root: &Path,
    prefix: &str,
    tries: &[&str],
    load: LoadOptions,
) -> StaticFiles {
    let root = OpenRoot::open(root, RootOptions::default()).expect("it is there");
    let options = FilesOptions {
        prefix: prefix.as_bytes().into(),
        tries: Tries::parse(tries).expect("a list"),
        ..FilesOptions::default()
    };
    let store = FileStore::of(worker, CacheLimits::default());
    StaticFiles::new(&root, Arc::new(load), options, &store).expect("there are numbers left")
}
