//! Commands that the lab starts: on given cores, in a process group of their own, ended with everything they started on every
//! way out, a panic and an interrupt included.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process_group};

use super::Pid;
use crate::interrupt;
use crate::measure::cores;
use crate::refusal::Refusal;

/// How often something is asked again that cannot be waited for.
const RETRY: Duration = Duration::from_millis(10);

/// The process groups that run, for the interrupt that ends them.
static GROUPS: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

/// A command that runs. Dropping it ends it, kindly first.
#[derive(Debug)]
pub struct Started {
    child: Child,
    name: String,
    status: Option<ExitStatus>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it said itself, or which signal ended it.
    pub status: ExitStatus,
}

impl Started {
    /// How long [`Started::end`] waits between asking and killing.
    pub const GRACE: Duration = Duration::from_secs(2);

    /// Starts `command` in a process group of its own, on `cores` (empty: wherever this thread may run). Its standard input
    /// is empty.
    ///
    /// # Errors
    /// Refuses a program that cannot be started, and cores that are not there.
    pub fn launch(mut command: Command, cores: &[usize]) -> Result<Started, Refusal> {
        interrupt::listen();
        let name = command.get_program().to_string_lossy().into_owned();
        command.process_group(0).stdin(Stdio::null());
        let cores = cores.to_vec();
        // A child inherits the cores of the thread that starts it, so that one is pinned and not this.
        let starting = std::thread::spawn(move || {
            if !cores.is_empty() {
                cores::pin_to(&cores)?;
            }
            // The lock covers the time between the start and the entry, so that an interrupt finds all groups.
            let mut groups = groups();
            let child = command.spawn();
            groups.extend(child.as_ref().map(Child::id).ok());
            Ok(child)
        });
        let child =
            starting.join().map_err(|_panic| Refusal::failed(format!("the start of {name} died")))??;
        let child = child.map_err(Refusal::because(format!("cannot start {name}")))?;
        Ok(Started { child, name, status: None })
    }

    /// Its process's number, which is its group's too.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.child.id()
    }

    /// Waits until something accepts connections on `address`.
    ///
    /// # Errors
    /// When the command ends before that, or `patience` does.
    pub fn wait_for_port(&mut self, address: SocketAddr, patience: Duration) -> Result<(), Refusal> {
        let accepts = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok();
        self.wait_for(&address.to_string(), accepts, patience)
    }

    /// Waits until somebody takes datagrams at `port`.
    ///
    /// # Errors
    /// As [`Started::wait_for_port`].
    pub fn wait_for_datagram_port(&mut self, port: u16, patience: Duration) -> Result<(), Refusal> {
        self.wait_for(&format!("UDP port {port}"), || is_bound(port), patience)
    }

    fn wait_for(
        &mut self,
        place: &str,
        is_there: impl Fn() -> bool,
        patience: Duration,
    ) -> Result<(), Refusal> {
        let begin = Instant::now();
        loop {
            if is_there() {
                return Ok(());
            }
            if let Some(ended) = self.try_wait()? {
                return Err(Refusal::new(format!(
                    "{} ended before it listened on {place}: {}",
                    self.name, ended.status
                )));
            }
            if begin.elapsed() > patience {
                let seconds = patience.as_secs();
                return Err(Refusal::new(format!(
                    "{} does not listen on {place} after {seconds} s",
                    self.name
                )));
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Whether it has ended, and how. Waits for it in the kernel's sense: its account is closed afterwards.
    ///
    /// # Errors
    /// When the kernel does not know the child, which is a mistake of ours.
    pub fn try_wait(&mut self) -> Result<Option<Ended>, Refusal> {
        if self.status.is_none() {
            let waited = self.child.try_wait();
            self.status =
                waited.map_err(|error| Refusal::failed(format!("cannot wait for {}: {error}", self.name)))?;
        }
        Ok(self.status.map(|status| Ended { status }))
    }

    /// Asks the whole group to end, waits [`Started::GRACE`] and kills what is left of it. What left the group itself is known
    /// to [`super::Tree`] only.
    ///
    /// # Errors
    /// As [`Started::try_wait`].
    pub fn end(mut self) -> Result<Ended, Refusal> {
        self.finish()?.ok_or_else(|| Refusal::failed(format!("{} cannot be ended", self.name)))
    }

    fn finish(&mut self) -> Result<Option<Ended>, Refusal> {
        let pid = self.pid();
        signal(pid, Signal::TERM);
        let begin = Instant::now();
        while self.try_wait()?.is_none() && begin.elapsed() < Started::GRACE {
            std::thread::sleep(RETRY);
        }
        signal(pid, Signal::KILL);
        while self.try_wait()?.is_none() {
            std::thread::sleep(RETRY);
        }
        groups().remove(&pid);
        self.try_wait()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if groups().contains(&self.pid()) {
            // There is nobody left to tell.
            let _untold = self.finish();
        }
    }
}

/// Kills every group that runs, at once; for the interrupt.
pub(crate) fn kill_all() {
    for pid in groups().iter() {
        signal(*pid, Signal::KILL);
    }
}

/// The processes that the lab started itself: children, but nobody's orphans.
pub(super) fn is_started(pid: Pid) -> bool {
    groups().contains(&pid)
}

/// Whether a socket of datagrams is bound to `port`. Trying to bind it would be in the way of who wants to.
fn is_bound(port: u16) -> bool {
    let ending = format!(":{port:04X}");
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|table| {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let mut places = text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(1));
        places.any(|place| place.ends_with(&ending))
    })
}

/// A group that is gone has nobody to signal.
fn signal(group: Pid, signal: Signal) {
    if let Some(raw) = super::raw(group) {
        let _gone_already = kill_process_group(raw, signal);
    }
}

fn groups() -> std::sync::MutexGuard<'static, BTreeSet<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_bound_port_of_datagrams_is_seen() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = socket.local_addr().expect("bound").port();
    assert!(is_bound(port));
}
