//! Bearer tokens (RFC 6750): long random texts that programs show, kept as SHA-256.
//!
//! A token is drawn, not chosen, so nobody can try them all and a quick hash will do: `openssl rand -base64 32`, and for the
//! file `printf %s TOKEN | sha256sum`.

use crate::auth::lines::{LineError, LineReason, entries};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use subtle::ConstantTimeEq as _;

/// Longest token that is looked at, in bytes.
pub const TOKEN_LEN_MAX: usize = 4096;

/// Tokens, each with the name of who has it. One name may have several.
#[derive(Clone, Default)]
pub struct Tokens {
    /// By the first bytes of the hash, so that looking one up tells nothing of the others by the time it takes.
    by_start: HashMap<[u8; 8], Vec<Token>>,
    count: usize,
}

#[derive(Clone)]
struct Token {
    hash: [u8; 32],
    name: Box<str>,
}

impl Tokens {
    /// Reads lines `name:hash`, the SHA-256 of the token in hexadecimal.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the lines.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let mut tokens = Self::default();
        let mut errors = Vec::new();
        for entry in entries(text) {
            match entry.and_then(|(line, name, hash)| Ok((name, parse_hash(line, hash)?))) {
                Ok((name, hash)) => tokens.add(name, hash),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(tokens) } else { Err(errors) }
    }

    /// Adds the token of that SHA-256.
    pub fn add(&mut self, name: &str, hash: [u8; 32]) {
        self.by_start.entry(start(&hash)).or_default().push(Token { hash, name: name.into() });
        self.count += 1;
    }

    /// Whose token it is.
    #[must_use]
    pub fn find(&self, token: &[u8]) -> Option<&str> {
        if token.is_empty() || token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let candidates = self.by_start.get(&start(&hash))?;
        candidates.iter().find(|token| token.hash.ct_eq(&hash).into()).map(|token| &*token.name)
    }

    /// How many tokens there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Debug for Tokens {
    /// Without hashes: they have no business in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.count)
    }
}

fn start(hash: &[u8; 32]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    [a, b, c, d, e, f, g, h]
}

fn parse_hash(line: usize, text: &str) -> Result<[u8; 32], LineError> {
    let why = "the secret is no SHA-256 in 64 hexadecimal digits; `printf %s TOKEN | sha256sum` makes it";
    from_hex(text).ok_or(LineError { line, reason: LineReason::Secret(why) })
}

/// 32 bytes of hexadecimal digits, in either case.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash() {
        // printf %s hello | sha256sum; printf %s world | sha256sum
        let text = "ci:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n# more\n\
                    ci:486EA46224D1BB4FB680F34F7C9AD96A8F24EC88BE73EA8E5A6C65260E9CB8A7\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!((tokens.find(b"hello"), tokens.find(b"world"), tokens.len()), (Some("ci"), Some("ci"), 2));
        for wrong in [&b"Hello"[..], b"", b"hello\0", &vec![b'x'; TOKEN_LEN_MAX + 1]] {
            assert_eq!(tokens.find(wrong), None);
        }
        assert_eq!(format!("{tokens:?}"), "Tokens(2)");
    }

    #[test]
    fn a_token_itself_is_no_hash() {
        let errors = Tokens::parse("ci:hello\nx\nci:2cf2\n").unwrap_err();
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(errors[0].to_string().contains("sha256sum"));
        assert_eq!(from_hex(&"g".repeat(64)), None);
        assert_eq!(from_hex(&"\u{e9}".repeat(32)), None);
    }
}
