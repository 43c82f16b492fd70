//! Settings of logs.

use crate::config::values::{LogTarget, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// The access log: a line for each request. A site may have its own instead.
    pub access: AccessLog,
    /// The error log: what the operator should know.
    pub error: ErrorLog,
}

/// An access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// The form of a line; `off`: no log.
    pub format: LogFormat,
    /// Where lines go.
    pub path: LogTarget,
    /// The size at which the file is put aside and a new one begun. Unset: never, SIGUSR1 opens the file anew.
    #[schemars(extend("x-least" = "64 KiB", "x-most" = "1 TiB"))]
    pub rotate_size: Option<Size>,
    /// How many files put aside are kept (`access.log.1` is the youngest).
    #[schemars(range(min = 1, max = 1000))]
    pub rotate_keep: u16,
}

/// The form of a line of an access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum LogFormat {
    #[default]
    Combined,
    Json,
    Off,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { format: LogFormat::Combined, path: LogTarget::Stdout, rotate_size: None, rotate_keep: 7 }
    }
}

/// The error log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorLog {
    /// Where lines go.
    pub path: LogTarget,
    /// The form of a line.
    pub format: ErrorFormat,
    /// The least that is worth a line: `error` (something cannot be done), `warn`, `notice` (starts, reloads, stops), `info`
    /// (refusals, failed passwords), `debug`.
    pub level: LogLevel,
}

/// The form of a line of the error log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum ErrorFormat {
    #[default]
    Text,
    Json,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Notice,
    Info,
    Debug,
}

impl Default for ErrorLog {
    fn default() -> Self {
        Self { path: LogTarget::Stderr, format: ErrorFormat::Text, level: LogLevel::Notice }
    }
}
