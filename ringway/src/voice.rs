//! What a supervisor and its server processes say to the operator, on standard error.

use std::fmt;
use std::io::Write;

/// Says a line. That nobody listens any more (a terminal that was closed, a pipe whose reader has gone) ends no server.
pub(crate) fn line(line: fmt::Arguments<'_>) {
    let _nobody_listens = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// As `eprintln`, by [`line`].
macro_rules! say {
    ($($text:tt)*) => { $crate::voice::line(format_args!($($text)*)) };
}

pub(crate) use say;
