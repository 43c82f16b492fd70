//! Settings: every table of the configuration, with its documentation and defaults. These types are the one source of what
//! is read, checked, offered to editors and written into the reference.

mod access;
mod cgi;
mod dav;
mod endpoint;
mod faces;
mod fastcgi;
mod framing;
mod governor;
mod hook;
mod limits;
mod log;
mod proxy;
mod route;
mod server;
mod service;
mod site;
mod spool;
mod tls;
mod upstream;

pub use access::{Auth, AuthKind, ForeignPages, RateLimit, Rule, RuleAction, User};
pub use cgi::Cgi;
pub use dav::{Dav, DavSync};
pub use endpoint::{Balance, Endpoint, EndpointProtocol, Isolation, Trace, Urgent};
pub use faces::{Console, Dashboard, Health, Metrics};
pub use fastcgi::{FastCgi, SendFile};
pub use framing::{ByteOrder, Framing, FramingKind};
pub use governor::{Governor, GovernorDirection, GovernorMethod, GovernorPolicy};
pub use hook::Hook;
pub use limits::{LimitOverrides, Limits, OverCapacity};
pub use log::{AccessLog, ErrorFormat, ErrorLog, LogFormat, LogLevel, Logs};
pub use proxy::{ForwardedField, Proxy};
pub use route::{Respond, Route};
pub use server::{Driver, Mime, Sandbox, Server, ServerField, Wait};
pub use service::{Service, ServiceSessions, SessionStore};
pub use site::{CacheRule, Coding, Compression, Headers, Listing, Site, Symlinks, Theme, UserDirectories};
pub use spool::Spool;
pub use tls::{Acme, AcmeChallenge, Certificate, ClientCertificateMode, ClientCertificates, Tls, TlsVersion};
pub use upstream::{
    Upstream, UpstreamBackend, UpstreamBalance, UpstreamHealth, UpstreamProtocol, UpstreamProxyProtocol,
    UpstreamTls,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of `ringway run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Further files that are read as parts of this one: paths relative to this file, `*` and `?` within a name stand for
    /// anything. Files of a pattern are read in the order of their names. Only the main file includes. Lists of tables
    /// (`[[site]]` and the like) are joined; everything else may be set in one file only.
    pub include: Vec<String>,
    /// The process.
    pub server: Server,
    /// What clients may take of time and memory.
    pub limits: Limits,
    /// How many requests a client address may send, over all sites. Unset: as many as it likes.
    pub rate_limit: Option<RateLimit>,
    /// Where bodies of requests wait that must be whole before they are handed on.
    pub spool: Spool,
    /// Where what happens is written down.
    pub log: Logs,
    /// Media types of files.
    pub mime: Mime,
    /// TLS, for all endpoints that have it on.
    pub tls: Tls,
    /// Certificates from a certificate authority that speaks ACME (RFC 8555).
    pub acme: Option<Acme>,
    /// The bandwidth of the whole server. Unset: no limit, and no cost.
    pub governor: Option<Governor>,
    /// The console, on a Unix socket.
    pub console: Console,
    /// The dashboard, a page of live figures.
    pub dashboard: Dashboard,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// Paths by which others see that the server lives.
    pub health: Health,
    /// Where to listen.
    pub endpoint: Vec<Endpoint>,
    /// Certificates for the endpoints with TLS; which one a client is shown is decided by the name it asks for.
    pub certificate: Vec<Certificate>,
    /// Servers behind this one, for routes that hand requests on.
    pub upstream: Vec<Upstream>,
    /// Applications that routes name by `service`: each is linked into this program, or lies in a shared library. A reload that
    /// changes none of its settings leaves it as it is, with what it keeps in memory.
    pub service: Vec<Service>,
    /// What is served.
    pub site: Vec<Site>,
    /// Users, for `auth`.
    pub user: Vec<User>,
}
