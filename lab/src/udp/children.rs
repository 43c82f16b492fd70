//! One trial in two processes of its own: a receiver on its core, the generator on another.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use super::receiver::Receiver;
use super::send::Sent;
use super::serve::LISTENING;
use super::served::Served;
use crate::refusal::Refusal;

/// What traffic the generator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Traffic {
    /// A tight loop around sendto.
    Tight,
    /// Trains of datagrams, cut by the kernel.
    Gso,
}

/// One receiver under one load.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    pub(super) server: Receiver,
    pub(super) work: u32,
    pub(super) traffic: Traffic,
    /// Whether the receiver lets the kernel coalesce.
    pub(super) gro: bool,
}

/// What is the same for all cases.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) receiver_cpu: usize,
    pub(super) sender_cpu: usize,
    pub(super) size: usize,
    pub(super) seconds: f64,
    pub(super) segments: usize,
    /// Flags for the ring receivers, as on their own command line.
    pub(super) ring_flags: Vec<String>,
}

/// What both sides of a trial said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) sent: Sent,
    pub(super) served: Served,
}

impl Round {
    /// Percent of what was sent that the receiver handled.
    pub(super) fn handled_percent(&self) -> f64 {
        if self.sent.datagrams > 0.0 { 100.0 * self.served.datagrams / self.sent.datagrams } else { 0.0 }
    }
}

impl Bench {
    /// Runs one trial.
    pub(super) fn run(&self, case: &Case) -> Result<Round, Refusal> {
        let mut receiver = Started::new(&self.serve_flags(case))?;
        let addresses = receiver.wait_for_addresses()?;
        let sender = Started::new(&self.send_flags(case, &addresses))?;
        let sent = sender.finish()?;
        let served = receiver.finish()?;
        let unreadable = || Refusal::failed(format!("{} said nothing that can be read", case.server));
        Ok(Round {
            sent: Sent::read(&sent).ok_or_else(unreadable)?,
            served: Served::read(&served).ok_or_else(unreadable)?,
        })
    }

    fn serve_flags(&self, case: &Case) -> Vec<String> {
        // The receiver ends by itself when the generator could not say that it is over.
        let timeout = self.seconds.ceil() + 20.0;
        let mut flags: Vec<String> = ["udp", "serve", "--json", "-", "--server"].map(str::to_owned).into();
        flags.push(case.server.to_string());
        for (flag, value) in [
            ("--work", case.work.to_string()),
            ("--size", self.size.to_string()),
            ("--cpus", self.receiver_cpu.to_string()),
            ("--timeout", format!("{timeout:.0}")),
        ] {
            flags.extend([flag.to_owned(), value]);
        }
        if case.gro {
            flags.push("--gro".to_owned());
        }
        if case.server.is_ring() {
            flags.extend(self.ring_flags.iter().cloned());
        }
        flags
    }

    fn send_flags(&self, case: &Case, addresses: &[String]) -> Vec<String> {
        let mut flags: Vec<String> = ["udp", "send", "--json", "-"].map(str::to_owned).into();
        for (flag, value) in [
            ("--to", addresses.join(",")),
            ("--size", self.size.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--cpus", self.sender_cpu.to_string()),
        ] {
            flags.extend([flag.to_owned(), value]);
        }
        if case.traffic == Traffic::Gso {
            flags.extend(["--gso".to_owned(), self.segments.to_string()]);
        }
        flags
    }
}

/// This program, started again; it is ended when it is not wanted any more.
struct Started {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Started {
    fn new(flags: &[String]) -> Result<Started, Refusal> {
        let program = std::env::current_exe().map_err(Refusal::because("cannot find this program"))?;
        let mut command = Command::new(program);
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Refusal::because("cannot start this program again"))?;
        let stderr = child.stderr.take().map(BufReader::new);
        Ok(Started { child, stderr })
    }

    /// Reads until the receiver says where it listens.
    fn wait_for_addresses(&mut self) -> Result<Vec<String>, Refusal> {
        let mut said = String::new();
        while let Some(stderr) = &mut self.stderr {
            let mut line = String::new();
            if stderr.read_line(&mut line).map_err(Refusal::because("cannot hear the receiver"))? == 0 {
                break;
            }
            if let Some(rest) = line.trim().strip_prefix(LISTENING) {
                let addresses = rest.split_whitespace().take_while(|word| !word.starts_with('('));
                return Ok(addresses.map(str::to_owned).collect());
            }
            said = line;
        }
        Err(Refusal::failed(format!("the receiver did not start: {}", said.trim())))
    }

    /// Waits for the end and reads the JSON on standard output.
    fn finish(mut self) -> Result<Value, Refusal> {
        // What is said on standard error is read beside, so that nobody waits for anybody.
        let complaints = self.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut text = String::new();
                let _read = stderr.read_to_string(&mut text);
                text
            })
        });
        let mut text = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            stdout.read_to_string(&mut text).map_err(Refusal::because("cannot read a result"))?;
        }
        let status = self.child.wait().map_err(Refusal::because("cannot wait for a process"))?;
        let said = complaints.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if !status.success() {
            let last = said.lines().last().unwrap_or("it said nothing");
            return Err(Refusal::failed(format!("a process of the trial failed: {last}")));
        }
        serde_json::from_str(&text)
            .map_err(|error| Refusal::failed(format!("a result cannot be read: {error}")))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended already where all went well, and then there is nothing to end.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
