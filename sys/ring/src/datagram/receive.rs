//! Receiving datagrams by `recvmmsg(2)`, for the driver that works on readiness.

use super::region::{HEADER_BYTES, Region};
use crate::socket;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// Datagrams taken by one system call.
const MESSAGES_MAX: usize = 64;

/// The headers of one call, kept between calls. They hold no pointers then (I6).
pub(crate) struct Receiver {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self { headers: Vec::new(), vectors: Vec::new() }
    }

    /// Receives into the last buffers of `free` (at least one), in the kernel's layout, and takes those that were filled
    /// off: `arrived` is told of each and the bytes in it.
    ///
    /// # Errors
    /// What `recvmmsg(2)` says; `WouldBlock` when nothing is there.
    pub(crate) fn receive(
        &mut self,
        fd: RawFd,
        region: &Region,
        free: &mut Vec<u16>,
        at_most: usize,
        mut arrived: impl FnMut(u16, u32),
    ) -> io::Result<usize> {
        let count = free.len().min(MESSAGES_MAX).min(at_most);
        let layout = region.layout();
        self.headers.clear();
        self.vectors.clear();
        // The last free buffer was used last: it is warm.
        for &buffer in free.iter().rev().take(count) {
            let payload = region.address(buffer).wrapping_add(layout.payload_offset());
            self.vectors.push(libc::iovec { iov_base: payload.cast(), iov_len: layout.payload_bytes });
        }
        for (index, &buffer) in free.iter().rev().take(count).enumerate() {
            // SAFETY: I6: an all-zero message header is valid.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            let name = region.address(buffer).wrapping_add(HEADER_BYTES);
            header.msg_hdr.msg_name = name.cast();
            header.msg_hdr.msg_namelen = libc::socklen_t::try_from(layout.name_bytes).unwrap_or(0);
            header.msg_hdr.msg_control = name.wrapping_add(layout.name_bytes).cast();
            header.msg_hdr.msg_controllen = layout.control_bytes as _;
            header.msg_hdr.msg_iov = &raw mut self.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(header);
        }
        let taken = receive_messages(fd, &mut self.headers)?;
        for header in self.headers.iter().take(taken) {
            let Some(buffer) = free.pop() else { break };
            let bytes = write_header(region, buffer, header);
            arrived(buffer, bytes);
        }
        Ok(taken)
    }
}

fn receive_messages(fd: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
    let flags = socket::batch_flags(libc::MSG_DONTWAIT | libc::MSG_TRUNC);
    // SAFETY: I6, I9: headers, vectors and the free buffers they point to are ours alone during the call.
    let result = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, flags, std::ptr::null_mut()) };
    socket::check(result).map(|taken| usize::try_from(taken).unwrap_or(0))
}

/// Writes what the kernel said of a datagram in front of it, as io_uring does; the bytes of the buffer that are filled.
fn write_header(region: &Region, buffer: u16, header: &libc::mmsghdr) -> u32 {
    let layout = region.layout();
    let name_bytes = header.msg_hdr.msg_namelen;
    let control_bytes = u32::try_from(header.msg_hdr.msg_controllen).unwrap_or(0);
    let fields = [name_bytes, control_bytes, header.msg_len, header.msg_hdr.msg_flags.cast_unsigned()];
    const { assert!(size_of::<[u32; 4]>() == HEADER_BYTES) };
    // SAFETY: I9: the buffer is ours, not handed out yet; it begins with the header's sixteen bytes and is aligned.
    unsafe { region.address(buffer).cast::<[u32; 4]>().write(fields) };
    let payload_bytes = (header.msg_len as usize).min(layout.payload_bytes);
    u32::try_from(layout.payload_offset() + payload_bytes).unwrap_or(u32::MAX)
}

/// Sleeps in one piece; signals make it shorter.
pub(crate) fn sleep_once(time: Duration) {
    let request = libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: I6: the kernel reads the time during the call and is told not to write what is left.
    unsafe { libc::nanosleep(&raw const request, std::ptr::null_mut()) };
}
