//! Settings of services.

use crate::config::values::{BackendAddress, FilePath, Label, LogTarget};
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
    /// The service's own settings: what the service takes, `ringway check` of its program knows. A library gets them as text.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
}

const fn yes() -> bool {
    true
}
