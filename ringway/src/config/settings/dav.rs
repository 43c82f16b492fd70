//! Settings of files that clients change.

use crate::config::values::{Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files that clients change: WebDAV, classes 1 and 2. The root must be one file system, and this server's user must be
/// allowed to write there; what WebDAV has to remember is in `.ringway-dav` in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dav {
    /// Whether who has not shown who they are may change files. Without it `auth` is needed.
    pub anonymous: bool,
    /// How much space all files below the root may take. Unset: what the disk has.
    #[schemars(extend("x-least" = "1 MiB", "x-most" = "1024 TiB"))]
    pub quota: Option<Size>,
    /// The largest file that is taken.
    #[schemars(extend("x-least" = "1 KiB", "x-most" = "16 TiB"))]
    pub max_file: Size,
    /// Whether clients may ask for the properties of everything below a directory at once.
    pub deep: bool,
    /// What is waited for before a change is answered: `fast` nothing, `content` that the content of files is on the disk,
    /// `full` also that their names are.
    pub sync: DavSync,
    /// For how long a lock is given at most.
    #[schemars(extend("x-least" = "10s", "x-most" = "30d"))]
    pub lock_timeout: Span,
    /// How many locks there may be.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_locks: u32,
    /// How much clients may keep with a file as its properties.
    #[schemars(extend("x-least" = "1 KiB", "x-most" = "1 MiB"))]
    pub max_properties: Size,
    /// How many files and directories are told of at a time.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub max_entries: u32,
}

impl Default for Dav {
    fn default() -> Self {
        Self {
            anonymous: false,
            quota: None,
            max_file: Size::from_kib(4 << 20),
            deep: false,
            sync: DavSync::Content,
            lock_timeout: Span::from_secs(3600),
            max_locks: 4096,
            max_properties: Size::from_kib(64),
            max_entries: 10_000,
        }
    }
}

/// What is waited for before a change is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum DavSync {
    Fast,
    #[default]
    Content,
    Full,
}
