//! The façade: a program of one's own that serves services, in one process or as everything that `ringway run` is.
//!
//! ```no_run
//! use ringway::service::Service;
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     let hello = Service::new("hello", |app| {
//!         app.get("/", |_: &ringway::service::Request<'_>| "Hello, world!");
//!         Ok(())
//!     });
//!     ringway::Server::new().service("/", hello).run()
//! }
//! ```

mod arrangement;
mod options;
mod running;

pub use running::Started;

use crate::assembly::Listeners;
use crate::command;
use crate::hosting::{self, Directory};
use crate::service::Service;
use options::Wanted;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Wrong use, or something that cannot be had at the start.
const CANNOT_START: u8 = 2;

/// A server of one's own services.
///
/// [`Server::run`] reads the command line. Without `--config` it serves in this process what was put together here; with it,
/// and with the commands of `ringway` (`run`, `check`, `console` ...), the services are those that a configuration names in
/// `[[service]]`, and the same program is supervisor and server process.
#[derive(Debug, Default)]
pub struct Server {
    sites: Vec<Site>,
    /// Known to configurations only.
    offered: Vec<Service>,
    listen: Vec<String>,
}

/// What a server answers for some names.
#[derive(Debug, Default)]
pub struct Site {
    names: Vec<String>,
    root: Option<PathBuf>,
    services: Vec<(String, Service)>,
}

impl Site {
    /// A site of that name: `example.org`, `*.example.org`, or `*` for whatever no other site is for.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { names: vec![name.to_owned()], ..Self::default() }
    }

    /// One name more.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Has `service` answer below `path`, which begins with a slash: `/` is everything, `/chat` is `/chat` and what is below.
    /// The longest path that fits counts.
    #[must_use]
    pub fn service(mut self, path: &str, service: Service) -> Self {
        self.services.push((path.to_owned(), service));
        self
    }

    /// Serves the files of a directory where no service is.
    #[must_use]
    pub fn files(mut self, directory: impl Into<PathBuf>) -> Self {
        self.root = Some(directory.into());
        self
    }
}

impl Server {
    /// A server without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `service` answer below `path` whatever name is asked for; as [`Site::service`].
    #[must_use]
    pub fn service(mut self, path: &str, service: Service) -> Self {
        let site = self.everything();
        site.services.push((path.to_owned(), service));
        self
    }

    /// Has a service of tower, such as axum's `Router`, or a [`crate::service::tower::Tower`] with its settings, answer everything.
    #[cfg(feature = "tower")]
    #[must_use]
    pub fn tower(self, application: impl crate::service::tower::IntoService) -> Self {
        self.service("/", application.into_service("tower"))
    }

    /// Serves the files of a directory where no service is.
    #[must_use]
    pub fn files(mut self, directory: impl Into<PathBuf>) -> Self {
        self.everything().root = Some(directory.into());
        self
    }

    /// A site for some names.
    #[must_use]
    pub fn site(mut self, site: Site) -> Self {
        self.sites.push(site);
        self
    }

    /// Makes a service known to configurations without having it answer where there is none.
    #[must_use]
    pub fn offer(mut self, service: Service) -> Self {
        self.offered.push(service);
        self
    }

    /// Where to listen when the command line does not say it: `8080`, `127.0.0.1:8080`, `:8080`, `unix:/path`. May be said
    /// several times.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(address.to_owned());
        self
    }

    /// The site for every name.
    fn everything(&mut self) -> &mut Site {
        let place = self.sites.iter().position(|site| site.names == ["*"]).unwrap_or_else(|| {
            self.sites.push(Site::new("*"));
            self.sites.len() - 1
        });
        &mut self.sites[place]
    }

    /// Does what the command line says, until a signal ends it. Must be called while the process has one thread.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let mut words = std::env::args_os();
        let program = words.next().unwrap_or_default();
        let is_command = words.next().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-"));
        match self.directory() {
            Ok(services) => hosting::link(services),
            Err(sentence) => return refuse(&sentence),
        }
        if is_command {
            return command::main();
        }
        match options::parse(lexopt::Parser::from_env()) {
            Ok(Wanted::Help) => help(&program),
            Ok(Wanted::Configured { file, takes_over, rehearses }) => {
                command::run(file, takes_over, rehearses)
            }
            Ok(Wanted::Serve(options)) => running::run(&self, &options),
            Err(sentence) => refuse(&format!("{sentence} Try --help.")),
        }
    }

    /// Starts serving in this process, without a look at the command line, environment or signals: for programs that do more
    /// than this, and for tests.
    ///
    /// # Errors
    /// A sentence: the first thing that cannot be had.
    pub fn start(self) -> Result<Started, String> {
        running::start(&self, &options::Options::default(), Listeners::new())
    }

    /// All services, for configurations.
    fn directory(&self) -> Result<Directory, String> {
        let of_sites = self.sites.iter().flat_map(|site| site.services.iter().map(|(_, service)| service));
        Directory::new(of_sites.chain(&self.offered).cloned())
    }
}

fn refuse(sentence: &str) -> ExitCode {
    eprintln!("ringway: {sentence}");
    ExitCode::from(CANNOT_START)
}

fn help(program: &OsString) -> ExitCode {
    use std::io::Write;
    let name = Path::new(program).file_name().unwrap_or(program).display();
    let _reader_gone = write!(std::io::stdout(), "Usage: {name} {}", options::HELP);
    ExitCode::SUCCESS
}
