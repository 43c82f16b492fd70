//! Names of properties: a namespace and a local name (RFC 4918 section 4.4).

use std::fmt;

/// The namespace of WebDAV's own elements.
pub const DAV: &str = "DAV:";

/// Longest name, namespace included, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

/// The name of an element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its namespace; empty for none.
    pub namespace: Box<str>,
    /// Its name there.
    pub local: Box<str>,
}

impl Name {
    /// A name in a namespace.
    #[must_use]
    pub fn new(namespace: &str, local: &str) -> Self {
        Self { namespace: namespace.into(), local: local.into() }
    }

    /// A name of WebDAV's.
    #[must_use]
    pub fn dav(local: &str) -> Self {
        Self::new(DAV, local)
    }

    /// The local name, if it is one of WebDAV's.
    #[must_use]
    pub fn as_dav(&self) -> Option<&str> {
        (&*self.namespace == DAV).then_some(&*self.local)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}{}", self.namespace, self.local)
    }
}
