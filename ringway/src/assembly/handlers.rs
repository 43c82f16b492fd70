//! Endpoints with handlers of their own: what speaks there, and how it is replaced while the server runs.

use super::endpoint::{balance, datagrams, endpoint_limits, filtered, listen_options, places};
use super::{AssemblyError, Door, Kept, Provisions, tls};
use crate::config::settings::{Config, Trace};
use crate::engine::ring::socket::Address;
use crate::engine::{Control, Endpoint, EndpointLimits, FilterFactory, Preface, UdpEndpoint};
use crate::handlers::{KeptHandlers, Kind, Replaceable, Work};
use crate::running::HandlerPost;
use crate::snapshot::HandlerFigures;
use crate::web::log::errors::ErrorLog;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// One address of an endpoint of datagrams.
#[derive(Debug)]
pub struct DatagramDoor {
    /// The address as it is written in full, behind `udp:`.
    pub key: String,
    /// The name of the `[[endpoint]]`.
    pub name: String,
    /// What is served there.
    pub endpoint: UdpEndpoint,
    pub(super) switch: Replaceable,
}

/// What a configuration's handlers are.
#[derive(Debug, Default)]
pub(super) struct Handled {
    /// In the order of the configuration.
    pub(super) works: Vec<Arc<Work>>,
    pub(super) doors: Vec<Door>,
    pub(super) datagrams: Vec<DatagramDoor>,
}

/// The handlers of all endpoints that have some, and their doors.
pub(super) fn handled(
    config: &Config,
    kept: &Kept,
    provisions: &Provisions<'_>,
    secure: Option<&tls::Secure>,
    errors: &ErrorLog,
) -> Result<Handled, AssemblyError> {
    let mut handled = Handled::default();
    for endpoint in config.endpoint.iter().filter(|endpoint| !endpoint.is_http()) {
        let limits = endpoint.limits.over(&config.limits);
        let work = kept.handlers.work(endpoint, &limits, errors);
        let cannot =
            |why| AssemblyError::new(format_args!("cannot serve the endpoint {}", endpoint.name), why);
        let work = work.map_err(cannot)?;
        for (key, address) in places(endpoint)? {
            match &work.kind {
                Kind::Streams(protocol, terms) => {
                    let secure = secure.filter(|_| endpoint.tls);
                    let tls = secure.map(|secure| secure.speaking(false).filters());
                    let mut engine_endpoint = Endpoint {
                        balance: balance(endpoint.balance),
                        listen: listen_options(endpoint),
                        limits: endpoint_limits(&limits),
                        filter: filtered(endpoint, kept, errors, tls)?,
                        listeners: provisions.listeners.get(&key).cloned().unwrap_or_default(),
                        ..Endpoint::new(address, Arc::clone(protocol))
                    };
                    terms.prepare(&mut engine_endpoint);
                    handled.doors.push(Door {
                        key,
                        name: endpoint.name.to_string(),
                        is_tls: endpoint.tls,
                        endpoint: engine_endpoint,
                        governor: endpoint.governor.clone(),
                    });
                }
                Kind::Datagrams(_) => {
                    let made = address_of(&address).map(|address| datagrams(address, endpoint, &limits));
                    handled
                        .datagrams
                        .extend(made.and_then(|made| datagram_door(key, made, &work, kept, provisions)));
                }
            }
        }
        handled.works.push(work);
    }
    Ok(handled)
}

fn address_of(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    }
}

fn datagram_door(
    key: String,
    unserved: UdpEndpoint,
    work: &Work,
    kept: &Kept,
    provisions: &Provisions<'_>,
) -> Option<DatagramDoor> {
    let switch = kept.handlers.switch(&key).or_else(|| work.switch())?;
    let endpoint = UdpEndpoint {
        sockets: provisions.listeners.get(&key).cloned().unwrap_or_default(),
        handler: switch.factory(),
        ..unserved
    };
    Some(DatagramDoor { key, name: work.name().to_owned(), endpoint, switch })
}

/// A handler's endpoint, for operators.
pub(super) struct Post {
    name: String,
    kept: KeptHandlers,
    control: Control,
    places: Vec<Place>,
    switches: Vec<Replaceable>,
}

/// An endpoint of the engine's with a handler, and what its connections go through besides.
struct Place {
    number: usize,
    limits: EndpointLimits,
    filter: Option<FilterFactory>,
    preface: Option<Arc<dyn Preface>>,
}

impl Post {
    pub(super) fn new(
        work: &Work,
        kept: &Kept,
        control: &Control,
        doors: impl Iterator<Item = (usize, Endpoint)>,
        datagrams: &[DatagramDoor],
    ) -> Self {
        let place = |(number, endpoint): (usize, Endpoint)| Place {
            number,
            limits: endpoint.limits,
            filter: endpoint.filter,
            preface: endpoint.preface,
        };
        let own = datagrams.iter().filter(|door| door.name == work.name());
        Self {
            name: work.name().to_owned(),
            kept: kept.handlers.clone(),
            control: control.clone(),
            places: doors.map(place).collect(),
            switches: own.map(|door| door.switch.clone()).collect(),
        }
    }

    fn put_in_place(&self, work: &Work) -> Result<(), String> {
        let Kind::Streams(protocol, _) = &work.kind else { return Ok(()) };
        for place in &self.places {
            let (filter, preface) = (place.filter.clone(), place.preface.clone());
            let swapped =
                self.control.swap(place.number, Arc::clone(protocol), place.limits, filter, preface);
            swapped.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl HandlerPost for Post {
    fn name(&self) -> &str {
        &self.name
    }

    fn figures(&self) -> HandlerFigures {
        self.kept.figures(&self.name)
    }

    fn trace(&self, level: Trace) {
        self.kept.trace(&self.name, level);
    }

    fn replace(&self) -> Result<String, String> {
        let refused = |why: String| format!("{} was not replaced: {why}.", self.name);
        let (before, work) = self.kept.anew(&self.name).map_err(refused)?;
        if let Err(why) = self.put_in_place(&work) {
            // The first addresses may have it already.
            let _as_it_was = self.put_in_place(&before);
            return Err(refused(why));
        }
        self.switches.iter().for_each(|switch| switch.replace(&work));
        self.kept.put(&work);
        let about = self.figures();
        let what = if about.about.is_empty() { about.handler } else { about.about };
        Ok(format!(
            "{}: {what} serves new connections; those that are open end with the one before.",
            self.name
        ))
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("name", &self.name).finish_non_exhaustive()
    }
}
