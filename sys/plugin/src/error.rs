//! What goes wrong with libraries: for who loads them, and for themselves.

use crate::abi::{self, Kind, code};
use crate::elf::NotALibrary;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a library is not loaded, with its file.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    problem: Problem,
}

/// What is wrong with a library.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    Read(io::Error),
    /// The file is no library of this machine.
    NotALibrary(NotALibrary),
    /// It has more bytes than [`crate::LIBRARY_BYTES_MAX`].
    Size(u64),
    /// There is no place for a copy of it.
    Copy(io::Error),
    /// The loader has refused it, for this reason.
    Loader(String),
    /// It lacks the symbol.
    NoSymbol(&'static str),
    /// Its entry gave no table: it does not like this server.
    NoTable,
    /// A table has a size that no version of it has.
    TableSize {
        /// Which table.
        table: &'static str,
        /// What it says.
        bytes: u32,
        /// What it has at least.
        least: usize,
    },
    /// A table does not lie where one can.
    TablePlace(&'static str),
    /// It was built for another number of the interface.
    Abi(u32),
    /// A text of a table is missing or is none.
    Text(&'static str),
    /// It is not of the kind that is wanted; it is of these.
    Kind(Kind, Vec<Kind>),
    /// A function that it must have is missing.
    NoFunction(&'static str),
    /// A route makes no sense.
    Route(usize, String),
    /// It could not be made, for the reason it said.
    Create(i32, String),
    /// A worker's state could not be made.
    Worker(i32),
    /// So many libraries could not be unmapped that no more are loaded.
    Lingering(usize),
}

impl LoadError {
    pub(crate) fn new(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem }
    }

    /// The library's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "library {}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for LoadError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "it cannot be read: {error}"),
            Self::NotALibrary(what) => what.fmt(f),
            Self::Size(bytes) => {
                write!(f, "it has {bytes} bytes; at most {} are loaded", crate::LIBRARY_BYTES_MAX)
            }
            Self::Copy(error) => write!(f, "there is no place for a copy of it: {error}"),
            Self::Loader(reason) => write!(f, "it cannot be loaded: {reason}"),
            Self::NoSymbol(symbol) => {
                write!(f, "it lacks the symbol `{symbol}`, so it is no plug-in (ringway.h says what one is)")
            }
            Self::NoTable => {
                write!(f, "its `{}` gave no table: it does not like this server", abi::ENTRY)
            }
            Self::TableSize { table, bytes, least } => write!(
                f,
                "`{table}.struct_size` is {bytes}, and no version of it has fewer than {least} bytes; \
                 it should be sizeof({table})"
            ),
            Self::TablePlace(table) => write!(f, "its `{table}` does not lie where one can"),
            Self::Abi(number) => write!(
                f,
                "it was built for version {number} of the plug-in interface, and this server speaks version {}; \
                 build it anew with this server's ringway.h",
                abi::ABI
            ),
            Self::Text(member) => {
                write!(f, "`{member}` is not a text of 1 to 64 printable characters, ended by NUL")
            }
            Self::Kind(wanted, offered) => {
                write!(f, "it has no {}", wanted.as_str())?;
                let names: Vec<_> = offered.iter().map(|kind| kind.as_str()).collect();
                if names.is_empty() {
                    f.write_str(", nor anything else")
                } else {
                    write!(f, "; it has a {}", names.join(" and a "))
                }
            }
            Self::NoFunction(member) => write!(f, "`{member}` is missing"),
            Self::Route(index, what) => write!(f, "route {index} {what}"),
            Self::Create(code, reason) if reason.is_empty() => {
                write!(f, "its `create` failed with {code} and gave no reason")
            }
            Self::Create(_, reason) => f.write_str(reason),
            Self::Worker(code) => write!(f, "its `worker_start` failed with {code}"),
            Self::Lingering(count) => write!(
                f,
                "{count} replaced libraries could not be unmapped, and no more are loaded before a restart; \
                 libraries with thread-local destructors stay in memory"
            ),
        }
    }
}

/// What a library did wrong, or came too late for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody waits for it any more.
    Gone,
    /// Not now.
    State,
    /// An argument makes no sense.
    Invalid,
    /// More than is taken.
    Limit,
    /// No room now.
    Full,
    /// Not on this thread.
    Thread,
    /// The time is up.
    Time,
    /// The server's own.
    Server,
}

impl Fault {
    /// Its number in the interface.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Gone => code::GONE,
            Self::State => code::STATE,
            Self::Invalid => code::INVALID,
            Self::Limit => code::LIMIT,
            Self::Full => code::FULL,
            Self::Thread => code::THREAD,
            Self::Time => code::TIME,
            Self::Server => code::SERVER,
        }
    }
}
