//! What supervisor and server process say to each other.

use crate::sandbox::{Layer, Rules};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The version of this language. Two programs that speak different ones part, and say so.
pub const VERSION: u32 = 1;

/// Listening sockets by the address their endpoint has in the configuration.
pub type Listeners = BTreeMap<String, Vec<Arc<OwnedFd>>>;

/// What files hold that a server process shall use and not be able to read, such as private keys: by path.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, Secret>);

/// PEM files are text, which is shorter in JSON than bytes are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Secret {
    Text(String),
    Bytes(Vec<u8>),
}

/// What a server process is started with. The listening sockets come beside it, in the order of `listeners`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The server process's number, counted from 1.
    pub generation: u64,
    /// The configuration, resolved.
    pub settings: Value,
    /// What was read for it that the server process itself cannot read.
    pub secrets: Secrets,
    /// How many listening sockets there are for each address.
    pub listeners: Vec<(String, usize)>,
    /// Worker threads.
    pub workers: usize,
    /// What of the machine it needs.
    pub rules: Rules,
    /// The keys of session tickets of the server process before, so that clients resume their sessions with this one.
    pub ticket_keys: Vec<u8>,
    /// How long connections may finish what is under way, when nobody is left to say so: milliseconds.
    pub drain_ms: u64,
    /// Whether a socket to who starts scripts comes behind the listening ones.
    #[serde(default)]
    pub has_starter: bool,
}

/// A new configuration for a server process that runs. The sockets of new addresses come beside it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// Comes back with the outcome.
    pub id: u64,
    /// As in [`Start`].
    pub settings: Value,
    /// As in [`Start`].
    pub secrets: Secrets,
    /// Addresses that are new, and how many sockets there are for each.
    pub listeners: Vec<(String, usize)>,
    /// As in [`Start`].
    pub drain_ms: u64,
}

/// What a supervisor tells a server process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", content = "with", rename_all = "kebab-case")]
pub enum Order {
    /// The first thing that is said.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The server process's number, counted from 1.
        generation: u64,
    },
    /// Serve.
    Start(Box<Start>),
    /// Serve this instead.
    Reload(Box<Reload>),
    /// Open the log files anew.
    ReopenLogs,
    /// Stop accepting, finish what is under way, end.
    Drain {
        /// Within this many milliseconds.
        within_ms: u64,
    },
    /// A command of the console.
    Console {
        /// Comes back with the answer.
        id: u64,
        /// As it came.
        request: Value,
    },
    /// What is known of the endpoints that have processes of their own.
    Apart {
        /// For machines, endpoint by endpoint.
        figures: Value,
    },
    /// Say the keys of session tickets.
    TicketKeys,
    /// Say whether the workers live.
    Pulse {
        /// Comes back.
        id: u64,
    },
}

/// What a server process tells its supervisor.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", content = "with", rename_all = "kebab-case")]
pub enum Report {
    /// The answer to the first thing that is said.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The program's own version.
        program: String,
    },
    /// It serves.
    Ready {
        /// The addresses, as their users write them.
        addresses: Vec<String>,
        /// The driver and what it offers.
        driver: String,
        /// What else an operator should know.
        notes: Vec<String>,
        /// The sandbox.
        layers: Vec<Layer>,
    },
    /// It cannot serve, and ends.
    Failed {
        /// Why: a sentence.
        sentence: String,
    },
    /// The outcome of a reload. With an error everything is as it was.
    Reloaded {
        /// Which.
        id: u64,
        /// Why not: a sentence.
        error: Option<String>,
    },
    /// It accepts no connections any more.
    Draining,
    /// Log files were opened anew, those without error.
    LogsReopened {
        /// Sentences.
        errors: Vec<String>,
    },
    /// A console command's answer.
    Answer {
        /// Which.
        id: u64,
        /// The answer.
        answer: Value,
    },
    /// The keys of session tickets, asked for or because they have changed.
    TicketKeys {
        /// The keys; a secret.
        keys: Vec<u8>,
    },
    /// Workers live, or do not.
    Pulse {
        /// Which was asked.
        id: u64,
        /// Whether every worker answered.
        is_alive: bool,
    },
    /// It has ended as it was told to.
    Stopped {
        /// What it did: a sentence.
        summary: String,
    },
}

/// Puts descriptors to their addresses; `None` when there are not as many as was said.
#[must_use]
pub fn sorted(counts: &[(String, usize)], descriptors: Vec<OwnedFd>) -> Option<Listeners> {
    let mut left = descriptors.into_iter().map(Arc::new);
    let mut listeners = Listeners::new();
    for (address, count) in counts {
        let own: Vec<_> = left.by_ref().take(*count).collect();
        if own.len() != *count {
            return None;
        }
        listeners.insert(address.clone(), own);
    }
    left.next().is_none().then_some(listeners)
}

impl Secrets {
    /// Adds what a file holds.
    pub fn insert(&mut self, path: &str, bytes: Vec<u8>) {
        let secret =
            String::from_utf8(bytes).map_or_else(|error| Secret::Bytes(error.into_bytes()), Secret::Text);
        self.0.insert(path.to_owned(), secret);
    }

    /// What the file at `path` holds; `None` when it was not read.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(|secret| match secret {
            Secret::Text(text) => text.as_bytes(),
            Secret::Bytes(bytes) => bytes,
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

// Settings and secrets do not belong into logs.
impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("listeners", &self.listeners)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload")
            .field("id", &self.id)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Report {
    /// Its name, for sentences.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Ready { .. } => "ready",
            Self::Failed { .. } => "failed",
            Self::Reloaded { .. } => "reloaded",
            Self::Draining => "draining",
            Self::LogsReopened { .. } => "logs-reopened",
            Self::Answer { .. } => "answer",
            Self::TicketKeys { .. } => "ticket-keys",
            Self::Pulse { .. } => "pulse",
            Self::Stopped { .. } => "stopped",
        }
    }
}

impl Order {
    /// Its name, for sentences.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Start(_) => "start",
            Self::Reload(_) => "reload",
            Self::ReopenLogs => "reopen-logs",
            Self::Drain { .. } => "drain",
            Self::Console { .. } => "console",
            Self::Apart { .. } => "apart",
            Self::TicketKeys => "ticket-keys",
            Self::Pulse { .. } => "pulse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_arrive_as_they_were_and_are_not_shown() {
        let mut secrets = Secrets::default();
        secrets.insert("/key.pem", b"-----BEGIN".to_vec());
        secrets.insert("/ocsp.der", vec![0x30, 0x82, 0xff]);
        let text = serde_json::to_string(&secrets).expect("JSON");
        let back: Secrets = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (back.get("/key.pem"), back.get("/ocsp.der")),
            (Some(&b"-----BEGIN"[..]), Some(&[0x30, 0x82, 0xff][..]))
        );
        assert_eq!(back.get("/other"), None);
        assert_eq!(format!("{back:?}"), "{\"/key.pem\", \"/ocsp.der\"}");
    }
}
