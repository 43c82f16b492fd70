//! Addresses of Redis servers as people write them: `redis://user:password@host:6379/0`, `unix:///run/redis.sock?db=1`.

use crate::link::StoreAddress;
use std::fmt;

/// The port that Redis has where none is said.
const PORT: u16 = 6_379;

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: StoreAddress,
    pub(super) is_encrypted: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

/// Why something is no URL of a Redis server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisUrlError {
    /// It begins with neither `redis://`, `rediss://` nor `unix://`.
    Scheme,
    /// The host, or the socket's path, is missing or none.
    Host,
    /// The port is no number up to 65535.
    Port,
    /// The number of the database is none.
    Database,
    /// A `%` is not followed by two hexadecimal digits, or what they say is no UTF-8.
    Percent,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, RedisUrlError> {
        if let Some(rest) = url.strip_prefix("redis://") {
            return Self::at_host(rest, false);
        }
        if let Some(rest) = url.strip_prefix("rediss://") {
            return Self::at_host(rest, true);
        }
        let rest = ["unix://", "redis+unix://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        Self::at_socket(rest.ok_or(RedisUrlError::Scheme)?)
    }

    fn at_host(rest: &str, is_encrypted: bool) -> Result<Self, RedisUrlError> {
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (user, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => (filled(user)?, filled(password)?),
            None => (None, None),
        };
        // Colons belong to an address where brackets are around it.
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(RedisUrlError::Host)?,
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return Err(RedisUrlError::Host);
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_none| RedisUrlError::Port)?,
            None if port.is_empty() => PORT,
            None => return Err(RedisUrlError::Host),
        };
        let address = StoreAddress::Host(host.to_owned(), port);
        Ok(Self { address, is_encrypted, user, password, database: number(database)? })
    }

    fn at_socket(rest: &str) -> Result<Self, RedisUrlError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(RedisUrlError::Host);
        }
        let address = StoreAddress::Unix(decode(path)?.into());
        let mut this = Self { address, is_encrypted: false, user: None, password: None, database: 0 };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "db" => this.database = number(value)?,
                "user" => this.user = filled(value)?,
                "pass" | "password" => this.password = filled(value)?,
                _ => {}
            }
        }
        Ok(this)
    }
}

fn number(text: &str) -> Result<u32, RedisUrlError> {
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_none| RedisUrlError::Database) }
}

fn filled(text: &str) -> Result<Option<String>, RedisUrlError> {
    if text.is_empty() { Ok(None) } else { decode(text).map(Some) }
}

fn decode(text: &str) -> Result<String, RedisUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>().ok_or(RedisUrlError::Percent)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = digit(digits[0]).zip(digit(digits[1])).ok_or(RedisUrlError::Percent)?;
        bytes.push(high << 4 | low);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_not_utf8| RedisUrlError::Percent)
}

impl fmt::Debug for Target {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}/{})", self.address, self.database)
    }
}

impl fmt::Display for RedisUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the address begins with none of redis://, rediss:// and unix:///",
            Self::Host => "the address names no host, or no absolute path of a socket",
            Self::Port => "the port is no number up to 65535",
            Self::Database => "the database is no number",
            Self::Percent => "a % must be followed by two hexadecimal digits",
        })
    }
}

impl std::error::Error for RedisUrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Target {
        let address = StoreAddress::Host(name.to_owned(), port);
        Target { address, is_encrypted: false, user: None, password: None, database: 0 }
    }

    #[test]
    fn urls_say_where_and_as_whom() {
        let with = |user: &str, password: &str| (Some(user.to_owned()), Some(password.to_owned()));
        assert_eq!(Target::parse("redis://localhost"), Ok(host("localhost", 6_379)));
        assert_eq!(Target::parse("redis://[::1]:7/"), Ok(host("::1", 7)));
        assert_eq!(
            Target::parse("rediss://a/3"),
            Ok(Target { is_encrypted: true, database: 3, ..host("a", 6_379) })
        );
        let (user, password) = with("u", "p@:/");
        assert_eq!(
            Target::parse("redis://u:p%40%3a%2f@a:1/2"),
            Ok(Target { user, password, database: 2, ..host("a", 1) })
        );
        let only = Target { password: Some("p".to_owned()), ..host("a", 6_379) };
        assert_eq!(Target::parse("redis://:p@a"), Ok(only.clone()));
        assert!(!format!("{only:?}").contains('p'), "passwords are not shown");
        let socket = Target::parse("unix:///run/r%20s?db=4&pass=p").expect("a URL");
        assert_eq!(socket.address, StoreAddress::Unix("/run/r s".into()));
        assert_eq!((socket.database, socket.password.as_deref()), (4, Some("p")));
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (url, error) in [
            ("", RedisUrlError::Scheme),
            ("localhost:6379", RedisUrlError::Scheme),
            ("http://a", RedisUrlError::Scheme),
            ("redis://", RedisUrlError::Host),
            ("redis://:6379", RedisUrlError::Host),
            ("redis://[::1", RedisUrlError::Host),
            ("redis://[::1]x", RedisUrlError::Host),
            ("redis://a:x", RedisUrlError::Port),
            ("redis://a:65536", RedisUrlError::Port),
            ("redis://a/x", RedisUrlError::Database),
            ("redis://u:%4@a", RedisUrlError::Percent),
            ("redis://u:%ff@a", RedisUrlError::Percent),
            ("unix://run/redis", RedisUrlError::Host),
            ("unix:///run?db=-1", RedisUrlError::Database),
        ] {
            assert_eq!(Target::parse(url), Err(error), "{url}");
        }
    }
}
