//! What goes wrong in services, for the log; their clients are told no more than that it did.

use ringway_http::status::Status;
use std::any::Any;
use std::fmt;

/// Most bytes of what a service says that are kept.
const WORDS_BYTES_MAX: usize = 512;

/// Something that a service did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It panicked, with these words.
    Panic(String),
    /// Its answer is an error.
    Service(String),
    /// A body cannot be made to its end.
    Body(String),
    /// The length that it announces is not that of its body, in bytes.
    Length { said: u64, found: u64 },
    /// The length that it announces is none.
    LengthField,
    /// It has no answer after so many milliseconds.
    Late(u64),
    /// It answers with a status that is not its to give.
    Status(u16),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(words) => write!(f, "a handler panicked: {words}"),
            Self::Service(words) => write!(f, "the service failed: {words}"),
            Self::Body(words) => write!(f, "the body of an answer broke off: {words}"),
            Self::Length { said, found } => {
                write!(f, "an answer announces {said} bytes and has {found}")
            }
            Self::LengthField => f.write_str("an answer's Content-Length is no number, or several"),
            Self::Late(ms_max) => write!(f, "no answer within {ms_max} ms"),
            Self::Status(code) => write!(f, "a handler answers with {code}, which only the server can"),
        }
    }
}

impl Trouble {
    /// The status to answer with.
    pub(super) const fn status(&self) -> Status {
        match self {
            Self::Late(_) => Status::SERVICE_UNAVAILABLE,
            _ => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What a panic said.
pub(super) fn said_by(panic: &(dyn Any + Send)) -> String {
    let words = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(words), _) => words,
        (_, Some(words)) => words.as_str(),
        _ => "it said nothing",
    };
    let mut end = words.len().min(WORDS_BYTES_MAX);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_between_characters() {
        assert_eq!(said_by(&"words"), "words");
        assert_eq!(said_by(&"own words".to_owned()), "own words");
        assert_eq!(said_by(&7), "it said nothing");
        let long = said_by(&format!("a{}", "é".repeat(WORDS_BYTES_MAX)));
        assert_eq!(long.len(), WORDS_BYTES_MAX - 1);
    }
}
