//! Lists of extensions and subprotocols (RFC 6455 section 9.1), read in place.

/// One extension of a list, with its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'b> {
    pub(crate) name: &'b [u8],
    rest: &'b [u8],
}

/// One parameter of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'b> {
    pub(crate) name: &'b [u8],
    /// Without its quotes, if it had some; a token in any case.
    pub(crate) value: Option<&'b [u8]>,
}

impl<'b> Extension<'b> {
    /// The parameters; `None` for what is malformed.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Option<Parameter<'b>>> + use<'b> {
        split(self.rest, b';').skip(1).map(parameter)
    }
}

/// The extensions that the value of one field names; `None` for what is malformed.
pub(crate) fn extensions(value: &[u8]) -> impl Iterator<Item = Option<Extension<'_>>> {
    // Empty elements are skipped, as in all lists (RFC 9110 section 5.6.1).
    split(value, b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()).map(|element| {
        let name = split(element, b';').next()?.trim_ascii();
        is_token(name).then_some(Extension { name, rest: element })
    })
}

/// The tokens that the value of one field lists; `None` for what is no token.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let elements = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements
        .filter(|element| !element.is_empty())
        .map(|element| if is_token(element) { std::str::from_utf8(element).ok() } else { None })
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn parameter(text: &[u8]) -> Option<Parameter<'_>> {
    let text = text.trim_ascii();
    let (name, value) = match text.iter().position(|byte| *byte == b'=') {
        None => (text, None),
        Some(at) => (text[..at].trim_ascii_end(), Some(unquoted(text[at + 1..].trim_ascii_start())?)),
    };
    is_token(name).then_some(Parameter { name, value })
}

/// A value that is a token, in quotes or not. No token has anything to escape in it.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    };
    is_token(inner).then_some(inner)
}

/// Splits at separators that do not stand in quotes.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |byte| {
        let plain = !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        plain && *byte == separator
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Vec<Option<String>> {
        extensions(value.as_bytes())
            .map(|extension| {
                let extension = extension?;
                let mut text = String::from_utf8_lossy(extension.name).into_owned();
                for parameter in extension.parameters() {
                    let Parameter { name, value } = parameter?;
                    text += &format!(
                        " {}={:?}",
                        String::from_utf8_lossy(name),
                        value.map(String::from_utf8_lossy)
                    );
                }
                Some(text)
            })
            .collect()
    }

    #[test]
    fn extensions_come_with_their_parameters() {
        assert_eq!(
            shown("a; b; c=d ;e = \"f\", ,g"),
            [Some("a b=None c=Some(\"d\") e=Some(\"f\")".to_owned()), Some("g".to_owned())]
        );
        assert_eq!(shown(""), []);
    }

    #[test]
    fn separators_in_quotes_separate_nothing_and_malformed_parts_are_told() {
        assert_eq!(shown("a; b=\"c,d\""), [None]);
        assert_eq!(shown("a b"), [None]);
        assert_eq!(shown("a;"), [None]);
        assert_eq!(shown("a; b="), [None]);
        assert_eq!(shown("a; b=\"c\\\""), [None]);
        assert_eq!(shown("; b"), [None]);
    }

    #[test]
    fn tokens_are_told_from_others() {
        let listed: Vec<_> = tokens(b"chat, superchat ,, v1.soap").collect();
        assert_eq!(listed, [Some("chat"), Some("superchat"), Some("v1.soap")]);
        assert_eq!(tokens(b"a b").collect::<Vec<_>>(), [None]);
    }
}
