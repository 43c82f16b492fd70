//! Why what a script wrote is no answer.

use std::fmt;

/// A reason why the head of what a script wrote cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It begins with an empty line: there is no field (RFC 3875 section 6.3 wants at least one).
    Empty,
    /// The head is over its limit.
    HeadLength,
    /// More fields than the limit.
    FieldCount,
    /// A line is no `name: value`.
    FieldName,
    /// A line that begins with whitespace: there are no continued lines.
    FoldedField,
    /// A control byte in a value, or a carriage return that ends no line.
    ControlByte,
    /// `Status`, or the status line, says no status of an answer: 200 to 999.
    Status,
    /// `Status` or `Location` twice.
    Repeated,
    /// `Content-Length` is no number, or there are two that differ.
    Length,
    /// The head does not end with its empty line: the caller handed in a part of one.
    HeadEnd,
}

impl Fault {
    /// One phrase for the log; it never contains bytes of the script.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "its answer begins with an empty line",
            Self::HeadLength => "the head of its answer is over the limit",
            Self::FieldCount => "its answer has too many header fields",
            Self::FieldName => "its answer does not begin with header fields",
            Self::FoldedField => "its answer has a folded header field",
            Self::ControlByte => "its answer has a control byte in a header field",
            Self::Status => "its answer has no valid status",
            Self::Repeated => "its answer has Status or Location twice",
            Self::Length => "its answer has no valid Content-Length",
            Self::HeadEnd => "the head of its answer is cut short",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Fault {}
