//! Limits: what clients may take of time and memory.

use crate::config::values::{Rate, Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to a connection beyond the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum OverCapacity {
    #[default]
    Drop,
    Resist,
    Busy,
}

/// Defines the limits once, as a table with defaults and as a table of overrides.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $(#[schemars($($schema:tt)+)])? $name:ident: $type:ty = $default:expr;)+) => {
        /// What clients may take of time and memory.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])+ $(#[schemars($($schema)+)])? pub $name: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// Limits of one endpoint, where they differ from `[limits]`.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct LimitOverrides {
            $($(#[doc = $doc])+ $(#[schemars($($schema)+)])? pub $name: Option<$type>,)+
        }

        impl LimitOverrides {
            /// The limits that hold when `base` holds elsewhere.
            #[must_use]
            pub fn over(&self, base: &Limits) -> Limits {
                Limits { $($name: self.$name.unwrap_or(base.$name),)+ }
            }
        }
    };
}

limits! {
    /// From a request's first byte to its head's last.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    head_timeout: Span = Span::from_secs(15);
    /// For a request's body as a whole.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    body_timeout: Span = Span::from_secs(60);
    /// Between two requests of a connection, or two messages for a handler; and until a peer that sends datagrams is forgotten.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    idle_timeout: Span = Span::from_secs(60);
    /// For a message to a handler, from its first byte to its last.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1d"))]
    read_timeout: Span = Span::from_secs(30);
    /// How often it is looked at whether an answer moves: who takes less than `send_min` of it in this time is cut.
    #[schemars(extend("x-least" = "1s", "x-most" = "1d"))]
    send_timeout: Span = Span::from_secs(30);
    /// The least that must move of an answer in each `send_timeout`.
    #[schemars(extend("x-least" = "1 B", "x-most" = "1 GiB"))]
    send_min: Size = Size::from_kib(16);
    /// For a TLS handshake.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1h"))]
    handshake_timeout: Span = Span::from_secs(10);
    /// For a connection as a whole: the first answer after it is the last. `off`: no limit.
    #[schemars(extend("x-least" = "off", "x-most" = "30d"))]
    lifetime: Span = Span::from_ms(0);
    /// Longest request line.
    #[schemars(extend("x-least" = "256 B", "x-most" = "60 KiB"))]
    line_size: Size = Size::from_kib(8);
    /// Longest head of a request, its line included.
    #[schemars(extend("x-least" = "512 B", "x-most" = "60 KiB"))]
    head_size: Size = Size::from_kib(16);
    /// Most fields in the head of a request.
    #[schemars(range(min = 8, max = 1000))]
    fields: u16 = 100;
    /// Largest body of a request.
    #[schemars(extend("x-least" = "0 B", "x-most" = "1 TiB"))]
    body_size: Size = Size::from_kib(1024);
    /// Largest message to a handler.
    #[schemars(extend("x-least" = "1 B", "x-most" = "1 GiB"))]
    message_size: Size = Size::from_kib(64);
    /// Requests on one connection; 0: no limit.
    requests: u32 = 0;
    /// Connections each worker keeps open, or peers that send datagrams.
    #[schemars(range(min = 1, max = 10_000_000))]
    connections: u32 = 100_000;
    /// Connections of one address each worker keeps open, IPv6 by /64; 0: no limit.
    #[schemars(range(max = 10_000_000))]
    connections_per_address: u32 = 1024;
    /// What one connection is sent at most. `off`: no limit.
    #[schemars(extend("x-least" = "off", "x-most" = "1000 Gbit/s"))]
    connection_rate: Rate = Rate::OFF;
    /// What one connection may be sent at once before `connection_rate` holds.
    #[schemars(extend("x-least" = "0 B", "x-most" = "1 GiB"))]
    connection_burst: Size = Size::from_kib(64);
    /// What happens to connections beyond `connections`: `drop` closes them at once, `resist` leaves them in the kernel's
    /// queue until there is room, `busy` answers 503 and closes.
    over_capacity: OverCapacity = OverCapacity::Drop;
}
