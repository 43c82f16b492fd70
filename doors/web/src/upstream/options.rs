//! What an upstream is made of, as its owner says it.

use crate::upstream::balance::Balance;
use ringway_engine::Filter;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Most backends of an upstream: which of them were tried fits one word.
pub const BACKENDS_MAX: usize = 64;

/// Largest weight of a backend.
pub const WEIGHT_MAX: u16 = 1_000;

/// Most addresses of one name that are used.
pub const ADDRESSES_MAX: usize = 32;

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address.
    Tcp(SocketAddr),
    /// A name, looked up again and again, and a port.
    Named(String, u16),
    /// A Unix stream socket.
    Unix(PathBuf),
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

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(format!("{text:?} needs a path that begins with a slash")),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(format!("{text:?} has port 0, which nobody listens on")),
                _ => Ok(Self::Tcp(address)),
            };
        }
        let named = text.rsplit_once(':').and_then(|(name, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            is_host_name(name).then(|| Self::Named(name.to_ascii_lowercase(), port))
        });
        let wrong = || {
            format!(
                "{text:?} is no backend's address; write an address or a name with its port, or unix: and a path, \
                 such as \"127.0.0.1:9000\", \"app.internal:8080\" or \"unix:/run/app.sock\""
            )
        };
        named.ok_or_else(wrong)
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

/// What is spoken with the backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: over TLS by ALPN, else with prior knowledge.
    Http2,
    /// FastCGI.
    FastCgi,
}

impl Speaks {
    /// Its name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::Http2 => "h2",
            Self::FastCgi => "fastcgi",
        }
    }
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendOptions {
    /// Where it is.
    pub origin: Origin,
    /// How much it gets, in relation to the others: 1 to [`WEIGHT_MAX`].
    pub weight: u16,
    /// It gets something only while none of the others can.
    pub is_backup: bool,
}

impl BackendOptions {
    /// One of weight 1.
    #[must_use]
    pub const fn new(origin: Origin) -> Self {
        Self { origin, weight: 1, is_backup: false }
    }
}

/// When requests that fail take a backend out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassiveRules {
    /// So many failures in a row; 0: never. Default 3.
    pub fail_max: u32,
    /// Within this time, in milliseconds. Default 10,000.
    pub fail_window_ms: u64,
    /// Longest time until it is looked at again, in milliseconds; it begins with a quarter of a second, and doubles while it fails
    /// again and again. Default 10,000.
    pub offline_ms_max: u64,
}

impl Default for PassiveRules {
    fn default() -> Self {
        Self { fail_max: 3, fail_window_ms: 10_000, offline_ms_max: 10_000 }
    }
}

/// How backends are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// HTTP/1.1: the path that is asked for; 200 to 399 is well. `None`: connecting is enough (HTTP/1.1); others ask in their
    /// protocol's own way.
    pub path: Option<String>,
    /// What the `Host` field says; `None`: the backend's address.
    pub host: Option<String>,
    /// Milliseconds from one question to the next. Default 1,000.
    pub interval_ms: u64,
    /// Milliseconds until no answer is a bad one. Default 2,000.
    pub timeout_ms: u64,
    /// Good answers in a row that bring a backend back. Default 1.
    pub rise: u32,
    /// Bad answers in a row that take it out. Default 3.
    pub fall: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self { path: None, host: None, interval_ms: 1_000, timeout_ms: 2_000, rise: 1, fall: 3 }
    }
}

/// How backends are told who the client is (PROXY protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What encrypts connections to backends.
#[derive(Clone)]
pub struct Encryption {
    /// A filter for a connection to the server of that name or address.
    pub filter: MakeFilter,
    /// The name that the backends' certificates are checked for; `None`: each backend's own.
    pub server_name: Option<String>,
}

/// Makes the filter of a connection to the server of a name.
pub type MakeFilter = Arc<dyn Fn(&str) -> io::Result<Box<dyn Filter>> + Send + Sync>;

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// What the callers of an upstream keep to with each try; the upstream itself has no use for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryRules {
    /// Most backends that a request is tried at. Default 3.
    pub attempts: u32,
    /// Milliseconds for one try until its head is there; 0: as long as `read_timeout_ms` allows. Default 0.
    pub try_timeout_ms: u64,
    /// Milliseconds without a byte from the backend. Default 60,000.
    pub read_timeout_ms: u64,
    /// Milliseconds in which the backend takes no byte. Default 60,000.
    pub send_timeout_ms: u64,
}

impl Default for TryRules {
    fn default() -> Self {
        Self { attempts: 3, try_timeout_ms: 0, read_timeout_ms: 60_000, send_timeout_ms: 60_000 }
    }
}

/// An upstream.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Its name.
    pub name: String,
    /// What is spoken there.
    pub speaks: Speaks,
    /// Who gets the next request.
    pub balance: Balance,
    /// At least one and at most [`BACKENDS_MAX`].
    pub backends: Vec<BackendOptions>,
    /// Milliseconds until a connection must be there, TLS included. Default 5,000.
    pub connect_timeout_ms: u64,
    /// For the callers.
    pub tries: TryRules,
    /// Connections to each backend that a worker keeps when nobody uses them; 0: none. Default 64.
    pub idle_max: usize,
    /// Milliseconds that they are kept. Default 60,000.
    pub idle_ms_max: u64,
    /// Connections to each backend (of HTTP/2: requests under way), over all workers; 0: as many as are wanted.
    pub connections_max: u32,
    /// Requests that wait for one of them. Default 1,024.
    pub queue_max: usize,
    /// Milliseconds that they wait. Default 5,000.
    pub queue_ms_max: u64,
    /// When failures take a backend out.
    pub passive: PassiveRules,
    /// Whether and how backends are asked.
    pub check: Option<Check>,
    /// Milliseconds in which a backend that has come back gets its full weight; 0: at once.
    pub slow_start_ms: u64,
    /// Milliseconds after which names are looked up again. Default 30,000.
    pub resolve_ms: u64,
    /// TLS towards the backends.
    pub encryption: Option<Encryption>,
    /// The header by which they are told who the client is. Connections are not kept then: each is one client's.
    pub proxy_header: Option<ProxyHeader>,
    /// Place of the kind of connections in [`ringway_engine::ServerOptions::outbound`].
    pub outbound: usize,
}

impl GroupOptions {
    /// The defaults: HTTP/1.1, round robin.
    #[must_use]
    pub fn new(name: &str, backends: Vec<BackendOptions>) -> Self {
        Self {
            name: name.to_owned(),
            speaks: Speaks::Http1,
            balance: Balance::RoundRobin,
            backends,
            connect_timeout_ms: 5_000,
            tries: TryRules::default(),
            idle_max: 64,
            idle_ms_max: 60_000,
            connections_max: 0,
            queue_max: 1_024,
            queue_ms_max: 5_000,
            passive: PassiveRules::default(),
            check: None,
            slow_start_ms: 0,
            resolve_ms: 30_000,
            encryption: None,
            proxy_header: None,
            outbound: 0,
        }
    }

    /// # Errors
    /// A sentence when no upstream can be made of it.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.backends.is_empty() || self.backends.len() > BACKENDS_MAX {
            return Err(format!("an upstream has 1 to {BACKENDS_MAX} backends, not {}", self.backends.len()));
        }
        if self.backends.iter().any(|backend| !(1..=WEIGHT_MAX).contains(&backend.weight)) {
            return Err(format!("a backend's weight is 1 to {WEIGHT_MAX}"));
        }
        let is_twice = |(place, backend): (usize, &BackendOptions)| {
            self.backends[..place].iter().any(|other| other.origin == backend.origin)
        };
        match self.backends.iter().enumerate().find(|entry| is_twice(*entry)) {
            Some((_, backend)) => Err(format!("the backend {} is there twice", backend.origin)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_written_in_three_ways() {
        for text in ["127.0.0.1:9000", "[::1]:80", "app:8080", "a_b.internal:1", "unix:/run/x.sock"] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!(origin.to_string(), text);
        }
        assert_eq!("App:80".parse::<Origin>(), Ok(Origin::Named("app".to_owned(), 80)));
        for text in [
            "",
            "9000",
            ":80",
            "127.0.0.1",
            "app",
            "app:0",
            "app:x",
            "127.0.0.1:0",
            "1.2.3.4.5:80",
            "unix:x",
            "a b:1",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_upstream_that_makes_no_sense_is_refused() {
        let backend = || BackendOptions::new("127.0.0.1:80".parse().unwrap());
        let is_wrong = |backends| GroupOptions::new("x", backends).check().is_err();
        assert!(is_wrong(vec![]));
        assert!(is_wrong(vec![backend(), backend()]));
        assert!(is_wrong(vec![BackendOptions { weight: 0, ..backend() }]));
        assert!(!is_wrong(vec![backend()]));
    }
}
