//! Restricting a ring to what this driver does with it, so that whoever takes the process over cannot do more by it.
//!
//! Operations of a ring are no system calls: a seccomp filter does not see them. A ring says itself what it takes.

use crate::ring::Restrict;
use io_uring::register::Restriction;
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode};
use std::io;

/// Operations on sockets that are there and files that are open.
const SERVING: [u8; 12] = [
    opcode::Nop::CODE,
    opcode::Accept::CODE,
    opcode::Recv::CODE,
    opcode::RecvMsg::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::SendZc::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Read::CODE,
    opcode::ReadFixed::CODE,
    opcode::Write::CODE,
];

/// Operations that reach something new: peers first, then files.
const REACHING: [u8; 3] = [opcode::Connect::CODE, opcode::OpenAt2::CODE, opcode::Statx::CODE];

/// What the driver registers while it runs, by the numbers of the kernel's `io_uring.h`: a table of buffers, changes of
/// it, and rings of provided buffers that come and go.
const REGISTRATIONS: [u8; 4] = [15, 16, 22, 23];

/// Restricts a ring that was made disabled, and enables it.
///
/// # Errors
/// What `io_uring_register(2)` says; the ring is of no use then.
pub(super) fn enable(ring: &IoUring, restrict: Restrict) -> io::Result<()> {
    let reaching: &[u8] = match restrict {
        Restrict::ToServing => &[],
        Restrict::ToConnecting => &REACHING[..1],
        Restrict::No | Restrict::ToAll => &REACHING,
    };
    let operations = SERVING.iter().chain(reaching).map(|code| Restriction::sqe_op(*code));
    let registrations = REGISTRATIONS.iter().map(|code| Restriction::register_op(*code));
    let flags = Restriction::sqe_flags_allowed(Flags::BUFFER_SELECT.bits());
    let mut all: Vec<Restriction> = operations.chain(registrations).chain([flags]).collect();
    let submitter = ring.submitter();
    submitter.register_restrictions(&mut all)?;
    submitter.register_enable_rings()
}

#[cfg(test)]
mod tests {
    use crate::uring::probe;
    use crate::{Restrict, RingOptions};
    use io_uring::opcode;
    use io_uring::squeue::{Entry, Flags};

    fn result_of(restrict: Restrict, entry: &Entry) -> Option<i32> {
        let mut ring = match probe::build(&RingOptions { restrict, ..RingOptions::default() }) {
            Ok((ring, _)) => ring,
            Err(error) => {
                eprintln!("SKIPPED: {error}");
                return None;
            }
        };
        // SAFETY: I4: what the entries of these tests point to is static.
        unsafe { ring.submission().push(entry) }.expect("an empty queue");
        ring.submit_and_wait(1).expect("a sound ring");
        ring.completion().next().map(|entry| entry.result())
    }

    #[test]
    fn a_restricted_ring_takes_what_is_listed_and_nothing_else() {
        let nop = opcode::Nop::new().build();
        let Some(done) = result_of(Restrict::ToServing, &nop) else { return };
        assert_eq!(done, 0);
        let here = io_uring::types::Fd(libc::AT_FDCWD);
        let open = || opcode::OpenAt::new(here, c"/etc/passwd".as_ptr()).build();
        assert_eq!(
            result_of(Restrict::ToServing, &open()),
            Some(-libc::EACCES),
            "an open that seccomp would not see"
        );
        assert_eq!(
            result_of(Restrict::ToAll, &open()),
            Some(-libc::EACCES),
            "this driver has another way to open"
        );
        assert!(result_of(Restrict::No, &open()).is_some_and(|fd| fd >= 0), "without restrictions it opens");
        let socket = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build();
        assert_eq!(result_of(Restrict::ToAll, &socket), Some(-libc::EACCES));
        let linked = opcode::Nop::new().build().flags(Flags::IO_LINK);
        assert_eq!(
            result_of(Restrict::ToServing, &linked),
            Some(-libc::EACCES),
            "a flag the driver does not use"
        );
    }

    #[test]
    fn only_who_asked_for_it_reaches_out() {
        let socket = io_uring::types::Fd(-1);
        let connect = || opcode::Connect::new(socket, std::ptr::null(), 0).build();
        let Some(refused) = result_of(Restrict::ToServing, &connect()) else { return };
        assert_eq!(refused, -libc::EACCES);
        assert_eq!(result_of(Restrict::ToAll, &connect()), Some(-libc::EBADF), "the kernel tries it");
        assert_eq!(result_of(Restrict::ToConnecting, &connect()), Some(-libc::EBADF));
        let how = std::ptr::null();
        let open =
            opcode::OpenAt2::new(io_uring::types::Fd(libc::AT_FDCWD), c"/etc/passwd".as_ptr(), how).build();
        assert_eq!(result_of(Restrict::ToConnecting, &open), Some(-libc::EACCES), "files are no peers");
    }

    #[test]
    fn a_restricted_ring_registers_what_the_driver_needs_and_nothing_else() {
        let restricted = RingOptions { restrict: Restrict::ToServing, ..RingOptions::default() };
        let Ok((ring, _)) = probe::build(&restricted) else { return };
        assert!(ring.submitter().register_files_sparse(4).is_err(), "a table of files");
        assert!(ring.submitter().register_personality().is_err(), "somebody else's rights");
        assert!(ring.submitter().register_buffers_sparse(4).is_ok(), "a table of buffers");
    }
}
