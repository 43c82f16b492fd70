//! Settings of where bodies of requests wait that must be whole before anything is done with them.

use crate::config::values::{FilePath, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where bodies wait that must be whole before they are handed on: those of unknown length, because scripts are told the length
/// first. Without a `directory` they wait in memory and may have 1 MiB, 64 MiB all together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// The directory of the files, which have no names there. The server's user must be allowed to write in it.
    pub directory: Option<FilePath>,
    /// Bodies up to this length wait in memory all the same.
    #[schemars(extend("x-least" = "0 B", "x-most" = "16 MiB"))]
    pub memory: Size,
    /// The largest body. What the limits or a route say of bodies holds besides.
    #[schemars(extend("x-least" = "1 KiB", "x-most" = "1 TiB"))]
    pub body: Size,
    /// How much all files together take of the disk. Beyond that the answer is 507.
    #[schemars(extend("x-least" = "1 KiB", "x-most" = "1000 TiB"))]
    pub total: Size,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: None,
            memory: Size::from_kib(64),
            body: Size::from_kib(1024 * 1024),
            total: Size::from_kib(8 * 1024 * 1024),
        }
    }
}
