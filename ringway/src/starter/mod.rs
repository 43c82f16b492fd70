//! The starter: who starts CGI scripts, holds them to their limits, and ends them with all they have started.
//!
//! A server that meets the internet must not start programs: it is confined, and may be in other hands one day. So it asks a
//! starter, over a socket of whole messages ([`ringway_http::cgi::order`]). The starter finds the script below a directory
//! of the configuration, starts it without a shell under the rules it was given by whoever started *it*, and keeps a stream
//! with the server for each script: when that ends, or time is up, the script's process group is ended; when the server
//! ends, all are. Under a supervisor the starter is a process of its own; in a program that serves by itself, a thread.

mod find;
mod process;
mod rules;
mod script;
mod serve;
mod start;
#[cfg(test)]
mod tests;

pub use process::{COMMAND, Process, run_process};
pub use rules::{Numbers, Rules};
pub use serve::serve;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::OwnedFd;

/// The two ends of the socket between a server and its starter.
///
/// # Errors
/// What `socketpair(2)` says.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// A starter in this process, on a thread of its own. It ends, and with it all scripts, when nobody holds the server's end
/// any more, which is returned.
///
/// # Errors
/// What `socketpair(2)` and starting a thread say.
pub fn thread(rules: Vec<Rules>) -> io::Result<OwnedFd> {
    let (server, own) = pair()?;
    let name = "ringway-starter".to_owned();
    std::thread::Builder::new().name(name).spawn(move || serve(&own, &rules))?;
    Ok(server)
}
