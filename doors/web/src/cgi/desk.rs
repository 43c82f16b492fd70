//! Asks the starter.

use ringway_engine::ring::Handle;
use ringway_engine::{Stream, WorkerHandle};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which of the worker's kinds of outbound connections the ends of scripts are.
const OUTBOUND: usize = 0;

/// How long it is tried to ask a starter whose queue is full, and how often: milliseconds.
const ASKING_MS_MAX: u64 = 2_000;
const ASKING_EVERY_MS: u64 = 2;

/// The worker's ends of what a script was started with.
#[derive(Debug)]
pub(super) struct Ends {
    /// What the starter says of the script.
    pub(super) control: Stream,
    /// The script's standard output.
    pub(super) output: Stream,
    /// Its standard input.
    pub(super) input: Option<Stream>,
}

/// Asks for a script.
///
/// # Errors
/// `TimedOut`: the starter has too much to do. Otherwise there is none, or no socket can be had.
pub(super) async fn ask(
    starter: &OwnedFd,
    worker: &WorkerHandle,
    order: &[u8],
    has_input: bool,
) -> io::Result<Ends> {
    let (control, control_end) = pair()?;
    let (output, output_end) = pair()?;
    let (input, input_end) = has_input.then(pair).transpose()?.unzip();
    let ends: [Option<BorrowedFd<'_>>; 3] =
        [Some(control_end.as_fd()), Some(output_end.as_fd()), input_end.as_ref().map(AsFd::as_fd)];
    let until_ms = worker.now_ms() + ASKING_MS_MAX;
    while !send(starter, order, &ends)? {
        if worker.now_ms() >= until_ms {
            return Err(io::ErrorKind::TimedOut.into());
        }
        worker.sleep_until(worker.now_ms() + ASKING_EVERY_MS).await;
    }
    let hold = |socket: OwnedFd| worker.hold(OUTBOUND, Handle::new(socket), None);
    Ok(Ends { control: hold(control)?, output: hold(output)?, input: input.map(hold).transpose()? })
}

/// This side's end, which nobody waits for, and the other.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Programs expect to wait for theirs.
    rustix::io::ioctl_fionbio(&near, true)?;
    Ok((near, far))
}

/// Sends an order; false when there is no room for it now.
fn send(starter: &OwnedFd, order: &[u8], ends: &[Option<BorrowedFd<'_>>]) -> io::Result<bool> {
    let descriptors: Vec<BorrowedFd<'_>> = ends.iter().flatten().copied().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match sendmsg(starter, &[IoSlice::new(order)], &mut ancillary, flags) {
        Ok(_whole) => Ok(true),
        // ETOOMANYREFS: so many descriptors are on their way that the kernel takes no more of this user's.
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::TOOMANYREFS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
