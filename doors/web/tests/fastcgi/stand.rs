//! A server of one site with programs behind it, under test.

use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{
    Endpoint, EndpointLimits, Outbound, Protocol, ProtocolFactory, Server, ServerOptions, WorkerHandle,
};
use ringway_testkit::{Answer, Client, Scratch};
use ringway_web::fastcgi::{FastCgi, FastCgiOptions};
use ringway_web::file_cache::CacheLimits;
use ringway_web::file_store::FileStore;
use ringway_web::limits::WebLimits;
use ringway_web::load::LoadOptions;
use ringway_web::log::errors::{ErrorFormat, ErrorLog, Level};
use ringway_web::log::files::{LogFile, Rotation};
use ringway_web::pattern::Pattern;
use ringway_web::protocol::Http;
use ringway_web::respond::Respond;
use ringway_web::root::{OpenRoot, RootOptions};
use ringway_web::routes::Route;
use ringway_web::scripts::Endings;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use ringway_web::static_files::{FilesOptions, StaticFiles};
use ringway_web::tries::Tries;
use ringway_web::upstream::{BackendOptions, Group, GroupOptions, Speaks, Upstream};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stand {
    server: Server,
    log: PathBuf,
}

/// What is behind the server.
pub(crate) struct Setup<'a> {
    pub(crate) place: &'a Scratch,
    pub(crate) driver: DriverChoice,
    pub(crate) upstream: GroupOptions,
}

/// The drivers that this kernel lets work.
pub(crate) fn drivers() -> Vec<DriverChoice> {
    match probe() {
        Ok(_) => vec![DriverChoice::Uring, DriverChoice::Epoll],
        Err(error) => {
            eprintln!("SKIPPED on io_uring: {error}");
            vec![DriverChoice::Epoll]
        }
    }
}

/// An upstream called `php` of backends at these addresses, which take as many connections as PHP has processes here.
pub(crate) fn upstream(addresses: &[&str]) -> GroupOptions {
    let backends = addresses.iter().map(|address| BackendOptions::new(address.parse().unwrap())).collect();
    GroupOptions { speaks: Speaks::FastCgi, connections_max: 3, ..GroupOptions::new("php", backends) }
}

/// The same where nothing may take long, and nothing takes a backend out.
pub(crate) fn quick(addresses: &[&str]) -> GroupOptions {
    let mut options = upstream(addresses);
    options.tries.read_timeout_ms = 300;
    options.tries.send_timeout_ms = 300;
    options.passive.fail_max = 0;
    options
}

impl Stand {
    /// A blog: files below `www`, PHP among them, the rest for its front controller.
    pub(crate) fn blog(setup: Setup<'_>) -> Self {
        let root = setup.place.path().join("www");
        let options =
            FastCgiOptions { document_root: root.as_os_str().as_bytes().into(), ..FastCgiOptions::default() };
        Self::start(setup, options, move |store, fastcgi| {
            let load = LoadOptions {
                index: vec!["index.php".to_owned(), "index.html".to_owned()],
                scripts: Some(Arc::new(Endings::php())),
                ..LoadOptions::default()
            };
            let tries = Tries::parse(&["{path}", "{path}/", "/index.php"]).unwrap();
            let files = FilesOptions { tries, ..FilesOptions::default() };
            let root = OpenRoot::open(&root, RootOptions::default()).unwrap();
            let handler =
                StaticFiles::with_scripts(&root, Arc::new(load), files, store, Rc::new(fastcgi)).unwrap();
            let mut site = Site::new("blog");
            let mut route = Route::new(Pattern::parse("/**").unwrap());
            route.handlers.push(Box::new(handler));
            site.routes.add(route).unwrap();
            site
        })
    }

    /// One program for everything below `/app`, which may have files below `secret` sent.
    pub(crate) fn app(setup: Setup<'_>) -> Self {
        let secret = setup.place.path().join("secret");
        std::fs::create_dir_all(&secret).unwrap();
        let options = FastCgiOptions {
            script: Some(b"/srv/app/app.fcgi"[..].into()),
            prefix: b"/app"[..].into(),
            send_dirs: vec![(
                b"/protected"[..].into(),
                OpenRoot::open(&secret, RootOptions::default()).unwrap(),
            )],
            ..FastCgiOptions::default()
        };
        Self::start(setup, options, |_, fastcgi| {
            let mut site = Site::new("app");
            let mut route = Route::new(Pattern::parse("/app/**").unwrap());
            route.handlers.push(Box::new(fastcgi));
            site.routes.add(route).unwrap();
            let mut route = Route::new(Pattern::parse("/elsewhere").unwrap());
            let says = Respond::new(200, "text/plain", b"elsewhere"[..].into()).unwrap();
            route.handlers.push(Box::new(says));
            site.routes.add(route).unwrap();
            site
        })
    }

    fn start(
        setup: Setup<'_>,
        options: FastCgiOptions,
        site: impl Fn(&FileStore, FastCgi) -> Site + Send + Sync + 'static,
    ) -> Self {
        let log = setup.place.path().join("error.log");
        let _none_before = std::fs::remove_file(&log);
        let file = LogFile::append(&log, Rotation::default()).unwrap();
        let errors = ErrorLog::new(file, ErrorFormat::Text, Level::Info);
        let group = Group::new(setup.upstream, None, Some(errors.clone())).unwrap();
        let options = Arc::new(options);
        let build: ProtocolFactory = Arc::new(move |worker: &WorkerHandle| {
            let store = FileStore::of(worker, CacheLimits::default());
            let upstream = Rc::new(Upstream::of(&group, worker));
            let fastcgi = FastCgi::new(Arc::clone(&options), upstream, errors.clone(), worker, &store)?;
            let sites = Sites::new(site(&store, fastcgi));
            let http = Http::new(Rc::new(sites), WebLimits::default(), worker.pool().clone());
            Ok(Rc::new(http) as Rc<dyn Protocol>)
        });
        let endpoint = Endpoint::new(Address::Tcp(([127, 0, 0, 1], 0).into()), build);
        let ring = RingOptions { driver: setup.driver, ..RingOptions::default() };
        let options = ServerOptions { workers: 1, ring, ..outbound() };
        Self { server: Server::start(&[endpoint], &options).unwrap(), log }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let Address::Tcp(address) = self.server.addresses()[0].clone() else { panic!("TCP was asked for") };
        address
    }

    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(self.address()).expect("it listens");
        client.set_patience(PATIENCE);
        client
    }

    /// Sends a whole request on a connection of its own.
    pub(crate) fn ask(&self, request: &[u8]) -> Answer {
        let mut client = self.client();
        client.send(request).expect("it is open");
        client.answer(request.starts_with(b"HEAD")).expect("an answer")
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: example.org\r\n\r\n").as_bytes())
    }

    pub(crate) fn post(&self, target: &str, fields: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: example.org\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.ask(&[head.as_bytes(), body].concat())
    }

    /// Waits until the error log has a line with all of `parts`, and gives it.
    pub(crate) fn logged(&self, parts: &[&str]) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let found = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            if let Some(line) = found {
                return line.to_owned();
            }
            assert!(Instant::now() < until, "no line with {parts:?} in:\n{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(self) {
        self.server.drain(PATIENCE);
        assert_eq!(self.server.wait(PATIENCE).expect("no worker dies").panics, 0);
    }
}

/// Settings of a server that connects to others.
fn outbound() -> ServerOptions {
    ServerOptions { outbound: vec![Outbound::held(EndpointLimits::default())], ..ServerOptions::default() }
}

/// The body of an answer as text.
pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
