//! Comma-separated lists of field values (RFC 9110 section 5.6.1): empty elements are skipped.

use crate::octets::trim;

/// The non-empty elements of `value`, trimmed. Quotes have no meaning here: use it for lists of tokens only.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_elements_are_skipped_and_space_is_trimmed() {
        let got: Vec<&[u8]> = elements(b", a ,,\tb;q=1 , ").collect();
        assert_eq!(got, [&b"a"[..], b"b;q=1"]);
        assert_eq!(elements(b"").count(), 0);
    }
}
