//! A handler's own settings, as text.

use super::BuiltinError;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A handler's own settings: names and values as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The value of a setting as it was typed.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A setting that is a number in a range, or `default`.
    ///
    /// # Errors
    /// [`BuiltinError::Value`] for any other.
    pub fn number(&self, name: &str, default: u64, range: RangeInclusive<u64>) -> Result<u64, BuiltinError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let wanted = || format!("a number from {} to {}, not {text:?}", range.start(), range.end());
        number.ok_or_else(|| BuiltinError::Value { name: name.into(), wanted: wanted().into() })
    }

    /// A setting that is `true` or `false`, or `default`.
    ///
    /// # Errors
    /// [`BuiltinError::Value`] for any other.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, BuiltinError> {
        match self.text(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(BuiltinError::Value { name: name.into(), wanted: "true or false".into() }),
        }
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether only these are set.
    ///
    /// # Errors
    /// [`BuiltinError::Setting`] for the first other.
    pub fn check_names(&self, known: &[&str]) -> Result<(), BuiltinError> {
        match self.values.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                Err(BuiltinError::Setting { name: name.as_str().into(), known: known.join(", ").into() })
            }
        }
    }
}

/// The members of a list as text: with commas or blanks between them, with or without the brackets and quotes of an array.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |letter: char| letter.is_whitespace() || matches!(letter, ',' | '"' | '\'');
    let text = text.trim();
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inside.unwrap_or(text).split(is_between).filter(|member| !member.is_empty())
}

impl FromIterator<(String, String)> for Settings {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(values: T) -> Self {
        Self { values: values.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let settings: Settings = [("size", "70"), ("on", "yes")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(settings.number("size", 1, 1..=100), Ok(70));
        assert_eq!(settings.number("other", 1, 1..=100), Ok(1));
        let error = settings.number("size", 1, 1..=64).expect_err("too large");
        assert_eq!(error.to_string(), "size must be a number from 1 to 64, not \"70\"");
        assert_eq!(settings.flag("on", false).expect_err("a word").to_string(), "on must be true or false");
    }
}
