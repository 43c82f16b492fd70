//! How plain bytes and ranges of files become records of a filter: in place, several to a buffer.

use crate::core::Core;
use crate::filter::{Filter, Room};
use crate::record::{ConnId, Outgoing};
use ringway_ring::{CLASS_BYTES, Handle, Pool, Ring, SLICE_BYTES_MAX, Slice, SliceMut};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Largest record, in bytes: four of them fill the largest slice.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// Most records that one read of a file fills.
const READ_PIECES_MAX: usize = 16;

/// What came of making records.
pub(crate) enum Sealed {
    /// Records to be sent; `has_file` says that there are bytes of a file in them.
    Records { wire: Slice, has_file: bool },
    /// What waited was empty.
    Nothing,
    /// The handshake is not done.
    Waits,
    /// The next byte of the file must be waited for.
    Cold,
    /// No more can be sent: the filter failed, memory is at its limit, or a file ended before its announced range.
    Failed,
}

impl Core {
    /// Makes records of what waits for the filter: as much as one slice takes.
    pub(crate) fn seal_next(&mut self, id: ConnId) -> Sealed {
        let pool = self.pool();
        let Some(record) = self.conns.get(id) else { return Sealed::Failed };
        let Some(extra) = record.extra.as_deref_mut() else { return Sealed::Failed };
        let Some(filter) = &mut extra.filter else { return Sealed::Failed };
        let (ring, plain) = (&mut self.ring, &mut extra.plain);
        let mut before = Vec::new();
        let mut made = Sealed::Failed;
        let sealed = catch_unwind(AssertUnwindSafe(|| {
            let Some(room) = filter.room(&mut |slice| before.push(slice), &pool)? else {
                made = Sealed::Waits;
                return Ok(());
            };
            if cfg!(feature = "filters") && filter.rewrites() {
                made = rewrite(&mut **filter, plain, room, ring, &pool, &mut before)?;
                return Ok(());
            }
            let layout = Layout::new(room);
            let Some((mut buffer, most)) = layout.buffer(plain, &pool)? else {
                made = Sealed::Nothing;
                return Ok(());
            };
            let filled = layout.fill(&mut buffer[..], most, plain, ring)?;
            if filled.bytes == 0 {
                made = Sealed::Cold;
                return Ok(());
            }
            let wire_bytes = layout.wire_bytes(filled.bytes);
            for one in buffer[..wire_bytes].chunks_mut(layout.record()) {
                filter.seal(one)?;
            }
            made = Sealed::Records { wire: buffer.freeze(wire_bytes), has_file: filled.has_file };
            Ok(())
        }));
        if cfg!(feature = "filters") {
            let nap_ms = filter.nap_ms();
            self.nap(id, nap_ms);
        }
        for words in before {
            self.send_wire(id, Outgoing::Bytes(words));
        }
        if self.is_sound(sealed) { made } else { Sealed::Failed }
    }
}

/// Gives the next plain bytes to a filter that makes others of them, which are put into `wire`; the last are given back.
fn rewrite(
    filter: &mut dyn Filter,
    plain: &mut VecDeque<Outgoing>,
    room: Room,
    ring: &mut Ring,
    pool: &Pool,
    wire: &mut Vec<Slice>,
) -> io::Result<Sealed> {
    if let Some(Outgoing::File { head: None, file, offset, bytes, .. }) = plain.front_mut()
        && let Some(descriptor) = file.kernel()
    {
        let sent = filter.send_file(descriptor, *offset, *bytes, &mut |slice| wire.push(slice), pool)?;
        if sent > *bytes {
            return Err(io::Error::other("a filter has sent more of a file than there is"));
        }
        if sent > 0 {
            *offset += sent;
            *bytes -= sent;
            drop_empty(plain);
            return Ok(wire.pop().map_or(Sealed::Nothing, |wire| Sealed::Records { wire, has_file: true }));
        }
    }
    let layout = Layout::new(Room { head: 0, tail: 0, ..room });
    let Some((mut buffer, most)) = layout.buffer(plain, pool)? else { return Ok(Sealed::Nothing) };
    let filled = layout.fill(&mut buffer[..], most, plain, ring)?;
    if filled.bytes == 0 {
        return Ok(Sealed::Cold);
    }
    filter.rewrite(buffer.freeze(filled.bytes), &mut |slice| wire.push(slice), pool)?;
    let has_file = filled.has_file;
    Ok(wire.pop().map_or(Sealed::Nothing, |wire| Sealed::Records { wire, has_file }))
}

/// Where plain bytes lie in a buffer of records: all are of one size but the last, which is as long as is left.
struct Layout {
    head: usize,
    tail: usize,
    /// Plain bytes of a full record.
    plain: usize,
}

struct Filled {
    bytes: usize,
    has_file: bool,
}

impl Layout {
    fn new(room: Room) -> Self {
        let Room { head, tail, plain_max } = room;
        assert!(head + tail < RECORD_BYTES_MAX && plain_max > 0, "a record has room for a byte");
        Self { head, tail, plain: plain_max.min(RECORD_BYTES_MAX - head - tail) }
    }

    /// Bytes of a full record.
    fn record(&self) -> usize {
        self.head + self.plain + self.tail
    }

    /// Bytes of the records that hold so many plain ones.
    fn wire_bytes(&self, plain: usize) -> usize {
        plain + plain.div_ceil(self.plain) * (self.head + self.tail)
    }

    /// Most plain bytes of records that fit.
    fn plain_bytes(&self, wire: usize) -> usize {
        let rest = (wire % self.record()).saturating_sub(self.head + self.tail);
        wire / self.record() * self.plain + rest
    }

    /// A buffer for records of what waits, and how many plain bytes they are to hold; `None` when what waits is empty. At
    /// the pool's limit a smaller one does.
    fn buffer(&self, plain: &mut VecDeque<Outgoing>, pool: &Pool) -> io::Result<Option<(SliceMut, usize)>> {
        let bytes = waiting(plain, self.plain_bytes(SLICE_BYTES_MAX));
        if bytes == 0 {
            plain.clear();
            return Ok(None);
        }
        let wanted = self.wire_bytes(bytes);
        let smaller = CLASS_BYTES.into_iter().rev().filter(|&capacity| capacity < wanted);
        let found = std::iter::once(wanted).chain(smaller).find_map(|capacity| pool.get(capacity));
        let buffer = found.ok_or(io::ErrorKind::OutOfMemory)?;
        let most = bytes.min(self.plain_bytes(buffer.len()));
        if most == 0 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Some((buffer, most)))
    }

    /// Moves up to `most` plain bytes of what waits to their places in `buffer`. Fewer when a file's next byte must be
    /// waited for.
    fn fill(
        &self,
        buffer: &mut [u8],
        most: usize,
        plain: &mut VecDeque<Outgoing>,
        ring: &mut Ring,
    ) -> io::Result<Filled> {
        let mut filled = Filled { bytes: 0, has_file: false };
        while filled.bytes < most
            && let Some(piece) = plain.front_mut()
        {
            let left = most - filled.bytes;
            match piece {
                Outgoing::Bytes(bytes) | Outgoing::File { head: Some(bytes), .. } => {
                    let count = left.min(bytes.len());
                    self.scatter(buffer, filled.bytes, &bytes[..count]);
                    bytes.advance(count);
                    filled.bytes += count;
                    drop_empty(plain);
                }
                Outgoing::File { file, offset, bytes, .. } if *bytes > 0 => {
                    let count = usize::try_from(*bytes).map_or(left, |bytes| bytes.min(left));
                    let found = match self.read(buffer, filled.bytes, count, ring, file, *offset) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(filled),
                        // The file is shorter than announced.
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        found => found?,
                    };
                    *offset += found as u64;
                    *bytes -= found as u64;
                    filled.bytes += found;
                    filled.has_file = true;
                    drop_empty(plain);
                }
                Outgoing::File { .. } => drop_empty(plain),
            }
        }
        Ok(filled)
    }

    /// Copies plain bytes to their places from plain position `at` on.
    fn scatter(&self, buffer: &mut [u8], at: usize, mut bytes: &[u8]) {
        for area in self.areas(buffer, at, bytes.len()) {
            let (part, rest) = bytes.split_at(area.len());
            area.copy_from_slice(part);
            bytes = rest;
        }
    }

    /// Reads up to `count` bytes of a file to their places from plain position `at` on.
    fn read(
        &self,
        buffer: &mut [u8],
        at: usize,
        count: usize,
        ring: &mut Ring,
        file: &Handle,
        offset: u64,
    ) -> io::Result<usize> {
        let mut targets: [IoSliceMut<'_>; READ_PIECES_MAX] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut pieces = 0;
        for (target, area) in targets.iter_mut().zip(self.areas(buffer, at, count)) {
            *target = IoSliceMut::new(area);
            pieces += 1;
        }
        ring.try_read(file, &mut targets[..pieces], offset)
    }

    /// The places of `count` plain bytes from plain position `at` on. The buffer has room for them.
    fn areas<'b>(&self, buffer: &'b mut [u8], at: usize, count: usize) -> impl Iterator<Item = &'b mut [u8]> {
        let (head, plain) = (self.head, self.plain);
        let (mut skip, mut left) = (at % plain, count);
        buffer.chunks_mut(self.record()).skip(at / plain).map_while(move |record| {
            let length = left.min(plain - skip);
            let area = (length > 0).then(|| &mut record[head + skip..][..length]);
            (skip, left) = (0, left - length);
            area
        })
    }
}

/// Plain bytes that wait, counted up to `most`.
fn waiting(plain: &VecDeque<Outgoing>, most: usize) -> usize {
    let mut total = 0_usize;
    for piece in plain {
        total += match piece {
            Outgoing::Bytes(bytes) => bytes.len(),
            Outgoing::File { head, bytes, .. } => {
                let head = head.as_ref().map_or(0, |head| head.len());
                head + usize::try_from(*bytes).unwrap_or(most).min(most)
            }
        };
        if total >= most {
            return most;
        }
    }
    total
}

/// Drops the first piece, or its head, if nothing of it is left.
fn drop_empty(plain: &mut VecDeque<Outgoing>) {
    let is_through = match plain.front_mut() {
        Some(Outgoing::Bytes(bytes)) => bytes.is_empty(),
        Some(Outgoing::File { head, bytes, .. }) => {
            if head.as_ref().is_some_and(|head| head.is_empty()) {
                *head = None;
            }
            head.is_none() && *bytes == 0
        }
        None => false,
    };
    if is_through {
        plain.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_lie_behind_the_heads_of_their_records() {
        let layout = Layout::new(Room { head: 2, tail: 1, plain_max: 4 });
        assert_eq!((layout.wire_bytes(4), layout.wire_bytes(5), layout.wire_bytes(8)), (7, 11, 14));
        for plain in 1..40 {
            assert_eq!(layout.plain_bytes(layout.wire_bytes(plain)), plain);
        }
        for begin in 0..10 {
            let mut buffer = [b'.'; 18];
            let bytes = &b"abcdefghij"[begin..];
            layout.scatter(&mut buffer, begin, bytes);
            layout.scatter(&mut buffer, 0, &b"abcdefghij"[..begin]);
            assert_eq!(&buffer, b"..abcd...efgh...ij", "{begin}");
        }
    }

    #[test]
    fn four_full_records_fill_the_largest_slice() {
        let layout = Layout::new(Room { head: 5, tail: 17, plain_max: 16_384 });
        assert_eq!(layout.record(), RECORD_BYTES_MAX);
        assert_eq!(layout.wire_bytes(layout.plain_bytes(SLICE_BYTES_MAX)), SLICE_BYTES_MAX);
    }
}
