//! Settings of framing: how what a connection receives is parted into messages.

use crate::config::values::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How what a connection receives is parted into messages for the handler. A text is its `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "kind"))]
pub struct Framing {
    /// `none`: whatever has come is a message. `length`: a number says how long each is. `lines`: each ends with a line feed;
    /// a carriage return before it is none of it. `delimiter`: each ends with `delimiter`. `fixed`: each has `size`. `handler`: the
    /// handler says how long a message is. `websocket`: the messages of WebSockets. `auto`: those of WebSockets where a connection
    /// begins as one, else whatever has come.
    pub kind: FramingKind,
    /// How many bytes the number of `length` has: 1, 2, 4 or 8. Unset: 4.
    #[serde(default)]
    pub bytes: Option<u8>,
    /// Which byte of that number comes first: the highest (`big`, as in networks) or the lowest (`little`). Unset: `big`.
    #[serde(default)]
    pub order: Option<ByteOrder>,
    /// Whether that number counts its own bytes too. Unset: it does not.
    #[serde(default)]
    pub inclusive: Option<bool>,
    /// What messages of `delimiter` end with, up to 64 bytes: `"\r\n.\r\n"`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub delimiter: Option<String>,
    /// How long each message of `fixed` is.
    #[serde(default)]
    #[schemars(extend("x-least" = "1 B", "x-most" = "1 GiB"))]
    pub size: Option<Size>,
}

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum FramingKind {
    None,
    Length,
    Lines,
    Delimiter,
    Fixed,
    Handler,
    Websocket,
    Auto,
}

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum ByteOrder {
    #[default]
    Big,
    Little,
}

impl FramingKind {
    /// The word it is written as.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Length => "length",
            Self::Lines => "lines",
            Self::Delimiter => "delimiter",
            Self::Fixed => "fixed",
            Self::Handler => "handler",
            Self::Websocket => "websocket",
            Self::Auto => "auto",
        }
    }
}
