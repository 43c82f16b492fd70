//! Starts what an order asks for.

use super::find::{Found, find};
use super::rules::Rules;
use super::script::{Script, tell};
use ringway_confine::spawn::{Program, Started, start};
use ringway_http::cgi::order::{Notice, Order, Refused};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;

/// What comes with an order.
#[derive(Debug)]
pub(super) struct Ends {
    /// The stream between server and starter about this script.
    pub(super) control: OwnedFd,
    /// The script's standard output.
    pub(super) output: OwnedFd,
    /// Its standard input.
    pub(super) input: Option<OwnedFd>,
}

impl Ends {
    /// Puts descriptors to what they are; `None` when there are not as many as the order says.
    pub(super) fn of(order: &Order<'_>, descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let (control, output) = (descriptors.next()?, descriptors.next()?);
        let input = descriptors.next();
        let is_whole = input.is_some() == order.has_input && descriptors.next().is_none();
        is_whole.then_some(Self { control, output, input })
    }

    /// Says why nothing is started.
    pub(super) fn refuse(&self, why: Refused, text: &str) {
        let _server_gone = tell(&self.control, &Notice::Refused(why, text));
    }
}

/// Starts a script; `None` when the server was told why not.
pub(super) fn start_script(order: &Order<'_>, place: usize, rules: &Rules, ends: Ends) -> Option<Script> {
    match try_to_start(order, rules, ends.output, ends.input) {
        Ok((error, started)) => {
            let _server_gone = tell(&ends.control, &Notice::Started);
            Some(Script::new(place, ends.control, error, started, rules.run_max()))
        }
        Err((why, text)) => {
            let _server_gone = tell(&ends.control, &Notice::Refused(why, &text));
            None
        }
    }
}

fn try_to_start(
    order: &Order<'_>,
    rules: &Rules,
    output: OwnedFd,
    input: Option<OwnedFd>,
) -> Result<(OwnedFd, Started), (Refused, String)> {
    let found = find(order, rules)?;
    let no_pipe = |error: rustix::io::Errno| (Refused::Busy, format!("no pipe can be had: {error}"));
    let (near, far) = pipe_with(PipeFlags::CLOEXEC).map_err(no_pipe)?;
    rustix::io::ioctl_fionbio(&near, true).map_err(no_pipe)?;
    let run_as = rules.run_as();
    let program = Program {
        file: &found.program,
        arguments: &found.arguments(),
        environment: found.environment(order, rules),
        folder: found.folder(),
        input,
        output,
        error: far,
        limits: rules.limits(),
        run_as: run_as.as_ref(),
    };
    match start(program) {
        Ok(started) => Ok((near, started)),
        Err(error) => Err(refusal(&error, &found)),
    }
}

fn refusal(error: &io::Error, found: &Found) -> (Refused, String) {
    let (script, program) = (found.script.display(), found.program.display());
    match error.raw_os_error() {
        // Not executable for who runs it, or one of the directories above is closed to that one.
        Some(libc::EACCES) => (Refused::Forbidden, format!("{program} may not be executed")),
        // The file is there: it was looked at. What is missing is its own interpreter, or the one of the rules.
        Some(libc::ENOENT) => (Refused::Failed, format!("{script}: its interpreter is missing")),
        Some(libc::ENOEXEC) => {
            (Refused::Failed, format!("{script} is no program, and has no first line that names one"))
        }
        // The limit of processes, or no memory: later it may work.
        Some(libc::EAGAIN | libc::ENOMEM) => {
            (Refused::Busy, format!("{script} cannot be started now: {error}"))
        }
        _ => (Refused::Failed, format!("{script} cannot be started: {error}")),
    }
}
