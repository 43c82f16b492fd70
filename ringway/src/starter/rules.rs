//! Rules: which scripts may be started, how, as whom, and what they may take.

use ringway_confine::spawn::{Limits, RunAs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where a script finds programs when nothing else is said.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Which scripts may be started, how, as whom, and what they may take. A route of the configuration has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Scripts lie in this directory or below it.
    pub root: PathBuf,
    /// The site's directory, for `DOCUMENT_ROOT`.
    pub document_root: PathBuf,
    /// What is looked for in a directory.
    pub index: Vec<String>,
    /// Programs by the ending of the files they run, such as `.php`.
    pub interpreters: BTreeMap<String, PathBuf>,
    /// Whether files that are executable are run.
    pub executables: bool,
    /// Who scripts run as; `None`: who starts them.
    pub run_as: Option<Numbers>,
    /// Variables besides those of CGI; they win.
    pub environment: BTreeMap<String, String>,
    /// CPU time of each process.
    pub cpu_seconds: Option<u64>,
    /// Address space of each process.
    pub memory_bytes: Option<u64>,
    /// Processes of the user, all together.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// How long a script may run at all, in milliseconds.
    pub run_ms_max: u64,
    /// Scripts that run at once.
    pub at_once: u32,
    /// Scripts that wait for another one to end.
    pub waiting: u32,
    /// How long they wait, in milliseconds.
    pub wait_ms_max: u64,
}

/// Somebody, by numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The other groups.
    pub groups: Vec<u32>,
}

impl Rules {
    /// What a script and its processes may take.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            cpu_seconds: self.cpu_seconds,
            memory_bytes: self.memory_bytes,
            processes: self.processes,
            open_files: self.open_files,
        }
    }

    pub(super) fn run_as(&self) -> Option<RunAs> {
        self.run_as.as_ref().map(|numbers| RunAs {
            user: numbers.user,
            group: numbers.group,
            groups: numbers.groups.clone(),
        })
    }

    pub(super) fn run_max(&self) -> Duration {
        Duration::from_millis(self.run_ms_max)
    }

    pub(super) fn wait_max(&self) -> Duration {
        Duration::from_millis(self.wait_ms_max)
    }

    /// The variables every script begins with.
    pub(super) fn first_variables(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        [(b"PATH".to_vec(), PATH.as_bytes().to_vec())].into()
    }
}
