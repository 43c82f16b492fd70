//! Settings of services.

use crate::config::values::{BackendAddress, FilePath, Label, LogTarget, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// An application that answers where a route says `service`: one that is linked into this program, or one in a shared
/// library. It is set up once for each path that leads to it, on each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What routes, console, dashboard and metrics call it.
    pub name: Label,
    /// Which of the services that are linked into this program it is. Unset: the one called `name`.
    #[serde(default)]
    pub linked: Option<Label>,
    /// The shared library it is in. Unset: it is linked into this program.
    #[serde(default)]
    pub library: Option<FilePath>,
    /// Whether it answers. One that is off answers 503; the console's `enable-service` and `disable-service` change it until
    /// the next reload.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The directory it keeps its data in; it is made if it is missing. Where the server process is confined, a service can write
    /// nowhere else.
    #[serde(default)]
    pub data: Option<FilePath>,
    /// Where it writes what it logs, all of it. Unset: into the error log, as far as that takes it.
    #[serde(default)]
    pub log: Option<LogTarget>,
    /// Servers it connects to, such as Redis. Where the server process is confined, TCP ports that nobody has named cannot be
    /// reached.
    #[serde(default)]
    pub connect: Vec<BackendAddress>,
    /// Of a library: the sessions that its requests have. Unset: none. A linked service makes its own.
    #[serde(default)]
    pub sessions: Option<ServiceSessions>,
    /// Of a library: the directory whose files it may answer with.
    #[serde(default)]
    pub files: Option<FilePath>,
    /// The service's own settings: what the service takes, `ringway check` of its program knows. A library gets them as text.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
}

/// Sessions of a service: values that belong to a browser, kept here and found by a random number in a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSessions {
    /// Where they are kept: in the `memory` of the process, gone with it; in `sqlite`, in `sessions.sqlite` in the service's `data`; in
    /// `redis` (or Valkey), for several machines.
    pub store: SessionStore,
    /// Of `redis`: the server, such as "redis://127.0.0.1:6379/0". Where the server process is confined, `connect` must name it
    /// too.
    pub url: Option<String>,
    /// The cookie's name.
    pub cookie: Label,
    /// Whether the cookie is sent over TLS only; browsers make an exception for localhost.
    pub secure: bool,
    /// How long one lives that is not used.
    pub idle: Span,
    /// How long one lives at most, from its beginning or the last log-in.
    pub lifetime: Span,
}

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum SessionStore {
    #[default]
    Memory,
    Sqlite,
    Redis,
}

impl Default for ServiceSessions {
    fn default() -> Self {
        Self {
            store: SessionStore::default(),
            url: None,
            cookie: "session".parse().expect("it is a label"),
            secure: true,
            idle: Span::from_secs(24 * 3600),
            lifetime: Span::from_secs(14 * 24 * 3600),
        }
    }
}

const fn yes() -> bool {
    true
}
