//! The starter as a process of its own, under a supervisor.

use super::rules::Rules;
use super::serve::serve;
use crate::control::Channel;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The hidden command of a starter.
pub const COMMAND: &str = "script-starter";

/// How long a starter may take to read what it is told, and to be told it.
const GREETING_MAX: Duration = Duration::from_secs(30);

/// A starter in a process of its own.
#[derive(Debug)]
pub struct Process {
    process: Pid,
    /// What another one would be started with.
    again: Option<Again>,
}

#[derive(Debug)]
struct Again {
    /// The starter's end of the socket to the server, so that another one can go on with it.
    socket: OwnedFd,
    rules: Vec<Rules>,
}

impl Process {
    /// Starts one; it serves whoever has the end that is returned.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(rules: Vec<Rules>) -> io::Result<(Self, OwnedFd)> {
        let (server, socket) = super::pair()?;
        let process = spawn(&socket, &rules)?;
        Ok((Self { process, again: Some(Again { socket, rules }) }, server))
    }

    /// One that another program has started, by its number.
    #[must_use]
    pub fn passed(number: i32) -> Option<Self> {
        Some(Self { process: Pid::from_raw(number)?, again: None })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// Whether it has ended. One that was killed under a server that lives must be [`Process::renew`]ed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match waitpid(Some(self.process), WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => false,
            // ECHILD: it was reaped before.
            Ok(Some(_)) | Err(_) => true,
        }
    }

    /// Starts another one in the place of one that has ended; false when another program has started that one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn renew(&mut self) -> io::Result<bool> {
        let Some(Again { socket, rules }) = &self.again else { return Ok(false) };
        self.process = spawn(socket, rules)?;
        Ok(true)
    }

    /// Ends it. Its scripts have been ended by then if its server is gone; else they are ended by its death.
    pub fn kill(&self) {
        let _ended_already = kill_process(self.process, Signal::KILL);
    }
}

fn spawn(socket: &OwnedFd, rules: &[Rules]) -> io::Result<Pid> {
    let (mut near, far) = Channel::pair(1)?;
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("ringway"));
    let mut command = Command::new(Path::new("/proc/self/exe"));
    // A group of its own: an interrupt from the terminal is the supervisor's to handle.
    command.arg0(name).arg(COMMAND).stdin(Stdio::from(far.into_parts().0)).process_group(0);
    let process = Pid::from_child(&command.spawn()?);
    near.send(&rules, &[socket.as_fd()], GREETING_MAX)?;
    Ok(process)
}

/// Is a starter, for the supervisor at the other end of standard input. Must be called while the process has one thread.
///
/// # Errors
/// What the supervisor says cannot be understood.
pub fn run_process() -> io::Result<()> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let nothing = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(nothing.as_fd())?;
    // It ends with its server, not by a signal to all processes of a service.
    ringway_confine::signals::put_off()?;
    let mut channel = Channel::inherited(socket)?;
    let greeting = channel.wait::<Vec<Rules>>(Some(GREETING_MAX))?;
    drop(channel);
    let greeting = greeting.ok_or(io::ErrorKind::UnexpectedEof)?;
    let [server]: [OwnedFd; 1] =
        greeting.descriptors.try_into().map_err(|_other_number| io::ErrorKind::InvalidData)?;
    let _let_go = ringway_confine::program::let_go();
    serve(&server, &greeting.message);
    Ok(())
}
