//! Upstreams: what is configured of servers behind this one, as the web door takes it.

use super::provisions::ReadSecret;
use super::{AssemblyError, Kept, Provisions};
use crate::config::settings::{
    self, Config, UpstreamBalance, UpstreamHealth, UpstreamProtocol, UpstreamProxyProtocol, UpstreamTls,
};
use crate::engine::{EndpointLimits, Outbound};
use crate::tls::{Authorities, Pem, TlsClient};
use crate::web::log::errors::ErrorLog;
use crate::web::upstream::{
    BackendOptions, Balance, Check, Encryption, Group, GroupOptions, MakeFilter, PassiveRules, ProxyHeader,
    Speaks, TryRules,
};
use ringway_lock::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// The place of connections to upstreams among the kinds of outbound connections.
const OUTBOUND: usize = 0;

/// Most connections to upstreams of one worker.
const CONNECTIONS_MAX: usize = 65_536;

/// Application protocols (RFC 7301): HTTP/1.1 and HTTP/2.
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// The upstreams of a configuration, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstreams(BTreeMap<String, Arc<Group>>);

impl Upstreams {
    /// The upstream of a name.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Group>, AssemblyError> {
        let found = self.0.get(name).cloned();
        found.ok_or_else(|| {
            AssemblyError::new(format_args!("no request can go to {name}"), "there is no such upstream")
        })
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<Group>> {
        self.0.values().cloned().collect()
    }
}

/// The upstreams of the configuration before, with what they were made of: one that is the same is taken over as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptUpstreams(Arc<Mutex<BTreeMap<String, Made>>>);

#[derive(Debug)]
struct Made {
    settings: settings::Upstream,
    /// The authorities that are believed, where they come from a file.
    authorities: Option<Vec<u8>>,
    group: Arc<Group>,
}

/// The kinds of connections that servers of configurations open themselves.
pub(super) fn outbound() -> Vec<Outbound> {
    vec![Outbound::held(EndpointLimits { connections_max: CONNECTIONS_MAX, ..EndpointLimits::default() })]
}

/// Makes the upstreams of `config`. Those that are as before stay; others take over the backends that they have in common.
pub(super) fn upstreams(
    config: &Config,
    kept: &Kept,
    provisions: &Provisions<'_>,
    errors: &ErrorLog,
) -> Result<Upstreams, AssemblyError> {
    let mut before = kept.upstreams.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut made = BTreeMap::new();
    for settings in &config.upstream {
        let name = settings.name.as_str();
        let cannot =
            |why: String| AssemblyError::new(format_args!("the upstream {name} cannot be used"), why);
        let authorities = authorities(settings, provisions.read_secret).map_err(cannot)?;
        let previous = before.get(name);
        let same = previous.filter(|made| made.settings == *settings && made.authorities == authorities);
        let group = match same {
            Some(made) => Arc::clone(&made.group),
            None => {
                let options = options(settings, authorities.as_deref()).map_err(cannot)?;
                let previous = previous.map(|made| &*made.group);
                Group::new(options, previous, None).map_err(cannot)?
            }
        };
        group.set_log(Some(errors.clone()));
        made.insert(name.to_owned(), Made { settings: settings.clone(), authorities, group });
    }
    *before = made;
    Ok(Upstreams(before.iter().map(|(name, made)| (name.clone(), Arc::clone(&made.group))).collect()))
}

fn options(settings: &settings::Upstream, authorities: Option<&[u8]>) -> Result<GroupOptions, String> {
    let speaks = match settings.protocol {
        UpstreamProtocol::Http => Speaks::Http1,
        UpstreamProtocol::H2 => Speaks::Http2,
        UpstreamProtocol::Fastcgi => Speaks::FastCgi,
    };
    let backends = settings.backend.iter().map(|backend| BackendOptions {
        origin: backend.address.origin().clone(),
        weight: backend.weight,
        is_backup: backend.backup,
    });
    let tls = settings.tls.as_ref();
    let encryption = tls.map(|tls| encryption(tls, speaks, authorities)).transpose()?;
    Ok(GroupOptions {
        speaks,
        balance: balance(settings.balance),
        connect_timeout_ms: settings.connect_timeout.ms(),
        tries: TryRules {
            attempts: settings.attempts,
            try_timeout_ms: settings.try_timeout.ms(),
            read_timeout_ms: settings.read_timeout.ms(),
            send_timeout_ms: settings.send_timeout.ms(),
        },
        idle_max: settings.keep_alive.into(),
        idle_ms_max: settings.idle_timeout.ms(),
        connections_max: settings.max_connections,
        queue_max: usize::try_from(settings.queue).unwrap_or(usize::MAX),
        queue_ms_max: settings.queue_timeout.ms(),
        passive: PassiveRules {
            fail_max: settings.fail_max,
            fail_window_ms: settings.fail_window.ms(),
            offline_ms_max: settings.offline.ms(),
        },
        check: settings.health.as_ref().map(check),
        slow_start_ms: settings.slow_start.ms(),
        resolve_ms: settings.resolve.ms(),
        encryption,
        proxy_header: settings.proxy_protocol.map(|version| match version {
            UpstreamProxyProtocol::V1 => ProxyHeader::V1,
            UpstreamProxyProtocol::V2 => ProxyHeader::V2,
        }),
        outbound: OUTBOUND,
        ..GroupOptions::new(settings.name.as_str(), backends.collect())
    })
}

const fn balance(balance: UpstreamBalance) -> Balance {
    match balance {
        UpstreamBalance::RoundRobin => Balance::RoundRobin,
        UpstreamBalance::LeastConnections => Balance::LeastConnections,
        UpstreamBalance::SourceHash => Balance::SourceHash,
        UpstreamBalance::FirstAlive => Balance::FirstAlive,
        UpstreamBalance::RandomTwo => Balance::RandomTwo,
    }
}

fn check(health: &UpstreamHealth) -> Check {
    Check {
        path: health.path.as_ref().map(|path| path.as_str().to_owned()),
        host: health.host.as_ref().map(|host| host.as_str().to_owned()),
        interval_ms: health.interval.ms(),
        timeout_ms: health.timeout.ms(),
        rise: health.rise,
        fall: health.fall,
    }
}

/// The file of authorities that are believed, read.
fn authorities(settings: &settings::Upstream, read: ReadSecret<'_>) -> Result<Option<Vec<u8>>, String> {
    let Some(ca) = settings.tls.as_ref().and_then(|tls| tls.ca.as_ref()) else { return Ok(None) };
    let bytes = read(ca.as_path());
    bytes.map(Some).map_err(|error| format!("{} cannot be read: {error}", ca.as_path().display()))
}

fn encryption(tls: &UpstreamTls, speaks: Speaks, authorities: Option<&[u8]>) -> Result<Encryption, String> {
    let protocols = match speaks {
        Speaks::Http1 => vec![HTTP1.to_vec()],
        Speaks::Http2 => vec![HTTP2.to_vec()],
        Speaks::FastCgi => Vec::new(),
    };
    let client = if tls.verify {
        let path = tls.ca.as_ref().map_or_else(PathBuf::new, |ca| ca.as_path().to_owned());
        let believed = authorities.map(|bytes| Authorities::Only(Pem { path, bytes: bytes.to_vec() }));
        TlsClient::new(&believed.unwrap_or_default(), protocols)
    } else {
        TlsClient::unverified(protocols)
    };
    let client = client.map_err(|problem| problem.to_string())?;
    let filter: MakeFilter = Arc::new(move |name: &str| {
        client
            .filter(name)
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem.to_string()))
    });
    let server_name = tls.server_name.as_ref().map(|name| name.as_str().to_owned());
    Ok(Encryption { filter, server_name })
}
