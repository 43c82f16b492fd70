//! The governor: bandwidths of the server, its endpoints and sites, set where they are kept to.

use super::AssemblyError;
use crate::config::settings::{self, GovernorDirection, GovernorMethod, GovernorPolicy};
use crate::engine::{Bandwidth, Direction, EstimateBy, GovernorHandle, Policy, Scope};
use std::collections::BTreeMap;
use std::fmt;

/// A site with a bandwidth of its own.
#[derive(Clone, Debug)]
pub(crate) struct SiteScope {
    pub(crate) number: u16,
    pub(crate) name: String,
    pub(crate) settings: settings::Governor,
}

/// One bandwidth that is kept to.
#[derive(Clone, Debug)]
pub(super) struct Governed {
    scope: Scope,
    /// What operators call it.
    name: String,
    bandwidth: Bandwidth,
}

/// The bandwidths of a server, as they were set last.
pub(super) struct Governors {
    handle: GovernorHandle,
    set: Vec<Governed>,
}

impl Governors {
    pub(super) fn new(handle: GovernorHandle) -> Self {
        Self { handle, set: Vec::new() }
    }

    /// Keeps to these from now on, and to no others. Open connections go on under them.
    pub(super) fn keep_to(&mut self, wanted: Vec<Governed>) -> Result<(), AssemblyError> {
        for gone in self.set.iter().filter(|old| wanted.iter().all(|new| new.scope != old.scope)) {
            self.handle.set(gone.scope, None);
        }
        for governed in &wanted {
            if !self.handle.set(governed.scope, Some(governed.bandwidth)) {
                let why = "there are too many bandwidths already";
                return Err(AssemblyError::new(format_args!("cannot govern {}", governed.name), why));
            }
        }
        self.set = wanted;
        Ok(())
    }
}

impl fmt::Debug for Governors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governors").field("set", &self.set).finish_non_exhaustive()
    }
}

/// All bandwidths of a configuration. `endpoints` are the engine's places with the names and settings of endpoints.
pub(super) fn wanted<'a>(
    server: Option<&settings::Governor>,
    endpoints: impl Iterator<Item = (usize, &'a str, &'a settings::Governor)>,
    sites: &[SiteScope],
) -> Vec<Governed> {
    let of_server = server.map(|settings| (Scope::Server, "server".to_owned(), settings));
    let of_endpoints = endpoints
        .map(|(place, name, settings)| (Scope::Endpoint(place), format!("endpoint {name}"), settings));
    let of_sites =
        sites.iter().map(|site| (Scope::Site(site.number), format!("site {}", site.name), &site.settings));
    let all = of_server.into_iter().chain(of_endpoints).chain(of_sites);
    all.map(|(scope, name, settings)| Governed { scope, name, bandwidth: bandwidth(settings) }).collect()
}

fn bandwidth(settings: &settings::Governor) -> Bandwidth {
    Bandwidth {
        direction: match settings.direction {
            GovernorDirection::Sent => Direction::Sent,
            GovernorDirection::Received => Direction::Received,
            GovernorDirection::Both => Direction::Both,
        },
        policy: match settings.policy {
            GovernorPolicy::Full => Policy::Table,
            GovernorPolicy::Simple => Policy::Simple,
        },
        estimate: match settings.method {
            GovernorMethod::Histogram => EstimateBy::Histogram,
            GovernorMethod::Average => EstimateBy::RunningAverage,
        },
        reads_waiting_max: usize::try_from(settings.queue).unwrap_or(usize::MAX),
        read_wait_ms_max: settings.wait.ms(),
        ..Bandwidth::new(settings.rate.bytes())
    }
}

/// Numbers of sites as scopes: the same site keeps its own when the configuration is read again.
#[derive(Debug, Default)]
pub(super) struct ScopeNumbers(BTreeMap<String, u16>);

impl ScopeNumbers {
    /// The number of the site of that name, from 1 on.
    pub(super) fn of(&mut self, name: &str) -> Result<u16, AssemblyError> {
        let next = self.0.len() + 1;
        if let Some(number) = self.0.get(name) {
            return Ok(*number);
        }
        let too_many =
            |_| AssemblyError::new(format_args!("cannot govern site {name}"), "there are too many sites");
        let number = u16::try_from(next).map_err(too_many)?;
        self.0.insert(name.to_owned(), number);
        Ok(number)
    }
}
