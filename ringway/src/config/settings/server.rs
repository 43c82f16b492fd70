//! Settings of the process, and media types.

use crate::config::values::{FilePath, Group, Label, MediaTypeText, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Worker threads; 0: one per core.
    #[schemars(range(max = 1024))]
    pub workers: u16,
    /// Cores the workers are bound to, in turn, by number. Empty: the kernel schedules.
    #[schemars(inner(range(max = 4095)))]
    pub cpus: Vec<u16>,
    /// What carries operations out: `auto` takes io_uring, or epoll where that is refused.
    pub driver: Driver,
    /// How workers wait: `event` sleeps, `adaptive` goes on polling while there is work, `polled` never sleeps and keeps
    /// its cores busy.
    pub wait: Wait,
    /// The user that serves, when the server is started as root. Unset: who starts it.
    pub user: Option<Group>,
    /// The group that serves, when the server is started as root. Unset: the user's.
    pub group: Option<Group>,
    /// A file the process's number is written to. Unset: none.
    pub pid_file: Option<FilePath>,
    /// How long connections may finish what is under way when the server stops or a new one takes over.
    #[schemars(extend("x-least" = "0s", "x-most" = "1d"))]
    pub drain: Span,
    /// Whether the process that serves is confined to what the configuration needs (landlock, seccomp). `off` is for the
    /// brave.
    pub sandbox: Sandbox,
    /// Most descriptors (connections, files) the process may have open; 0: as many as the system allows it.
    #[schemars(range(max = 1_073_741_816))]
    pub open_files: u64,
    /// Most threads for what may wait for a disk, shared by all workers.
    #[schemars(range(min = 1, max = 256))]
    pub pool_threads: u16,
    /// What the `Server` field of answers says: `name`, `version` (the name with the version), or `off` (there is none).
    pub server_field: ServerField,
}

/// What carries operations out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Driver {
    #[default]
    Auto,
    Uring,
    Epoll,
}

/// How workers wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Wait {
    #[default]
    Event,
    Adaptive,
    Polled,
}

/// Whether the server is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Sandbox {
    #[default]
    On,
    Off,
}

/// What answers say about the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum ServerField {
    #[default]
    Name,
    Version,
    Off,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: 0,
            cpus: Vec::new(),
            driver: Driver::Auto,
            wait: Wait::Event,
            user: None,
            group: None,
            pid_file: None,
            drain: Span::from_secs(10),
            sandbox: Sandbox::On,
            open_files: 0,
            pool_threads: 8,
            server_field: ServerField::Name,
        }
    }
}

/// Media types of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mime {
    /// The type of files whose ending says nothing. Unset: `application/octet-stream`.
    pub default_type: Option<MediaTypeText>,
    /// Types by ending, before the built-in ones: `"md" = "text/markdown"`.
    #[schemars(extend("x-keys" = "label"))]
    pub types: BTreeMap<Label, MediaTypeText>,
}
