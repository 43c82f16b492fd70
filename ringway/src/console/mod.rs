//! The console: commands to a running server over a Unix socket, as JSON lines; a shell for people on top of it.
//!
//! A request is a line `{"command":"status","arguments":[]}`, its answer a line `{"ok":true,"data":{…},"text":"…"}`: `data` for
//! machines, `text` for people. [`listen::listen`] answers on a socket with an [`listen::Executor`]; [`execute::execute`] is what
//! a server process does with a command; [`client::Connection`] asks; [`shell`] is what `ringway console` runs.

pub mod client;
pub mod command;
pub mod execute;
pub mod listen;
pub mod shell;
pub mod show;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest request, in bytes, its line's end included.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// Longest answer that a client takes, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where the console's socket is unless somebody says otherwise.
pub const SOCKET: &str = "/run/ringway/console.sock";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The command's name or shortcut.
    pub command: String,
    /// What follows it.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// For machines.
    #[serde(default)]
    pub data: Value,
    /// For people: lines without colours, the last one ended too.
    #[serde(default)]
    pub text: String,
}

impl Answer {
    /// It was done.
    #[must_use]
    pub fn done(data: Value, text: impl Into<String>) -> Self {
        Self { ok: true, data, text: ended(text.into()) }
    }

    /// It was not done; `reason` is a sentence for people.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { ok: false, data: serde_json::json!({ "error": reason }), text: ended(reason) }
    }
}

fn ended(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
