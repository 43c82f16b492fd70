//! Files: paths, and where logs go.

use super::written_as_text;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A path of a file or directory; what is relative is below the directory of the file that says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilePath(PathBuf);

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

impl FilePath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for FilePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl FromStr for FilePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(format!("{text:?} is no path"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl FromStr for LogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            path => path.parse().map(|FilePath(path)| Self::File(path)),
        }
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A text of `format` with what is a relative path in it made absolute below `folder`.
#[must_use]
pub(in crate::config) fn made_absolute(format: &str, text: &str, folder: &Path) -> Option<String> {
    let is_path = match format {
        "handler" | "filter" => return super::handler::made_absolute(text, folder),
        "path" => true,
        "log-target" => text != "stdout" && text != "stderr",
        _ => false,
    };
    // `folder` comes from text that was UTF-8, or its file could not have been named.
    is_path.then(|| folder.join(text).to_string_lossy().into_owned())
}

written_as_text!(
    FilePath,
    "path",
    "A path of a file or directory; what is relative is below the directory of the file that says it.",
    ["/srv/www", "certificates/example.pem"]
);
written_as_text!(
    LogTarget,
    "log-target",
    "`stdout`, `stderr`, or the path of a file that is appended to.",
    ["stdout", "/var/log/ringway/access.log"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_the_folder_of_their_file() {
        let absolute = |format, text| made_absolute(format, text, Path::new("/etc/ringway"));
        assert_eq!(absolute("path", "a.pem").as_deref(), Some("/etc/ringway/a.pem"));
        assert_eq!(absolute("path", "/a.pem").as_deref(), Some("/a.pem"));
        assert_eq!(absolute("log-target", "stdout"), None);
        assert_eq!(absolute("log-target", "x.log").as_deref(), Some("/etc/ringway/x.log"));
        assert_eq!(absolute("host", "x"), None);
    }
}
