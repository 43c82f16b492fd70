//! What a proxy does, as its owner says it.

use crate::field_edits::FieldEdits;
use ringway_http::reply;

/// Interim answers (1xx) that a server may give to one request.
pub const INTERIM_MAX: u32 = 16;

/// A proxy.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// What `Host` says to the upstream; `None`: what the client said.
    pub host: Option<Box<str>>,
    /// Segments (`/a/b`) that are taken from the front of paths; empty: none.
    pub strip: Box<str>,
    /// What is put before what is left of a path, such as `/v1`; empty: nothing.
    pub prefix: Box<str>,
    /// Done to the heads of requests.
    pub edits: FieldEdits,
    /// Whether `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` are written.
    pub x_forwarded: bool,
    /// Whether `Forwarded` (RFC 7239) is written.
    pub forwarded: bool,
    /// Whether `Via` is written; without it, requests that go round in a circle are not noticed.
    pub via: bool,
    /// The field for the request id; empty: none.
    pub id_field: Box<str>,
    /// Protocols that connections may be upgraded to, in lower case.
    pub upgrades: Vec<Box<str>>,
    /// Milliseconds in which neither side of an upgraded connection sends anything.
    pub upgrade_idle_ms: u64,
    /// Milliseconds until the head of an answer is there, over all tries; 0: no limit but that of each try.
    pub total_ms: u64,
    /// Longest body of a request, in bytes; `None`: as everywhere.
    pub body_bytes_max: Option<u64>,
    /// What the upstream may make grow in the heads of its answers.
    pub reply: reply::Limits,
}

impl Default for ProxyOptions {
    /// The client's `Host`, all forwarding fields, `X-Request-Id`, WebSockets with 10 minutes of silence, a minute for the
    /// head of an answer.
    fn default() -> Self {
        Self {
            host: None,
            strip: Box::default(),
            prefix: Box::default(),
            edits: FieldEdits::default(),
            x_forwarded: true,
            forwarded: true,
            via: true,
            id_field: "X-Request-Id".into(),
            upgrades: vec!["websocket".into()],
            upgrade_idle_ms: 600_000,
            total_ms: 120_000,
            body_bytes_max: None,
            reply: reply::Limits::default(),
        }
    }
}
