//! Settings of endpoints.

use crate::config::settings::{ForwardedField, Governor, LimitOverrides};
use crate::config::values::{Cidr, Label, Listen};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where to listen, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its name, by which sites refer to it.
    pub name: Label,
    /// Where to listen.
    #[schemars(length(min = 1))]
    pub listen: Vec<Listen>,
    /// What is spoken.
    #[serde(default)]
    pub protocol: EndpointProtocol,
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
