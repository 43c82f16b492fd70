//! Endpoints: addresses, limits, and what speaks there.

use super::plan::Plans;
use super::workshop::{Blueprint, Workshop};
use super::{AssemblyError, Door, Kept, Provisions, proxy, tls};
use crate::config::settings::{self, Config, EndpointProtocol, Limits};
use crate::config::values::Listen;
#[cfg(feature = "endpoints")]
use crate::engine::FilterFactory;
use crate::engine::ring::socket::{Address, DatagramSocketOptions, Interface, ListenOptions};
use crate::engine::ring::{DATAGRAM_BYTES_MAX, DatagramOptions};
use crate::engine::{
    Balance, Endpoint, EndpointLimits, OverCapacity, Preface, ProtocolFactory, UdpEndpoint, WorkerHandle,
};
use crate::serve::{DEFER_ACCEPT_SECONDS, UNSENT_LOW_WATER_BYTES, cached_descriptors_max};
use crate::web::file_cache::CacheLimits;
use crate::web::limits::WebLimits;
use crate::web::log::errors::ErrorLog;
use crate::web::proxy_protocol::{ProxyProtocol, TrustedProxies};
use crate::web::rules::addresses::AddressSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What the keys of addresses for datagrams begin with: a stream may have the same address.
const DATAGRAMS: &str = "udp:";

/// The doors of all endpoints for sites, in their order.
pub(super) fn doors(
    config: &Config,
    kept: &Kept,
    plans: Plans,
    provisions: &Provisions<'_>,
    secure: Option<&tls::Secure>,
    errors: &ErrorLog,
    notes: &mut Vec<String>,
) -> Result<Vec<Door>, AssemblyError> {
    let workers = provisions.workers.unwrap_or_else(|| config.server.workers.into());
    let cache = CacheLimits { descriptors_max: cached_descriptors_max(workers), ..CacheLimits::default() };
    let blueprint = Arc::new(Blueprint::new(plans, kept.gate.clone(), cache));
    let problems = secure.into_iter().flat_map(|secure| &secure.problems);
    notes.extend(problems.map(|problem| format!("{problem}.")));
    let mut doors = Vec::new();
    for endpoint in config.endpoint.iter().filter(|endpoint| endpoint.is_http()) {
        let limits = endpoint.limits.over(&config.limits);
        let mut web = WebLimits { h2_prior_knowledge: endpoint.http2, ..web_limits(&limits) };
        web.h2.has_connect_protocol = has_sockets_of_its_own(config);
        let protocol = protocol(&blueprint, endpoint, web);
        let secure = secure.filter(|_| endpoint.tls);
        let filter = secure.map(|secure| secure.speaking(endpoint.http2).filters());
        #[cfg(feature = "endpoints")]
        let filter = filtered(endpoint, kept, errors, filter)?;
        for (key, address) in places(endpoint)? {
            let listeners = provisions.listeners.get(&key).cloned().unwrap_or_default();
            let endpoint_of_engine = Endpoint {
                balance: balance(endpoint.balance),
                listen: listen_options(endpoint),
                limits: endpoint_limits(&limits),
                filter: filter.clone(),
                preface: preface(endpoint, errors),
                listeners,
                ..Endpoint::new(address, Arc::clone(&protocol))
            };
            let name = endpoint.name.to_string();
            doors.push(Door {
                key,
                name,
                is_tls: endpoint.tls,
                endpoint: endpoint_of_engine,
                governor: endpoint.governor.clone(),
            });
        }
    }
    Ok(doors)
}

/// What connections of an endpoint go through: its filters, with its TLS among them.
#[cfg(feature = "endpoints")]
pub(super) fn filtered(
    endpoint: &settings::Endpoint,
    kept: &Kept,
    errors: &ErrorLog,
    tls: Option<FilterFactory>,
) -> Result<Option<FilterFactory>, AssemblyError> {
    let cannot = |why| AssemblyError::new(format_args!("cannot serve the endpoint {}", endpoint.name), why);
    let filters = kept.filters.of(endpoint, errors).map_err(cannot)?;
    Ok(match filters {
        Some(filters) => Some(filters.factory(tls)),
        None => tls,
    })
}

/// Whether browsers may open WebSockets over streams of HTTP/2: where services answer them. A backend behind a proxy is asked
/// over HTTP/1 only, and a browser that may use a stream does not try a connection.
fn has_sockets_of_its_own(config: &Config) -> bool {
    let routes = || config.site.iter().flat_map(|site| &site.route);
    routes().any(|route| route.service.is_some()) && routes().all(|route| route.proxy.is_none())
}

/// The addresses of an endpoint with their keys. What systemd passes has none of its own.
pub(super) fn places(endpoint: &settings::Endpoint) -> Result<Vec<(String, Address)>, AssemblyError> {
    let mut places = Vec::new();
    for listen in &endpoint.listen {
        if let Listen::Passed(_) = listen {
            let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
            places.push((listen.to_string(), Address::Tcp(nowhere)));
        }
        let addresses = listen.resolve().map_err(|why| AssemblyError::new("cannot listen", why))?;
        places.extend(addresses.into_iter().map(|address| (key(endpoint, &address), address)));
    }
    Ok(places)
}

/// What an address is called between processes and configurations.
pub(crate) fn key(endpoint: &settings::Endpoint, address: &Address) -> String {
    let kind = if endpoint.spoken() == EndpointProtocol::Udp { DATAGRAMS } else { "" };
    match address {
        // Any free port is another one for each endpoint.
        Address::Tcp(tcp) if tcp.port() == 0 => format!("{kind}{tcp} of {}", endpoint.name),
        address => format!("{kind}{address}"),
    }
}

fn protocol(blueprint: &Arc<Blueprint>, endpoint: &settings::Endpoint, limits: WebLimits) -> ProtocolFactory {
    let (blueprint, name) = (Arc::clone(blueprint), endpoint.name.clone());
    let trust = proxy::trust(endpoint).map(Arc::new);
    Arc::new(move |worker: &WorkerHandle| {
        Workshop::of(&blueprint, worker).protocol(&name, limits, trust.clone())
    })
}

/// The proxies in front of an endpoint, and how they say whom they speak for.
fn preface(endpoint: &settings::Endpoint, errors: &ErrorLog) -> Option<Arc<dyn Preface>> {
    let trusted: AddressSet = endpoint.trusted.iter().map(|network| network.network()).collect();
    if endpoint.proxy_protocol {
        Some(Arc::new(ProxyProtocol::new(trusted, errors.clone())))
    } else if endpoint.forwarded.is_some() && !trusted.is_empty() {
        Some(Arc::new(TrustedProxies::new(trusted)))
    } else {
        None
    }
}

pub(crate) fn balance(balance: settings::Balance) -> Balance {
    match balance {
        settings::Balance::Reuseport => Balance::ReusePort,
        settings::Balance::LeastLoaded => Balance::LeastLoaded,
    }
}

pub(crate) fn listen_options(endpoint: &settings::Endpoint) -> ListenOptions {
    ListenOptions {
        // Where a handler speaks, it may be the server that speaks first: nobody waits for a client's first bytes.
        defer_accept_seconds: if endpoint.is_http() { DEFER_ACCEPT_SECONDS } else { 0 },
        unsent_low_water_bytes: UNSENT_LOW_WATER_BYTES,
        fast_open_queue: endpoint.fast_open.into(),
        ..ListenOptions::default()
    }
}

pub(super) fn endpoint_limits(limits: &Limits) -> EndpointLimits {
    EndpointLimits {
        connections_max: usize::try_from(limits.connections).unwrap_or(usize::MAX),
        connections_per_address_max: limits.connections_per_address,
        handshake_ms_max: limits.handshake_timeout.ms(),
        over_capacity: match limits.over_capacity {
            settings::OverCapacity::Drop => OverCapacity::Drop,
            settings::OverCapacity::Resist => OverCapacity::Resist,
            settings::OverCapacity::Busy => OverCapacity::Busy,
        },
        send_bytes_per_s: limits.connection_rate.bytes(),
        send_burst_bytes: limits.connection_burst.bytes(),
        ..EndpointLimits::default()
    }
}

/// An endpoint of datagrams as its socket is made, before it has a handler.
#[cfg_attr(
    not(feature = "sandbox"),
    allow(dead_code, reason = "supervisors and handlers have sockets of datagrams")
)]
pub(crate) fn datagrams(address: SocketAddr, endpoint: &settings::Endpoint, limits: &Limits) -> UdpEndpoint {
    let nothing = Arc::new(|_: &WorkerHandle| Err(io::Error::other("nobody serves here")));
    let payload_bytes = usize::try_from(limits.message_size.bytes()).unwrap_or(usize::MAX);
    UdpEndpoint {
        socket: DatagramSocketOptions { gro: true, ..DatagramSocketOptions::default() },
        datagrams: DatagramOptions {
            payload_bytes: payload_bytes.clamp(1, DATAGRAM_BYTES_MAX),
            ..DatagramOptions::default()
        },
        groups: endpoint.multicast().map(|group| (group, Interface::Any)).collect(),
        ..UdpEndpoint::new(address, nothing)
    }
}

fn web_limits(limits: &Limits) -> WebLimits {
    let small = |size: crate::config::values::Size| u32::try_from(size.bytes()).unwrap_or(u32::MAX);
    let mut web = WebLimits {
        head_ms_max: limits.head_timeout.ms(),
        idle_ms_max: limits.idle_timeout.ms(),
        body_ms_max: limits.body_timeout.ms(),
        send_window_ms: limits.send_timeout.ms(),
        send_window_bytes_min: limits.send_min.bytes(),
        requests_max: limits.requests,
        lifetime_ms_max: limits.lifetime.ms(),
        ..WebLimits::default()
    };
    web.head.line_bytes_max = small(limits.line_size);
    web.head.head_bytes_max = small(limits.head_size);
    web.head.fields_max = limits.fields;
    web.body.body_bytes_max = limits.body_size.bytes();
    web
}
