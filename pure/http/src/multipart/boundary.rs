//! Boundaries (RFC 2046 section 5.1.1): what stands between parts.

use super::Fault;
use super::part::parameters;

/// Longest boundary, in bytes.
pub const BOUNDARY_BYTES_MAX: usize = 70;

/// What a delimiter begins with.
const BEFORE: &[u8] = b"\r\n--";

/// The line that parts are told apart by.
#[derive(Clone, Copy, Debug)]
pub struct Boundary {
    delimiter: [u8; BEFORE.len() + BOUNDARY_BYTES_MAX],
    len: usize,
}

impl Boundary {
    /// The boundary that the value of `Content-Type` names.
    ///
    /// # Errors
    /// [`Fault::ContentType`] for other types than `multipart/form-data`, [`Fault::Boundary`].
    pub fn of_form(content_type: &[u8]) -> Result<Self, Fault> {
        let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
        let (essence, rest) = content_type.split_at(end);
        if !essence.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
            return Err(Fault::ContentType);
        }
        let mut found = None;
        for parameter in parameters(rest) {
            let (name, value) = parameter.ok_or(Fault::Boundary)?;
            if name.eq_ignore_ascii_case(b"boundary") && found.replace(value).is_some() {
                return Err(Fault::Boundary);
            }
        }
        let value = found.ok_or(Fault::Boundary)?;
        let mut memory = [0; BOUNDARY_BYTES_MAX];
        let mut len = 0;
        for byte in value.bytes() {
            *memory.get_mut(len).ok_or(Fault::Boundary)? = byte;
            len += 1;
        }
        Self::new(&memory[..len])
    }

    /// A boundary, without the hyphens before it.
    ///
    /// # Errors
    /// [`Fault::Boundary`] when it cannot be one.
    pub fn new(boundary: &[u8]) -> Result<Self, Fault> {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        let fits = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len());
        if !fits || !boundary.iter().all(is_allowed) || boundary.ends_with(b" ") {
            return Err(Fault::Boundary);
        }
        let mut delimiter = [0; BEFORE.len() + BOUNDARY_BYTES_MAX];
        let len = BEFORE.len() + boundary.len();
        delimiter[..BEFORE.len()].copy_from_slice(BEFORE);
        delimiter[BEFORE.len()..len].copy_from_slice(boundary);
        Ok(Self { delimiter, len })
    }

    /// The delimiter with the line end before it.
    pub(super) fn delimiter(&self) -> &[u8] {
        &self.delimiter[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str) -> Result<Vec<u8>, Fault> {
        Boundary::of_form(content_type.as_bytes()).map(|boundary| boundary.delimiter().to_vec())
    }

    #[test]
    fn boundaries_are_read_from_types() {
        for (content_type, boundary) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("Multipart/Form-Data ;BOUNDARY=\"a b\"", "a b"),
            (
                "multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundary0",
                "----WebKitFormBoundary0",
            ),
            ("multipart/form-data; boundary=\"a;b\" ", ""),
            ("multipart/form-data; boundary=\"gc0pJq0M:08jU534c0p\"", "gc0pJq0M:08jU534c0p"),
        ] {
            let wanted = if boundary.is_empty() {
                Err(Fault::Boundary)
            } else {
                Ok([b"\r\n--", boundary.as_bytes()].concat())
            };
            assert_eq!(of(content_type), wanted, "{content_type}");
        }
        assert_eq!(of("multipart/mixed; boundary=a"), Err(Fault::ContentType));
        assert_eq!(of("text/plain"), Err(Fault::ContentType));
        let long = "x".repeat(71);
        for parameters in [
            "",
            ";",
            "; boundary",
            "; boundary=",
            "; boundary=\"",
            "; boundary=\"\"",
            "; boundary=\"a \"",
            "; boundary=a; boundary=b",
            "; boundary=a b",
            "; boundary=\"\\\"\"",
            &format!("; boundary={long}"),
        ] {
            assert_eq!(of(&format!("multipart/form-data{parameters}")), Err(Fault::Boundary), "{parameters}");
        }
        assert!(of(&format!("multipart/form-data; boundary={}", "x".repeat(70))).is_ok());
    }
}
