//! Assembly: from a configuration to what serves: endpoints with their sites, stages, handlers, limits and logs.
//!
//! What may fail, wait for a disk or be shared is made once, in `plan`; from that each worker makes its own values, in
//! `workshop`, without opening anything.

mod access;
mod authority;
#[cfg(feature = "cgi")]
mod cgi;
mod dav;
pub(crate) mod endpoint;
#[cfg(feature = "console")]
mod faces;
mod fastcgi;
mod files;
mod governor;
#[cfg(feature = "endpoints")]
mod handlers;
#[cfg(feature = "libraries")]
mod hooks;
mod kept;
mod logs;
mod plan;
#[cfg(feature = "console")]
mod posts;
mod process;
mod provisions;
mod proxy;
mod routes;
mod running;
#[cfg(feature = "services")]
mod services;
mod site;
mod spool;
pub(crate) mod tls;
mod upstream;
mod workshop;

#[cfg(feature = "cgi")]
pub use cgi::rules as script_rules;
#[cfg(feature = "endpoints")]
pub use handlers::DatagramDoor;
pub use kept::Kept;
pub use provisions::{Listeners, Provisions, ReadSecret};
pub use running::{Running, Started};

use crate::config::settings::{self, Config, Driver, Wait};
use crate::engine::ring::{DriverChoice, RingOptions};
use crate::engine::{Endpoint, ServerOptions, WaitMode};
use crate::web::log::errors::ErrorLog;
use crate::web::site_counters::SiteBook;
use crate::web::upstream::Group;
use std::fmt;
use std::sync::Arc;

/// A sentence for the operator about what cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssemblyError(String);

impl AssemblyError {
    fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}."))
    }
}

impl fmt::Display for AssemblyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AssemblyError {}

/// One address of a configured endpoint.
#[derive(Debug)]
pub struct Door {
    /// The address as it is written in full, or `systemd:` and the name of the socket that is passed.
    pub key: String,
    /// The name of the `[[endpoint]]`.
    pub name: String,
    /// Whether its connections are encrypted.
    pub is_tls: bool,
    /// What is served there.
    pub endpoint: Endpoint,
    /// Its bandwidth.
    pub governor: Option<settings::Governor>,
}

/// What serves a configuration.
#[derive(Debug)]
pub struct Assembly {
    /// Settings of the workers.
    pub options: ServerOptions,
    /// Where is served what, in the order of the configuration.
    pub doors: Vec<Door>,
    /// Where datagrams are served.
    #[cfg(feature = "endpoints")]
    pub datagrams: Vec<DatagramDoor>,
    /// The handlers of endpoints, in the order of the configuration.
    #[cfg(feature = "endpoints")]
    pub(crate) works: Vec<Arc<crate::handlers::Work>>,
    /// The error log.
    pub errors: ErrorLog,
    /// What an operator should know: sentences.
    pub notes: Vec<String>,
    /// What clients are shown, to be replaced as certificates are issued.
    pub(crate) shown: Option<tls::Shown>,
    /// The sites with a bandwidth of their own: number, name, settings.
    pub(crate) scopes: Vec<governor::SiteScope>,
    /// What the sites' requests are counted in, in the order of the configuration.
    pub(crate) books: Vec<Arc<SiteBook>>,
    /// Servers behind this one.
    pub(crate) upstreams: Vec<Arc<Group>>,
    /// Services, by the order of the configuration.
    #[cfg(feature = "services")]
    pub(crate) services: Vec<Arc<crate::hosting::Hosted>>,
}

/// Makes what serves `config`: opens roots, logs, lists of users, pages. Nothing is bound, no thread is started.
///
/// # Errors
/// The first thing that cannot be had.
pub fn assemble(
    config: &Config,
    kept: &Kept,
    provisions: &Provisions<'_>,
) -> Result<Assembly, AssemblyError> {
    let errors = logs::error_log(&config.log.error, kept)?;
    // A supervisor gives such to a process of its own, where it is not isolated any more.
    let isolated = config.endpoint.iter().filter(|endpoint| endpoint.isolate.is_some());
    let told = |endpoint: &settings::Endpoint| {
        format!("the endpoint \"{}\" is not isolated: this server has one process", endpoint.name)
    };
    let mut notes: Vec<String> = isolated.map(told).collect();
    let upstreams = upstream::upstreams(config, kept, provisions, &errors)?;
    kept.spool.prepare(&config.spool)?;
    #[cfg(feature = "cgi")]
    kept.starter.prepare(config, provisions)?;
    #[cfg(feature = "services")]
    let services = services::hosted(config, kept, provisions, &errors)?;
    #[cfg(not(feature = "services"))]
    let services = [];
    let plans = plan::Plans::new(config, kept, &upstreams, &errors, &services)?;
    let secure = tls::server(config, kept, provisions)?;
    let shown = secure.as_ref().map(tls::Secure::shown);
    let scopes = plans.scopes();
    let books = plans.books();
    let doors = endpoint::doors(config, kept, plans, provisions, secure.as_ref(), &errors, &mut notes)?;
    #[cfg(feature = "endpoints")]
    let (doors, handled) = {
        let mut handled = handlers::handled(config, kept, provisions, secure.as_ref(), &errors)?;
        (in_order(config, doors, &mut handled.doors), handled)
    };
    #[cfg(not(feature = "endpoints"))]
    refuse_handlers(config)?;
    let options = options(config, provisions, &errors);
    #[cfg(feature = "endpoints")]
    let options = {
        let udp = handled.datagrams.iter().map(|door| door.endpoint.clone()).collect();
        ServerOptions { udp, ..options }
    };
    Ok(Assembly {
        options,
        doors,
        #[cfg(feature = "endpoints")]
        datagrams: handled.datagrams,
        #[cfg(feature = "endpoints")]
        works: handled.works,
        errors,
        notes,
        shown,
        scopes,
        books,
        upstreams: upstreams.all(),
        #[cfg(feature = "services")]
        services,
    })
}

/// All doors in the order of the configuration.
#[cfg(feature = "endpoints")]
fn in_order(config: &Config, mut doors: Vec<Door>, handled: &mut Vec<Door>) -> Vec<Door> {
    doors.append(handled);
    let place = |door: &Door| config.endpoint.iter().position(|endpoint| endpoint.name.as_str() == door.name);
    doors.sort_by_key(place);
    doors
}

/// There are no handlers in a program that was built without them.
#[cfg(not(feature = "endpoints"))]
fn refuse_handlers(config: &Config) -> Result<(), AssemblyError> {
    let refused = config.endpoint.iter().find(|endpoint| !endpoint.is_http());
    refused.map_or(Ok(()), |endpoint| {
        let what = format_args!("cannot serve the endpoint {}", endpoint.name).to_string();
        Err(AssemblyError::new(what, "this program was built without handlers"))
    })
}

fn options(config: &Config, provisions: &Provisions<'_>, errors: &ErrorLog) -> ServerOptions {
    let server = &config.server;
    let driver = match server.driver {
        Driver::Auto => DriverChoice::Auto,
        Driver::Uring => DriverChoice::Uring,
        Driver::Epoll => DriverChoice::Epoll,
    };
    let wait = match server.wait {
        Wait::Event => WaitMode::Event,
        Wait::Adaptive => WaitMode::Adaptive,
        Wait::Polled => WaitMode::Polled,
    };
    ServerOptions {
        workers: provisions.workers.unwrap_or_else(|| server.workers.into()),
        wait,
        ring: RingOptions { driver, restrict: provisions.restrict, ..RingOptions::default() },
        pool_threads_max: server.pool_threads.into(),
        on_start: process::bind_to(&server.cpus, errors),
        outbound: upstream::outbound(),
        ..ServerOptions::default()
    }
}
