//! A supervisor that replaces its own program: what it holds is passed on through a pair of sockets, under the same number.
//!
//! The new program finds the listening sockets, the channels of the server processes and what else must be known in its
//! standard input, in the kernel's hands; nothing is ever closed or in nobody's hands. The same way leads back when the
//! new program's server process does not come to serve.

use crate::control::{Channel, Secrets};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The version of what is passed on. A program that speaks another one is not executed.
pub(super) const VERSION: u32 = 1;

/// The hidden argument of a program that takes over.
pub const TAKE_OVER: &str = "--take-over";

/// The hidden argument of a program that is asked whether it could.
pub const REHEARSE: &str = "--rehearse";

/// How long passing on may take: it goes into a buffer.
const PASS_MAX: Duration = Duration::from_secs(2);

/// What is passed on. Descriptors come beside it: the old program's file, the channels, the sockets, those that a service
/// manager passed and nobody asked for.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// Server processes started so far.
    pub(super) generations_ever: u64,
    pub(super) generations: Vec<PassedGeneration>,
    /// Listening sockets for each address.
    pub(super) sockets: Vec<(String, usize)>,
    /// The names of sockets that a service manager passed and nobody asked for.
    pub(super) unclaimed: Vec<String>,
    pub(super) ticket_keys: Vec<u8>,
    /// How many notes were left.
    pub(super) notes: u64,
    /// When the first program started, in seconds since 1970.
    pub(super) started_at: u64,
    pub(super) errand: Errand,
    /// The arguments of the program that passes this on.
    pub(super) arguments: Vec<Vec<u8>>,
    /// The plan that is served, for a way back without reading files that may be broken by now.
    pub(super) settings: Value,
    pub(super) secrets: Secrets,
    /// The pid file, which is written.
    pub(super) pid_file: Option<PathBuf>,
}

/// Why a program was executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "errand", rename_all = "kebab-case")]
pub(super) enum Errand {
    /// To replace this version.
    Upgrade {
        /// Of the old program.
        from: String,
    },
    /// Because the new program's server process does not serve.
    Return {
        /// Why.
        reason: String,
    },
}

/// A server process that is passed on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PassedGeneration {
    pub(super) number: u64,
    /// The endpoint that it serves, and nothing else.
    #[serde(default)]
    pub(super) endpoint: Option<String>,
    pub(super) process: i32,
    pub(super) is_serving: bool,
    /// How much time it has left, in milliseconds, when it is to end.
    pub(super) left_ms: Option<u64>,
    pub(super) program: String,
    pub(super) unread: Vec<u8>,
    /// The number of the process that starts its scripts.
    #[serde(default)]
    pub(super) starter: Option<i32>,
}

/// What a program says that is asked whether it could take over.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Of what is passed on.
    pub state: u32,
    /// Of the control channel.
    pub control: u32,
    /// The program's own.
    pub program: String,
}

impl Rehearsal {
    /// This program's answer.
    #[must_use]
    pub fn of_this_program() -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { state: VERSION, control: crate::control::VERSION, program }
    }

    /// Whether such a program can take over from this one.
    pub(super) fn fits(&self) -> bool {
        let own = Self::of_this_program();
        (self.state, self.control) == (own.state, own.control)
    }
}

/// Executes another program in the place of this one and passes `state` on. Returns only when that was not possible; then
/// nothing has changed.
pub(super) fn execute(
    program: &Path,
    arguments: &[OsString],
    state: &State,
    descriptors: &[BorrowedFd<'_>],
) -> io::Error {
    let pass = || -> io::Result<OwnedFd> {
        let (mut near, far) = Channel::pair(0)?;
        // In a file without name: sockets hold no more than a few hundred kilobytes.
        let mut text = File::from(memfd_create(c"ringway-state", MemfdFlags::CLOEXEC)?);
        text.write_all(&serde_json::to_vec(state).map_err(io::Error::other)?)?;
        text.rewind()?;
        let all: Vec<_> = std::iter::once(text.as_fd()).chain(descriptors.iter().copied()).collect();
        near.send(&VERSION, &all, PASS_MAX)?;
        Ok(far.into_parts().0)
    };
    let far = match pass() {
        Ok(far) => far,
        Err(error) => return error,
    };
    // Until the new program has handlers of its own, a signal would end it.
    if let Err(error) = ringway_confine::signals::put_off() {
        return error;
    }
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("ringway"));
    let mut command = Command::new(program);
    command.arg0(name).args(arguments).arg(TAKE_OVER).stdin(Stdio::from(far));
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(variable);
    }
    let error = command.exec();
    let _possible_before = ringway_confine::signals::let_come();
    forget_input();
    error
}

/// Arguments as they are passed on: they need not be UTF-8.
pub(super) fn passed_arguments(arguments: &[OsString]) -> Vec<Vec<u8>> {
    arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect()
}

/// Arguments that were passed on.
pub(super) fn arguments(passed: &[Vec<u8>]) -> Vec<OsString> {
    passed.iter().map(|argument| OsString::from_vec(argument.clone())).collect()
}

/// What another program passed on, from standard input.
///
/// # Errors
/// What was read is no state, or of another version.
pub(super) fn receive() -> io::Result<(State, Vec<OwnedFd>)> {
    let mut channel = Channel::inherited(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?)?;
    let received = channel.wait::<u32>(Some(PASS_MAX))?;
    let received = received.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    forget_input();
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    if received.message != VERSION {
        return Err(invalid("the other program speaks another version"));
    }
    let mut descriptors = received.descriptors.into_iter();
    let text = descriptors.next().ok_or_else(|| invalid("nothing was passed on"))?;
    let state = serde_json::from_reader(BufReader::new(File::from(text))).map_err(io::Error::other)?;
    Ok((state, descriptors.collect()))
}

/// Makes standard input what a service's is.
pub(super) fn forget_input() {
    if let Ok(nothing) = File::open("/dev/null") {
        let _stays_what_it_is = rustix::stdio::dup2_stdin(nothing.as_fd());
    }
}
