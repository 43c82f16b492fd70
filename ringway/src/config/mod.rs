//! The configuration of `ringway run`: read from TOML, checked as a whole, told with places what is wrong.
//!
//! [`load::load`] reads a file and what it includes into a tree that knows places ([`tree`]), holds it against the JSON schema
//! of the types in [`settings`] ([`shape`]), reads it into these types, and judges what a shape does not say ([`meaning`]).
//! [`surroundings`] asks the machine: files, certificates, names, ports. [`mod@reference`] writes the manual page of it all.

pub mod include;
pub mod load;
pub mod meaning;
pub mod parse;
pub mod reference;
pub mod report;
#[cfg(any(feature = "endpoints", feature = "libraries"))]
pub(crate) mod section;
pub mod settings;
pub mod shape;
pub mod source;
pub mod suggest;
pub mod surroundings;
pub mod tree;
pub mod values;
