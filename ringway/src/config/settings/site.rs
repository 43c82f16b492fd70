//! Settings of sites.

use crate::config::settings::{AccessLog, Auth, Dav, Governor, Hook, RateLimit, Route, Rule};
use crate::config::values::{
    FilePath, HeaderName, HeaderText, Label, MediaRange, PathPattern, SiteName, Size, Span, TryStep,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is served under some names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The names it answers to.
    #[schemars(length(min = 1))]
    pub names: Vec<SiteName>,
    /// The endpoints it is on. Empty: all.
    #[serde(default)]
    pub endpoints: Vec<Label>,
    /// The directory its files are in. Unset: it has none, and its routes answer.
    #[serde(default)]
    pub root: Option<FilePath>,
    /// Names that stand for the directory they lie in; the first that is there is served.
    #[serde(default = "index_html")]
    pub index: Vec<String>,
    /// Lists of what is in directories without index file.
    #[serde(default)]
    pub listing: Listing,
    /// What is looked for, in order; the first that exists is served. Empty: the request's path only.
    #[serde(default)]
    pub r#try: Vec<TryStep>,
    /// The `charset` that text files are said to have; `off`: none is said. Unset: `utf-8`.
    #[serde(default)]
    pub charset: Option<Label>,
    /// Which symbolic links are followed: `inside` those that stay in the root, `never` none.
    #[serde(default)]
    pub symlinks: Symlinks,
    /// Directories of the machine's users, as `/~name/`.
    #[serde(default)]
    pub user_directories: UserDirectories,
    /// Fields of answers.
    #[serde(default)]
    pub headers: Headers,
    /// What caches are told of files: the first rule that fits counts.
    #[serde(default)]
    pub cache: Vec<CacheRule>,
    /// Files that are sent with errors, by status: `404 = "errors/404.html"`.
    #[serde(default)]
    #[schemars(extend("x-keys" = "status"))]
    pub error_pages: BTreeMap<String, FilePath>,
    /// Compressed answers.
    #[serde(default)]
    pub compression: Compression,
    /// Who may come in. Unset: everybody.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// What is allowed and denied: the first rule that holds decides; where none does, the request goes on.
    #[serde(default)]
    pub rule: Vec<Rule>,
    /// How many requests a client address may send to this site. Unset: as many as it likes.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// The site's own access log, instead of the server's.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
    /// The site's bandwidth, under the server's. Unset: no limit of its own.
    #[serde(default)]
    pub governor: Option<Governor>,
    /// Clients may change the files of `root` (WebDAV).
    #[serde(default)]
    pub dav: Option<Dav>,
    /// Shared libraries that are asked or told at the stages of requests.
    #[serde(default)]
    pub hook: Vec<Hook>,
    /// Paths that are answered differently.
    #[serde(default)]
    pub route: Vec<Route>,
}

fn index_html() -> Vec<String> {
    vec!["index.html".to_owned()]
}

/// Lists of what is in directories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listing {
    /// Whether directories without index file are listed.
    pub enabled: bool,
    /// How lists look: `default`, `compact` (small, for many names), or `plain` (as the browser has it).
    pub theme: Theme,
}

/// How lists of directories look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Theme {
    #[default]
    Default,
    Compact,
    Plain,
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Symlinks {
    #[default]
    Inside,
    Never,
}

/// Directories of the machine's users, as `/~name/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserDirectories {
    /// Whether they are served.
    pub enabled: bool,
    /// The directory in a user's home that is served.
    pub folder: Label,
    /// Users who have one. Empty: all whose number is at least 1000.
    pub users: Vec<Label>,
}

impl Default for UserDirectories {
    fn default() -> Self {
        let folder = "public_html".parse().unwrap_or_else(|_never| unreachable!("this is a name"));
        Self { enabled: false, folder, users: Vec::new() }
    }
}

/// Fields of answers: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// Fields that are added.
    #[schemars(extend("x-keys" = "header-name"))]
    pub add: BTreeMap<HeaderName, HeaderText>,
    /// Fields that are set, instead of what they were.
    #[schemars(extend("x-keys" = "header-name"))]
    pub set: BTreeMap<HeaderName, HeaderText>,
    /// Fields that are taken away.
    pub remove: Vec<HeaderName>,
}

/// What caches are told of some files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheRule {
    /// Paths of the files, index files by their own name. Unset: all.
    pub path: Option<PathPattern>,
    /// Types of the files. Empty: all.
    pub types: Vec<MediaRange>,
    /// What `Cache-Control` says. Unset: there is none.
    pub control: Option<HeaderText>,
    /// How long after the answer `Expires` is. Unset: there is none.
    #[schemars(extend("x-least" = "1s", "x-most" = "365d"))]
    pub expires: Option<Span>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum Coding {
    Br,
    Zstd,
    Gzip,
}

/// Compressed answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Codings in which prepared files are looked for beside a file: `app.js.br`, `app.js.zst`, `app.js.gz`.
    pub prepared: Vec<Coding>,
    /// Whether files without a prepared sibling are compressed when they are asked for.
    pub enabled: bool,
    /// Codings it is done in, the preferred one first.
    #[schemars(length(min = 1))]
    pub codings: Vec<Coding>,
    /// The smallest file that is compressed.
    #[schemars(extend("x-least" = "0 B", "x-most" = "1 GiB"))]
    pub min_size: Size,
    /// The largest file that is compressed.
    #[schemars(extend("x-least" = "1 KiB", "x-most" = "1 GiB"))]
    pub max_size: Size,
    /// Types of files that are compressed.
    pub types: Vec<MediaRange>,
    /// Effort: 1 is quick, 9 is small.
    #[schemars(range(min = 1, max = 9))]
    pub level: u8,
}

impl Default for Compression {
    fn default() -> Self {
        let types = [
            "text/*",
            "application/json",
            "application/javascript",
            "application/xml",
            "application/wasm",
            "image/svg+xml",
        ];
        let codings = vec![Coding::Zstd, Coding::Br, Coding::Gzip];
        Self {
            prepared: vec![Coding::Br, Coding::Zstd, Coding::Gzip],
            enabled: false,
            codings,
            min_size: Size::from_kib(1),
            max_size: Size::from_kib(1024),
            types: types.iter().filter_map(|text| text.parse().ok()).collect(),
            level: 4,
        }
    }
}
