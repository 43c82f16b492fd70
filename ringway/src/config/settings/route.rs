//! Settings of routes.

use crate::config::settings::{Auth, Cgi, Dav, FastCgi, Headers, Listing, Proxy, RateLimit, Rule};
use crate::config::values::{
    FilePath, HeaderText, Label, LocalTarget, MediaTypeText, PathPattern, Target, TryStep,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Paths of a site that are answered differently. Of the routes that match a path one counts: that very path, else the
/// longest directory (`/a/b/**` before `/a/**`), else the first other pattern, and `/**` at last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Which paths.
    pub path: PathPattern,
    /// Serve files from this directory: the whole path is looked for below it.
    #[serde(default)]
    pub root: Option<FilePath>,
    /// Serve files from this directory: what the `/**` of `path` stands for is looked for below it.
    #[serde(default)]
    pub alias: Option<FilePath>,
    /// Index files, instead of the site's.
    #[serde(default)]
    pub index: Option<Vec<String>>,
    /// Lists of directories, instead of the site's.
    #[serde(default)]
    pub listing: Option<Listing>,
    /// What is looked for, in order, instead of the site's.
    #[serde(default)]
    pub r#try: Option<Vec<TryStep>>,
    /// Send clients there.
    #[serde(default)]
    pub redirect: Option<Target>,
    /// The status of `redirect`. Unset: 302.
    #[serde(default)]
    #[schemars(range(min = 300, max = 399))]
    pub status: Option<u16>,
    /// Go on as if this path had been asked for.
    #[serde(default)]
    pub rewrite: Option<LocalTarget>,
    /// Answer with this.
    #[serde(default)]
    pub respond: Option<Respond>,
    /// Have scripts answer.
    #[serde(default)]
    pub cgi: Option<Cgi>,
    /// Have servers behind this one answer.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// Clients may change the files that are served here (WebDAV).
    #[serde(default)]
    pub dav: Option<Dav>,
    /// Have programs behind an upstream run files, such as PHP's, or answer every request.
    #[serde(default)]
    #[schemars(extend("anyOf" = [{ "$ref": "#/$defs/FastCgi" }, { "type": "string" }, { "type": "null" }]))]
    pub fastcgi: Option<FastCgi>,
    /// Have this service answer, by its name. It is told the whole path, and which part of it led here.
    #[serde(default)]
    pub service: Option<Label>,
    /// Fields of answers, after the site's.
    #[serde(default)]
    pub headers: Headers,
    /// What `Cache-Control` says of files, instead of what the site's rules say.
    #[serde(default)]
    pub cache_control: Option<HeaderText>,
    /// Who may come in, instead of the site's.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Rules, asked after the site's.
    #[serde(default)]
    pub rule: Vec<Rule>,
    /// How many requests a client address may send here, besides the site's.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
}

/// An answer that is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Respond {
    /// Its status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// What it says.
    #[schemars(length(max = 65_536))]
    pub body: String,
    /// The type of the body.
    pub media_type: MediaTypeText,
}

impl Default for Respond {
    fn default() -> Self {
        let media_type = "text/plain; charset=utf-8".parse();
        Self {
            status: 200,
            body: String::new(),
            media_type: media_type.unwrap_or_else(|_never| unreachable!("this is a media type")),
        }
    }
}
