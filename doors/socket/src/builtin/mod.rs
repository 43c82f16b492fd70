//! The handlers that the server brings, by name.

mod echo;
mod settings;

use crate::handler::HandlerFactory;
use std::fmt;

pub use settings::Settings;

/// What makes a handler of its settings.
type Make = fn(&Settings) -> Result<HandlerFactory, BuiltinError>;

/// The handlers of connections by name, with the settings that each knows.
const HANDLERS: &[(&str, &[&str], Make)] = &[("echo", &[], echo::echo), ("discard", &[], echo::discard)];

/// The handler of that name with these settings.
///
/// # Errors
/// [`BuiltinError`] says which name or setting is wrong, and what there is.
pub fn builtin(name: &str, settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let found = HANDLERS.iter().find(|(known, ..)| *known == name);
    let Some((_, known, make)) = found else {
        return Err(BuiltinError::Unknown { name: name.into() });
    };
    settings.check_names(known)?;
    make(settings)
}

/// Why there is no such handler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuiltinError {
    /// None is called so.
    Unknown {
        /// The name.
        name: Box<str>,
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

impl fmt::Display for BuiltinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => {
                let names: Vec<&str> = HANDLERS.iter().map(|(name, ..)| *name).collect();
                write!(f, "no handler is called \"builtin:{name}\"; there are {}", names.join(", "))
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
        assert!(error("ech", Settings::default()).contains("there are echo, discard"));
        let settings: Settings = [("size".to_owned(), "1".to_owned())].into_iter().collect();
        assert_eq!(error("echo", settings), "this handler has no setting size, and no other");
    }
}
