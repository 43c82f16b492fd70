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
    /// The configuration, resolved, for the server process.
    pub settings: Value,
    /// What the server process needs and shall not be able to read itself, such as private keys.
    pub secrets: Secrets,
    /// The files they come from, and others whose change means a reload.
    pub watched: Vec<PathBuf>,
    /// Where to listen.
    pub places: Vec<Place>,
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
            settings: self.settings.clone(),
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
        Reload { id, settings: self.settings.clone(), secrets: self.secrets.clone(), listeners, drain_ms }
    }

    pub(super) fn drain_ms(&self) -> u64 {
        u64::try_from(self.drain.as_millis()).unwrap_or(u64::MAX)
    }
}
