//! Developing services: `ringway new`, which makes projects; `ringway dev`, which builds, runs, watches and reloads, and what it
//! has agreed on with the program that it runs.
//!
//! A program under `ringway dev` is an ordinary Ringway server. It finds in its environment:
//!
//! - `LISTEN_FDS`, `LISTEN_PID`: the listening sockets, descriptors 3 and up, as a service manager passes them. Every program that
//!   follows another one has the same sockets, so no connection is refused between them.
//! - `NOTIFY_SOCKET`: where it says `READY=1` when it serves. Only then is its predecessor asked to end, by SIGTERM.
//! - [`VARIABLE`] (`RINGWAY_DEV`): what pages have to carry so that they reload themselves; see [`script_tag`].

mod agreed;
mod ansi;
mod answers;
mod board;
mod course;
mod package;
mod program;
mod session;
mod tail;
mod template;
mod watch;

pub use agreed::{VARIABLE, script_tag};
pub use program::{LAUNCH, launch};
pub use session::develop;
pub use template::{Source, Template};

use crate::engine::ring::socket::Address;
use std::path::PathBuf;

/// What is developed, and how.
#[derive(Clone, Debug)]
pub struct Dev {
    /// The directory of a package.
    pub path: PathBuf,
    /// Where to listen.
    pub listen: Vec<Address>,
    /// Addresses in `listen` that may be missing on this machine (IPv6 where there is none).
    pub is_listen_optional: bool,
    /// TLS, with a certificate made for it.
    pub is_tls: bool,
    /// Built with optimisations.
    pub is_release: bool,
    /// Features of the package.
    pub features: Vec<String>,
    /// Which program, where the package has several.
    pub program: Option<String>,
    /// What the program is told beside that, as its command line.
    pub arguments: Vec<String>,
}
