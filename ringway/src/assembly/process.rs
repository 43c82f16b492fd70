//! The process: cores its workers are bound to, descriptors it may have.

use super::AssemblyError;
use crate::engine::{WorkerHandle, WorkerStart};
use crate::web::log::errors::ErrorLog;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What binds workers to these cores, in turn; nothing when there are none.
pub(super) fn bind_to(cpus: &[u16], errors: &ErrorLog) -> Option<WorkerStart> {
    if cpus.is_empty() {
        return None;
    }
    let (cpus, errors, started) = (cpus.to_vec(), errors.clone(), AtomicUsize::new(0));
    Some(Arc::new(move |_: &WorkerHandle| {
        let cpu = usize::from(cpus[started.fetch_add(1, Ordering::Relaxed) % cpus.len()]);
        let bound = if cpu < CpuSet::MAX_CPU {
            let mut set = CpuSet::new();
            set.set(cpu);
            sched_setaffinity(None, &set).map_err(|error| error.to_string())
        } else {
            Err(format!("there are at most {}", CpuSet::MAX_CPU))
        };
        if let Err(why) = bound {
            errors.error("workers", format_args!("a worker cannot be bound to core {cpu}: {why}"));
        }
    }))
}

/// Has the process keep so many descriptors at most; 0 leaves it as it is.
pub(super) fn limit_descriptors(most: u64) -> Result<(), AssemblyError> {
    if most == 0 {
        return Ok(());
    }
    let limit = getrlimit(Resource::Nofile);
    let new = Rlimit { current: Some(most), maximum: limit.maximum };
    let what = format!("cannot have {most} open files");
    if limit.maximum.is_some_and(|maximum| maximum < most) {
        let why = format!("the system allows {}", limit.maximum.unwrap_or(0));
        return Err(AssemblyError::new(what, why));
    }
    setrlimit(Resource::Nofile, new).map_err(|error| AssemblyError::new(what, error))
}
