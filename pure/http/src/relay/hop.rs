//! Which fields belong to one connection and are never passed on.

use super::RelayError;
use crate::list::elements;

/// Most fields that `Connection` may name, besides those that never are passed on. Each is compared with every field, so a head
/// full of them would cost its square.
pub const CONNECTION_OPTIONS_MAX: usize = 16;

/// The fields that `Connection` names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'b> {
    names: [&'b [u8]; CONNECTION_OPTIONS_MAX],
    count: usize,
}

impl<'b> Options<'b> {
    /// Those of all `Connection` fields.
    pub(super) fn read(values: impl Iterator<Item = &'b [u8]>) -> Result<Self, RelayError> {
        let mut options = Self { names: [b""; CONNECTION_OPTIONS_MAX], count: 0 };
        for name in values.flat_map(elements).filter(|name| !is_dropped_anyway(name)) {
            *options.names.get_mut(options.count).ok_or(RelayError::Options)? = name;
            options.count += 1;
        }
        Ok(options)
    }

    pub(super) fn names(&self, name: &[u8]) -> bool {
        self.names[..self.count].iter().any(|option| option.eq_ignore_ascii_case(name))
    }
}

/// Options that are no fields, and fields that are dropped whether they are named or not.
fn is_dropped_anyway(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || is_hop_by_hop(option)
}

/// Whether a field is about the connection it came on (RFC 9110 section 7.6.1, and what is older than it).
pub(super) fn is_hop_by_hop(name: &[u8]) -> bool {
    match name.len() {
        2 => is(name, b"te"),
        7 => is(name, b"upgrade") || is(name, b"trailer"),
        10 => is(name, b"connection") || is(name, b"keep-alive"),
        14 => is(name, b"http2-settings"),
        16 => is(name, b"proxy-connection"),
        17 => is(name, b"transfer-encoding"),
        18 => is(name, b"proxy-authenticate"),
        19 => is(name, b"proxy-authorization"),
        _ => false,
    }
}

/// Whether `name` is `lower` in any case, where an underscore counts as a hyphen: programs behind CGI and its kin cannot tell
/// the two apart.
pub(super) fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    name.iter().zip(lower).all(|(sent, lower)| match sent {
        b'_' => *lower == b'-',
        sent => sent.to_ascii_lowercase() == *lower,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_connection_are_known_in_any_spelling() {
        for name in
            ["Connection", "keep_alive", "TE", "Trailer", "UPGRADE", "Transfer-Encoding", "transfer_encoding"]
        {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in ["", "Cookie", "Transfer", "Upgrades", "Connection2", "Content-Type"] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn options_are_kept_as_far_as_they_name_other_fields() {
        let options = Options::read([&b"close, X-a ,, Upgrade"[..], b"b"].into_iter()).unwrap();
        assert_eq!(options.count, 2);
        assert!(options.names(b"x-A") && options.names(b"B") && !options.names(b"close"));
        let many = vec![&b"a,b,c,d,e,f,g,h"[..]; 3];
        assert_eq!(Options::read(many.into_iter()).err(), Some(RelayError::Options));
    }
}
