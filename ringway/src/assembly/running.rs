//! A server that runs from a configuration, and takes another one while it does.

use super::{Assembly, AssemblyError, Door, Kept, Provisions, assemble};
use crate::config::settings::Config;
use crate::engine::{Control, Server};
use crate::web::log::errors::ErrorLog;
use std::collections::BTreeMap;
use std::fmt;

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
        let kept = Kept::new();
        let Assembly { options, doors, errors, notes, shown } = assemble(config, &kept, provisions)?;
        let unpassed = doors.iter().find(|door| is_unpassed(door));
        if let Some(door) = unpassed {
            return Err(AssemblyError::new(
                "cannot listen",
                format_args!("nobody passed the socket {}", door.key),
            ));
        }
        let (keys, endpoints): (Vec<_>, Vec<_>) =
            doors.into_iter().map(|door| (door.key, door.endpoint)).unzip();
        let server =
            Server::start(&endpoints, &options).map_err(|why| AssemblyError::new("cannot start", why))?;
        kept.shelf.serve(config, shown, &errors)?;
        let control = server.control();
        let places = keys.into_iter().enumerate().map(|(place, key)| (key, place)).collect();
        Ok(Started { running: Self { control, kept, places, errors }, server, notes })
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
        let Assembly { doors, errors, notes, shown, .. } = assemble(config, &self.kept, provisions)?;
        let is_new = |door: &&Door| !self.places.contains_key(&door.key);
        if let Some(door) = doors.iter().filter(is_new).find(|door| is_unpassed(door)) {
            return Err(AssemblyError::new(
                "cannot listen",
                format_args!("nobody passed the socket {}", door.key),
            ));
        }
        // New addresses first: they are what may fail.
        let mut added = Vec::new();
        for door in doors.iter().filter(is_new) {
            match self.control.add(&door.endpoint) {
                Ok(place) => added.push((door.key.clone(), place)),
                Err(why) => {
                    let back_out = added.into_iter().try_for_each(|(_, place)| self.control.remove(place));
                    let error = AssemblyError::new(format_args!("cannot listen on {}", door.key), why);
                    return Err(back_out.err().map_or(error.clone(), |why| AssemblyError::new(error, why)));
                }
            }
        }
        for door in &doors {
            let Some(place) = self.places.get(&door.key) else { continue };
            let endpoint = &door.endpoint;
            let swapped = self.control.swap(
                *place,
                endpoint.protocol.clone(),
                endpoint.limits,
                endpoint.filter.clone(),
            );
            swapped.map_err(|why| AssemblyError::new(format_args!("cannot serve {} anew", door.key), why))?;
        }
        self.places.extend(added);
        let gone: Vec<String> =
            self.places.keys().filter(|key| doors.iter().all(|door| door.key != **key)).cloned().collect();
        for key in gone {
            let removed = self.places.remove(&key).map_or(Ok(()), |place| self.control.remove(place));
            removed.map_err(|why| AssemblyError::new(format_args!("cannot leave {key}"), why))?;
        }
        self.kept.shelf.serve(config, shown, &errors)?;
        self.errors = errors;
        Ok(notes)
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

    /// The error log.
    #[must_use]
    pub fn errors(&self) -> &ErrorLog {
        &self.errors
    }
}

/// Whether a door waits for a socket that systemd should have passed.
fn is_unpassed(door: &Door) -> bool {
    door.key.starts_with("systemd:") && door.endpoint.listeners.is_empty()
}
