//! Request methods (RFC 9110 section 9); names are case-sensitive, extension methods keep their own.

use std::fmt;

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'b> {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `TRACE`
    Trace,
    /// `CONNECT`; [`crate::head::Request::parse`] refuses it, so a handler never sees it.
    Connect,
    /// Any other token, as it was sent, 1..=[`METHOD_BYTES_MAX`] bytes.
    Extension(&'b str),
}

/// The longest extension method that is read; a longer one is answered 501.
pub const METHOD_BYTES_MAX: usize = 32;

impl<'b> Method<'b> {
    /// The method of that name; whatever has no name here is an extension.
    pub fn from_token(token: &'b str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "TRACE" => Self::Trace,
            "CONNECT" => Self::Connect,
            other => Self::Extension(other),
        }
    }

    /// The name on the wire.
    pub const fn as_str(&self) -> &'b str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Extension(name) => name,
        }
    }

    /// Whether the method asks for reading only (RFC 9110 section 9.2.1).
    pub const fn is_safe(&self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether doing it twice is doing it once (RFC 9110 section 9.2.2); extensions are taken as not.
    pub const fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_case_matters() {
        let names =
            ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"];
        for name in names {
            assert_eq!(Method::from_token(name).as_str(), name);
        }
        assert_eq!(Method::from_token("get"), Method::Extension("get"));
        assert_eq!(Method::from_token("PROPFIND"), Method::Extension("PROPFIND"));
    }

    #[test]
    fn safe_and_idempotent_follow_the_registry() {
        assert!(Method::Get.is_safe() && !Method::Put.is_safe() && !Method::Extension("X").is_safe());
        assert!(Method::Delete.is_idempotent() && !Method::Post.is_idempotent());
    }
}
