//! Which libraries are loaded, who uses them, and which could not be unmapped: for operators, and for limits.

use crate::error::Problem;
use crate::image::Image;
use crate::mapping::LINGERING_MAX;
use ringway_lock::{Condvar, Mutex, MutexGuard};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// What is known of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number: of every version that was loaded another one.
    pub number: u64,
    /// Its file. What is there by now may be another version.
    pub path: PathBuf,
    /// What it calls itself; empty before it has said so.
    pub name: String,
    /// Its version, as it says.
    pub version: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Instances that are not destroyed.
    pub instances: usize,
    /// Workers that use it.
    pub workers: usize,
    /// Nobody uses it any more, and it is in memory still: a library with thread-local destructors, mostly.
    pub lingers: bool,
}

/// What became of all libraries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Loaded since the process began.
    pub loaded: u64,
    /// Unmapped since.
    pub unmapped: u64,
    /// In memory although nobody uses them.
    pub lingering: usize,
    /// Being destroyed right now.
    pub ending: usize,
}

struct Census {
    totals: Totals,
    entries: Vec<Status>,
    /// Copies whose names the loader still has.
    kept: Vec<Image>,
}

static CENSUS: Mutex<Census> = Mutex::new(Census {
    totals: Totals { loaded: 0, unmapped: 0, lingering: 0, ending: 0 },
    entries: Vec::new(),
    kept: Vec::new(),
});

static CHANGED: Condvar = Condvar::new();

/// All libraries that are in memory.
#[must_use]
pub fn libraries() -> Vec<Status> {
    census().entries.clone()
}

/// What became of all libraries so far.
#[must_use]
pub fn totals() -> Totals {
    census().totals
}

/// Waits until what was said of all libraries is as `wanted`, at most so long; whether it is.
pub fn wait(within: Duration, wanted: impl Fn(&Totals) -> bool) -> bool {
    let until = Instant::now() + within;
    let mut census = census();
    while !wanted(&census.totals) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        census = CHANGED.wait_timeout(census, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

/// Gives a library that is about to be loaded a number.
pub(crate) fn open(path: &Path, bytes: u64) -> Result<u64, Problem> {
    let mut census = census();
    if census.totals.lingering >= LINGERING_MAX {
        return Err(Problem::Lingering(census.totals.lingering));
    }
    census.totals.loaded += 1;
    let number = census.totals.loaded;
    let (name, version) = (String::new(), String::new());
    let path = path.to_owned();
    let status = Status { number, path, name, version, bytes, instances: 0, workers: 0, lingers: false };
    census.entries.push(status);
    Ok(number)
}

/// It was never loaded.
pub(crate) fn refused(number: u64) {
    let mut census = census();
    census.entries.retain(|entry| entry.number != number);
    census.totals.unmapped += 1;
    CHANGED.notify_all();
}

pub(crate) fn named(number: u64, name: &str, version: &str) {
    change(number, |entry| (entry.name, entry.version) = (name.to_owned(), version.to_owned()));
}

pub(crate) fn instances(number: u64, change_by: isize) {
    change(number, |entry| entry.instances = entry.instances.saturating_add_signed(change_by));
}

pub(crate) fn workers(number: u64, change_by: isize) {
    change(number, |entry| entry.workers = entry.workers.saturating_add_signed(change_by));
}

pub(crate) fn ending(change_by: isize) {
    let mut census = census();
    census.totals.ending = census.totals.ending.saturating_add_signed(change_by);
    CHANGED.notify_all();
}

/// The loader was asked to forget it.
pub(crate) fn closed(number: u64, lingers: bool) {
    let mut census = census();
    if lingers {
        census.totals.lingering += 1;
        census
            .entries
            .iter_mut()
            .filter(|entry| entry.number == number)
            .for_each(|entry| entry.lingers = true);
    } else {
        census.totals.unmapped += 1;
        census.entries.retain(|entry| entry.number != number);
    }
    CHANGED.notify_all();
}

pub(crate) fn keep(image: Image) {
    census().kept.push(image);
}

fn change(number: u64, with: impl FnOnce(&mut Status)) {
    let mut census = census();
    if let Some(entry) = census.entries.iter_mut().find(|entry| entry.number == number) {
        with(entry);
    }
}

fn census() -> MutexGuard<'static, Census> {
    CENSUS.lock().unwrap_or_else(PoisonError::into_inner)
}
