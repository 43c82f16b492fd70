//! Settings of the faces for operators: console, dashboard, metrics, health.

use crate::config::settings::Auth;
use crate::config::values::{Cidr, FilePath, Label, PrefixPath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The console, on a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Console {
    /// Whether there is one; `ringway console`, `top`, `reload` need it.
    pub enabled: bool,
    /// Its socket. Only the user who started the server may open it.
    pub socket: FilePath,
}

impl Default for Console {
    fn default() -> Self {
        let socket = "/run/ringway/console.sock".parse();
        Self { enabled: true, socket: socket.unwrap_or_else(|_never| unreachable!("this is a path")) }
    }
}

/// The dashboard, a page of live figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dashboard {
    /// Whether there is one.
    pub enabled: bool,
    /// The path below which it is.
    pub path: PrefixPath,
    /// Endpoints it is on. Empty: all.
    pub endpoints: Vec<Label>,
    /// Who may see it. Must be set where the dashboard is on.
    pub auth: Option<Auth>,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self { enabled: false, path: path("/ringway/"), endpoints: Vec::new(), auth: None }
    }
}

/// Figures for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Whether they are served.
    pub enabled: bool,
    /// The path they are at.
    pub path: PrefixPath,
    /// Endpoints they are on. Empty: all.
    pub endpoints: Vec<Label>,
    /// Networks that may ask; others are answered 404.
    pub allow: Vec<Cidr>,
}

impl Default for Metrics {
    fn default() -> Self {
        let allow = ["127.0.0.0/8", "::1/128"].iter().filter_map(|network| network.parse().ok()).collect();
        Self { enabled: false, path: path("/metrics"), endpoints: Vec::new(), allow }
    }
}

/// Paths by which others see that the server lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Whether they are served.
    pub enabled: bool,
    /// The path that answers 200 while the server runs.
    pub live: PrefixPath,
    /// The path that answers 200 while the server takes new work, and 503 while it drains.
    pub ready: PrefixPath,
    /// Endpoints they are on. Empty: all.
    pub endpoints: Vec<Label>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            enabled: false,
            live: path("/health/live"),
            ready: path("/health/ready"),
            endpoints: Vec::new(),
        }
    }
}

fn path(text: &str) -> PrefixPath {
    text.parse().unwrap_or_else(|_never| unreachable!("this is a path"))
}
