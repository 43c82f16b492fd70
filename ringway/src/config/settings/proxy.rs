//! Settings of proxies.

use crate::config::settings::Headers;
use crate::config::values::{HeaderText, Label, PrefixPath, Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Have servers behind this one answer. `proxy = "name"` is short for `proxy = { upstream = "name" }`.
///
/// A request that may be done twice, and of whose body nothing was given away, is tried at another backend when one fails. Where
/// a request came from is said in `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `Forwarded`; what a client
/// itself says there is not passed on, unless it is one of the endpoint's `trusted` proxies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "upstream"))]
pub struct Proxy {
    /// The upstream that answers; its `protocol` is `http`.
    pub upstream: Label,
    /// What `Host` says to it. Unset: what the client says.
    #[serde(default)]
    pub host: Option<HeaderText>,
    /// Segments that are taken from the front of paths: with `/api`, `/api/x` becomes `/x`.
    #[serde(default)]
    pub strip: Option<PrefixPath>,
    /// What is put before paths, after `strip`: with `/v1`, `/x` becomes `/v1/x`.
    #[serde(default)]
    pub prefix: Option<PrefixPath>,
    /// Fields of requests, as they are passed on.
    #[serde(default)]
    pub request_headers: Headers,
    /// Whether `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` are written.
    #[serde(default = "yes")]
    pub x_forwarded: bool,
    /// Whether `Forwarded` (RFC 7239) is written.
    #[serde(default = "yes")]
    pub forwarded: bool,
    /// Whether `Via` is written. Without it, requests that go round in a circle are not noticed.
    #[serde(default = "yes")]
    pub via: bool,
    /// Whether requests get an id, in `X-Request-Id`; one that a trusted proxy has given stays.
    #[serde(default = "yes")]
    pub request_id: bool,
    /// Protocols that a client may go over to, such as WebSockets. Empty: none.
    #[serde(default = "websocket")]
    pub upgrade: Vec<Label>,
    /// How long neither side of such a connection may be silent.
    #[serde(default = "ten_minutes")]
    #[schemars(extend("x-least" = "1s", "x-most" = "7d"))]
    pub upgrade_idle: Span,
    /// Until the head of an answer is there, over all tries; requests with a body have the upstream's times only.
    #[serde(default = "two_minutes")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "1d"))]
    pub timeout: Span,
    /// The largest body of a request. Unset: as `body_size` in `[limits]` says.
    #[serde(default)]
    #[schemars(extend("x-least" = "0 B", "x-most" = "1 TiB"))]
    pub body_size: Option<Size>,
    /// The longest head of an answer.
    #[serde(default = "head_size")]
    #[schemars(extend("x-least" = "1 KiB", "x-most" = "60 KiB"))]
    pub head_size: Size,
}

/// What trusted proxies write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum ForwardedField {
    XForwardedFor,
    Forwarded,
}

const fn yes() -> bool {
    true
}

fn websocket() -> Vec<Label> {
    vec!["websocket".parse().unwrap_or_else(|_never| unreachable!("this is a name"))]
}

fn ten_minutes() -> Span {
    "10m".parse().unwrap_or_else(|_never| unreachable!("this is a span"))
}

fn two_minutes() -> Span {
    "2m".parse().unwrap_or_else(|_never| unreachable!("this is a span"))
}

fn head_size() -> Size {
    Size::from_kib(32)
}
