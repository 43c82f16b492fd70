//! The sites of an endpoint, found by the name a client asks for.

use crate::clock_table::fast_hasher;
use crate::pipeline::{AcceptedStage, ClosedStage};
use crate::site::Site;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;
use std::fmt;
use std::net::Ipv6Addr;

/// Longest name that is looked up, in bytes (RFC 1035 section 2.3.4); a longer one is nobody's.
pub const NAME_BYTES_MAX: usize = 253;

/// Why a name is none, or not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No host name, address or wildcard.
    Invalid(String),
    /// Another site has it.
    Taken {
        /// The name.
        name: String,
        /// The site that has it.
        by: String,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(name) => write!(
                f,
                "{name:?} is no name of a site; there are names in ASCII, addresses, and wildcards such as *.example.org"
            ),
            Self::Taken { name, by } => write!(f, "the name {name} belongs to the site {by} already"),
        }
    }
}

impl std::error::Error for NameError {}

type Names = HashMap<Box<[u8]>, usize, SeedableRandomState>;

/// What an endpoint serves. A single site needs no look-up.
pub struct Sites {
    sites: Vec<Site>,
    exact: Names,
    /// By what stands behind the star: `.example.org`.
    wildcards: Names,
    default: usize,
    has_scopes: bool,
    /// Stage 10: asked in order, the first that refuses closes the connection.
    pub accepted: Vec<Box<dyn AcceptedStage>>,
    /// Stage 50: all are told.
    pub closed: Vec<Box<dyn ClosedStage>>,
    /// The proxies before it that are believed in who the client is.
    #[cfg(feature = "proxy")]
    pub trust: Option<std::sync::Arc<crate::trust::Trust>>,
}

impl Sites {
    /// Sites of which the first, for now the only one, answers for every name that is no other's.
    #[must_use]
    pub fn new(default: Site) -> Self {
        Self {
            has_scopes: default.scope != 0,
            sites: vec![default],
            exact: HashMap::with_hasher(fast_hasher()),
            wildcards: HashMap::with_hasher(fast_hasher()),
            default: 0,
            accepted: Vec::new(),
            closed: Vec::new(),
            #[cfg(feature = "proxy")]
            trust: None,
        }
    }

    /// Adds a site that answers for `names`: host names in ASCII, addresses, and wildcards. `*.example.org` is for every name
    /// below `example.org`, however deep, that has no name of its own and no longer wildcard.
    ///
    /// # Errors
    /// [`NameError`]; nothing is added then.
    #[cfg(feature = "sites")]
    pub fn add<N: AsRef<str>>(&mut self, site: Site, names: &[N]) -> Result<(), NameError> {
        let number = self.sites.len();
        self.has_scopes |= site.scope != 0;
        self.sites.push(site);
        let named = self.name(number, names);
        if named.is_err() {
            self.sites.pop();
            self.exact.retain(|_, owner| *owner != number);
            self.wildcards.retain(|_, owner| *owner != number);
        }
        named
    }

    /// Gives the default site names of its own.
    ///
    /// # Errors
    /// [`NameError`]; names before the wrong one are given.
    #[cfg(feature = "sites")]
    pub fn name_default<N: AsRef<str>>(&mut self, names: &[N]) -> Result<(), NameError> {
        self.name(self.default, names)
    }

    /// The number of the site that answers for a host as it was asked for: `name`, `name:port`, `[v6]:port`; case, port and
    /// a dot at the end do not matter.
    #[must_use]
    #[inline]
    pub fn find(&self, host: Option<&[u8]>) -> usize {
        if self.is_single() {
            return self.default;
        }
        host.and_then(|host| self.find_name(host)).unwrap_or(self.default)
    }

    /// Whether any site has a [`Site::scope`].
    #[must_use]
    #[inline]
    pub fn has_scopes(&self) -> bool {
        self.has_scopes
    }

    /// Whether there is one site only.
    #[must_use]
    pub fn is_single(&self) -> bool {
        // Where there can be no more, nothing is left of looking for them.
        !cfg!(feature = "sites") || self.sites.len() == 1
    }

    /// The site that has the name of `host`, if any has.
    #[must_use]
    pub fn find_name(&self, host: &[u8]) -> Option<usize> {
        let mut memory = [0; NAME_BYTES_MAX];
        let key = key_of(host, &mut memory)?;
        if let Some(number) = self.exact.get(key) {
            return Some(*number);
        }
        if self.wildcards.is_empty() {
            return None;
        }
        // From the longest to the shortest.
        memchr::memchr_iter(b'.', key)
            .filter(|dot| *dot > 0)
            .find_map(|dot| self.wildcards.get(&key[dot..]).copied())
    }

    /// The site of that number; the default one for a number that is none.
    #[must_use]
    pub fn get(&self, number: usize) -> &Site {
        self.sites.get(number).unwrap_or(&self.sites[self.default])
    }

    /// The site that answers for what is nobody's.
    #[must_use]
    pub fn default_site(&self) -> &Site {
        &self.sites[self.default]
    }

    /// All sites, the default one first.
    pub fn iter(&self) -> std::slice::Iter<'_, Site> {
        self.sites.iter()
    }

    /// Whether a request for site `number`, over a connection whose handshake was for `server_name`, is misdirected: the
    /// name's site shows other certificates, or asks clients for others (RFC 9110 section 15.5.20).
    #[must_use]
    pub fn is_misdirected(&self, server_name: &str, number: usize) -> bool {
        if self.is_single() {
            return false;
        }
        let shown = self.find(Some(server_name.as_bytes()));
        self.get(shown).tls != self.get(number).tls
    }

    #[cfg(feature = "sites")]
    fn name<N: AsRef<str>>(&mut self, number: usize, names: &[N]) -> Result<(), NameError> {
        for name in names {
            let name = name.as_ref();
            let invalid = || NameError::Invalid(name.to_owned());
            let (table, host) = match name.strip_prefix("*.") {
                Some(below) if !below.is_empty() => (&mut self.wildcards, &name[1..]),
                _ => (&mut self.exact, name),
            };
            let mut memory = [0; NAME_BYTES_MAX];
            let bare = match host.parse::<Ipv6Addr>() {
                Ok(address) => format!("[{address}]"),
                Err(_) if host.contains(':') && !host.ends_with(']') => return Err(invalid()),
                Err(_) => host.to_owned(),
            };
            let key = key_of(bare.as_bytes(), &mut memory).filter(|key| is_name(key)).ok_or_else(invalid)?;
            match table.get(key) {
                Some(owner) if *owner != number => {
                    let by = self.sites[*owner].name.to_string();
                    return Err(NameError::Taken { name: name.to_owned(), by });
                }
                _ => table.insert(key.into(), number),
            };
        }
        Ok(())
    }
}

impl fmt::Debug for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sites")
            .field("sites", &self.sites)
            .field("names", &(self.exact.len() + self.wildcards.len()))
            .finish_non_exhaustive()
    }
}

/// What a host is looked up by: its name in lower case without port and dot at the end, or `[` and the octets of a version 6
/// address, which has many spellings. `None` for what is too long, and for no address in brackets.
fn key_of<'m>(host: &[u8], memory: &'m mut [u8; NAME_BYTES_MAX]) -> Option<&'m [u8]> {
    if let Some(rest) = host.strip_prefix(b"[") {
        let close = memchr::memchr(b']', rest)?;
        let address: Ipv6Addr = str::from_utf8(&rest[..close]).ok()?.parse().ok()?;
        memory[0] = b'[';
        memory[1..17].copy_from_slice(&address.octets());
        return Some(&memory[..17]);
    }
    let name = &host[..memchr::memchr(b':', host).unwrap_or(host.len())];
    let name = name.strip_suffix(b".").unwrap_or(name);
    let key = memory.get_mut(..name.len())?;
    for (to, from) in key.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    Some(key)
}

/// Whether a key is of an address or of labels of letters, digits, hyphens and underscores; a wildcard's begins with a dot.
#[cfg(feature = "sites")]
fn is_name(key: &[u8]) -> bool {
    if key.first() == Some(&b'[') {
        return true;
    }
    let key = key.strip_prefix(b".").unwrap_or(key);
    let is_label = |label: &[u8]| {
        let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.iter().all(is_good)
    };
    key.split(|byte| *byte == b'.').all(is_label)
}

#[cfg(feature = "sites")]
#[cfg(test)]
mod tests {
    use super::*;

    fn sites() -> Sites {
        let mut sites = Sites::new(Site::new("default"));
        sites.add(Site::new("org"), &["example.org", "*.example.org", "127.0.0.1"]).unwrap();
        sites.add(Site::new("deep"), &["*.a.example.org", "www.example.org", "::1"]).unwrap();
        sites
    }

    fn name<'a>(sites: &'a Sites, host: &str) -> &'a str {
        &sites.get(sites.find(Some(host.as_bytes()))).name
    }

    #[test]
    fn hosts_find_their_sites_however_they_are_spelt() {
        let sites = sites();
        for (host, wanted) in [
            ("example.org", "org"),
            ("EXAMPLE.Org.:8080", "org"),
            ("example.org:", "org"),
            ("x.example.org", "org"),
            ("x.y.example.org", "org"),
            ("www.example.org", "deep"),
            ("b.a.example.org", "deep"),
            ("a.example.org", "org"),
            ("127.0.0.1:80", "org"),
            ("[::1]:443", "deep"),
            ("[0:0:0:0:0:0:0:1]", "deep"),
            ("[::2]", "default"),
            ("example.com", "default"),
            ("notexample.org", "default"),
            (".example.org", "default"),
            ("", "default"),
            (".", "default"),
            ("[::1", "default"),
        ] {
            assert_eq!(name(&sites, host), wanted, "{host}");
        }
        assert_eq!(name(&sites, &format!("{}.example.org", "x".repeat(241))), "org");
        assert_eq!(name(&sites, &format!("{}.example.org", "x".repeat(242))), "default");
        assert_eq!(sites.find(None), 0);
    }

    #[test]
    fn names_are_given_once() {
        let mut sites = sites();
        let taken = |name: &str, by: &str| NameError::Taken { name: name.into(), by: by.into() };
        assert_eq!(sites.add(Site::new("x"), &["new.org", "Example.ORG"]), Err(taken("Example.ORG", "org")));
        assert_eq!(name(&sites, "new.org"), "default", "nothing of a refused site stays");
        assert_eq!(sites.add(Site::new("x"), &["0::1"]), Err(taken("0::1", "deep")));
        assert_eq!(sites.add(Site::new("x"), &["*.a.example.org"]), Err(taken("*.a.example.org", "deep")));
        sites.name_default(&["example.com"]).unwrap();
        assert_eq!(sites.add(Site::new("x"), &["example.com"]), Err(taken("example.com", "default")));
        assert_eq!(sites.iter().count(), 3);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in [
            "",
            "*",
            "*.",
            "a b",
            "a..b",
            "b\u{fc}cher.de",
            "*.*.org",
            "a.*",
            "[x]",
            "a/b",
            "a:80",
            &"x".repeat(64),
        ] {
            let refused = sites().add(Site::new("x"), &[wrong]);
            assert_eq!(refused, Err(NameError::Invalid(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn requests_are_misdirected_where_certificates_differ() {
        let mut sites = sites();
        sites.sites[2].tls = 7;
        assert!(!sites.is_misdirected("example.org", 1));
        assert!(!sites.is_misdirected("x.example.org", 0));
        assert!(sites.is_misdirected("example.org", 2));
        assert!(sites.is_misdirected("www.example.org", 0));
        assert!(!sites.is_misdirected("www.example.org.", 2));
        assert!(!Sites::new(Site::new("only")).is_misdirected("anything", 0));
    }
}
