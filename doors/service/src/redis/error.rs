//! Why Redis did not do what it was asked for.

use crate::link::LinkError;
use ringway_http::status::Status;
use std::fmt;

/// Why a command has no answer that one can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisError {
    /// The server was not reached, or did not answer.
    Link(LinkError),
    /// It refuses, in these words; the first one is the kind.
    Refused(String),
    /// It answers with a value of another type.
    Type,
    /// The command would change the connection that all handlers of the worker share, or stop it: see
    /// [`super::RedisClient::command`].
    Shared(String),
}

impl RedisError {
    /// What a request is answered whose handler fails with this.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            // It may be better a moment later.
            Self::Link(_) => Status::SERVICE_UNAVAILABLE,
            Self::Refused(_) | Self::Type | Self::Shared(_) => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<LinkError> for RedisError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => write!(f, "Redis: {error}"),
            Self::Refused(text) => write!(f, "Redis refuses: {text}"),
            Self::Type => f.write_str("Redis answers with a value of another type"),
            Self::Shared(name) => write!(f, "{name} is not for a connection that all handlers share"),
        }
    }
}

impl std::error::Error for RedisError {}
