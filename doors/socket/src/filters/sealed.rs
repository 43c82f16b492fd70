//! A filter of the engine, which is TLS, as a layer of a stack.

use super::layer::{Layer, Out, Pieces, Wants};
use ringway_engine::ring::{SLICE_BYTES_MAX, Slice};
use ringway_engine::{Filter, Inbox, Room, Session};
use std::io;
use std::rc::Rc;

/// Largest record, in bytes, with what it takes besides its plain bytes.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// TLS on a connection.
pub(crate) struct Sealed(pub(crate) Box<dyn Filter>);

impl Layer for Sealed {
    fn begin(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        self.receive(&mut Inbox::default(), out)
    }

    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        let Out { up, down, pool } = out;
        self.0.receive(below, up, &mut |words| down.push(words), pool)
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while !above.is_empty() {
            let Some(room) = self.0.room(&mut |words| out.down.push(words), out.pool)? else { return Ok(()) };
            let Some(plain) = above.pop() else { return Ok(()) };
            let rest = self.seal(plain, room, out)?;
            above.unpop(rest);
        }
        Ok(())
    }

    fn ended(&mut self, _out: &mut Out<'_>) -> io::Result<()> {
        self.0.ended()
    }

    fn finish(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        self.0.finish(&mut |words| out.down.push(words), out.pool)
    }

    fn wants(&mut self) -> Wants {
        // Who was told why needs no more bytes, and what comes is an error to the filter.
        Wants { read: true, write: self.0.is_open(), after_ms: self.0.nap_ms() }
    }

    fn is_open(&self) -> bool {
        self.0.is_open()
    }

    fn is_ended(&self) -> bool {
        self.0.is_ended()
    }

    fn session(&self) -> Option<Rc<Session>> {
        self.0.session()
    }
}

impl Sealed {
    /// Makes records of plain bytes, as many as one buffer takes; gives back what is left.
    fn seal(&mut self, mut plain: Slice, room: Room, out: &mut Out<'_>) -> io::Result<Slice> {
        let Room { head, tail, plain_max } = room;
        let most = plain_max.min(RECORD_BYTES_MAX - head - tail);
        let records = plain.len().div_ceil(most).min(SLICE_BYTES_MAX / RECORD_BYTES_MAX);
        let bytes = plain.len().min(records * most);
        let wire_bytes = bytes + records * (head + tail);
        let mut buffer = out.pool.get(wire_bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        let taken = plain.split_to(bytes);
        let full = head + most + tail;
        for (record, part) in buffer[..wire_bytes].chunks_mut(full).zip(taken.chunks(most)) {
            record[head..head + part.len()].copy_from_slice(part);
            self.0.seal(record)?;
        }
        out.down.push(buffer.freeze(wire_bytes));
        Ok(plain)
    }
}
