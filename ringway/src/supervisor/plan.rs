//! What a configuration asks of the processes, apart from what is served.

use crate::control::{Reload, Secrets, Start};
use crate::engine::Endpoint;
use crate::sandbox::Rules;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// What one configuration asks of supervisor and server process.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The configuration, resolved.
    pub settings: Value,
    /// What of it the server process serves: all but what is `apart`.
    pub served: Value,
    /// What the server process needs and shall not be able to read itself, such as private keys.
    pub secrets: Secrets,
    /// The files they come from, and others whose change means a reload.
    pub watched: Vec<PathBuf>,
    /// Where to listen.
    pub places: Vec<Place>,
    /// Endpoints that have processes of their own.
    pub apart: Vec<Apart>,
    /// Worker threads; never 0.
    pub workers: usize,
    /// What the server process needs of the machine.
    pub rules: Rules,
    /// The part of the settings that a server process keeps all its life (its driver, say). Another one needs another
    /// process.
    pub fixed: Value,
    /// How long connections may finish what is under way.
    pub drain: Duration,
    /// Where the supervisor's number is written.
    pub pid_file: Option<PathBuf>,
    /// The console's socket.
    pub console: Option<PathBuf>,
    /// What an operator should know, as sentences.
    pub notes: Vec<String>,
    /// Which scripts are started for the server process, and how.
    #[cfg(feature = "cgi")]
    pub scripts: Vec<crate::starter::Rules>,
}

/// An endpoint with a server process of its own, and what that is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    /// The endpoint's name.
    pub name: String,
    /// The configuration, resolved, with this endpoint only.
    pub settings: Value,
    /// As in [`Plan`], of what it needs itself.
    pub secrets: Secrets,
    /// The keys of its places.
    pub keys: Vec<String>,
    /// Worker threads; never 0.
    pub workers: usize,
    /// What it needs of the machine.
    pub rules: Rules,
}

/// Somewhere to listen.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is called between the processes: what the configuration calls it.
    pub key: String,
    /// Where, and how the socket is made; the protocol is the server process's matter. `None`: a service manager passes
    /// the socket, under the name in `key`.
    pub endpoint: Option<Endpoint>,
}

/// Where plans come from: a configuration file, mostly.
pub trait Source {
    /// Reads and checks. Nothing has changed when it fails.
    ///
    /// # Errors
    /// What is wrong, for people; may have several lines.
    fn load(&mut self) -> Result<Plan, String>;

    /// The plan of a configuration that was read before: `settings` and `secrets` of a [`Plan`].
    ///
    /// # Errors
    /// What in it this program does not understand.
    fn revive(&mut self, settings: Value, secrets: Secrets) -> Result<Plan, String>;
}

impl Plan {
    /// What a server process is started with.
    pub(super) fn start(
        &self,
        generation: u64,
        listeners: Vec<(String, usize)>,
        ticket_keys: &[u8],
        has_starter: bool,
    ) -> Start {
        Start {
            generation,
            settings: self.served.clone(),
            secrets: self.secrets.clone(),
            listeners,
            workers: self.workers,
            rules: self.rules.clone(),
            ticket_keys: ticket_keys.to_vec(),
            drain_ms: self.drain_ms(),
            has_starter,
        }
    }

    /// What a running server process is given instead.
    pub(super) fn reload(&self, id: u64, listeners: Vec<(String, usize)>) -> Reload {
        let drain_ms = self.drain_ms();
        Reload { id, settings: self.served.clone(), secrets: self.secrets.clone(), listeners, drain_ms }
    }

    /// Which listening sockets are the server process's: those of nobody else.
    pub(super) fn own_keys(&self) -> Vec<String> {
        let is_own = |key: &&String| self.apart.iter().all(|apart| !apart.keys.contains(key));
        self.places.iter().map(|place| &place.key).filter(is_own).cloned().collect()
    }

    pub(super) fn drain_ms(&self) -> u64 {
        u64::try_from(self.drain.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Apart {
    /// As [`Plan::start`].
    pub(super) fn start(
        &self,
        generation: u64,
        listeners: Vec<(String, usize)>,
        ticket_keys: &[u8],
        drain_ms: u64,
    ) -> Start {
        Start {
            generation,
            settings: self.settings.clone(),
            secrets: self.secrets.clone(),
            listeners,
            workers: self.workers,
            rules: self.rules.clone(),
            ticket_keys: ticket_keys.to_vec(),
            drain_ms,
            has_starter: false,
        }
    }
}
