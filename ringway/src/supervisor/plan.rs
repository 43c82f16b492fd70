//! What a configuration asks of the processes, apart from what is served.

use crate::control::{Reload, Secrets, Start};
use crate::engine::{Endpoint, UdpEndpoint};
use crate::sandbox::Rules;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
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
    /// Where, and how the socket is made.
    pub bound: Bound,
}

/// How a socket comes to be; what is spoken there is the server process's matter.
#[derive(Clone, Debug)]
pub enum Bound {
    /// It listens for connections.
    Streams(Endpoint),
    /// It receives datagrams.
    Datagrams(UdpEndpoint),
    /// A service manager passes it, under the name in the key.
    Passed,
}

impl Plan {
    /// Why a server process that serves this plan cannot take its addresses for those of another one.
    pub(super) fn differs_in_sockets(&self, other: &Self) -> Option<&'static str> {
        let of_datagrams = |plan: &Self| -> BTreeSet<(String, Vec<IpAddr>)> {
            let places = plan.places.iter().filter_map(|place| match &place.bound {
                Bound::Datagrams(endpoint) => {
                    Some((place.key.clone(), endpoint.groups.iter().map(|(group, _)| *group).collect()))
                }
                Bound::Streams(_) | Bound::Passed => None,
            });
            places.collect()
        };
        if of_datagrams(self) != of_datagrams(other) {
            return Some("it receives datagrams elsewhere");
        }
        let waits = |plan: &Self| -> BTreeMap<String, u32> {
            let streams = plan.places.iter().filter_map(|place| match &place.bound {
                Bound::Streams(endpoint) => Some((place.key.clone(), endpoint.listen.defer_accept_seconds)),
                Bound::Datagrams(_) | Bound::Passed => None,
            });
            streams.collect()
        };
        let (before, now) = (waits(self), waits(other));
        let is_other = now.iter().any(|(key, seconds)| before.get(key).is_some_and(|old| old != seconds));
        is_other.then_some("who speaks first at an address has changed")
    }
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
