//! One process: its open files and the account of its CPU time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::files::{self, Reader, Schedule, Stat};
use super::{Cpu, Pid};

/// A process with more threads is accounted without turns and waits: a file for each thread would cost more than it tells.
pub(super) const THREADS_WATCHED_MAX: u64 = 512;

/// A process that is watched.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Who would be told of its end, as last seen.
    pub(super) parent: Pid,
    pub(super) zombie: bool,
    /// Its own CPU time.
    pub(super) own: Cpu,
    /// The CPU time of its children that it waited for, in whole clock ticks.
    pub(super) reaped: Cpu,
    pub(super) threads: u64,
    pub(super) turns: u64,
    pub(super) waited_ns: u64,
    stat: File,
    statm: File,
    status: Option<File>,
    rollup: Option<File>,
    live: BTreeMap<Pid, Thread>,
    /// The sum of threads that ended, as last seen.
    ended: Schedule,
    /// Files of threads can be had.
    per_thread: bool,
}

/// A thread's open files and its last reading.
#[derive(Debug)]
struct Thread {
    schedstat: File,
    children: Option<File>,
    last: Schedule,
}

/// What a process occupies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) resident_kib: u64,
    pub(super) high_water_kib: u64,
}

impl Process {
    /// Opens a process's files.
    pub(super) fn open(pid: Pid, reader: &mut Reader) -> io::Result<Process> {
        let path = |name: &str| format!("/proc/{pid}/{name}");
        let mut process = Process {
            pid,
            parent: 0,
            zombie: false,
            own: Cpu::default(),
            reaped: Cpu::default(),
            threads: 0,
            turns: 0,
            waited_ns: 0,
            stat: files::open(&path("stat"))?,
            statm: files::open(&path("statm"))?,
            status: files::open(&path("status")).ok(),
            rollup: files::open(&path("smaps_rollup")).ok(),
            live: BTreeMap::new(),
            ended: Schedule::default(),
            per_thread: true,
        };
        process.read(reader)?;
        Ok(process)
    }

    /// Reads its account again; an error when it is gone.
    pub(super) fn read(&mut self, reader: &mut Reader) -> io::Result<()> {
        let stat = Stat::parse(reader.text(&self.stat)?).ok_or(io::ErrorKind::InvalidData)?;
        (self.parent, self.zombie, self.threads) = (stat.parent, stat.zombie, stat.threads);
        self.per_thread &= stat.threads <= THREADS_WATCHED_MAX;
        let scheduled = if self.per_thread { self.read_threads(reader) } else { Schedule::default() };
        (self.turns, self.waited_ns) = (scheduled.turns, scheduled.waited);
        let tick_ns = u64::try_from(files::tick().as_nanos()).unwrap_or(u64::MAX);
        let ticks = Cpu { user_ns: stat.user_ticks * tick_ns, system_ns: stat.system_ticks * tick_ns };
        let total_ns = precise_ns(self.pid).unwrap_or(scheduled.ran).max(ticks.total_ns());
        self.own = split(total_ns, ticks, tick_ns).not_before(self.own);
        self.reaped =
            Cpu { user_ns: stat.reaped_user_ticks * tick_ns, system_ns: stat.reaped_system_ticks * tick_ns };
        Ok(())
    }

    /// Sums up the threads, those that ended as they were last seen.
    fn read_threads(&mut self, reader: &mut Reader) -> Schedule {
        self.list_threads();
        let mut gone = Vec::new();
        for (tid, thread) in &mut self.live {
            let read = reader.text(&thread.schedstat).ok().and_then(Schedule::parse);
            match read {
                Some(schedule) => thread.last = schedule,
                None => gone.push(*tid),
            }
        }
        for thread in gone.into_iter().filter_map(|tid| self.live.remove(&tid)) {
            self.ended = self.ended.plus(thread.last);
        }
        self.live.values().fold(self.ended, |sum, thread| sum.plus(thread.last))
    }

    fn list_threads(&mut self) {
        let Ok(folder) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else { return };
        let listed = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
        for tid in listed {
            if let std::collections::btree_map::Entry::Vacant(place) = self.live.entry(tid) {
                let path = |name: &str| format!("/proc/{}/task/{tid}/{name}", self.pid);
                let Ok(schedstat) = files::open(&path("schedstat")) else { continue };
                let children = files::open(&path("children")).ok();
                place.insert(Thread { schedstat, children, last: Schedule::default() });
            }
        }
    }

    /// Adds its children to `found`, as far as the kernel lists them.
    pub(super) fn children(&self, reader: &mut Reader, found: &mut Vec<Pid>) {
        for children in self.live.values().filter_map(|thread| thread.children.as_ref()) {
            let Ok(text) = reader.text(children) else { continue };
            found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<Pid>().ok()));
        }
    }

    /// Whether [`Process::children`] tells all.
    pub(super) fn lists_children(&self) -> bool {
        self.per_thread && self.live.values().all(|thread| thread.children.is_some())
    }

    /// Whether its children leave nothing behind, as it ignores the signal that tells of their end.
    pub(super) fn ignores_children(&self, reader: &mut Reader) -> bool {
        let status = self.status.as_ref().and_then(|file| reader.text(file).ok()).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // Signals count from 1 and bits from 0.
        mask.is_some_and(|mask| mask >> (rustix::process::Signal::CHILD.as_raw() - 1) & 1 == 1)
    }

    /// Its own and its waited-for children's CPU time.
    pub(super) fn account(&self) -> Cpu {
        self.own.plus(self.reaped)
    }

    pub(super) fn memory(&self, reader: &mut Reader, page_kib: u64) -> Memory {
        let statm = reader.text(&self.statm).unwrap_or_default();
        let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        let resident_kib = pages.unwrap_or(0) * page_kib;
        let status = self.status.as_ref().and_then(|file| reader.text(file).ok());
        let high_water = status.and_then(|text| files::kib(text, "VmHWM"));
        Memory { resident_kib, high_water_kib: high_water.unwrap_or(0).max(resident_kib) }
    }

    /// Its share of memory in KiB, shared pages divided among those who share them. The kernel walks all pages for it.
    pub(super) fn proportional_kib(&self, reader: &mut Reader) -> Option<u64> {
        files::kib(reader.text(self.rollup.as_ref()?).ok()?, "Pss")
    }

    /// How many descriptors it has open; `None` where we may not look.
    pub(super) fn descriptors(&self) -> Option<u64> {
        let path = format!("/proc/{}/fd", self.pid);
        // Since Linux 6.2 the folder's size is the count; before, it is zero and the entries are counted.
        match std::fs::metadata(&path).ok()?.size() {
            0 => Some(std::fs::read_dir(&path).ok()?.count() as u64),
            count => Some(count),
        }
    }
}

impl Schedule {
    fn plus(self, other: Schedule) -> Schedule {
        Schedule {
            ran: self.ran + other.ran,
            waited: self.waited + other.waited,
            turns: self.turns + other.turns,
        }
    }
}

/// The process's CPU clock. Its number cannot have passed to another process: its files were readable just now.
fn precise_ns(pid: Pid) -> Option<u64> {
    u64::try_from(ringway_ring::clock::process_cpu_time(pid).ok()?.as_nanos()).ok()
}

/// A precise sum divided as the ticks are. Both parts were rounded down to whole ticks, so what is left belongs to either.
fn split(total_ns: u64, ticks: Cpu, tick_ns: u64) -> Cpu {
    let rounded = total_ns.saturating_sub(ticks.total_ns());
    let system_ns = (ticks.system_ns + (rounded / 2).min(tick_ns)).min(total_ns);
    Cpu { user_ns: total_ns - system_ns, system_ns }
}

#[test]
fn what_was_rounded_away_belongs_to_both_parts() {
    let ticks = |user: u64, system: u64| Cpu { user_ns: user * 10, system_ns: system * 10 };
    assert_eq!(split(56, ticks(4, 1), 10), Cpu { user_ns: 43, system_ns: 13 });
    assert_eq!(split(50, ticks(4, 1), 10), ticks(4, 1));
    // The clock tells of more than rounding can have taken: the ticks are late.
    assert_eq!(split(150, ticks(4, 1), 10), Cpu { user_ns: 130, system_ns: 20 });
}

#[test]
fn accounts_never_go_back() {
    let later = Cpu { user_ns: 43, system_ns: 13 };
    assert_eq!(Cpu { user_ns: 50, system_ns: 10 }.not_before(later), Cpu { user_ns: 47, system_ns: 13 });
    assert_eq!(Cpu { user_ns: 40, system_ns: 10 }.not_before(later), later);
}
