//! Settings of hooks into the stages of requests.

use crate::config::values::{FilePath, PathPattern, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A shared library that is asked or told at the stages of a site's requests: about connections, requests and answers, and what was
/// served. Several are asked in their order, after rules and users. A reload that changes nothing of it leaves it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The library.
    pub library: FilePath,
    /// The paths whose requests and answers it is asked about. Empty: all.
    #[serde(default)]
    pub paths: Vec<PathPattern>,
    /// How long it may take to decide when it does that later; the client is told 504 then.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// The library's own settings; it gets them as text.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
}

const fn timeout() -> Span {
    Span::from_secs(30)
}
