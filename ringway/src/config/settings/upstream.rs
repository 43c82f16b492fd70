//! Settings of upstreams: servers behind this one.

use crate::config::values::{BackendAddress, FilePath, Host, Label, PrefixPath, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Servers behind this one that do the same work; routes refer to them by the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name, by which routes refer to it.
    pub name: Label,
    /// What is spoken there: `http` (HTTP/1.1), `h2` (HTTP/2: over TLS by ALPN, else from the first byte), `fastcgi`.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// Who gets the next request: `round-robin` (each in turn, by weight), `least-connections` (who has fewest under way, by
    /// weight), `source-hash` (the client's address decides, so that clients meet the same backend again), `first-alive`
    /// (in the order written here), `random-two` (of two that are drawn, who has fewer under way).
    #[serde(default)]
    pub balance: UpstreamBalance,
    /// The servers.
    #[schemars(length(min = 1, max = 64))]
    pub backend: Vec<UpstreamBackend>,
    /// Until a connection must be there, TLS included.
    #[serde(default = "five_seconds")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "10m"))]
    pub connect_timeout: Span,
    /// How long a backend may say nothing while something is waited for.
    #[serde(default = "a_minute")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1d"))]
    pub read_timeout: Span,
    /// How long a backend may take nothing while something is sent.
    #[serde(default = "a_minute")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1d"))]
    pub send_timeout: Span,
    /// Most tries for a request, at different backends. Only what is safe to repeat is tried again once it was sent.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 64))]
    pub attempts: u32,
    /// How long one try may take until an answer begins. `off`: as long as `read_timeout` allows.
    #[serde(default)]
    #[schemars(extend("x-least" = "off", "x-most" = "1d"))]
    pub try_timeout: Span,
    /// Connections to each backend that each worker keeps when nobody uses them; 0: none.
    #[serde(default = "sixty_four")]
    #[schemars(range(max = 4096))]
    pub keep_alive: u16,
    /// How long they are kept.
    #[serde(default = "a_minute")]
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    pub idle_timeout: Span,
    /// Most connections to each backend, kept ones included (with `h2`: requests under way); 0: no limit. For php-fpm no more
    /// than its `pm.max_children`.
    #[serde(default)]
    pub max_connections: u32,
    /// Requests that wait when every backend has `max_connections`; more are answered 503.
    #[serde(default = "thousand")]
    #[schemars(range(max = 65_536))]
    pub queue: u32,
    /// How long they wait before they are answered 503.
    #[serde(default = "five_seconds")]
    #[schemars(extend("x-least" = "1ms", "x-most" = "1h"))]
    pub queue_timeout: Span,
    /// Failures in a row that take a backend out; 0: none do. It is probed four times a second, and gets requests
    /// again, one at a time until it has answered one.
    #[serde(default = "three")]
    #[schemars(range(max = 1000))]
    pub fail_max: u32,
    /// The time within which they count.
    #[serde(default = "ten_seconds")]
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    pub fail_window: Span,
    /// The longest time that a backend is left alone which accepts connections but fails again and again; it begins with
    /// a quarter of a second, and doubles.
    #[serde(default = "ten_seconds")]
    #[schemars(extend("x-least" = "250ms", "x-most" = "1d"))]
    pub offline: Span,
    /// Questions to the backends whether they are well. Unset: only what happens to requests counts.
    #[serde(default)]
    pub health: Option<UpstreamHealth>,
    /// The time in which a backend that has come back gets its full weight. `off`: at once.
    #[serde(default)]
    #[schemars(extend("x-least" = "off", "x-most" = "1h"))]
    pub slow_start: Span,
    /// How often backends' names are looked up again.
    #[serde(default = "half_a_minute")]
    #[schemars(extend("x-least" = "1s", "x-most" = "1d"))]
    pub resolve: Span,
    /// TLS towards the backends. Unset: none.
    #[serde(default)]
    pub tls: Option<UpstreamTls>,
    /// Tells backends who the client is by the PROXY protocol. Connections are not kept then, as each is one client's.
    #[serde(default)]
    pub proxy_protocol: Option<UpstreamProxyProtocol>,
}

/// A server behind this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamBackend {
    /// Where it is.
    pub address: BackendAddress,
    /// How much it gets, in relation to the others.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u16,
    /// Whether it gets something only while none of the others can.
    #[serde(default)]
    pub backup: bool,
}

/// How backends are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamHealth {
    /// The path that is asked for, with `http`: a status from 200 to 399 is a good answer. Unset: a connection is enough.
    /// `h2` and `fastcgi` are asked in their own way (`SETTINGS`, `FCGI_GET_VALUES`); with `fastcgi` one that has requests
    /// to work at need not answer.
    pub path: Option<PrefixPath>,
    /// What the `Host` field says. Unset: the backend's address.
    pub host: Option<Host>,
    /// From one question to the next; a backend that is down is asked at least four times a second.
    #[schemars(extend("x-least" = "50ms", "x-most" = "1d"))]
    pub interval: Span,
    /// When no answer is a bad one.
    #[schemars(extend("x-least" = "10ms", "x-most" = "10m"))]
    pub timeout: Span,
    /// Good answers in a row that bring a backend back.
    #[schemars(range(min = 1, max = 100))]
    pub rise: u32,
    /// Bad answers in a row that take a backend out.
    #[schemars(range(min = 1, max = 100))]
    pub fall: u32,
}

impl Default for UpstreamHealth {
    fn default() -> Self {
        Self {
            path: None,
            host: None,
            interval: Span::from_secs(1),
            timeout: Span::from_secs(2),
            rise: 1,
            fall: 3,
        }
    }
}

/// TLS towards backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// Whether backends must show a certificate for their name that an authority vouches for. Without that, who stands in
    /// between can read and change everything.
    pub verify: bool,
    /// A PEM file with the authorities that are believed. Unset: those of the system.
    pub ca: Option<FilePath>,
    /// The name that certificates must be for, and that is asked for. Unset: the backend's name or address.
    pub server_name: Option<Host>,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { verify: true, ca: None, server_name: None }
    }
}

/// What is spoken with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum UpstreamProtocol {
    #[default]
    Http,
    H2,
    Fastcgi,
}

/// Who gets the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum UpstreamBalance {
    #[default]
    RoundRobin,
    LeastConnections,
    SourceHash,
    FirstAlive,
    RandomTwo,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum UpstreamProxyProtocol {
    V1,
    V2,
}

const fn one() -> u16 {
    1
}

const fn three() -> u32 {
    3
}

const fn sixty_four() -> u16 {
    64
}

const fn thousand() -> u32 {
    1_024
}

const fn five_seconds() -> Span {
    Span::from_secs(5)
}

const fn ten_seconds() -> Span {
    Span::from_secs(10)
}

const fn half_a_minute() -> Span {
    Span::from_secs(30)
}

const fn a_minute() -> Span {
    Span::from_secs(60)
}
