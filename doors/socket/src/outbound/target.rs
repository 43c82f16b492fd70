//! Where connections are made to, and how.

use ringway_engine::Filter;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Milliseconds in which a connection must be there, names and TLS included, unless told otherwise.
pub const CONNECT_MS_DEFAULT: u64 = 5_000;

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address.
    Tcp(SocketAddr),
    /// A name, looked up for each connection off the worker, and a port.
    Named(String, u16),
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// What a connection is to be like that this side opens.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to.
    pub origin: Origin,
    /// With TLS; `None`: as it is.
    pub tls: Option<ClientTls>,
    /// Milliseconds in which it must be there, names and TLS included. Default [`CONNECT_MS_DEFAULT`].
    pub connect_ms_max: u64,
}

/// What encrypts connections that this side opens.
#[derive(Clone)]
pub struct ClientTls {
    /// Makes the filter of a connection to the server of a name, such as `ringway_tls::TlsClient::filter`.
    pub filter: MakeFilter,
    /// The name that certificates are checked for; `None`: that of the target.
    pub server_name: Option<String>,
}

/// Makes the filter of a connection to the server of a name.
pub type MakeFilter = Arc<dyn Fn(&str) -> io::Result<Box<dyn Filter>> + Send + Sync>;

impl Target {
    /// A target without TLS, with ordinary limits.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self { origin, tls: None, connect_ms_max: CONNECT_MS_DEFAULT }
    }

    /// A filter for a new connection.
    ///
    /// # Errors
    /// A name that no certificate can be for.
    pub(crate) fn filter(&self) -> io::Result<Option<Box<dyn Filter>>> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let own = match &self.origin {
            Origin::Tcp(address) => address.ip().to_string(),
            Origin::Named(name, _) => name.clone(),
            Origin::Unix(_) => "localhost".to_owned(),
        };
        (tls.filter)(tls.server_name.as_deref().unwrap_or(&own)).map(Some)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Named(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

impl FromStr for Origin {
    type Err = String;

    /// An address with its port, a name with its port, or `unix:` and a path from the root.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no place to connect to; write an address or a name with its port, or unix: and a path, such as \
                 \"127.0.0.1:9000\", \"mail.internal:110\" or \"unix:/run/app.sock\""
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() > 0 { Ok(Self::Tcp(address)) } else { Err(wrong()) };
        }
        let named = text.rsplit_once(':').and_then(|(name, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            is_host_name(name).then(|| Self::Named(name.to_ascii_lowercase(), port))
        });
        named.ok_or_else(wrong)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Whether a text has the form of a host's name (RFC 1123, with underscores as they occur), and not that of a number.
fn is_host_name(text: &str) -> bool {
    /// RFC 1035, section 2.3.4.
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let is_label = |label: &str| {
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= NAME_BYTES_MAX
        && text.split('.').all(is_label)
        && text.contains(|letter: char| letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_in_three_ways() {
        for text in ["127.0.0.1:9000", "[::1]:80", "app:8080", "a_b.internal:1", "unix:/run/x.sock"] {
            let origin: Origin = text.parse().expect(text);
            assert_eq!(origin.to_string(), text);
        }
        assert_eq!("App:80".parse(), Ok(Origin::Named("app".to_owned(), 80)));
        for text in
            ["", "9000", ":80", "127.0.0.1", "app", "app:0", "127.0.0.1:0", "1.2.3.4.5:80", "unix:x", "a b:1"]
        {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
