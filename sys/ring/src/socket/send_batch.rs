//! Sending datagrams in bulk: a bounded batch, flushed by `sendmmsg(2)`, trains cut by the kernel where it can.

use super::datagrams::raw_address;
use super::{check, decode_name};
use crate::datagram::space;
use std::fmt;
use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Messages of one system call.
const MESSAGES_MAX: usize = 64;

/// Longest payload of a message in bytes: what fits an IPv4 packet with its headers.
pub const SEND_BYTES_MAX: usize = 65_507;

/// Most datagrams of one train (UDP_MAX_SEGMENTS of the kernels that have the fewest).
const SEGMENTS_MAX: usize = 64;

/// Bytes of the control message that tells the kernel a train's segment size.
const CONTROL_BYTES: usize = space(size_of::<u16>());

/// Bytes of the longest name, an IPv6 address.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Datagrams on their way out: copied in, flushed together, what does not fit is refused. `Send`: it may be filled on one
/// thread and flushed on another.
pub struct SendBatch {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    /// The first message that has not left.
    next: usize,
    messages_max: usize,
    bytes_max: usize,
    /// The kernel has refused trains with longer segments.
    segment_bytes_max: usize,
    refusals: Vec<Refusal>,
    headers: Headers,
}

/// The batch has no room for a datagram, which was not taken: a sender that may lose datagrams counts it and goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A datagram that the kernel would not send; it is lost, those behind it are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it was meant to go; `None`: to the socket's peer.
    pub destination: Option<SocketAddr>,
    /// Its payload's bytes.
    pub bytes: usize,
    /// Why: `EMSGSIZE` when it is longer than the way allows, `EPERM` when a firewall forbids it …
    pub errno: i32,
}

/// What left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams, those of trains counted singly.
    pub datagrams: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

#[derive(Clone, Copy)]
struct Message {
    start: usize,
    len: usize,
    /// 0: not a train.
    segment_bytes: u16,
    name_len: u8,
    name: [u8; NAME_BYTES],
}

/// What one call points to, kept between calls; every pointer is written anew before it is used (I6).
#[derive(Default)]
struct Headers {
    messages: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    controls: Vec<[u64; CONTROL_BYTES / 8]>,
}

// SAFETY: I6: between calls the vectors are empty: no pointer is left that another thread could follow.
unsafe impl Send for Headers {}

impl SendBatch {
    /// An empty batch of at most `messages_max` messages (a train of up to 64 datagrams is one) and `bytes_max` bytes.
    #[must_use]
    pub fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            messages: Vec::new(),
            next: 0,
            messages_max,
            bytes_max,
            segment_bytes_max: SEND_BYTES_MAX,
            refusals: Vec::new(),
            headers: Headers::default(),
        }
    }

    /// Adds a datagram to `destination`, or to the socket's peer.
    ///
    /// # Errors
    /// [`Full`] when there is no room for it. One that is longer than [`SEND_BYTES_MAX`] is taken and refused by the kernel.
    pub fn push(&mut self, destination: Option<SocketAddr>, payload: &[u8]) -> Result<(), Full> {
        if self.messages.len() >= self.messages_max || self.bytes.len() + payload.len() > self.bytes_max {
            return Err(Full);
        }
        self.append(destination, payload, 0);
        Ok(())
    }

    /// Adds `payload` as datagrams of `segment_bytes` (the last one may be shorter), which the kernel cuts if it can; at
    /// least 1.
    ///
    /// # Errors
    /// [`Full`] when there is no room for all of them; none is taken then.
    pub fn push_train(
        &mut self,
        destination: Option<SocketAddr>,
        payload: &[u8],
        segment_bytes: u16,
    ) -> Result<(), Full> {
        let segment = usize::from(segment_bytes.max(1));
        let is_whole = segment <= self.segment_bytes_max;
        let segments = if is_whole { (SEND_BYTES_MAX / segment).clamp(1, SEGMENTS_MAX) } else { 1 };
        let messages = payload.len().div_ceil(segments * segment).max(1);
        let has_room = self.messages.len() + messages <= self.messages_max
            && self.bytes.len() + payload.len() <= self.bytes_max;
        if !has_room {
            return Err(Full);
        }
        if payload.is_empty() {
            self.append(destination, payload, 0);
        }
        for piece in payload.chunks(segments * segment) {
            self.append(destination, piece, if piece.len() > segment { segment_bytes } else { 0 });
        }
        Ok(())
    }

    /// As [`SendBatch::push`]; where the message before it goes to the same destination and this one is as long as its
    /// datagrams, or shorter and the last, both leave as one train, which costs a fraction of sending them singly.
    ///
    /// # Errors
    /// As [`SendBatch::push`].
    pub fn push_joined(&mut self, destination: Option<SocketAddr>, payload: &[u8]) -> Result<(), Full> {
        if self.bytes.len() + payload.len() > self.bytes_max {
            return Err(Full);
        }
        let (name, name_len) = destination.map_or_else(Default::default, encode_name);
        let longest = self.segment_bytes_max;
        let is_waiting = self.messages.len() > self.next;
        let last = self.messages.last_mut().filter(|_| is_waiting);
        if let Some(last) =
            last.filter(|last| last.takes(&name[..usize::from(name_len)], payload.len(), longest))
        {
            if last.segment_bytes == 0 {
                last.segment_bytes = u16::try_from(last.len).unwrap_or(0);
            }
            last.len += payload.len();
            self.bytes.extend_from_slice(payload);
            return Ok(());
        }
        if self.messages.len() >= self.messages_max {
            return Err(Full);
        }
        let (start, len) = (self.bytes.len(), payload.len());
        self.bytes.extend_from_slice(payload);
        self.messages.push(Message { start, len, segment_bytes: 0, name_len, name });
        Ok(())
    }

    /// Messages that have not left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len() - self.next
    }

    /// Whether everything has left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the kernel refused in the last [`send_datagrams`].
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Forgets everything that has not left.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.bytes.clear();
        self.next = 0;
    }

    fn append(&mut self, destination: Option<SocketAddr>, payload: &[u8], segment_bytes: u16) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        let (name, name_len) = destination.map_or_else(Default::default, encode_name);
        self.messages.push(Message { start, len: payload.len(), segment_bytes, name_len, name });
    }

    /// Cuts the trains that are left and whose segments are as long as `segment_bytes` into single datagrams.
    fn cut_trains(&mut self, segment_bytes: u16) {
        self.segment_bytes_max = self.segment_bytes_max.min(usize::from(segment_bytes) - 1);
        let mut singles = Vec::new();
        for message in self.messages.drain(self.next..) {
            if message.segment_bytes < segment_bytes {
                singles.push(message);
                continue;
            }
            let segment = usize::from(message.segment_bytes);
            for at in (0..message.len).step_by(segment) {
                let mut single = message;
                (single.start, single.segment_bytes) = (message.start + at, 0);
                single.len = segment.min(message.len - at);
                singles.push(single);
            }
        }
        self.messages.append(&mut singles);
    }

    /// Makes the room of what has left free.
    fn compact(&mut self) {
        self.messages.drain(..self.next);
        self.next = 0;
        let gone = self.messages.first().map_or(self.bytes.len(), |message| message.start);
        self.bytes.drain(..gone);
        self.messages.iter_mut().for_each(|message| message.start -= gone);
    }

    /// Gives the next message up.
    fn refuse(&mut self, errno: i32) {
        let Some(message) = self.messages.get(self.next) else { return };
        let destination = decode_name(&message.name[..usize::from(message.name_len)]);
        self.refusals.push(Refusal { destination, bytes: message.len, errno });
        self.next += 1;
    }
}

/// Sends what the socket takes now; what it does not is left in the batch, to be sent when the socket is writable. Never
/// blocks. Datagrams that the kernel refuses are told by [`SendBatch::refusals`].
///
/// # Errors
/// Of the socket itself: not open, not a socket, shut down.
pub fn send_datagrams(fd: BorrowedFd<'_>, batch: &mut SendBatch) -> io::Result<Sent> {
    let mut sent = Sent::default();
    let mut retried = None;
    batch.refusals.clear();
    while !batch.is_empty() {
        let error = match send_some(fd, batch) {
            Ok(count) => {
                for message in &batch.messages[batch.next..batch.next + count] {
                    sent.datagrams += message.datagrams();
                    sent.bytes += message.len;
                }
                batch.next += count;
                continue;
            }
            Err(error) => error,
        };
        let segment_bytes = batch.messages.get(batch.next).map_or(0, |message| message.segment_bytes);
        match error.raw_os_error() {
            // EAGAIN: the socket's buffer is full.
            Some(libc::EAGAIN) => {
                batch.compact();
                return Ok(sent);
            }
            Some(libc::EINTR) => {}
            // EBADF, ENOTSOCK: no such socket. EPIPE: shut down.
            Some(libc::EBADF | libc::ENOTSOCK | libc::EPIPE) => return Err(error),
            // EINVAL: no trains with segments of this size (or none at all, before Linux 4.18).
            Some(libc::EINVAL) if segment_bytes > 0 => batch.cut_trains(segment_bytes),
            // EIO, EOPNOTSUPP: this way cannot check-sum trains.
            Some(libc::EIO | libc::EOPNOTSUPP) if segment_bytes > 0 => batch.cut_trains(1),
            // An ICMP error of an earlier datagram is told once, to whoever comes next.
            Some(libc::ECONNREFUSED | libc::EHOSTUNREACH) if retried != Some(batch.next) => {
                retried = Some(batch.next);
            }
            // EMSGSIZE, EPERM, EINVAL, ENETUNREACH, ENOBUFS …: this datagram does not go.
            errno => batch.refuse(errno.unwrap_or(libc::EIO)),
        }
    }
    batch.clear();
    Ok(sent)
}

/// One system call's messages; how many left.
fn send_some(fd: BorrowedFd<'_>, batch: &mut SendBatch) -> io::Result<usize> {
    let SendBatch { bytes, messages, next, headers, .. } = batch;
    let group = &messages[*next..messages.len().min(*next + MESSAGES_MAX)];
    headers.prepare(group, bytes);
    let count = libc::c_uint::try_from(headers.messages.len()).unwrap_or(0);
    let flags = super::batch_flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    // SAFETY: I6: names, vectors, control data and bytes belong to the batch, which is borrowed during the call.
    let result = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.messages.as_mut_ptr(), count, flags) };
    headers.clear();
    check(result).map(|count| usize::try_from(count).unwrap_or(0))
}

impl Message {
    /// Whether a datagram of `bytes` to `name` may be joined to this message.
    fn takes(&self, name: &[u8], bytes: usize, segment_bytes_max: usize) -> bool {
        let segment = if self.segment_bytes == 0 { self.len } else { usize::from(self.segment_bytes) };
        let is_open =
            bytes > 0 && bytes <= segment && segment <= segment_bytes_max && self.len.is_multiple_of(segment);
        is_open
            && self.len / segment < SEGMENTS_MAX
            && self.len + bytes <= SEND_BYTES_MAX
            && name == &self.name[..usize::from(self.name_len)]
    }

    fn datagrams(&self) -> usize {
        match usize::from(self.segment_bytes) {
            0 => 1,
            segment_bytes => self.len.div_ceil(segment_bytes),
        }
    }
}

impl Headers {
    fn prepare(&mut self, group: &[Message], bytes: &[u8]) {
        self.clear();
        for message in group {
            let payload = &bytes[message.start..message.start + message.len];
            self.vectors
                .push(libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() });
            self.controls.push(segment_control(message.segment_bytes));
        }
        for ((message, vector), control) in group.iter().zip(&mut self.vectors).zip(&mut self.controls) {
            // SAFETY: I6: an all-zero message header is valid.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            if message.name_len > 0 {
                header.msg_hdr.msg_name = message.name.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = message.name_len.into();
            }
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            if message.segment_bytes > 0 {
                header.msg_hdr.msg_control = control.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            }
            self.messages.push(header);
        }
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.vectors.clear();
        self.controls.clear();
    }
}

/// The control message UDP_SEGMENT: length, level and type, the size.
fn segment_control(segment_bytes: u16) -> [u64; CONTROL_BYTES / 8] {
    let length = (CONTROL_BYTES - size_of::<u64>() + size_of::<u16>()) as u64;
    let mut kind = [0; 8];
    kind[..4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    kind[4..].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    let mut value = [0; 8];
    value[..2].copy_from_slice(&segment_bytes.to_ne_bytes());
    [length, u64::from_ne_bytes(kind), u64::from_ne_bytes(value)]
}

/// An address as the kernel wants it, and its length.
fn encode_name(address: SocketAddr) -> ([u8; NAME_BYTES], u8) {
    let mut name = [0; NAME_BYTES];
    let len = raw_address(address).copy_to(&mut name);
    (name, u8::try_from(len).unwrap_or(0))
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the batch of datagrams to send is full")
    }
}

impl std::error::Error for Full {}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendBatch({} of {} messages left)", self.len(), self.messages.len())
    }
}
