//! A directory of files, served.

#[cfg(feature = "tls")]
mod certificates;

use crate::cores;
use crate::engine::ring::socket::{Address, ListenOptions};
use crate::engine::ring::{DriverChoice, RingOptions};
use crate::engine::{
    Balance, Endpoint, EndpointLimits, FilterFactory, Protocol, ProtocolFactory, Server, ServerOptions,
    StartError, WaitMode, WorkerHandle,
};
#[cfg(feature = "console")]
use crate::running::{EndpointPost, ModulePost, Posts, SitePost};
use crate::web::access_log::Format;
use crate::web::file_cache::CacheLimits;
use crate::web::file_store::FileStore;
use crate::web::limits::WebLimits;
use crate::web::load::LoadOptions;
use crate::web::log::access::AccessLog;
use crate::web::log::files::{LogFile, LogFiles, Rotation};
use crate::web::log::sink::LogSink;
use crate::web::protocol::Http;
use crate::web::root::{OpenRoot, Root, RootOptions};
use crate::web::site::Site;
use crate::web::site_counters::SiteBook;
use crate::web::sites::Sites;
use crate::web::static_files::{FilesOptions, StaticFiles};
#[cfg(feature = "tls")]
pub use certificates::ServeTls;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// Unsent bytes in a connection below which it takes more: what waits longer falls out of the processor's cache before
/// it is sent, and a window of this size still fills a gigabit path of 2 ms. The send buffer itself stays the kernel's to
/// tune, so a long fat pipe is not capped: what is in flight does not count.
pub(crate) const UNSENT_LOW_WATER_BYTES: u32 = 256 * 1024;

/// A connection is given to a worker with its first bytes, or after this many seconds.
pub(crate) const DEFER_ACCEPT_SECONDS: u32 = 5;

/// What the one site is called.
const SITE: &str = "default";

/// What part of the process's descriptors open files may keep, as a divisor.
const CACHED_DESCRIPTORS_SHARE: usize = 4;

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    #[default]
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// What to serve, and how.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The directory.
    pub root: PathBuf,
    /// Where to listen.
    pub listen: Vec<Address>,
    /// Addresses in `listen` that may be missing on this machine (IPv6 where there is none).
    pub is_listen_optional: bool,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// What carries operations out.
    pub driver: DriverChoice,
    /// How workers wait.
    pub wait: WaitMode,
    /// How connections find their worker.
    pub balance: Balance,
    /// Whether directories without index file are listed.
    pub listing: bool,
    /// Index files, the first that exists is served.
    pub index: Vec<String>,
    /// Format of the access log.
    pub log_format: Format,
    /// Where it goes.
    pub log: LogTarget,
    /// When a log file is begun anew by itself.
    pub log_rotation: Rotation,
    /// What is written to, once it is started: to have it opened anew, and to know what is missing.
    pub logs: LogFiles,
    /// Most connections on a worker.
    pub connections_max: usize,
    /// Most connections of one address on a worker; 0: no limit.
    pub connections_per_address_max: u32,
    /// Pending TCP Fast Open requests; 0: off.
    pub fast_open_queue: u32,
    /// Milliseconds to finish what is under way when asked to stop.
    pub drain_ms: u64,
    /// Limits of HTTP connections.
    pub limits: WebLimits,
    /// Where its console listens, if it has one.
    #[cfg(feature = "console")]
    pub console: Option<PathBuf>,
    /// What it has answered; counted where there is a console to tell it.
    pub book: Option<Arc<SiteBook>>,
    /// Which certificate is shown on TCP; `None`: no TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<ServeTls>,
}

impl Serve {
    /// Serves `root` on the default addresses with the defaults of a developer's machine.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            listen: Vec::new(),
            is_listen_optional: false,
            workers: 0,
            driver: DriverChoice::Auto,
            wait: WaitMode::Event,
            balance: Balance::ReusePort,
            listing: true,
            index: vec!["index.html".to_owned()],
            log_format: Format::Combined,
            log: LogTarget::Stdout,
            log_rotation: Rotation::default(),
            logs: LogFiles::new(),
            connections_max: EndpointLimits::default().connections_max,
            connections_per_address_max: 0,
            fast_open_queue: 0,
            drain_ms: 10_000,
            limits: WebLimits::default(),
            #[cfg(feature = "console")]
            console: None,
            book: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Starts serving.
    ///
    /// # Errors
    /// The first thing that cannot be had, as a sentence for people.
    pub fn start(&self) -> Result<Server, String> {
        #[cfg(feature = "tls")]
        let filter = self.tls_server()?.map(|(tls, _told)| tls.filters());
        #[cfg(not(feature = "tls"))]
        let filter = None;
        self.start_behind(filter)
    }

    /// Starts serving, with connections on TCP going through `filter`.
    ///
    /// # Errors
    /// As [`Serve::start`].
    pub fn start_behind(&self, filter: Option<FilterFactory>) -> Result<Server, String> {
        self.check_root()?;
        let log = self.open_log()?;
        let mut listen = self.listen.clone();
        loop {
            let endpoints: Vec<Endpoint> =
                listen.iter().map(|address| self.endpoint(address, log.clone(), filter.clone())).collect();
            match Server::start(&endpoints, &self.server_options()) {
                Ok(server) => return Ok(server),
                Err(StartError::Bind(address, error)) if self.may_miss(&listen, &error) => {
                    listen.retain(|other| *other != address);
                }
                Err(StartError::Bind(address, error)) => return Err(bind_sentence(&address, &error)),
                Err(error) => return Err(format!("{error}.")),
            }
        }
    }

    /// Why TCP Fast Open, if it is asked for, does not work here.
    #[must_use]
    pub fn fast_open_note(&self) -> Option<String> {
        self.listen.iter().find_map(|address| self.endpoint(address, None, None).fast_open_note())
    }

    /// What its faces tell of it, once it is started.
    #[cfg(feature = "console")]
    #[must_use]
    pub fn posts(&self, server: &Server) -> Posts {
        let endpoint = |address: &Address| {
            let speaks = self.speaks(address).to_owned();
            let address = address.to_string();
            Some(EndpointPost { name: address.clone(), address, speaks })
        };
        let addresses = server.addresses();
        let module = |name: &str, stage| ModulePost { name: name.to_owned(), stage, uses: addresses.len() };
        let mut modules = vec![module("static files", "handler")];
        if self.log != LogTarget::Off {
            modules.push(module("access log", "served"));
        }
        let root = Some(self.root.display().to_string());
        let site = |book: &Arc<SiteBook>| SitePost {
            name: SITE.to_owned(),
            hosts: vec!["*".to_owned()],
            root: root.clone(),
            scope: None,
            book: Arc::clone(book),
        };
        Posts {
            endpoints: addresses.iter().map(endpoint).collect(),
            sites: self.book.iter().map(site).collect(),
            limits: self.limits_told(),
            modules,
            log_files: self.logs.clone(),
            ..Posts::default()
        }
    }

    #[cfg(feature = "console")]
    fn speaks(&self, address: &Address) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() && matches!(address, Address::Tcp(_)) {
            return if cfg!(feature = "h2") { "HTTP/2 and HTTP/1.1 over TLS" } else { "HTTP/1.1 over TLS" };
        }
        let (_, _) = (self, address);
        "HTTP/1.1"
    }

    #[cfg(feature = "console")]
    fn limits_told(&self) -> Vec<(String, String)> {
        let seconds = |ms: u64| format!("{} s", ms / 1000);
        let of_an_address = match self.connections_per_address_max {
            0 => "no limit".to_owned(),
            most => format!("{most} a worker"),
        };
        let limits = [
            ("connections", format!("{} a worker", self.connections_max)),
            ("connections of an address", of_an_address),
            ("wait between requests", seconds(self.limits.idle_ms_max)),
            ("a request's head", seconds(self.limits.head_ms_max)),
            ("a request's body", seconds(self.limits.body_ms_max)),
            ("16 KiB of an answer", seconds(self.limits.send_window_ms)),
        ];
        limits.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn may_miss(&self, listen: &[Address], error: &io::Error) -> bool {
        let is_missing = matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported);
        // EAFNOSUPPORT has no kind of its own.
        self.is_listen_optional && listen.len() > 1 && (is_missing || error.raw_os_error() == Some(97))
    }

    /// Tries what every worker will do, so that the error comes before anything runs.
    fn check_root(&self) -> Result<(), String> {
        let shown = self.root.display();
        let sentence = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => format!("cannot serve {shown}: there is no such directory."),
            io::ErrorKind::NotADirectory => format!("cannot serve {shown}: it is not a directory."),
            io::ErrorKind::PermissionDenied => {
                format!("cannot serve {shown}: this user may not read it.")
            }
            _ => format!("cannot serve {shown}: {error}."),
        };
        let root = Root::open(&self.root, RootOptions::default(), 0).map_err(|error| sentence(&error))?;
        root.dir().check_readable().map_err(|error| sentence(&error))
    }

    fn open_log(&self) -> Result<Option<LogFile>, String> {
        let opened = match &self.log {
            LogTarget::Off => return Ok(None),
            LogTarget::Stdout => self.logs.stdout(),
            LogTarget::File(path) => self.logs.append(path, self.log_rotation),
        };
        let file = opened.map_err(|error| match &self.log {
            LogTarget::File(path) => format!("cannot write the log {}: {error}.", path.display()),
            _ => format!("cannot write the log to standard output: {error}."),
        })?;
        self.logs.add(&file);
        Ok(Some(file))
    }

    fn server_options(&self) -> ServerOptions {
        let ring = RingOptions { driver: self.driver, ..RingOptions::default() };
        let workers = if self.workers == 0 { cores::count() } else { self.workers };
        ServerOptions { workers, wait: self.wait, ring, ..ServerOptions::default() }
    }

    fn endpoint(&self, address: &Address, log: Option<LogFile>, filter: Option<FilterFactory>) -> Endpoint {
        let listen = ListenOptions {
            defer_accept_seconds: DEFER_ACCEPT_SECONDS,
            unsent_low_water_bytes: UNSENT_LOW_WATER_BYTES,
            fast_open_queue: self.fast_open_queue,
            ..ListenOptions::default()
        };
        let limits = EndpointLimits {
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            ..EndpointLimits::default()
        };
        let protocol = self.protocol(log);
        // Who reaches a Unix socket is on this machine.
        let filter = filter.filter(|_| matches!(address, Address::Tcp(_)));
        Endpoint { balance: self.balance, listen, limits, filter, ..Endpoint::new(address.clone(), protocol) }
    }

    fn protocol(&self, log: Option<LogFile>) -> ProtocolFactory {
        let options = Arc::new(LoadOptions {
            index: self.index.clone(),
            listing: self.listing,
            ..LoadOptions::default()
        });
        let (root, limits, format) = (self.root.clone(), self.limits, self.log_format);
        let book = self.book.clone();
        let cache =
            CacheLimits { descriptors_max: cached_descriptors_max(self.workers), ..CacheLimits::default() };
        Arc::new(move |worker: &WorkerHandle| {
            let root = OpenRoot::open(&root, RootOptions::default())?;
            let store = FileStore::of(worker, cache);
            let files = StaticFiles::new(&root, Arc::clone(&options), FilesOptions::default(), &store)?;
            let mut site = Site::with_handler(SITE, files);
            site.counters = book.as_ref().map(|book| book.open());
            if let Some(log) = &log {
                let sink = LogSink::new(log.clone(), worker)?;
                site.served.push(Box::new(AccessLog::new(format, sink)));
            }
            let http: Rc<dyn Protocol> =
                Rc::new(Http::new(Rc::new(Sites::new(site)), limits, worker.pool().clone()));
            Ok(http)
        })
    }
}

/// Descriptors that the file cache of each of so many workers (0: one per core) may hold; all of them together leave most to
/// connections.
pub(crate) fn cached_descriptors_max(workers: usize) -> usize {
    let workers = if workers == 0 { cores::count() } else { workers };
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let share = limit.map_or(usize::MAX, |limit| limit / CACHED_DESCRIPTORS_SHARE / workers);
    share.min(CacheLimits::default().descriptors_max)
}

fn bind_sentence(address: &Address, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen on {address}: another program does; choose a port with --listen.")
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}: this user may not; ports below 1024 need a privilege.")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("cannot listen on {address}: this machine does not have that address.")
        }
        _ => format!("cannot listen on {address}: {error}."),
    }
}
