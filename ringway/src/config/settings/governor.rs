//! Settings of the bandwidth governor.

use crate::config::values::{Rate, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A limit of bandwidth that is kept to gracefully: new work waits before work under way does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Governor {
    /// The most there shall be.
    #[schemars(extend("x-least" = "8 kbit/s", "x-most" = "1000 Gbit/s"))]
    pub rate: Rate,
    /// What counts: what is `sent`, what is `received`, or `both` together.
    #[serde(default)]
    pub direction: GovernorDirection,
    /// What waits and what is refused near and above the limit: `full` treats small and large pieces differently, `simple`
    /// holds back transfers and refuses new requests.
    #[serde(default)]
    pub policy: GovernorPolicy,
    /// How the use is estimated: `histogram` samples a short window, `average` follows each operation's own duration.
    #[serde(default)]
    pub method: GovernorMethod,
    /// Most requests that wait for bandwidth on each worker; further ones are answered 503.
    #[serde(default = "queue")]
    #[schemars(range(max = 1_000_000))]
    pub queue: u32,
    /// How long a request may wait for bandwidth before it is answered 503.
    #[serde(default = "wait")]
    #[schemars(extend("x-least" = "10ms", "x-most" = "10m"))]
    pub wait: Span,
}

fn queue() -> u32 {
    10_000
}

fn wait() -> Span {
    Span::from_secs(10)
}

/// What counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum GovernorDirection {
    #[default]
    Sent,
    Received,
    Both,
}

/// What waits and what is refused above the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum GovernorPolicy {
    #[default]
    Full,
    Simple,
}

/// How the use of bandwidth is estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum GovernorMethod {
    #[default]
    Histogram,
    Average,
}
