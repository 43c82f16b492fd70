//! Settings of who may do what: users, authentication, rules, rates.

use crate::config::values::{
    Cidr, FilePath, HeaderName, HeaderText, Label, Method, PathPattern, RequestRate, SiteName, TextPattern,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Who it is.
    pub name: Label,
    /// The password, as `ringway passwd` hashes it (argon2id or bcrypt). For `basic`.
    #[serde(default)]
    pub password: Option<String>,
    /// SHA-256 of tokens, in hexadecimal. For `bearer`.
    #[serde(default)]
    pub tokens: Vec<String>,
    /// SHA-256 of certificates (the fingerprint of the DER form), in hexadecimal. For `client-certificate`.
    #[serde(default)]
    pub certificates: Vec<String>,
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// How clients show who they are: `basic` (name and password), `bearer` (a token), `client-certificate`; `none` opens
    /// a route of a site that is closed.
    pub kind: AuthKind,
    /// What browsers show when they ask.
    #[serde(default = "restricted")]
    pub realm: HeaderText,
    /// Users who may come in. Empty: every user who has what `kind` asks for; with `client-certificate` everybody whose
    /// certificate the authorities of `[tls.client_certificates]` have signed.
    #[serde(default)]
    pub users: Vec<Label>,
    /// A file with the users of `basic`, instead of `[[user]]`: a line each, the name, a colon, the hash of the password, as
    /// `ringway passwd` writes it. It is read anew when it changes.
    #[serde(default)]
    pub users_file: Option<FilePath>,
}

fn restricted() -> HeaderText {
    "Restricted".parse().unwrap_or_else(|_never| unreachable!("this is a field's value"))
}

/// How clients show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum AuthKind {
    Basic,
    Bearer,
    ClientCertificate,
    None,
}

/// A rule. All conditions that are set must hold; the first rule that holds decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the log calls it. Unset: its number.
    #[serde(default)]
    pub name: Option<Label>,
    /// What happens: `allow` lets the request go on, `deny` answers 403, `hide` answers 404, `close` closes the connection
    /// without an answer.
    pub action: RuleAction,
    /// The client's address is in one of these networks.
    #[serde(default)]
    pub from: Vec<Cidr>,
    /// The client's address is in none of these networks.
    #[serde(default)]
    pub not_from: Vec<Cidr>,
    /// The path is like one of these.
    #[serde(default)]
    pub paths: Vec<PathPattern>,
    /// The method is one of these.
    #[serde(default)]
    pub methods: Vec<Method>,
    /// Fields the request has, and patterns of their values in any case: `"user-agent" = "*bot*"`.
    #[serde(default)]
    #[schemars(extend("x-keys" = "header-name"))]
    pub headers: BTreeMap<HeaderName, TextPattern>,
    /// Fields the request does not have.
    #[serde(default)]
    pub headers_missing: Vec<HeaderName>,
    /// The request comes from a page of somebody else (`Referer`), as with hot links.
    #[serde(default)]
    pub foreign_pages: Option<ForeignPages>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum RuleAction {
    Allow,
    Deny,
    Hide,
    Close,
}

/// Which pages are somebody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForeignPages {
    /// Names of sites that are not foreign, besides the one that is asked.
    pub except: Vec<SiteName>,
    /// Whether a request that does not say where it comes from counts as foreign.
    pub missing: bool,
}

/// How many requests a client address may send. Beyond it they are answered 429.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests in the long run.
    pub rate: RequestRate,
    /// Requests that may come at once.
    #[serde(default = "burst")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
    /// Networks that are not counted.
    #[serde(default)]
    pub except: Vec<Cidr>,
}

fn burst() -> u32 {
    20
}
