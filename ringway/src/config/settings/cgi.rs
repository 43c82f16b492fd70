//! Settings of CGI scripts.

use crate::config::values::{FilePath, Group, Label, Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scripts that answer (CGI/1.1). They are started without a shell, in a session of their own, by a process that does nothing
/// else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cgi {
    /// The directory of the scripts: what the `/**` of the route's `path` stands for is looked for below it. Unset: the
    /// site's `root`, below which the whole path is looked for; what is no script there is served as a file.
    pub root: Option<FilePath>,
    /// Programs by the ending of the scripts that they run: `php = "/usr/bin/php-cgi"`.
    #[schemars(extend("x-keys" = "label"))]
    pub interpreters: BTreeMap<Label, FilePath>,
    /// Whether files that are executable are run, whatever their ending.
    pub executables: bool,
    /// Scripts that answer for their directory, in order.
    pub index: Vec<String>,
    /// The user scripts run as, when the server is started as root. Unset: the one that serves.
    pub user: Option<Group>,
    /// The group scripts run as. Unset: the user's.
    pub group: Option<Group>,
    /// Variables of scripts, besides those of CGI, such as `PATH`.
    #[schemars(extend("x-keys" = "label"))]
    pub environment: BTreeMap<Label, String>,
    /// Whether scripts are told the client's `Authorization`.
    pub authorization: bool,
    /// The largest body of a request that is given to a script. Unset: what `limits.body_size` says.
    pub body_size: Option<Size>,
    /// How long a script may say nothing while its answer is waited for. Then it is ended, and the answer is 504.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    pub timeout: Span,
    /// How long a script may run at all.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    pub run_time: Span,
    /// How much CPU time each process of a script may take, in whole seconds.
    #[schemars(extend("x-least" = "1s", "x-most" = "1d"))]
    pub cpu_time: Span,
    /// How much memory (address space) each process of a script may have.
    #[schemars(extend("x-least" = "1 MiB", "x-most" = "1024 GiB"))]
    pub memory: Size,
    /// How many processes and threads the scripts' user may have, all together. The kernel does not hold root to it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub processes: u32,
    /// How many files each process of a script may have open.
    #[schemars(range(min = 8, max = 1_000_000))]
    pub open_files: u32,
    /// How many scripts of this route run at once.
    #[schemars(range(min = 1, max = 1024))]
    pub at_once: u32,
    /// How many requests wait for a script to end when so many run. Beyond that the answer is 503.
    #[schemars(range(max = 1024))]
    pub queue: u32,
    /// How long they wait.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1h"))]
    pub queue_time: Span,
}

impl Default for Cgi {
    fn default() -> Self {
        Self {
            root: None,
            interpreters: BTreeMap::new(),
            executables: true,
            index: Vec::new(),
            user: None,
            group: None,
            environment: BTreeMap::new(),
            authorization: false,
            body_size: None,
            timeout: Span::from_secs(60),
            run_time: Span::from_secs(600),
            cpu_time: Span::from_secs(60),
            memory: Size::from_kib(1024 * 1024),
            processes: 256,
            open_files: 256,
            at_once: 32,
            queue: 128,
            queue_time: Span::from_secs(10),
        }
    }
}
