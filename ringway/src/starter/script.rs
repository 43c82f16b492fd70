//! A script that runs.

use ringway_confine::spawn::{Ending, Started};
use ringway_http::cgi::order::{Notice, RELEASE, notice_memory};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a script has between being asked to end and being ended.
const GRACE: Duration = Duration::from_secs(2);

/// Most bytes of its standard error that are told of a script; what it writes beyond is read and forgotten.
const SAID_BYTES_MAX: usize = 64 * 1024;

/// Bytes of its standard error that are read at once.
const READ_BYTES: usize = 4096;

/// How often it is read before others have their turn: as much as a pipe holds.
const READS_MAX: usize = 16;

/// What a script is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It answers.
    Running,
    /// Its answer is complete, and it may come to its own end.
    Released,
    /// It was asked to end.
    Ending,
}

/// A script that runs, from its start until nothing of it is left.
#[derive(Debug)]
pub(super) struct Script {
    /// Under which rules.
    pub(super) rules: usize,
    /// The server's end of it; `None` when that is gone.
    control: Option<OwnedFd>,
    /// Its standard error; `None` when that has ended.
    error: Option<OwnedFd>,
    started: Started,
    phase: Phase,
    /// When it is asked to end, or ended.
    deadline: Instant,
    /// Its first process has ended, and waits to be reaped while others of its group may still write.
    has_ended: bool,
    said_bytes: usize,
}

/// What poll tells of a script.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    pub(super) control: bool,
    pub(super) error: bool,
    pub(super) process: bool,
}

impl Script {
    pub(super) fn new(
        rules: usize,
        control: OwnedFd,
        error: OwnedFd,
        started: Started,
        run_max: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            rules,
            control: Some(control),
            error: Some(error),
            started,
            phase: Phase::Running,
            deadline: now.checked_add(run_max).unwrap_or(now + Duration::from_secs(u32::MAX.into())),
            has_ended: false,
            said_bytes: 0,
        }
    }

    /// What there is to wait for: the server, standard error, its end.
    pub(super) fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3] {
        let process = (!self.has_ended).then(|| self.started.handle());
        [self.control.as_ref().map(AsFd::as_fd), self.error.as_ref().map(AsFd::as_fd), process]
    }

    /// When it wants to be looked at, whatever happens.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes note of what has happened. True when it is to be [`Script::finish`]ed.
    pub(super) fn take(&mut self, news: News, now: Instant) -> bool {
        if news.error {
            self.listen();
        }
        if news.control {
            self.hear(now);
        }
        if news.process && !self.has_ended {
            self.note_end();
        }
        if self.deadline <= now {
            self.be_strict(now);
        }
        // While the answer is not complete, processes that the first one has left behind may write it.
        self.has_ended && self.phase != Phase::Running
    }

    /// Ends what is left of it.
    pub(super) fn finish(mut self) {
        self.listen();
        // Nobody waits for how it ended any more, or was told.
        let _ending = self.started.reap();
    }

    /// Asks it to end, at once or soon.
    pub(super) fn stop(&mut self, now: Instant) {
        if self.phase != Phase::Ending {
            self.phase = Phase::Ending;
            self.deadline = now + GRACE;
            self.started.terminate();
        }
    }

    /// Time is up: it is asked to end, or has been and is ended.
    fn be_strict(&mut self, now: Instant) {
        if self.phase == Phase::Ending {
            self.started.kill();
            self.deadline = now + GRACE;
        } else {
            self.tell(&Notice::Overdue);
            self.stop(now);
        }
    }

    /// What the server says: that the answer is complete, or, by its silence, that nobody wants it.
    fn hear(&mut self, now: Instant) {
        let Some(control) = &self.control else { return };
        let mut bytes = [0; 16];
        match recv(control, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => {
                let is_release = bytes.get(..count).is_some_and(|said| said.contains(&RELEASE));
                if is_release && self.phase == Phase::Running {
                    self.phase = Phase::Released;
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // The end, or a broken stream, which is one too.
            Ok(_) | Err(_) => {
                self.control = None;
                if self.phase == Phase::Running {
                    self.stop(now);
                }
            }
        }
    }

    /// Hands on what it wrote to its standard error, as much as there is now.
    fn listen(&mut self) {
        let mut bytes = [0; READ_BYTES];
        for _read in 0..READS_MAX {
            let Some(error) = &self.error else { return };
            match rustix::io::read(error, &mut bytes) {
                Ok(0) => self.error = None,
                Ok(count) => {
                    let left = SAID_BYTES_MAX.saturating_sub(self.said_bytes);
                    self.said_bytes += count.min(left);
                    if left > 0 {
                        self.tell(&Notice::Said(&bytes[..count.min(left)]));
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_broken) => self.error = None,
            }
        }
    }

    fn note_end(&mut self) {
        match self.started.ended() {
            Ok(None) => {}
            Ok(Some(ending)) => {
                // What it said before comes first.
                self.listen();
                self.has_ended = true;
                self.tell(&match ending {
                    Ending::Code(code) => Notice::Ended(code),
                    Ending::Signal(signal) => Notice::Killed(signal),
                });
            }
            // ECHILD: a library whose host reaps everybody's children has taken it.
            Err(_gone) => self.has_ended = true,
        }
    }

    /// Tells the server. A stream that is full is one nobody reads: what is said is lost then, and nobody waits.
    fn tell(&self, notice: &Notice<'_>) {
        if let Some(control) = &self.control {
            let _lost_if_full = tell(control, notice);
        }
    }
}

/// Tells the server something of a script.
///
/// # Errors
/// What `send(2)` says.
pub(super) fn tell(control: &OwnedFd, notice: &Notice<'_>) -> io::Result<()> {
    let mut memory = notice_memory();
    let count = notice.write(&mut memory);
    send(control, &memory[..count], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}
