//! Credentials as requests carry them: `Authorization` with Basic (RFC 7617) or a bearer token (RFC 6750).

use base64ct::{Base64, Encoding as _};
use ringway_http::head::Request;

/// Longest value of `Authorization` that is looked at, in bytes.
const VALUE_LEN_MAX: usize = 8192;

/// What a request shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    /// Nothing.
    None,
    /// A name and a password, decoded: both in one buffer, and where the colon between them is.
    Basic { decoded: Vec<u8>, colon: usize },
    /// A token.
    Bearer(&'a [u8]),
    /// Another scheme, several at once, or nothing that makes sense.
    Other,
}

/// Reads what a request shows.
pub(crate) fn credentials<'a>(request: &Request<'a>) -> Credentials<'a> {
    let mut lines = request.fields().filter(|field| field.name.eq_ignore_ascii_case(b"authorization"));
    let Some(field) = lines.next() else { return Credentials::None };
    // Two of them are read differently by different readers.
    if lines.next().is_some() || field.value.len() > VALUE_LEN_MAX {
        return Credentials::Other;
    }
    let Some(space) = memchr::memchr(b' ', field.value) else { return Credentials::Other };
    let (scheme, rest) = (&field.value[..space], field.value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"basic") {
        basic(rest).unwrap_or(Credentials::Other)
    } else if scheme.eq_ignore_ascii_case(b"bearer") && is_token(rest) {
        Credentials::Bearer(rest)
    } else {
        Credentials::Other
    }
}

fn basic<'a>(encoded: &[u8]) -> Option<Credentials<'a>> {
    let decoded = Base64::decode_vec(str::from_utf8(encoded).ok()?).ok()?;
    let colon = memchr::memchr(b':', &decoded)?;
    // RFC 7617 section 2: neither has control characters.
    let has_controls = decoded.iter().any(u8::is_ascii_control);
    (!has_controls).then_some(Credentials::Basic { decoded, colon })
}

/// `b68token` of RFC 6750 section 2.1.
fn is_token(token: &[u8]) -> bool {
    let body = token.iter().position(|&byte| byte == b'=').map_or(token, |at| &token[..at]);
    let is_ending = token[body.len()..].iter().all(|&byte| byte == b'=');
    let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !body.is_empty() && is_ending && body.iter().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_http::head::Limits;

    fn read(lines: &str) -> String {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        match credentials(&Request::parse(text.as_bytes(), &Limits::default()).unwrap()) {
            Credentials::None => "none".to_owned(),
            Credentials::Basic { decoded, colon } => {
                format!("{} | {}", decoded[..colon].escape_ascii(), decoded[colon + 1..].escape_ascii())
            }
            Credentials::Bearer(token) => format!("token {}", token.escape_ascii()),
            Credentials::Other => "other".to_owned(),
        }
    }

    #[test]
    fn names_and_passwords_are_read_as_the_rfc_has_them() {
        // The examples of RFC 7617 sections 2 and 2.1.
        assert_eq!(read("Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "Aladdin | open sesame");
        assert_eq!(read("authorization: bASIC   dGVzdDoxMjPCow==\r\n"), "test | 123\\xc2\\xa3");
        assert_eq!(read("Authorization: Basic Og==\r\n"), " | ");
        assert_eq!(read("Authorization: Basic YTpiOmM=\r\n"), "a | b:c");
        assert_eq!(read("Authorization: Bearer mF_9.B5f-4.1JqM\r\n"), "token mF_9.B5f-4.1JqM");
        assert_eq!(read("Authorization: Bearer abc==\r\n"), "token abc==");
        assert_eq!(read(""), "none");
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Basic QWxhZGRpbg==",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
            "Basic YToKYg==",
            "Basic QQ== QQ==",
            "Bearer",
            "Bearer =",
            "Bearer a=b",
            "Bearer a b",
            "Digest username=\"x\"",
        ] {
            assert_eq!(read(&format!("Authorization: {value}\r\n")), "other", "{value:?}");
        }
        let two = "Authorization: Basic YTpiOmM=\r\nAuthorization: Basic YTpiOmM=\r\n";
        assert_eq!(read(two), "other");
        assert_eq!(read(&format!("Authorization: Bearer {}\r\n", "a".repeat(VALUE_LEN_MAX))), "other");
    }
}
