//! Programs that are started: each in a group of its own, with the sockets it inherits, ended with all it has started.

use crate::control::Channel;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// The hidden command of a process that is about to become a program.
pub const LAUNCH: &str = "dev-launch";

/// How long the two of a start wait for each other.
const LETTER_WITHIN: Duration = Duration::from_secs(30);

/// A program to be started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Program {
    /// Its file, or a name that is looked up in `PATH`.
    pub(super) file: PathBuf,
    /// Its arguments, behind its own name.
    pub(super) arguments: Vec<OsString>,
    /// Its working directory.
    pub(super) folder: PathBuf,
    /// Variables it has beside those of this process; `None`: that it shall not have.
    pub(super) variables: Vec<(String, Option<String>)>,
}

/// A program that was started. Who drops it ends it.
#[derive(Debug)]
pub(super) struct Started {
    child: Child,
    handle: OwnedFd,
    is_reaped: bool,
}

impl Program {
    /// Starts it, with these listening sockets. Its standard error is a pipe; standard output, too, if that is wanted. The calling
    /// thread must live as long as the program shall: the kernel ends it with that.
    ///
    /// # Errors
    /// What the kernel says. That the program's own file cannot be executed comes as its end.
    pub(super) fn start(&self, sockets: &[OwnedFd], keeps_output: bool) -> io::Result<Started> {
        let (mut near, far) = Channel::pair(1)?;
        let output = if keeps_output { Stdio::piped() } else { Stdio::inherit() };
        let child = Command::new("/proc/self/exe")
            .arg0("ringway")
            .arg(LAUNCH)
            .stdin(Stdio::from(far.into_parts().0))
            .stdout(output)
            .stderr(Stdio::piped())
            // An interrupt from the terminal is for us to handle.
            .process_group(0)
            .spawn()?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let mut started = match handle {
            Ok(handle) => Started { child, handle, is_reaped: false },
            Err(error) => {
                let mut child = child;
                let _ended_already = child.kill();
                let _reaped = child.wait();
                return Err(error.into());
            }
        };
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        if let Err(error) = near.send(self, &sockets, LETTER_WITHIN) {
            started.reap();
            return Err(error);
        }
        Ok(started)
    }
}

impl Started {
    /// What it says.
    pub(super) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// What it writes, where that is kept.
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Has `tell` called when it has ended; it must be [`Started::reap`]ed still.
    ///
    /// # Errors
    /// There can be no thread for it.
    pub(super) fn on_end(&self, tell: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let handle = self.handle.try_clone()?;
        thread::Builder::new().name("ringway-dev-waits".to_owned()).spawn(move || {
            // INTR: a signal came; it has not ended for that.
            while poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).is_err() {}
            tell();
        })?;
        Ok(())
    }

    /// Asks it to finish what is under way, and end.
    pub(super) fn terminate(&self) {
        // ESRCH: it has ended.
        let _ended_already = pidfd_send_signal(&self.handle, Signal::TERM);
    }

    /// Ends it and whatever it started, and tells how it ended.
    pub(super) fn reap(&mut self) -> Option<ExitStatus> {
        self.is_reaped = true;
        // The number cannot be another group's: the process is not reaped yet.
        let _nobody_left = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait().ok()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.reap();
        }
    }
}

/// How a program ended, as people say it.
pub(super) fn ending(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(0), _)) => "has ended".to_owned(),
        Some((Some(code), _)) => format!("has ended with exit code {code}"),
        Some((None, Some(signal))) => format!("was ended by signal {signal}"),
        _ => "has ended".to_owned(),
    }
}

/// The hidden command: becomes the program that whoever started this process says.
pub fn launch() -> ! {
    let complain =
        |error: &dyn std::fmt::Display| eprintln!("ringway: the program cannot be started: {error}.");
    // Before the letter is waited for: with the sender it would have gone, too.
    let _older_kernel = set_parent_process_death_signal(Some(Signal::TERM));
    let letter = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(io::Error::from)
        .and_then(Channel::inherited)
        .and_then(|mut channel| channel.wait::<Program>(Some(LETTER_WITHIN)));
    let letter = match letter {
        Ok(Some(letter)) => letter,
        Ok(None) => std::process::exit(127),
        Err(error) => {
            complain(&error);
            std::process::exit(127)
        }
    };
    let program = letter.message;
    let mut command = Command::new(&program.file);
    command.args(&program.arguments).current_dir(&program.folder).stdin(Stdio::null());
    for (name, value) in &program.variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    ringway_confine::inherited::execute(command, letter.descriptors, |error| {
        complain(&format!("{}: {error}", program.file.display()));
    })
}
