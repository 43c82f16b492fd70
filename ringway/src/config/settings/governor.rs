//! Settings of the bandwidth governor.

use crate::config::values::{Rate, Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A limit of bandwidth that is kept to gracefully: new work waits before work under way does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Governor {
    /// Most that is sent. Unset: no limit.
    #[schemars(extend("x-least" = "64 kbit/s", "x-most" = "1000 Gbit/s"))]
    pub sent: Option<Rate>,
    /// Most that is received. Unset: no limit.
    #[schemars(extend("x-least" = "64 kbit/s", "x-most" = "1000 Gbit/s"))]
    pub received: Option<Rate>,
    /// Most that is sent and received together. Unset: no limit.
    #[schemars(extend("x-least" = "64 kbit/s", "x-most" = "1000 Gbit/s"))]
    pub both: Option<Rate>,
    /// What waits and what is refused above the limit: `full` treats small and large pieces differently, `simple` holds
    /// back transfers and refuses new requests.
    pub policy: GovernorPolicy,
    /// How the use is estimated: `histogram` samples a short window, `average` follows each operation's own duration.
    pub method: GovernorMethod,
    /// Most requests that wait for bandwidth; further ones are answered 503.
    #[schemars(range(max = 1_000_000))]
    pub queue: u32,
    /// How long a request may wait for bandwidth before it is answered 503.
    #[schemars(extend("x-least" = "10ms", "x-most" = "10m"))]
    pub wait: Span,
    /// Most that one connection sends. Unset: no limit.
    #[schemars(extend("x-least" = "8 kbit/s", "x-most" = "1000 Gbit/s"))]
    pub connection_sent: Option<Rate>,
    /// What a connection may send at once before `connection_sent` holds.
    #[schemars(extend("x-least" = "1 KiB", "x-most" = "1 GiB"))]
    pub connection_burst: Size,
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

impl Default for Governor {
    fn default() -> Self {
        Self {
            sent: None,
            received: None,
            both: None,
            policy: GovernorPolicy::Full,
            method: GovernorMethod::Histogram,
            queue: 1024,
            wait: Span::from_secs(10),
            connection_sent: None,
            connection_burst: Size::from_kib(64),
        }
    }
}
