//! One end of a control channel: frames out, frames in.
//!
//! A frame is its payload's length and the number of its descriptors (two little-endian 32-bit numbers), a filler byte
//! for each handful of descriptors, because descriptors travel with bytes, and the payload.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Most bytes of one message: a configuration of a hundred thousand sites with their keys.
pub const BYTES_MAX: usize = 64 << 20;

/// Most descriptors with one message: 64 endpoints on 64 workers.
pub const DESCRIPTORS_MAX: usize = 4096;

/// Descriptors that travel with one byte; the kernel's limit is 253.
const HANDFUL: usize = 250;

const HEADER_BYTES: usize = 8;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// One end of a control channel.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
    /// Most bytes of a message that is taken.
    bytes_max: usize,
    /// Most descriptors with it.
    descriptors_max: usize,
}

/// A message and its descriptors.
#[derive(Debug)]
pub struct Received<T> {
    /// What was said.
    pub message: T,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// What a frame's header says.
struct Header {
    payload: usize,
    descriptors: usize,
}

impl Header {
    fn fillers(&self) -> usize {
        self.descriptors.div_ceil(HANDFUL)
    }

    fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.fillers() + self.payload
    }
}

impl Channel {
    /// Two ends: the first that takes messages without descriptors of at most so many bytes, the second that takes all.
    ///
    /// # Errors
    /// What `socketpair(2)` says.
    pub fn pair(bytes_max: usize) -> io::Result<(Self, Self)> {
        let (near, far) = UnixStream::pair()?;
        Ok((Self::new(near, bytes_max, 0)?, Self::new(far, BYTES_MAX, DESCRIPTORS_MAX)?))
    }

    /// An end that was passed on, with what was read of the next message. Takes no descriptors, and at most so many bytes.
    ///
    /// # Errors
    /// A descriptor that is no socket.
    pub fn resume(socket: OwnedFd, bytes: Vec<u8>, bytes_max: usize) -> io::Result<Self> {
        let mut channel = Self::new(socket.into(), bytes_max, 0)?;
        channel.bytes = bytes;
        Ok(channel)
    }

    /// The end of a process that was started with it; takes everything.
    ///
    /// # Errors
    /// A descriptor that is no socket.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        Self::new(socket.into(), BYTES_MAX, DESCRIPTORS_MAX)
    }

    fn new(socket: UnixStream, bytes_max: usize, descriptors_max: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, bytes: Vec::new(), descriptors: VecDeque::new(), bytes_max, descriptors_max })
    }

    /// The socket, for passing it on, and what was read of the next message.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, Vec<u8>) {
        (self.socket.into(), self.bytes)
    }

    /// What was read of the next message.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends a message, with descriptors, and waits at most `within` for the other end to take it.
    ///
    /// # Errors
    /// `TimedOut`, `InvalidInput` for what is too large, or what `sendmsg(2)` says. The channel is of no use then.
    pub fn send<T: Serialize>(
        &mut self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> io::Result<()> {
        let deadline = Instant::now() + within;
        let payload = serde_json::to_vec(message).map_err(io::Error::other)?;
        if payload.len() > BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message that is too large"));
        }
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        let header = [number(payload.len()), number(descriptors.len())].concat();
        self.send_all(&header, deadline)?;
        for handful in descriptors.chunks(HANDFUL) {
            while self.send_some(&[0], handful, deadline)? == 0 {}
        }
        self.send_all(&payload, deadline)
    }

    /// Takes what has arrived. False when the other end is gone and nothing is left to read.
    ///
    /// # Errors
    /// What `recvmsg(2)` says, and `InvalidData` for descriptors that are not taken here.
    pub fn fill(&mut self) -> io::Result<bool> {
        // One message more than the largest: what is beyond waits in the socket.
        while self.bytes.len() < self.bytes_max + HEADER_BYTES {
            match self.receive_some() {
                Ok(0) => return Ok(!self.bytes.is_empty() && self.peek()?.is_some()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The next message, when all of it is there.
    ///
    /// # Errors
    /// `InvalidData`: it is too large, is no message, or lacks descriptors, as when this process may not open more.
    pub fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<Received<T>>> {
        let Some(header) = self.peek()? else { return Ok(None) };
        let payload = HEADER_BYTES + header.fillers()..header.frame_bytes();
        if self.descriptors.len() < header.descriptors {
            return Err(invalid("descriptors are missing: this process may not open so many"));
        }
        let message = serde_json::from_slice(&self.bytes[payload]).map_err(io::Error::other)?;
        self.bytes.drain(..header.frame_bytes());
        Ok(Some(Received { message, descriptors: self.descriptors.drain(..header.descriptors).collect() }))
    }

    /// Waits for the next message; `None` when the other end is gone.
    ///
    /// # Errors
    /// As [`Channel::fill`] and [`Channel::take`]; `TimedOut` when a time was given.
    pub fn wait<T: DeserializeOwned>(&mut self, within: Option<Duration>) -> io::Result<Option<Received<T>>> {
        let deadline = within.map(|within| Instant::now() + within);
        loop {
            if let Some(received) = self.take()? {
                return Ok(Some(received));
            }
            self.wait_until(PollFlags::IN, deadline)?;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// The next message's header, when all of the message is there.
    fn peek(&self) -> io::Result<Option<Header>> {
        let Some((header, _)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let size = |at| usize::try_from(number(at)).unwrap_or(usize::MAX);
        let header = Header { payload: size(0), descriptors: size(4) };
        if header.payload > self.bytes_max || header.descriptors > self.descriptors_max {
            return Err(invalid("a message that is too large"));
        }
        Ok((self.bytes.len() >= header.frame_bytes()).then_some(header))
    }

    fn receive_some(&mut self) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDFUL))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let start = self.bytes.len();
        self.bytes.resize(start + READ_BYTES, 0);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let result =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut self.bytes[start..])], &mut ancillary, flags);
        let taken = result.as_ref().map_or(0, |received| received.bytes);
        self.bytes.truncate(start + taken);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if self.descriptors.len() > self.descriptors_max {
            self.descriptors.clear();
            return Err(invalid("descriptors that nobody asked for"));
        }
        Ok(result.map(|_| taken)?)
    }

    fn send_all(&self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.send_some(bytes, &[], deadline)?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    fn send_some(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDFUL))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(invalid("more descriptors than travel with a byte"));
        }
        match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(rustix::io::Errno::AGAIN) => self.wait_until(PollFlags::OUT, Some(deadline)).map(|()| 0),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn wait_until(&self, flags: PollFlags, deadline: Option<Instant>) -> io::Result<()> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&self.socket, flags)], timeout.as_ref()) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    const SOON: Duration = Duration::from_secs(10);

    fn file(text: &str) -> File {
        let path = std::env::temp_dir().join(format!("ringway-channel-{}-{text}", std::process::id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        std::fs::remove_file(path).expect("a file");
        file.write_all(text.as_bytes()).expect("a file");
        file
    }

    #[test]
    fn messages_arrive_whole_and_in_order_with_their_descriptors() {
        let (mut near, mut far) = Channel::pair(1000).expect("sockets");
        let files: Vec<File> = (0..600).map(|number| file(&format!("file {number}"))).collect();
        let large = "x".repeat(3_000_000);
        let sender = std::thread::spawn(move || {
            let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            near.send(&"first", &[], SOON).expect("taken");
            near.send(&"files", &borrowed, SOON).expect("taken");
            near.send(&"one", &borrowed[7..8], SOON).expect("taken");
            near.send(&large, &[], SOON).expect("taken");
        });
        let mut next = || far.wait::<String>(Some(SOON)).expect("sound").expect("there is one");
        assert_eq!(next().message, "first");
        let Received { message, descriptors } = next();
        assert_eq!((message.as_str(), descriptors.len()), ("files", 600));
        for (number, descriptor) in descriptors.into_iter().enumerate() {
            let (mut file, mut text) = (File::from(descriptor), String::new());
            file.rewind().expect("a file");
            file.read_to_string(&mut text).expect("a file");
            assert_eq!(text, format!("file {number}"));
        }
        assert_eq!(next().descriptors.len(), 1);
        assert_eq!(next().message.len(), 3_000_000);
        sender.join().expect("all was sent");
        assert!(far.wait::<String>(Some(SOON)).expect("the end is no error").is_none());
    }

    #[test]
    fn what_comes_from_a_server_is_bounded() {
        let (mut near, mut far) = Channel::pair(1000).expect("sockets");
        far.send(&"x".repeat(990), &[], SOON).expect("taken");
        assert!(near.wait::<String>(Some(SOON)).expect("sound").is_some());
        far.send(&"x".repeat(999), &[], SOON).expect("taken");
        let refused = near.wait::<String>(Some(SOON)).expect_err("two bytes too many");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);

        let (mut near, mut far) = Channel::pair(1000).expect("sockets");
        let file = file("unasked");
        far.send(&"look", &[file.as_fd()], SOON).expect("taken");
        assert_eq!(near.wait::<String>(Some(SOON)).expect_err("unasked").kind(), io::ErrorKind::InvalidData);

        let (mut near, mut far) = Channel::pair(1000).expect("sockets");
        far.send(&7, &[], SOON).expect("taken");
        assert!(near.wait::<String>(Some(SOON)).is_err(), "a number is no text");
    }

    #[test]
    fn half_a_message_stops_nobody_and_can_be_passed_on() {
        let (near, far) = UnixStream::pair().expect("sockets");
        let mut near = Channel::new(near, 1000, 0).expect("a socket");
        let frame = [&9_u32.to_le_bytes()[..], &[0; 4], b"\"abcdefg\""].concat();
        for cut in 0..frame.len() {
            (&far).write_all(&frame[..cut]).expect("room");
            assert!(near.fill().expect("sound"), "the other end is there");
            assert!(near.take::<String>().expect("sound").is_none(), "cut at {cut}");
            let (socket, unread) = near.into_parts();
            assert_eq!(unread.len(), cut);
            near = Channel::resume(socket, unread, 1000).expect("a socket");
            (&far).write_all(&frame[cut..]).expect("room");
            assert!(near.fill().expect("sound"));
            assert_eq!(
                near.take::<String>().expect("sound").map(|got| got.message).as_deref(),
                Some("abcdefg")
            );
        }
        drop(far);
        assert!(!near.fill().expect("the end is no error"));
    }

    #[test]
    fn an_end_that_takes_nothing_is_not_waited_for_long() {
        let (mut near, _far) = Channel::pair(1000).expect("sockets");
        let large = "x".repeat(4_000_000);
        let refused = near.send(&large, &[], Duration::from_millis(20)).expect_err("nobody reads");
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    }
}
