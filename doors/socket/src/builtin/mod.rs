//! The handlers that the server brings, by name.

mod chat;
mod echo;
mod generator;
mod length_echo;
mod mail;
mod policy;
mod settings;

use crate::connection::Connection;
use crate::framing::Framing;
use crate::gateway;
use crate::handler::{HandlerFactory, SendError};
use std::fmt;

pub use settings::Settings;
pub(crate) use settings::list;

/// What makes a handler of its settings.
type Make = fn(&Settings) -> Result<HandlerFactory, BuiltinError>;

/// The handlers of connections by name, with the settings that each knows.
const HANDLERS: &[(&str, &[&str], Make)] = &[
    ("chat", chat::SETTINGS, chat::make),
    ("discard", &[], echo::discard),
    ("echo", &[], echo::echo),
    ("gateway", gateway::SETTINGS, gateway::from_settings),
    ("generator", generator::SETTINGS, generator::make),
    ("length-echo", length_echo::SETTINGS, length_echo::make),
    ("mail", mail::SETTINGS, mail::make),
    ("policy", policy::SETTINGS, policy::make),
];

/// The names of all handlers of connections, in order.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    HANDLERS.iter().map(|(name, ..)| *name)
}

/// How a handler's messages are told apart where nobody says.
#[must_use]
pub fn builtin_framing(name: &str) -> Framing {
    match name {
        "chat" | "mail" => Framing::lines(),
        "length-echo" => Framing::Handler,
        "policy" => Framing::Delimiter(Box::new(*b"\0")),
        _ => Framing::None,
    }
}

/// The handler of that name with these settings.
///
/// # Errors
/// [`BuiltinError`] says which name or setting is wrong, and what there is.
pub fn builtin(name: &str, settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let found = HANDLERS.iter().find(|(known, ..)| *known == name);
    let Some((_, known, make)) = found else {
        return Err(BuiltinError::unknown(name, HANDLERS.iter().map(|(known, ..)| *known)));
    };
    settings.check_names(known)?;
    make(settings)
}

/// Resets a connection on which an answer is missing: without memory, most of all.
fn sent_or_abort(conn: &mut Connection<'_>, send: impl FnOnce(&mut Connection<'_>) -> Result<(), SendError>) {
    match send(conn) {
        // Where no more can be sent, the connection ends for a reason of its own.
        Ok(()) | Err(SendError::Closed) => {}
        Err(_missing) => conn.abort(),
    }
}

/// Why there is no such handler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuiltinError {
    /// None is called so.
    Unknown {
        /// The name.
        name: Box<str>,
        /// What there is.
        known: Box<str>,
    },
    /// It has no such setting.
    Setting {
        /// The setting.
        name: Box<str>,
        /// Those that it has.
        known: Box<str>,
    },
    /// A setting's value is none.
    Value {
        /// The setting.
        name: Box<str>,
        /// What it must be.
        wanted: Box<str>,
    },
}

impl BuiltinError {
    pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known = known.collect::<Vec<_>>().join(", ");
        Self::Unknown { name: name.into(), known: known.into() }
    }
}

impl fmt::Display for BuiltinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, known } => {
                write!(f, "no handler is called \"builtin:{name}\"; there are {known}")
            }
            Self::Setting { name, known } if known.is_empty() => {
                write!(f, "this handler has no setting {name}, and no other")
            }
            Self::Setting { name, known } => write!(f, "this handler has no setting {name}; it has {known}"),
            Self::Value { name, wanted } => write!(f, "{name} must be {wanted}"),
        }
    }
}

impl std::error::Error for BuiltinError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_names_and_settings_are_explained() {
        let error =
            |name: &str, settings: Settings| builtin(name, &settings).err().expect("it is wrong").to_string();
        assert!(error("ech", Settings::default()).contains("there are chat, discard, echo"));
        let settings: Settings = [("size".to_owned(), "1".to_owned())].into_iter().collect();
        assert_eq!(error("echo", settings), "this handler has no setting size, and no other");
    }
}
