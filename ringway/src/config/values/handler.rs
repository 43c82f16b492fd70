//! Who speaks on an endpoint, and what stands before it: names of what is built in, and paths of shared libraries.

use super::name::LABEL_BYTES_MAX;
use super::written_as_text;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a library's path is written behind.
const LIBRARY: &str = "lib:";
/// What the name of a handler that is built in is written behind.
const BUILTIN: &str = "builtin:";

/// Who speaks on an endpoint: a handler that is built in, or one in a shared library.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HandlerSource {
    /// The handler of that name.
    Builtin(String),
    /// The shared library with that path.
    Library(PathBuf),
}

/// What stands between an endpoint's connections and who speaks on it: a filter that is built in, or one in a shared library.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilterText(String);

impl HandlerSource {
    /// The library, where it is in one.
    #[must_use]
    pub fn library(&self) -> Option<&Path> {
        match self {
            Self::Builtin(_) => None,
            Self::Library(path) => Some(path),
        }
    }
}

impl FilterText {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The library, where it is in one.
    #[must_use]
    pub fn library(&self) -> Option<&Path> {
        let path = self.0.strip_prefix(LIBRARY)?;
        Some(Path::new(path.split_once('?').map_or(path, |(path, _)| path)))
    }
}

impl FromStr for HandlerSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(LIBRARY).filter(|path| is_path(path)) {
            return Ok(Self::Library(path.into()));
        }
        if let Some(name) = text.strip_prefix(BUILTIN).filter(|name| is_name(name)) {
            return Ok(Self::Builtin(name.to_owned()));
        }
        Err(format!("{text:?} is no handler; write \"builtin:echo\", or \"lib:\" and a library's path"))
    }
}

impl FromStr for FilterText {
    type Err = String;

    #[cfg(feature = "endpoints")]
    fn from_str(text: &str) -> Result<Self, String> {
        match crate::socket::filters::FilterSpec::parse(text, Path::new("")) {
            Ok(_) if !text.contains('\0') => Ok(Self(text.to_owned())),
            Ok(_) => Err(format!("{text:?} is no path of a library")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[cfg(not(feature = "endpoints"))]
    fn from_str(_text: &str) -> Result<Self, String> {
        Err("this program was built without filters".to_owned())
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= LABEL_BYTES_MAX && text.bytes().all(is_part)
}

impl fmt::Display for HandlerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "{BUILTIN}{name}"),
            Self::Library(path) => write!(f, "{LIBRARY}{}", path.display()),
        }
    }
}

impl fmt::Display for FilterText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text of a handler or filter with its library's path made absolute below `folder`.
pub(super) fn made_absolute(text: &str, folder: &Path) -> Option<String> {
    // `folder` comes from text that was UTF-8, or its file could not have been named.
    text.strip_prefix(LIBRARY).map(|path| format!("{LIBRARY}{}", folder.join(path).to_string_lossy()))
}

written_as_text!(
    HandlerSource,
    "handler",
    "`builtin:` and the name of a handler that is built in, or `lib:` and the path of a shared library; what is relative is below the directory of the file that says it.",
    ["builtin:echo", "lib:/usr/lib/ringway/telemetry.so"]
);
written_as_text!(
    FilterText,
    "filter",
    "`trace` (or `trace:sizes`, `trace:bytes`), `proxy-protocol`, `flow:` and bytes a second in each direction, `tls` for where the endpoint's TLS stands, or `lib:` and the path of a shared library, with its settings behind a `?`; what is relative is below the directory of the file that says it.",
    ["trace", "flow:1MiB", "lib:/usr/lib/ringway/xor.so?key"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_read_as_they_are_written() {
        for text in ["builtin:udp-echo", "lib:/x.so", "lib:a b.so"] {
            let handler: HandlerSource = text.parse().expect(text);
            assert_eq!(handler.to_string(), text);
        }
        for text in ["", "echo", "builtin:", "lib:", "builtin:Echo", "builtin:a b", "lib:\0", "wasm:x"] {
            assert!(text.parse::<HandlerSource>().is_err(), "{text:?}");
        }
    }

    #[cfg(feature = "endpoints")]
    #[test]
    fn filters_say_which_library_they_need() {
        for (text, library) in
            [("trace:bytes", None), ("lib:/x.so?a=1", Some("/x.so")), ("lib:y.so", Some("y.so"))]
        {
            let filter: FilterText = text.parse().expect(text);
            assert_eq!((filter.to_string().as_str(), filter.library()), (text, library.map(Path::new)));
        }
        for text in ["", "lib:", "Trace", "flow:0", "trace:all"] {
            assert!(text.parse::<FilterText>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn libraries_are_below_the_folder_of_their_file() {
        let absolute = |text| made_absolute(text, Path::new("/etc/ringway"));
        assert_eq!(absolute("lib:x.so").as_deref(), Some("lib:/etc/ringway/x.so"));
        assert_eq!(absolute("lib:/x.so").as_deref(), Some("lib:/x.so"));
        assert_eq!(absolute("builtin:echo"), None);
    }
}
