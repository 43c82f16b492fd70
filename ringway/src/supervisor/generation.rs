//! One server process, as its supervisor sees it.

use super::grants::Grants;
use super::plan::Plan;
use super::sockets::Sockets;
use crate::control::{Channel, Order, Report, Start, VERSION};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden command of a server process.
pub const COMMAND: &str = "server-process";

/// Most bytes of what a server process says at once: an answer of the console.
const REPORT_BYTES_MAX: usize = 4 << 20;

/// How long a server process may take until it serves.
const START_MAX: Duration = Duration::from_secs(60);

/// How long it may take to read what it is told.
const SEND_MAX: Duration = Duration::from_secs(10);

/// How much longer than it was given a server process may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// What a server process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It gets ready.
    Starting,
    /// It serves.
    Serving,
    /// It finishes what is under way.
    Draining,
}

/// A server process.
#[derive(Debug)]
pub(super) struct Generation {
    /// Counted from 1.
    pub(super) number: u64,
    /// The endpoint that it serves, and nothing else; `None`: the one that serves all others.
    pub(super) endpoint: Option<String>,
    pub(super) process: Pid,
    pub(super) phase: Phase,
    /// What it was allowed.
    pub(super) grants: Grants,
    /// Its program's version.
    pub(super) program: String,
    /// When it is killed, if it is to have done something by then.
    pub(super) deadline: Option<Instant>,
    /// Since when it is what it is.
    pub(super) since: Instant,
    /// What it was started for could not be, in its own words.
    pub(super) failure: Option<String>,
    channel: Channel,
    /// The channel has ended.
    is_mute: bool,
    /// Who starts its scripts.
    #[cfg(feature = "cgi")]
    pub(super) starter: Option<crate::starter::Process>,
}

impl Generation {
    /// Starts one. It has yet to say that it serves.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn start(
        number: u64,
        plan: &Plan,
        sockets: &Sockets,
        ticket_keys: &[u8],
    ) -> Result<Self, String> {
        #[cfg(feature = "cgi")]
        let (starter, end) = super::starters::start(plan)?;
        #[cfg(not(feature = "cgi"))]
        let end: Option<OwnedFd> = None;
        let start = plan.start(number, sockets.counts(), ticket_keys, end.is_some());
        let generation = Self::begin(number, start, sockets, end.as_ref());
        #[cfg(feature = "cgi")]
        let generation = generation.map(|generation| Self { starter, ..generation });
        generation
    }

    /// Starts one that serves this endpoint and nothing else.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn start_for(
        endpoint: &str,
        number: u64,
        start: Start,
        sockets: &Sockets,
    ) -> Result<Self, String> {
        let generation = Self::begin(number, start, sockets, None)?;
        Ok(Self { endpoint: Some(endpoint.to_owned()), ..generation })
    }

    fn begin(number: u64, start: Start, sockets: &Sockets, more: Option<&OwnedFd>) -> Result<Self, String> {
        let sentence = |error: io::Error| format!("cannot start a server process: {error}");
        let (near, far) = Channel::pair(REPORT_BYTES_MAX).map_err(sentence)?;
        let process = spawn(far.into_parts().0, number).map_err(sentence)?;
        let mut generation = Self::new(number, process, near, Phase::Starting);
        generation.grants = Grants::of(&start.rules);
        generation.deadline = Some(Instant::now() + START_MAX);
        generation.tell(&Order::Hello { version: VERSION, generation: number });
        let mut descriptors = sockets.descriptors();
        descriptors.extend(more.map(AsFd::as_fd));
        generation.tell_with(&Order::Start(Box::new(start)), &descriptors);
        Ok(generation)
    }

    /// One that another program has started. What it was allowed is taken from the plan it runs under.
    ///
    /// # Errors
    /// A descriptor that is no socket.
    pub(super) fn resume(
        number: u64,
        process: Pid,
        phase: Phase,
        socket: OwnedFd,
        unread: Vec<u8>,
    ) -> io::Result<Self> {
        Ok(Self::new(number, process, Channel::resume(socket, unread, REPORT_BYTES_MAX)?, phase))
    }

    fn new(number: u64, process: Pid, channel: Channel, phase: Phase) -> Self {
        Self {
            number,
            endpoint: None,
            process,
            phase,
            grants: Grants::default(),
            program: String::new(),
            deadline: None,
            since: Instant::now(),
            failure: None,
            channel,
            is_mute: false,
            #[cfg(feature = "cgi")]
            starter: None,
        }
    }

    /// Whether it is the one that serves what has no process of its own.
    pub(super) fn is_current(&self) -> bool {
        self.endpoint.is_none() && self.phase == Phase::Serving
    }

    /// Tells it something. One that does not listen is killed; that it has ended is seen later.
    pub(super) fn tell(&mut self, order: &Order) {
        self.tell_with(order, &[]);
    }

    /// As [`Generation::tell`], with descriptors.
    pub(super) fn tell_with(&mut self, order: &Order, descriptors: &[BorrowedFd<'_>]) {
        if self.is_mute {
            return;
        }
        if let Err(error) = self.channel.send(order, descriptors, SEND_MAX) {
            self.failure.get_or_insert(format!("it does not take orders ({}: {error})", order.name()));
            self.is_mute = true;
            self.kill();
        }
    }

    /// What it has to say.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while !self.is_mute {
            let is_there = self.channel.fill();
            let before = reports.len();
            let next = is_there.and_then(|is_there| {
                while let Some(received) = self.channel.take::<Report>()? {
                    reports.push(received.message);
                }
                Ok(is_there)
            });
            match next {
                // What was too much to read at once comes now.
                Ok(true) if reports.len() > before => {}
                Ok(true) => break,
                Ok(false) => self.is_mute = true,
                Err(error) => {
                    self.failure.get_or_insert(format!("it says what cannot be understood: {error}"));
                    self.is_mute = true;
                    self.kill();
                }
            }
        }
        reports
    }

    /// Readable when it has something to say; `None` when it never will.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_mute).then(|| self.channel.as_fd())
    }

    /// Lets it finish what is under way, and end.
    pub(super) fn drain(&mut self, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.phase = Phase::Draining;
        self.since = Instant::now();
        self.deadline = self.since.checked_add(within.saturating_add(GRACE));
        self.tell(&Order::Drain { within_ms });
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        let _ended_already = kill_process(self.process, Signal::KILL);
    }

    /// How it ended, when it has.
    pub(super) fn ended(&self) -> Option<String> {
        match waitpid(Some(self.process), WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => None,
            Ok(Some((_, status))) => Some(ending(status)),
            // ECHILD: it was never ours, or somebody else has asked.
            Err(error) => Some(format!("cannot be waited for: {error}")),
        }
    }

    /// For another program: its channel, and what was read of the next report.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }
}

/// Starts this program's own file, even when another has taken its name meanwhile.
fn spawn(channel: OwnedFd, number: u64) -> io::Result<Pid> {
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("ringway"));
    let mut command = Command::new(Path::new("/proc/self/exe"));
    command.arg0(name).arg(COMMAND).arg(number.to_string());
    for variable in
        ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]
    {
        command.env_remove(variable);
    }
    // A group of its own: an interrupt from the terminal is the supervisor's to handle.
    let child = command.stdin(Stdio::from(channel)).process_group(0).spawn()?;
    Ok(Pid::from_child(&child))
}

fn ending(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        // 31 is SIGSYS: the list of system calls says that only an intruder makes this one.
        (_, Some(31)) => "was killed for a forbidden system call; somebody may have broken in".to_owned(),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended".to_owned(),
    }
}
