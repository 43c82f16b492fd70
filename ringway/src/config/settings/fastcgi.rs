//! Settings of FastCGI.

use crate::config::values::{FilePath, Label, PrefixPath, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Files that programs behind an upstream run, such as PHP's: what has one of the `endings` is run and never sent, the rest is
/// sent as everywhere. What follows a script in the path (`/index.php/a/b`) is its `PATH_INFO`. `fastcgi = "name"` is short
/// for `fastcgi = { upstream = "name" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "upstream"))]
pub struct FastCgi {
    /// The upstream that runs them; its `protocol` is `fastcgi`.
    pub upstream: Label,
    /// Endings of the names of files that are run, in any case of their letters.
    #[serde(default = "php")]
    #[schemars(length(min = 1, max = 8))]
    pub endings: Vec<String>,
    /// One program that gets every request of the route, as the upstream's machine knows it; there need not be such a file
    /// here. Unset: the files are run.
    #[serde(default)]
    pub script: Option<FilePath>,
    /// The route's directory as the upstream's machine knows it, where that is another one. Unset: as here.
    #[serde(default)]
    pub document_root: Option<FilePath>,
    /// Further parameters.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The largest body of a request. Unset: as `body_size` in `[limits]` says.
    #[serde(default)]
    #[schemars(extend("x-least" = "0 B", "x-most" = "1 TiB"))]
    pub body_size: Option<Size>,
    /// Directories that programs may have files sent from, by the fields `X-Accel-Redirect` and `X-Sendfile` of their answers.
    /// Nobody else reaches them this way.
    #[serde(default)]
    pub send_file: Vec<SendFile>,
}

/// A directory that programs may have files sent from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendFile {
    /// What `X-Accel-Redirect` calls it: `/protected` for `X-Accel-Redirect: /protected/a.pdf`.
    pub path: PrefixPath,
    /// The directory. `X-Sendfile` says the path of a file in it.
    pub root: FilePath,
}

fn php() -> Vec<String> {
    vec![".php".to_owned()]
}
