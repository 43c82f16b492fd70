//! What this kernel's io_uring can do, asked before anything relies on it.

use super::restrict;
use crate::ring::{Restrict, Restriction, RingOptions};
use io_uring::{IoUring, Probe, opcode};
use std::fmt;
use std::io;

/// What was found and chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Completions are worked off on the worker's own time (Linux 6.1); required.
    pub deferred_task_work: bool,
    /// Buffers are provided to the kernel in a shared ring (Linux 5.19); required.
    pub provided_buffers: bool,
    /// Zero-copy send (Linux 6.0).
    pub send_zero_copy: bool,
    /// A wait can be given both a minimum count and a minimum time (Linux 6.12).
    pub batch_wait: bool,
    /// One receive completion can carry several buffers (Linux 6.10).
    pub receive_bundles: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("deferred task work", self.deferred_task_work),
            ("provided buffers", self.provided_buffers),
            ("zero-copy send", self.send_zero_copy),
            ("batch wait", self.batch_wait),
            ("receive bundles", self.receive_bundles),
        ];
        for (index, (name, is_there)) in all.into_iter().enumerate() {
            let (gap, not) = (if index > 0 { ", " } else { "" }, if is_there { "" } else { "no " });
            write!(f, "{gap}{not}{name}")?;
        }
        Ok(())
    }
}

/// Operations without which the driver is not used.
const REQUIRED: [(u8, &str); 8] = [
    (opcode::AcceptMulti::CODE, "accept"),
    (opcode::RecvMulti::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::SendMsg::CODE, "sendmsg"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::AsyncCancel::CODE, "cancel"),
    (opcode::OpenAt2::CODE, "openat2"),
    (opcode::Statx::CODE, "statx"),
];

/// Asks the kernel.
///
/// # Errors
/// Why io_uring cannot be used here: `PermissionDenied` (seccomp, sysctl `kernel.io_uring_disabled`), `Unsupported`
/// (no io_uring, or a kernel before 6.1).
pub fn probe() -> io::Result<Features> {
    let options = RingOptions { submission_entries: 8, completion_entries: 16, ..RingOptions::default() };
    let (ring, _unrestricted) = build(&options)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if let Some((_, name)) = REQUIRED.iter().find(|(code, _)| !probe.is_supported(*code)) {
        let reason = format!("this kernel's io_uring has no {name} operation");
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    let parameters = ring.params();
    Ok(Features {
        deferred_task_work: true,
        provided_buffers: true,
        send_zero_copy: probe.is_supported(opcode::SendZc::CODE),
        batch_wait: parameters.is_feature_min_timeout(),
        receive_bundles: parameters.is_feature_recvsend_bundle(),
    })
}

/// Sets a ring up with the flags the driver relies on; all of them exist since Linux 6.1. It is restricted as far as is
/// asked for and possible.
pub(super) fn build(options: &RingOptions) -> io::Result<(IoUring, Restriction)> {
    if options.restrict == Restrict::No {
        return Ok((build_plain(options, false)?, Restriction::NotAsked));
    }
    let ring = build_plain(options, true)?;
    match restrict::enable(&ring, options.restrict) {
        Ok(()) => Ok((ring, Restriction::Active)),
        // EINVAL, EACCES: a kernel or a filter that knows no restrictions. Serving goes before.
        Err(error) => Ok((build_plain(options, false)?, Restriction::Refused(error.to_string()))),
    }
}

fn build_plain(options: &RingOptions, is_disabled: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(options.completion_entries)
        .dontfork();
    if is_disabled {
        builder.setup_r_disabled();
    }
    let ring = builder.build(options.submission_entries).map_err(explain)?;
    if !ring.params().is_feature_nodrop() || !ring.params().is_feature_ext_arg() {
        let reason = "io_uring here drops completions or cannot wait with a time limit";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    Ok(ring)
}

fn explain(error: io::Error) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::EINVAL) => "io_uring here lacks deferred task work (Linux 6.1 has it)",
        Some(libc::ENOSYS) => "this kernel has no io_uring",
        Some(libc::EPERM | libc::EACCES) => "io_uring is refused here (seccomp or kernel.io_uring_disabled)",
        // ENOMEM: on kernels that count ring memory against RLIMIT_MEMLOCK.
        Some(libc::ENOMEM) => "the locked-memory limit leaves no room for a ring",
        _ => return error,
    };
    let kind = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Unsupported,
    };
    io::Error::new(kind, reason)
}
