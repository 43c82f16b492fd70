//! Settings of endpoints.

use crate::config::settings::{ForwardedField, Framing, Governor, LimitOverrides};
use crate::config::values::{BackendAddress, Cidr, FilterText, HandlerSource, Host, Label, Listen};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where to listen, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its name, by which sites refer to it.
    pub name: Label,
    /// Where to listen.
    #[schemars(length(min = 1))]
    pub listen: Vec<Listen>,
    /// What is spoken: `http`, for sites; with a `handler` whatever it speaks, over streams (`tcp`, which Unix sockets are too) or
    /// datagrams (`udp`). Unset: `http` without a `handler`, `tcp` with one that does not want datagrams.
    #[serde(default)]
    pub protocol: Option<EndpointProtocol>,
    /// Who speaks there, instead of sites: a handler that is built in (`echo`, `discard`, `generator`, `length-echo`, `chat`,
    /// `gateway`, `mail`, `policy`, `udp-echo`, `multicast-relay`), or one in a shared library. A reload hands new connections
    /// to the new one; those that are open end with the one they began with. Unset: HTTP, and sites.
    #[serde(default)]
    pub handler: Option<HandlerSource>,
    /// How what comes is parted into messages for the `handler`. Unset: as a handler that is built in wants it, `none` for
    /// libraries.
    #[serde(default)]
    pub framing: Option<Framing>,
    /// What TCP's urgent data does to a connection with a `handler`: `abort` ends it, `inline` leaves the byte where it stands
    /// between the others, `separate` gives it to the handler apart from them.
    #[serde(default)]
    pub urgent: Urgent,
    /// Whether connections are encrypted; needs a `[[certificate]]`.
    #[serde(default)]
    pub tls: bool,
    /// Whether HTTP/2 is spoken with clients that want it: by ALPN with TLS, else with those that begin with it.
    #[serde(default = "yes")]
    pub http2: bool,
    /// How connections find their worker: `reuseport` lets the kernel spread them by a hash, `least-loaded` gives each to
    /// the worker with the fewest. Unix sockets are always `least-loaded`.
    #[serde(default)]
    pub balance: Balance,
    /// Pending TCP Fast Open requests; 0: off.
    #[serde(default)]
    pub fast_open: u16,
    /// Whether every connection begins with a header of the PROXY protocol (version 1 or 2) that says whose it is. Connections
    /// from elsewhere than `trusted` are refused; those to a Unix socket are believed.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// The field in which the `trusted` proxies say whom a request came from, each behind those before it: `x-forwarded-for`
    /// or `forwarded` (RFC 7239). Rules, limits of requests, logs and `proxy` take it for the client then. Unset: whoever has
    /// connected is the client.
    #[serde(default)]
    pub forwarded: Option<ForwardedField>,
    /// The proxies that are believed with `proxy_protocol` and `forwarded`. Limits of connections for addresses
    /// count whom they speak for by the PROXY protocol; with `forwarded` they count none of theirs.
    #[serde(default)]
    pub trusted: Vec<Cidr>,
    /// Limits that differ from `[limits]`.
    #[serde(default)]
    pub limits: LimitOverrides,
    /// The bandwidth of all the endpoint's addresses together, under the server's. Unset: no limit of its own.
    #[serde(default)]
    pub governor: Option<Governor>,
    /// Which pages may open WebSockets where `framing` has such, by their `Origin`: `https://example.org`. Empty: all may. Clients
    /// that are no browsers have none, and always may.
    #[serde(default)]
    pub origins: Vec<String>,
    /// What stands between connections and who speaks there, the first next to the connection. TLS, where it is on, is before them.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub filters: Vec<FilterText>,
    /// What the error log tells of the traffic with a `handler`: nothing (`off`), how much comes and goes (`sizes`), or the
    /// beginnings of it too (`bytes`; with TLS only their sizes). The console's `trace` changes it until the next reload.
    #[serde(default)]
    pub trace: Trace,
    /// Whether the `handler` may wait, for a disk or another server: it is called on threads of the pool then, one call for
    /// each connection at a time. Unset: it is called on workers, and must not.
    #[serde(default)]
    pub blocking: bool,
    /// Where the `handler` runs: `process`, in one of its own, which is started again when it ends by a crash; the connections
    /// of other endpoints live on. Unset: with everything else.
    #[serde(default)]
    pub isolate: Option<Isolation>,
    /// Multicast groups whose datagrams the `handler` receives: `239.1.2.3`.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub groups: Vec<Host>,
    /// Servers the `handler` connects to; those of `gateway` in its `config` need not be named. Where the server process is confined, TCP ports that nobody has named cannot be
    /// reached.
    #[serde(default)]
    pub connect: Vec<BackendAddress>,
    /// The `handler`'s own settings. A library gets them as text.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
}

fn yes() -> bool {
    true
}

/// What is spoken on an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum EndpointProtocol {
    #[default]
    Http,
    Tcp,
    Udp,
}

impl Endpoint {
    /// What is spoken, also where it is not written.
    #[must_use]
    pub fn spoken(&self) -> EndpointProtocol {
        match (self.protocol, &self.handler) {
            (Some(written), _) => written,
            (None, None) => EndpointProtocol::Http,
            (None, Some(HandlerSource::Builtin(name))) if DATAGRAM_HANDLERS.contains(&name.as_str()) => {
                EndpointProtocol::Udp
            }
            (None, Some(_)) => EndpointProtocol::Tcp,
        }
    }

    /// Whether it is for sites.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.spoken() == EndpointProtocol::Http
    }

    /// The multicast groups whose datagrams it receives.
    pub fn multicast(&self) -> impl Iterator<Item = IpAddr> {
        self.groups.iter().filter_map(|group| group.to_string().parse().ok())
    }

    /// Servers that its handler connects to.
    #[must_use]
    pub fn reaches(&self) -> Vec<BackendAddress> {
        let is_gateway = matches!(&self.handler, Some(HandlerSource::Builtin(name)) if name == "gateway");
        let targets = match self.config.get("targets").filter(|_| is_gateway) {
            Some(Value::Array(targets)) => targets.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(targets)) => targets.split(',').map(str::trim).collect(),
            _ => Vec::new(),
        };
        let targets = targets.into_iter().filter_map(|target| target.parse().ok());
        self.connect.iter().cloned().chain(targets).collect()
    }

    /// What its handler reads when it is made, where that is built in.
    #[must_use]
    pub fn reads(&self) -> Option<&std::path::Path> {
        let setting = match &self.handler {
            Some(HandlerSource::Builtin(name)) if name == "mail" => "directory",
            Some(HandlerSource::Builtin(name)) if name == "policy" => "file",
            _ => return None,
        };
        self.config.get(setting).and_then(Value::as_str).map(std::path::Path::new)
    }

    /// The shared libraries it needs.
    pub fn libraries(&self) -> impl Iterator<Item = &std::path::Path> {
        let of_handler = self.handler.iter().filter_map(HandlerSource::library);
        of_handler.chain(self.filters.iter().filter_map(FilterText::library))
    }
}

/// Handlers that are built in and want datagrams.
const DATAGRAM_HANDLERS: [&str; 2] = ["udp-echo", "multicast-relay"];

/// What urgent data does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Urgent {
    Abort,
    #[default]
    Inline,
    Separate,
}

/// What is told of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Trace {
    #[default]
    Off,
    Sizes,
    Bytes,
}

/// Where a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Isolation {
    Process,
}

/// How connections find their worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Balance {
    #[default]
    Reuseport,
    LeastLoaded,
}
