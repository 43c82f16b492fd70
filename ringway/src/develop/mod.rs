//! Developing services: `ringway dev`, which builds, runs, watches and reloads, and what it has agreed on with the program that it
//! runs.
//!
//! A program under `ringway dev` is an ordinary Ringway server. It finds in its environment:
//!
//! - `LISTEN_FDS`, `LISTEN_PID`: the listening sockets, descriptors 3 and up, as a service manager passes them. Every program that
//!   follows another one has the same sockets, so no connection is refused between them.
//! - `NOTIFY_SOCKET`: where it says `READY=1` when it serves. Only then is its predecessor asked to end, by SIGTERM.
//! - [`VARIABLE`] (`RINGWAY_DEV`): what pages have to carry so that they reload themselves; see [`script_tag`].

mod agreed;

pub use agreed::{VARIABLE, script_tag};
