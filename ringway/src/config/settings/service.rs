//! Settings of services.

use crate::config::values::{BackendAddress, FilePath, Label, LogTarget};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// An application that answers where a route says `service`: one that is linked into this program, or one in a shared
/// library. One that several routes name is one: they share what it keeps. A reload that changes none of its settings leaves
/// it as it is.
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
    /// The directory it keeps its data in. It is made if it is missing, and nothing else may be written by the service.
    #[serde(default)]
    pub data: Option<FilePath>,
    /// Where it writes what it logs. Unset: into the error log.
    #[serde(default)]
    pub log: Option<LogTarget>,
    /// Servers it connects to, such as Redis. Of TCP nothing else can be reached by it.
    #[serde(default)]
    pub connect: Vec<BackendAddress>,
    /// The service's own settings.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
}

const fn yes() -> bool {
    true
}
