//! The hosts of a process, by their numbers.

use crate::{Host, Refusal};
use ringway_lock::{Mutex, MutexGuard};
use ringway_plugin::abi::code;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// Most hosts of a process.
const HOSTS_MAX: usize = 1024;

/// Longest text that a program may give, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Makes a host.
pub type Make = fn() -> Box<dyn Host>;

/// A host, until it is destroyed.
type Entry = Arc<Mutex<Option<Box<dyn Host>>>>;

struct Table {
    next: u64,
    hosts: BTreeMap<u64, Entry>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { next: 1, hosts: BTreeMap::new() });

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a host a number.
pub(crate) fn add(host: Box<dyn Host>) -> Result<u64, Refusal> {
    let mut table = table();
    if table.hosts.len() >= HOSTS_MAX {
        return Err(Refusal { code: code::LIMIT, text: format!("there are {HOSTS_MAX} hosts already") });
    }
    let number = table.next;
    table.next += 1;
    table.hosts.insert(number, Arc::new(Mutex::new(Some(host))));
    Ok(number)
}

/// Does something with the host of that number, when nobody else does.
pub(crate) fn with<R>(
    number: u64,
    act: impl FnOnce(&mut dyn Host) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let entry = table().hosts.get(&number).cloned().ok_or_else(|| gone(number))?;
    let mut host = entry.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *host {
        Some(host) => act(&mut **host),
        None => Err(gone(number)),
    }
}

/// Takes a host out, once nobody does anything with it any more.
pub(crate) fn take(number: u64) -> Result<Box<dyn Host>, Refusal> {
    let entry = table().hosts.remove(&number).ok_or_else(|| gone(number))?;
    let host = entry.lock().unwrap_or_else(PoisonError::into_inner).take();
    host.ok_or_else(|| gone(number))
}

fn gone(number: u64) -> Refusal {
    let text = match number {
        0 => "0 is no host".to_owned(),
        number => format!("there is no host {number}: it was destroyed, or never made"),
    };
    Refusal { code: code::GONE, text }
}
