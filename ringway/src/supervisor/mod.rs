//! The supervisor: a small process that binds, holds what must not be lost, and starts server processes.
//!
//! It reads no byte of a peer and serves nothing. The listening sockets are made once and stay for ever, so connections
//! that wait in their queues are served by whichever server process comes next. A server process is this same program,
//! executed with a hidden command; it restricts itself before it does anything else, and learns all it knows over its
//! control channel. A new configuration that needs nothing beyond its restrictions is given to it; one that needs more, and
//! a new program, get a server process of their own, while the old one finishes what is under way.

mod activation;
mod apart;
mod configured;
#[cfg(feature = "console")]
mod face;
mod files;
mod generation;
mod grants;
mod notify;
mod plan;
mod signals;
mod sockets;
#[cfg(feature = "cgi")]
mod starters;
mod supervise;
mod takeover;
mod tasks;
mod wish;

#[cfg(feature = "services")]
pub(crate) use activation::passed;
pub use configured::Configured;
#[cfg(feature = "console")]
pub use face::STATUS;
pub use files::{Note, read_note, read_process};
pub use generation::COMMAND;
#[cfg(feature = "services")]
pub(crate) use notify::Notify;
pub use plan::{Apart, Bound, Place, Plan, Source};
pub use supervise::{Options, supervise};
pub use takeover::{REHEARSE, Rehearsal, TAKE_OVER};
pub use wish::{Handle, Outcome};
