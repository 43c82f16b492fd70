//! What a process and all that descend from it use: CPU time to the nanosecond where the kernel keeps it, memory, threads,
//! descriptors, turns on a core.
//!
//! # How CPU time is counted
//! * A live process: its CPU clock in nanoseconds, ended threads included. How much of it was system time is known to a
//!   clock tick (10 ms).
//! * A child that was waited for: the kernel adds it to its parent's account, where it is read (in ticks, but the rounding
//!   does not add up). So children that lived too short to be seen are counted.
//! * A child that nobody waits for (its parent ignores `SIGCHLD`, or is outside of the tree): as last seen alive.
//! * A process whose parent ended, in a tree that this process started: it becomes our child ([`Tree::of_child`] makes this
//!   process a subreaper), is read a last time and then waited for by us.
//!
//! Each is in exactly one of these places at any time, and is counted once.

mod files;
mod network;
mod one;
mod started;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use files::tick;
pub use network::{Network, Traffic};
pub(crate) use started::kill_all;
pub use started::{Ended, Started};

use crate::refusal::Refusal;
use files::{Reader, Stat};
use one::Process;

/// A process's number.
pub type Pid = u32;

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Nanoseconds in user mode.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
}

impl Cpu {
    /// Both together.
    #[must_use]
    pub fn total_ns(self) -> u64 {
        self.user_ns + self.system_ns
    }

    /// Both together.
    #[must_use]
    pub fn total(self) -> Duration {
        Duration::from_nanos(self.total_ns())
    }

    /// What was used since an earlier reading of the same account.
    ///
    /// The sum is as precise as the readings; its parts are known to a clock tick.
    #[must_use]
    pub fn since(self, earlier: Cpu) -> Cpu {
        let total_ns = self.total_ns().saturating_sub(earlier.total_ns());
        let system_ns = self.system_ns.saturating_sub(earlier.system_ns).min(total_ns);
        Cpu { user_ns: total_ns - system_ns, system_ns }
    }

    fn plus(self, other: Cpu) -> Cpu {
        Cpu { user_ns: self.user_ns + other.user_ns, system_ns: self.system_ns + other.system_ns }
    }

    /// This account of somebody whose account was `earlier` before: neither the sum nor system time can shrink.
    fn not_before(self, earlier: Cpu) -> Cpu {
        let total_ns = self.total_ns().max(earlier.total_ns());
        let system_ns = self.system_ns.max(earlier.system_ns);
        Cpu { user_ns: total_ns.saturating_sub(system_ns), system_ns }
    }
}

/// One reading of a tree. Counters count from the beginning of the processes; take differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// CPU time of the whole tree, ended members included.
    pub cpu: Cpu,
    /// Processes that are alive.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
    /// Their open descriptors; `None` where we may not look.
    pub descriptors: Option<u64>,
    /// Resident memory in KiB; pages that several processes share are counted in each.
    pub resident_kib: u64,
    /// The sum of the highest resident memory that each live process ever had, in KiB.
    pub high_water_kib: u64,
    /// How often a thread was given a core (every context switch ends such a turn).
    pub turns: u64,
    /// Time that threads were ready to run but had no core, in nanoseconds.
    pub waited_ns: u64,
}

/// A process and all that descend from it.
#[derive(Debug)]
pub struct Tree {
    root: Pid,
    /// Whether the root is our child and orphans of the tree become our children.
    ours: bool,
    members: BTreeMap<Pid, Process>,
    /// CPU time of ended members that is in no live member's account.
    settled: Cpu,
    turns_of_ended: u64,
    waited_ns_of_ended: u64,
    page_kib: u64,
    reader: Reader,
}

impl Tree {
    /// A running process that we did not start. What ends outside of our sight is counted as it was last seen.
    ///
    /// # Errors
    /// Refuses when there is no such process.
    pub fn attach(pid: Pid) -> Result<Tree, Refusal> {
        Tree::new(pid, false)
    }

    /// A child of this process, whose orphaned descendants become children of this process from now on and are waited
    /// for by [`Tree::read`]. Only one such tree should be alive at a time.
    ///
    /// # Errors
    /// Refuses when there is no such process, or the kernel does not let us adopt its orphans.
    pub fn of_child(pid: Pid) -> Result<Tree, Refusal> {
        // Any process's number means yes.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(Refusal::because("cannot adopt orphaned processes"))?;
        Tree::new(pid, true)
    }

    fn new(root: Pid, ours: bool) -> Result<Tree, Refusal> {
        let mut reader = Reader::new();
        let process = Process::open(root, &mut reader)
            .map_err(|_gone| Refusal::new(format!("there is no process {root}")))?;
        let page_kib = rustix::param::page_size() as u64 / 1024;
        let mut tree = Tree {
            root,
            ours,
            members: BTreeMap::from([(root, process)]),
            settled: Cpu::default(),
            turns_of_ended: 0,
            waited_ns_of_ended: 0,
            page_kib,
            reader,
        };
        tree.discover();
        Ok(tree)
    }

    /// Reads everything but the proportional memory. About 30 µs a process and 2 µs a thread.
    pub fn read(&mut self) -> Reading {
        self.refresh();
        self.discover();
        let live = || self.members.values().filter(|process| !process.zombie);
        let mut reading = Reading {
            cpu: self.members.values().fold(self.settled, |sum, process| sum.plus(process.account())),
            turns: self.turns_of_ended + self.members.values().map(|process| process.turns).sum::<u64>(),
            waited_ns: self.waited_ns_of_ended
                + self.members.values().map(|process| process.waited_ns).sum::<u64>(),
            processes: live().count() as u64,
            threads: live().map(|process| process.threads).sum(),
            descriptors: live().map(Process::descriptors).try_fold(0, |sum, count| Some(sum + count?)),
            ..Reading::default()
        };
        for process in self.members.values().filter(|process| !process.zombie) {
            let memory = process.memory(&mut self.reader, self.page_kib);
            reading.resident_kib += memory.resident_kib;
            reading.high_water_kib += memory.high_water_kib;
        }
        if self.ours {
            self.bury();
        }
        reading
    }

    /// Memory with shared pages divided among those who share them, in KiB; `None` where we may not look. The kernel
    /// walks all pages of the tree for it: milliseconds for a hundred megabytes.
    pub fn proportional_kib(&mut self) -> Option<u64> {
        let live = self.members.values().filter(|process| !process.zombie);
        let reader = &mut self.reader;
        live.map(|process| process.proportional_kib(reader)).try_fold(0, |sum, kib| Some(sum + kib?))
    }

    /// Whether a member is alive, as of the last reading.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.members.values().any(|process| !process.zombie)
    }

    /// Whether the process that the tree grows from is alive, as of the last reading.
    #[must_use]
    pub fn root_is_alive(&self) -> bool {
        self.members.get(&self.root).is_some_and(|process| !process.zombie)
    }

    /// Kills every member that is alive, in whatever process group it is. Only for a tree that this process started.
    pub fn kill(&mut self) {
        self.refresh();
        self.discover();
        for pid in
            self.members.values().filter(|process| !process.zombie).filter_map(|process| raw(process.pid))
        {
            // One that is gone already needs no killing.
            let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Reads every member again and settles the accounts of those that are gone.
    fn refresh(&mut self) {
        let before: BTreeMap<Pid, Cpu> =
            self.members.values().map(|process| (process.pid, process.reaped)).collect();
        let mut gone = Vec::new();
        for process in self.members.values_mut() {
            if process.read(&mut self.reader).is_err() {
                gone.push(process.pid);
            }
        }
        let gone: BTreeMap<Pid, Process> =
            gone.into_iter().filter_map(|pid| Some((pid, self.members.remove(&pid)?))).collect();
        for process in gone.values() {
            self.turns_of_ended += process.turns;
            self.waited_ns_of_ended += process.waited_ns;
        }
        self.settle(&gone, &before);
    }

    /// Where the time of members went that are gone: into the account of the live member that waited for them, or
    /// nowhere, and then it is kept as last seen.
    fn settle(&mut self, gone: &BTreeMap<Pid, Process>, before: &BTreeMap<Pid, Cpu>) {
        let mut expected: BTreeMap<Pid, Cpu> = BTreeMap::new();
        for process in gone.values() {
            let mut heir = process.parent;
            while let Some(parent) = gone.get(&heir) {
                heir = parent.parent;
            }
            let heir = if self.members.contains_key(&heir) { heir } else { 0 };
            let sum = expected.entry(heir).or_default();
            *sum = sum.plus(process.account());
        }
        for (heir, left) in expected {
            let inherited = match (self.members.get(&heir), before.get(&heir)) {
                (Some(parent), Some(before)) => parent.reaped.since(*before),
                _ => Cpu::default(),
            };
            let waits =
                self.members.get(&heir).is_some_and(|parent| !parent.ignores_children(&mut self.reader));
            // What was inherited is two sums of whole ticks, each rounded down before and after.
            let tolerance = if waits { 4 * tick_ns() } else { 0 };
            if left.total_ns() > inherited.total_ns() + tolerance {
                self.settled = self.settled.plus(left.since(inherited));
            }
        }
    }

    /// Finds members that are new.
    fn discover(&mut self) {
        let mut found = Vec::new();
        if self.ours {
            found.extend(orphans());
        }
        let listed = self.members.values().all(Process::lists_children);
        let by_parent = if listed { BTreeMap::new() } else { by_parent(&mut self.reader) };
        for process in self.members.values() {
            process.children(&mut self.reader, &mut found);
            found.extend(by_parent.get(&process.pid).into_iter().flatten());
        }
        while let Some(pid) = found.pop() {
            if self.members.contains_key(&pid) {
                continue;
            }
            // One that is gone already is in its parent's account.
            let Ok(process) = Process::open(pid, &mut self.reader) else { continue };
            process.children(&mut self.reader, &mut found);
            found.extend(by_parent.get(&pid).into_iter().flatten());
            self.members.insert(pid, process);
        }
    }

    /// Waits for orphans that ended and became ours, and settles what they used. The root is waited for by who started it;
    /// its account is final until then.
    fn bury(&mut self) {
        let me = std::process::id();
        let ended = self.members.values().filter(|process| process.zombie && process.parent == me);
        let ended: Vec<Pid> = ended.map(|process| process.pid).filter(|pid| *pid != self.root).collect();
        for process in ended.into_iter().filter(|pid| reap(*pid)).filter_map(|pid| self.members.remove(&pid))
        {
            self.settled = self.settled.plus(process.account());
            self.turns_of_ended += process.turns;
            self.waited_ns_of_ended += process.waited_ns;
        }
    }
}

fn tick_ns() -> u64 {
    u64::try_from(tick().as_nanos()).unwrap_or(u64::MAX)
}

/// Children of any of our threads that the lab did not start: the kernel made them ours when their parents ended.
fn orphans() -> Vec<Pid> {
    let Ok(folder) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let children =
        folder.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let mut found = Vec::new();
    for list in children {
        found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<Pid>().ok()));
    }
    found.retain(|pid| !started::is_started(*pid));
    found
}

/// All processes of the machine by their parents, for kernels and processes whose children are not listed.
fn by_parent(reader: &mut Reader) -> BTreeMap<Pid, Vec<Pid>> {
    let mut children: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    let Ok(folder) = std::fs::read_dir("/proc") else { return children };
    for pid in folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok()) {
        let Ok(file) = files::open(&format!("/proc/{pid}/stat")) else { continue };
        if let Some(stat) = reader.text(&file).ok().and_then(Stat::parse) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    children
}

/// Waits for a child that has ended.
fn reap(pid: Pid) -> bool {
    let Some(pid) = raw(pid) else { return false };
    matches!(rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG), Ok(Some(_)))
}

/// A process's number as system calls take it.
fn raw(pid: Pid) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)
}
