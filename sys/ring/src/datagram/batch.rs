//! What a datagram operation hands over: batches, the datagrams in them, and the segments of a train.

use super::control::{self, Control, Destination};
use super::region::{HEADER_BYTES, Record, Region};
use crate::slots::OpId;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Received datagrams with their buffers. Give it back with [`crate::Ring::recycle`]; dropping it gives the buffers back
/// as well, at the price of a lock.
pub struct Batch {
    pub(crate) id: OpId,
    pub(crate) region: Arc<Region>,
    pub(crate) records: Vec<Record>,
}

/// One received datagram (or a train of them, where the socket has GRO), as long as its batch is held.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    /// Header, name, control data and payload as the kernel wrote them.
    bytes: &'a [u8],
    name_bytes: usize,
    payload_offset: usize,
}

/// The datagrams of a batch in the order of their arrival.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    region: &'a Region,
    records: std::slice::Iter<'a, Record>,
}

/// The single datagrams of a train, in order: all of one size but the last, which may be shorter.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    left: Option<&'a [u8]>,
    segment_bytes: usize,
}

impl Batch {
    /// Datagrams in it (a train counts as one); never 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all payloads.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let offset = self.region.layout().payload_offset();
        self.records.iter().map(|record| (record.bytes as usize).saturating_sub(offset)).sum()
    }

    /// Datagrams that were cut (see [`Datagram::is_truncated`]).
    #[must_use]
    pub fn truncated(&self) -> usize {
        // Only those that fill their buffer can have been: the others' headers need not be looked at.
        let full = self.region.layout().buffer_bytes();
        let is_cut =
            |record: &&Record| record.bytes as usize >= full && self.datagram(**record).is_truncated();
        self.records.iter().filter(is_cut).count()
    }

    /// The datagram that arrived last.
    #[must_use]
    pub fn last(&self) -> Option<Datagram<'_>> {
        self.records.last().map(|record| self.datagram(*record))
    }

    /// The datagram at a place in the order of arrival, to be answered where it lies: what is known of it, and its payload to be
    /// written. The first half's own payload is empty then.
    pub fn at_mut(&mut self, index: usize) -> Option<(Datagram<'_>, &mut [u8])> {
        let record = *self.records.get(index)?;
        let layout = self.region.layout();
        // SAFETY: I9: the batch holds the record, and this borrow of the whole batch is the only one.
        let bytes = unsafe { self.region.filled_mut(record) };
        let payload_offset = layout.payload_offset();
        let (head, payload) = bytes.split_at_mut(payload_offset.min(bytes.len()));
        Some((Datagram { bytes: head, name_bytes: layout.name_bytes, payload_offset }, payload))
    }

    fn datagram(&self, record: Record) -> Datagram<'_> {
        // SAFETY: I9: the batch holds the record as long as this borrow of it lives.
        let bytes = unsafe { self.region.filled(record) };
        let layout = self.region.layout();
        Datagram { bytes, name_bytes: layout.name_bytes, payload_offset: layout.payload_offset() }
    }

    /// The datagrams in the order of their arrival.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { region: &self.region, records: self.records.iter() }
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = Datagram<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.records.is_empty() {
            self.region.give_back(self.records.iter().map(|record| record.buffer));
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Datagram<'a>;

    #[inline]
    fn next(&mut self) -> Option<Datagram<'a>> {
        let record = *self.records.next()?;
        let layout = self.region.layout();
        // SAFETY: I9: the batch holds the record as long as this borrow of it lives.
        let bytes = unsafe { self.region.filled(record) };
        Some(Datagram { bytes, name_bytes: layout.name_bytes, payload_offset: layout.payload_offset() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> Datagram<'a> {
    /// The payload: of one datagram, or of a whole train (see [`Datagram::segments`]).
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.payload_offset..).unwrap_or_default()
    }

    /// Bytes the sender sent; more than the payload has when it was cut to the buffer.
    #[must_use]
    pub fn sent_bytes(&self) -> usize {
        self.field(8) as usize
    }

    /// Whether the datagram was longer than [`crate::DatagramOptions::payload_bytes`] and its end is lost.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.field(12) & libc::MSG_TRUNC.cast_unsigned() != 0
    }

    /// Who sent it; `None` only if the kernel does not say.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        let bytes = (self.field(0) as usize).min(self.name_bytes);
        crate::socket::decode_name(self.bytes.get(HEADER_BYTES..HEADER_BYTES + bytes)?)
    }

    /// Datagrams that the kernel has dropped at this socket, for want of room, before this one came and since the socket
    /// was made (modulo 2^32); `None` while there were none, and when the socket does not count them.
    #[must_use]
    pub fn dropped(&self) -> Option<u32> {
        self.control().dropped
    }

    /// Bytes of each datagram of a train but the last; `None` when this is a single datagram.
    #[must_use]
    pub fn segment_bytes(&self) -> Option<usize> {
        self.control().segment_bytes.and_then(|bytes| usize::try_from(bytes).ok())
    }

    /// Where it was sent to; `None` unless the socket reports it ([`crate::socket::DatagramSocketOptions`]).
    #[must_use]
    pub fn destination(&self) -> Option<Destination> {
        self.control().destination
    }

    /// The single datagrams; one, possibly empty, when this is not a train.
    #[must_use]
    pub fn segments(&self) -> Segments<'a> {
        let payload = self.payload();
        let segment_bytes = self.segment_bytes().unwrap_or(payload.len()).max(1);
        Segments { left: Some(payload), segment_bytes }
    }

    fn control(&self) -> Control {
        let start = HEADER_BYTES + self.name_bytes;
        let bytes = (self.field(4) as usize).min(self.payload_offset - start);
        control::parse(self.bytes.get(start..start + bytes).unwrap_or_default())
    }

    /// A field of `struct io_uring_recvmsg_out`: name, control and payload bytes, flags.
    fn field(&self, offset: usize) -> u32 {
        control::u32_at(self.bytes, offset).unwrap_or(0)
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let left = self.left?;
        let Some((segment, rest)) =
            left.split_at_checked(self.segment_bytes).filter(|(_, rest)| !rest.is_empty())
        else {
            return self.left.take();
        };
        self.left = Some(rest);
        Some(segment)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} datagrams)", self.len())
    }
}

impl fmt::Debug for Datagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagram")
            .field("source", &self.source())
            .field("bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} buffers of {} bytes)", self.count(), self.layout().payload_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_a_train_with_a_shorter_last_one() {
        let payload: Vec<u8> = (0..10).collect();
        let cut = |bytes: &'static [u8], segment_bytes| {
            Segments { left: Some(bytes), segment_bytes }.map(<[u8]>::len).collect::<Vec<_>>()
        };
        let payload: &'static [u8] = payload.leak();
        assert_eq!(cut(payload, 4), [4, 4, 2]);
        assert_eq!(cut(payload, 5), [5, 5]);
        assert_eq!(cut(payload, 10), [10]);
        assert_eq!(cut(payload, 11), [10]);
        assert_eq!(cut(b"", 1), [0], "an empty datagram is one");
    }
}
