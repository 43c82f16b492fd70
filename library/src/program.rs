//! A host: put together, started, stopped, ended.

use super::arrangement::Arrangement;
use super::begun::Beginning;
use ringway_face::{Hook, Host, Library, Refusal, Spot};
use server::assembly::{self, Provisions};
use server::engine::ring::socket::Address;
use server::hosting::{Directory, library_options, section_text};
use server::service::library::{self, census};
use server::service::{Service, SetupError};
use server::{engine, listen};
use std::sync::Arc;
use std::time::Duration;

/// How long plug-ins may take to be destroyed before whoever ends the host is not kept any longer.
const DESTROYED_MAX: Duration = Duration::from_secs(60);

/// How long what was said to the error log may take to be written at the end.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Makes one.
pub(crate) fn make() -> Box<dyn Host> {
    Box::new(Program {
        arrangement: Arrangement::default(),
        services: Vec::new(),
        beginning: Arc::new(Beginning::new()),
        phase: Phase::Young,
    })
}

struct Program {
    arrangement: Arrangement,
    services: Vec<Service>,
    beginning: Arc<Beginning>,
    phase: Phase,
}

enum Phase {
    /// It is put together.
    Young,
    Serving(Box<Serving>),
    /// It was stopped, or could not be started.
    Over,
}

struct Serving {
    server: engine::Server,
    running: assembly::Running,
}

impl Program {
    /// It can still be changed.
    fn young(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Young => Ok(()),
            Phase::Serving(_) => {
                Err(Refusal::state("this host serves already: it is put together before that"))
            }
            Phase::Over => Err(Refusal::state("this host was started once already: make another one")),
        }
    }
}

impl Host for Program {
    fn configure(&mut self, toml: &str) -> Result<(), Refusal> {
        self.young()?;
        self.arrangement.text(toml)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        self.young()?;
        self.arrangement.setting(key, value)
    }

    fn listen(&mut self, address: &str) -> Result<(), Refusal> {
        self.young()?;
        let parsed = listen::parse(address).map_err(|error| Refusal::invalid(error.to_string()))?;
        // A port alone is one on each loopback address, where a free one would be two.
        let is_one = address == "0" || !has_ipv6();
        let wanted = if is_one { &parsed[..parsed.len().min(1)] } else { &parsed[..] };
        self.arrangement.listen.extend(wanted.iter().map(ToString::to_string));
        Ok(())
    }

    fn site(&mut self, name: Option<&str>, root: Option<&str>) -> Result<(), Refusal> {
        self.young()?;
        let root = root.map(std::path::absolute).transpose();
        let root = root.map_err(|error| Refusal::invalid(format!("the directory: {error}")))?;
        let root = root.map(|root| root.to_string_lossy().into_owned());
        let site = self.arrangement.site(name);
        if root.is_some() && site.root.is_some() {
            return Err(Refusal::state(format!("the site {:?} has a directory already", site.name)));
        }
        site.root = site.root.take().or(root);
        Ok(())
    }

    fn library(&mut self, spot: &Spot<'_>, library: &Library) -> Result<u64, Refusal> {
        self.young()?;
        let (mut settings, known) = self.arrangement.service(spot)?;
        let explain = |error| Refusal::invalid(format!("settings of {}: {error}", spot.name));
        let options = library_options(&known).map_err(explain)?;
        // These are here already; the configuration's service is the one that has them.
        for own in ["sessions", "files"] {
            settings.remove(own);
        }
        let config = section_text(&known.config);
        let library = library::Library::of(library, &config, options);
        let library = library.map_err(|error| Refusal::invalid(error.to_string()))?;
        let beginning = Arc::clone(&self.beginning);
        self.services.push(library.service_behind(move |app| {
            let begun = beginning.begin().map_err(SetupError::new)?;
            app.on_exit(move || drop(begun));
            Ok(())
        }));
        self.arrangement.services.push((spot.name.to_owned(), settings));
        let site = self.arrangement.site(spot.site);
        site.routes.push((spot.path.to_owned(), spot.name.to_owned()));
        Ok(library.number())
    }

    fn workers(&mut self, hook: Hook) -> Result<(), Refusal> {
        self.young()?;
        let is_new = self.beginning.set(hook);
        if is_new { Ok(()) } else { Err(Refusal::state("this host has functions for workers already")) }
    }

    fn start(&mut self) -> Result<(), Refusal> {
        self.young()?;
        let config = self.arrangement.config()?;
        let services = Directory::new(self.services.iter().cloned()).map_err(Refusal::invalid)?;
        let provisions = Provisions { services, ..Provisions::own() };
        let started = assembly::Running::start(&config, &provisions);
        let assembly::Started { server, running, .. } =
            started.map_err(|error| Refusal::server(error.to_string()))?;
        self.phase = Phase::Serving(Box::new(Serving { server, running }));
        Ok(())
    }

    fn address(&self, index: usize) -> Option<(String, u16)> {
        let Phase::Serving(serving) = &self.phase else { return None };
        let address = serving.server.addresses().get(index)?;
        let port = match address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => 0,
        };
        Some((address.to_string(), port))
    }

    fn stop(&mut self, within: Duration) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Serving(serving) => serving.stop(within),
            Phase::Young => {
                self.phase = Phase::Young;
                Err(Refusal::state("this host does not serve: it was not started"))
            }
            Phase::Over => Err(Refusal::state("this host does not serve any more")),
        }
    }

    fn end(mut self: Box<Self>) {
        if let Phase::Serving(serving) = std::mem::replace(&mut self.phase, Phase::Over) {
            let _died = serving.stop(Duration::ZERO);
        }
        drop(self);
        // What was the program's is destroyed on threads of its own.
        census::wait(DESTROYED_MAX, |totals| totals.ending == 0);
    }
}

impl Serving {
    fn stop(self, within: Duration) -> Result<(), Refusal> {
        self.server.drain(within);
        let ended = self.server.wait(within);
        self.running.kept().flush_errors(FLUSH_MAX);
        ended.map(drop).map_err(Refusal::server)
    }
}

/// Whether this machine has the loopback address of IPv6.
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}
