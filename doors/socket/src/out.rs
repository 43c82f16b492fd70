//! What a turn sends: answers of one turn leave together, and those that lie where the question came are not copied.

use crate::dress::Dress;
use crate::handler::SendError;
use crate::message::{Place, Reply};
use ringway_engine::Conn;
use ringway_engine::ring::{Handle, Pool, SLICE_BYTES_MAX, Slice, SliceMut};
use std::ops::Range;

/// Largest buffer that is taken for more than one answer, in bytes.
const BATCH_BYTES_MAX: usize = 16 * 1024;

/// Longest piece of the input that is copied to leave with others, in bytes: a send of its own costs more.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// A part of the input that is to stand in a buffer; copied when nobody writes to the input any more.
#[derive(Clone, Copy, Debug)]
struct Hole {
    at: usize,
    input: usize,
    len: usize,
}

/// Something to be sent, in order.
#[derive(Debug)]
enum Piece {
    Bytes(Slice),
    /// A part of the input, where it lies.
    Input(Range<usize>),
    /// A buffer whose holes are still to be filled: the next so many.
    Holed {
        buffer: SliceMut,
        len: usize,
        holes: usize,
    },
    File {
        file: Handle,
        offset: u64,
        bytes: u64,
    },
}

/// The answers of a turn.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pieces: Vec<Piece>,
    buffer: Option<SliceMut>,
    len: usize,
    /// Of all buffers, in order; those behind `holes_before` are of the present one.
    holes: Vec<Hole>,
    holes_before: usize,
    /// The part of the input that is sent last, so far.
    run: Range<usize>,
    /// What is likely to be sent, in bytes.
    expected: usize,
    /// Bytes of the pieces.
    held: usize,
    /// What this turn has given to the connection, and what waited there before.
    given: usize,
    /// Bytes that this turn has sent.
    pub(crate) sent: u64,
    /// Bytes are missing: nothing can follow.
    pub(crate) is_broken: bool,
}

impl Out {
    /// Begins a turn: `queued` bytes wait in the connection.
    pub(crate) fn begin(&mut self, queued: usize) {
        self.given = queued;
        self.sent = 0;
        self.is_broken = false;
    }

    /// As much as came is likely to be answered.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.expected = bytes.min(BATCH_BYTES_MAX);
    }

    /// Bytes that wait, at most.
    pub(crate) fn waiting(&self) -> usize {
        self.given + self.held + self.len + self.run.len()
    }

    /// Counts again what waits in the connection.
    pub(crate) fn recount(&mut self, queued: usize) {
        self.given = queued;
    }

    /// Sends a part of the input from where it lies.
    pub(crate) fn input(&mut self, range: Range<usize>, pool: &Pool) {
        self.sent += range.len() as u64;
        if self.run.is_empty() {
            self.run = range;
        } else if self.run.end == range.start {
            self.run.end = range.end;
        } else {
            self.commit(pool);
            self.run = range;
        }
    }

    /// Sends a message in answer to itself, without copying it where that can be.
    pub(crate) fn reply(
        &mut self,
        mut reply: Reply<'_>,
        dress: Dress<'_>,
        pool: &Pool,
    ) -> Result<(), SendError> {
        match (reply.place, reply.frame(dress)) {
            (Place::Input(at), Some(range)) => {
                self.input(at + range.start..at + range.end, pool);
                Ok(())
            }
            (Place::Apart, Some(range)) => self.bytes(reply.bytes.get(range).unwrap_or_default(), pool),
            (_, None) => {
                let payload = reply.bytes.get(reply.payload.clone()).unwrap_or_default();
                self.message(payload, dress, pool)
            }
        }
    }

    /// Sends a message with its frame.
    pub(crate) fn message(&mut self, payload: &[u8], dress: Dress<'_>, pool: &Pool) -> Result<(), SendError> {
        let mut head = [0; crate::framing::FRAME_BYTES_MAX];
        let written = dress.head(payload.len() as u64, &mut head).ok_or(SendError::TooLong)?;
        self.parts([&head[head.len() - written..], payload, dress.tail()], pool)
    }

    /// Sends bytes as they are: all, or at the pool's limit none if they fit into one buffer.
    pub(crate) fn bytes(&mut self, bytes: &[u8], pool: &Pool) -> Result<(), SendError> {
        self.parts([bytes, &[], &[]], pool)
    }

    /// Sends parts behind each other.
    pub(crate) fn parts(&mut self, parts: [&[u8]; 3], pool: &Pool) -> Result<(), SendError> {
        self.commit(pool);
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if self.room() < total {
            self.make_room(total, pool)?;
        }
        for part in parts {
            self.fill(part, pool)?;
        }
        self.sent += total as u64;
        Ok(())
    }

    /// Sends a slice as it is.
    pub(crate) fn slice(&mut self, slice: Slice, pool: &Pool) -> Result<(), SendError> {
        if slice.len() <= COPIED_BYTES_MAX && self.room() >= slice.len() {
            return self.bytes(&slice, pool);
        }
        self.commit(pool);
        self.close_buffer();
        self.sent += slice.len() as u64;
        self.held += slice.len();
        self.pieces.push(Piece::Bytes(slice));
        Ok(())
    }

    /// Sends a part of a file.
    pub(crate) fn file(&mut self, file: Handle, offset: u64, bytes: u64, pool: &Pool) {
        self.commit(pool);
        self.close_buffer();
        self.sent += bytes;
        self.held = self.held.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.pieces.push(Piece::File { file, offset, bytes });
    }

    /// The input is not written to any more: what lies in it is given to the connection, and all before it. `input` is what
    /// places were given in.
    #[inline]
    pub(crate) fn finish(&mut self, conn: &mut Conn<'_>, input: &Slice) {
        if !self.run.is_empty() && self.pieces.is_empty() && self.buffer.is_none() {
            let run = std::mem::take(&mut self.run);
            self.given += run.len();
            conn.send(part_of(input, run));
        } else if !self.run.is_empty() || !self.holes.is_empty() || !self.pieces.is_empty() {
            let pool = conn.pool();
            self.commit(&pool);
            self.give(conn, Some(input));
        }
    }

    /// Gives everything to the connection.
    #[inline]
    pub(crate) fn flush(&mut self, conn: &mut Conn<'_>) {
        if self.buffer.is_some() || !self.pieces.is_empty() {
            self.close_buffer();
            self.give(conn, None);
        }
    }

    /// Forgets what was not given to the connection.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.held = 0;
        self.buffer = None;
        self.len = 0;
        self.holes.clear();
        self.holes_before = 0;
        self.run = 0..0;
    }

    fn room(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len() - self.len)
    }

    /// What of the input was to be sent last has something behind it: it gets its place.
    fn commit(&mut self, pool: &Pool) {
        if self.run.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.run);
        let is_short = run.len() <= COPIED_BYTES_MAX;
        if is_short && (self.room() >= run.len() || self.make_room(run.len(), pool).is_ok()) {
            self.holes.push(Hole { at: self.len, input: run.start, len: run.len() });
            self.len += run.len();
        } else {
            self.close_buffer();
            self.held += run.len();
            self.pieces.push(Piece::Input(run));
        }
    }

    /// A buffer that has room for `bytes`, as far as one reaches.
    fn make_room(&mut self, bytes: usize, pool: &Pool) -> Result<(), SendError> {
        let wanted = bytes.max(self.expected).min(SLICE_BYTES_MAX);
        let buffer = pool.get(wanted).ok_or(SendError::NoMemory)?;
        self.close_buffer();
        self.buffer = Some(buffer);
        Ok(())
    }

    fn fill(&mut self, mut bytes: &[u8], pool: &Pool) -> Result<(), SendError> {
        while !bytes.is_empty() {
            if self.room() == 0
                && let Err(error) = self.make_room(bytes.len(), pool)
            {
                // What was begun cannot be ended.
                self.is_broken = true;
                return Err(error);
            }
            let at = self.len;
            let Some(room) = self.buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(at..)) else {
                break;
            };
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.len += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn close_buffer(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        let len = std::mem::take(&mut self.len);
        let holes = self.holes.len() - self.holes_before;
        self.holes_before = self.holes.len();
        self.held += len;
        let piece =
            if holes > 0 { Piece::Holed { buffer, len, holes } } else { Piece::Bytes(buffer.freeze(len)) };
        self.pieces.push(piece);
    }

    /// Hands the pieces over. With an input the last buffer stays open for more when it has no holes.
    fn give(&mut self, conn: &mut Conn<'_>, input: Option<&Slice>) {
        if self.holes.len() > self.holes_before || input.is_none() {
            self.close_buffer();
        }
        self.given = self.given.saturating_add(std::mem::take(&mut self.held));
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut filled = 0;
        for piece in pieces.drain(..) {
            match (piece, input) {
                (Piece::Bytes(bytes), _) => conn.send(bytes),
                (Piece::Input(range), Some(input)) => conn.send(part_of(input, range)),
                (Piece::Holed { mut buffer, len, holes }, Some(input)) => {
                    for hole in &self.holes[filled..filled + holes] {
                        buffer[hole.at..hole.at + hole.len]
                            .copy_from_slice(&input[hole.input..hole.input + hole.len]);
                    }
                    filled += holes;
                    conn.send(buffer.freeze(len));
                }
                (Piece::File { file, offset, bytes }, _) => conn.send_file(None, file, offset, bytes, false),
                // Places in an input are gone with it: `finish` has given them before.
                (Piece::Input(_) | Piece::Holed { .. }, None) => self.is_broken = true,
            }
        }
        self.pieces = pieces;
        self.holes.clear();
        self.holes_before = 0;
    }
}

fn part_of(input: &Slice, range: Range<usize>) -> Slice {
    let mut part = input.clone();
    part.advance(range.start);
    part.truncate(range.len());
    part
}
