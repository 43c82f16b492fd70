//! A server that runs from a configuration, and takes another one while it does.

use super::governor::{keep_to, wanted};
#[cfg(feature = "console")]
use super::posts::Told;
use super::{Assembly, AssemblyError, Door, Kept, Provisions, assemble, process};
use crate::config::settings::Config;
use crate::engine::{Control, GovernorHandle, Server};
#[cfg(feature = "console")]
use crate::running::{Posts, Running as Faces};
use crate::web::log::errors::ErrorLog;
use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "endpoints")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long it is waited until workers have been told of bandwidths.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// A server that was started.
#[derive(Debug)]
pub struct Started {
    /// The server, to be waited for.
    pub server: Server,
    /// To be told what to do.
    pub running: Running,
    /// What an operator should know: sentences.
    pub notes: Vec<String>,
}

/// A server that runs.
pub struct Running {
    control: Control,
    kept: Kept,
    /// The engine's numbers of endpoints, by the keys of their doors.
    places: BTreeMap<String, usize>,
    errors: ErrorLog,
    governor: GovernorHandle,
    /// Where datagrams are received, by the keys of their doors.
    #[cfg(feature = "endpoints")]
    datagrams: BTreeMap<String, SocketAddr>,
    /// What operators look at.
    #[cfg(feature = "console")]
    faces: Arc<Faces>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Running {
    /// Starts serving `config`.
    ///
    /// # Errors
    /// The first thing that cannot be had; nothing runs then.
    pub fn start(config: &Config, provisions: &Provisions<'_>) -> Result<Started, AssemblyError> {
        process::limit_descriptors(config.server.open_files)?;
        let kept = Kept::new();
        let mut assembly = assemble(config, &kept, provisions)?;
        let (doors, errors) = (&assembly.doors, assembly.errors.clone());
        refuse_unpassed(doors.iter())?;
        let endpoints: Vec<_> = doors.iter().map(|door| door.endpoint.clone()).collect();
        let started = Server::start(&endpoints, &assembly.options);
        let server = started.map_err(|why| AssemblyError::new("cannot start", why))?;
        kept.shelf.serve(config, provisions.read_secret, assembly.shown.take(), &errors)?;
        kept.note_errors(&errors);
        let control = server.control();
        let places = doors.iter().enumerate().map(|(place, door)| (door.key.clone(), place)).collect();
        let governor = server.governor();
        #[cfg_attr(not(feature = "endpoints"), expect(unused_mut, reason = "as with the feature"))]
        let mut running = Self {
            control,
            kept,
            places,
            errors,
            governor,
            #[cfg(feature = "endpoints")]
            datagrams: BTreeMap::new(),
            #[cfg(feature = "console")]
            faces: Arc::new(Faces::new(&server, provisions.generation, Posts::default())),
        };
        #[cfg(feature = "endpoints")]
        {
            let real = server.udp_addresses().iter().copied();
            running.datagrams = assembly.datagrams.iter().map(|door| door.key.clone()).zip(real).collect();
            let switches = assembly.datagrams.iter().map(|door| (door.key.clone(), door.switch.clone()));
            running.kept.handlers.keep_switches(switches);
        }
        running.govern(config, &assembly)?;
        running.post(config, &assembly);
        #[cfg(feature = "console")]
        running.kept.desk.open(Arc::clone(&running.faces));
        Ok(Started { running, server, notes: assembly.notes })
    }

    /// Serves `config` from now on. Connections that are open stay open. Addresses that are there already go on listening
    /// with what waits in their queues.
    ///
    /// # Errors
    /// What cannot be had; what was served is served on then. When it is an address, those before it in the configuration
    /// may be served anew already.
    pub fn reload(
        &mut self,
        config: &Config,
        provisions: &Provisions<'_>,
    ) -> Result<Vec<String>, AssemblyError> {
        let mut assembly = assemble(config, &self.kept, provisions)?;
        let (doors, errors) = (&assembly.doors, assembly.errors.clone());
        #[cfg(feature = "endpoints")]
        self.refuse_other_datagrams(&assembly)?;
        let is_new = |door: &&Door| !self.places.contains_key(&door.key);
        refuse_unpassed(doors.iter().filter(is_new))?;
        // New addresses first: they are what may fail.
        let added = self.add(doors.iter().filter(is_new))?;
        for door in doors {
            let Some(place) = self.places.get(&door.key) else { continue };
            let endpoint = &door.endpoint;
            let swapped = self.control.swap(
                *place,
                endpoint.protocol.clone(),
                endpoint.limits,
                endpoint.filter.clone(),
                endpoint.preface.clone(),
            );
            swapped.map_err(|why| AssemblyError::new(format_args!("cannot serve {} anew", door.key), why))?;
        }
        self.places.extend(added);
        #[cfg(feature = "endpoints")]
        self.replace_datagrams(&assembly);
        let gone: Vec<String> =
            self.places.keys().filter(|key| doors.iter().all(|door| door.key != **key)).cloned().collect();
        for key in gone {
            let removed = self.places.remove(&key).map_or(Ok(()), |place| self.control.remove(place));
            removed.map_err(|why| AssemblyError::new(format_args!("cannot leave {key}"), why))?;
        }
        self.govern(config, &assembly)?;
        self.kept.shelf.serve(config, provisions.read_secret, assembly.shown.take(), &errors)?;
        self.kept.note_errors(&errors);
        self.errors = errors;
        self.post(config, &assembly);
        Ok(assembly.notes)
    }

    /// Listens on more addresses, or on none of them.
    fn add<'a>(&self, doors: impl Iterator<Item = &'a Door>) -> Result<Vec<(String, usize)>, AssemblyError> {
        let mut added = Vec::new();
        for door in doors {
            match self.control.add(&door.endpoint) {
                Ok(place) => added.push((door.key.clone(), place)),
                Err(why) => {
                    let back_out = added.into_iter().try_for_each(|(_, place)| self.control.remove(place));
                    let error = AssemblyError::new(format_args!("cannot listen on {}", door.key), why);
                    return Err(back_out.err().map_or(error.clone(), |why| AssemblyError::new(error, why)));
                }
            }
        }
        Ok(added)
    }

    /// Sockets of datagrams are there as long as the server is.
    #[cfg(feature = "endpoints")]
    fn refuse_other_datagrams(&self, assembly: &Assembly) -> Result<(), AssemblyError> {
        let is_there = |door: &super::handlers::DatagramDoor| self.datagrams.contains_key(&door.key);
        if assembly.datagrams.iter().all(is_there) && assembly.datagrams.len() == self.datagrams.len() {
            return Ok(());
        }
        let why = "addresses of datagrams are those that the server was started with";
        Err(AssemblyError::new("cannot receive datagrams elsewhere", why))
    }

    /// Has the handlers of datagrams that are others take the places of those before.
    #[cfg(feature = "endpoints")]
    fn replace_datagrams(&self, assembly: &Assembly) {
        for door in &assembly.datagrams {
            let work = assembly.works.iter().find(|work| work.name() == door.name);
            let work = work.filter(|work| !self.kept.handlers.is_served(work));
            work.into_iter().for_each(|work| door.switch.replace(work));
        }
    }

    /// Keeps to the bandwidths of a configuration, and to no others.
    fn govern(&self, config: &Config, assembly: &Assembly) -> Result<(), AssemblyError> {
        let governed = assembly.doors.iter().filter_map(|door| Some((door, door.governor.as_ref()?)));
        let placed = governed.filter_map(|(door, settings)| {
            Some((*self.places.get(&door.key)?, door.name.as_str(), settings))
        });
        let all = wanted(config.governor.as_ref(), placed, &assembly.scopes);
        keep_to(&self.governor, &all)?;
        if !all.is_empty() {
            // Workers are told by their mailboxes, in order: once they answer, they keep to it.
            let _told_later_if_busy = self.control.is_alive(TOLD_WITHIN);
        }
        Ok(())
    }

    /// Tells the faces what is served now.
    #[cfg(feature = "console")]
    fn post(&self, config: &Config, assembly: &Assembly) {
        #[cfg(feature = "services")]
        self.kept.services.serve(&assembly.services, &config.service);
        #[cfg(feature = "endpoints")]
        self.kept.handlers.serve(&assembly.works, config, &self.errors);
        let addresses = self.control.addresses();
        let told = Told {
            config,
            doors: &assembly.doors,
            places: &self.places,
            addresses: &addresses,
            books: &assembly.books,
            scopes: &assembly.scopes,
            upstreams: &assembly.upstreams,
            #[cfg(feature = "services")]
            services: &assembly.services,
            #[cfg(feature = "endpoints")]
            handled: super::posts::Handled {
                works: &assembly.works,
                datagrams: &assembly.datagrams,
                received_at: &self.datagrams,
                control: &self.control,
            },
            kept: &self.kept,
            errors: &self.errors,
        };
        self.faces.replace(told.posts());
    }

    #[cfg(not(feature = "console"))]
    fn post(&self, _: &Config, _: &Assembly) {}

    /// What console, metrics, dashboard and health look at.
    #[cfg(feature = "console")]
    #[must_use]
    pub fn faces(&self) -> &Arc<Faces> {
        &self.faces
    }

    /// Opens log files anew; what went wrong: sentences.
    #[must_use]
    pub fn reopen_logs(&self) -> Vec<String> {
        let failed = self.kept.logs.reopen().into_iter();
        failed.map(|(path, error)| format!("cannot open {} anew: {error}.", path.display())).collect()
    }

    /// To change the engine's part directly: drain, look whether workers live.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What outlives configurations.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The error log.
    #[must_use]
    pub fn errors(&self) -> &ErrorLog {
        &self.errors
    }
}

/// A door may wait for a socket that systemd should have passed, and nobody has.
fn refuse_unpassed<'a>(mut doors: impl Iterator<Item = &'a Door>) -> Result<(), AssemblyError> {
    let unpassed = doors.find(|door| door.key.starts_with("systemd:") && door.endpoint.listeners.is_empty());
    unpassed.map_or(Ok(()), |door| {
        Err(AssemblyError::new("cannot listen", format_args!("nobody passed the socket {}", door.key)))
    })
}
