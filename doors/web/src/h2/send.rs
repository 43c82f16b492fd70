//! Bodies on their way: in turns of a frame each, within the windows, read without waiting for a disk.

use super::answer::{Answering, Work};
use super::body::{Body, Cold, Piece};
use super::{BATCH_BYTES, Memory, Session};
use crate::output::NoMemory;
use ringway_engine::Stream;
use ringway_engine::ring::{Handle, Op, Payload, ReadFile, SLICE_BYTES_MAX};
use ringway_h2::code::Code;
use ringway_h2::connection::{Buffers, Connection};
use ringway_h2::frame::{HEAD_BYTES, PAYLOAD_BYTES};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes that a turn of sending hands to the kernel before it waits until they are there.
const TURN_BYTES: usize = 4 * BATCH_BYTES;

/// Frames that one read fills.
const FRAMES_MAX: usize = SLICE_BYTES_MAX / PAYLOAD_BYTES;

/// Reads from disks that one connection waits for at a time.
const COLD_READS_MAX: usize = 8;

/// Bytes of such a read; the kernel reads further ahead by itself.
const COLD_READ_BYTES: usize = PAYLOAD_BYTES;

/// What came of a turn of one body.
pub(super) enum Sent {
    /// So many bytes.
    Some(usize),
    /// Nothing can be sent now.
    Nothing,
    /// All of it is sent.
    All,
    /// It cannot be made to its end.
    Broken,
}

impl Session {
    /// Gives each body a turn, again and again while the windows and the batch have room; says whether anything was sent.
    pub(super) fn send_bodies(
        &mut self,
        context: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Result<bool, NoMemory> {
        let mut left = TURN_BYTES;
        let mut idle = 0;
        let mut has_moved = false;
        while idle < self.answers.len() && left > 0 {
            let at = if self.next < self.answers.len() { self.next } else { 0 };
            let frames = if self.answers.len() == 1 { FRAMES_MAX } else { 1 };
            let (sent, bytes) = match self.send_some(at, frames, context, memory)? {
                Sent::Nothing => {
                    idle += 1;
                    self.next = at + 1;
                    continue;
                }
                Sent::Some(bytes) => (false, bytes),
                Sent::All => (true, 0),
                Sent::Broken => {
                    let answer = self.answers.remove(at);
                    self.tell_made(&answer);
                    self.give_up(answer.stream, Code::INTERNAL_ERROR, &mut memory.buffers);
                    continue;
                }
            };
            has_moved = true;
            idle = 0;
            left = left.saturating_sub(bytes);
            self.next = at + 1;
            if sent {
                // Those behind it move up: whose turn it is moves with them.
                self.next = at;
                let answer = self.answers.remove(at);
                self.tell_made(&answer);
                self.finished(answer.stream);
            }
        }
        Ok(has_moved)
    }

    fn send_some(
        &mut self,
        at: usize,
        frames: usize,
        context: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Result<Sent, NoMemory> {
        let Some(answer) = self.answers.get_mut(at) else { return Ok(Sent::Nothing) };
        let stream = answer.stream;
        if !self.machine.has(stream) {
            return Ok(Sent::All);
        }
        match &mut answer.work {
            Work::Waiting(_) => Ok(Sent::Nothing),
            Work::Making(_) => self.make_some(at, context, memory),
            Work::Sending(body) => {
                if !is_at_hand(body, context) {
                    return Ok(Sent::Nothing);
                }
                let room = self.machine.room(stream);
                if room == 0 {
                    return Ok(Sent::Nothing);
                }
                match body.piece() {
                    Piece::Bytes(bytes) => {
                        let count = bytes.len().min(room).min(PAYLOAD_BYTES);
                        let ends = count as u64 == body.left();
                        if count == 0 || !self.machine.data(stream, count, ends, &mut memory.buffers) {
                            return Ok(Sent::Broken);
                        }
                        let out = &mut memory.buffers.out;
                        out.extend_from_slice(&bytes[..count]);
                        // Small frames of many streams gather; large ones go on.
                        if out.len() >= BATCH_BYTES / 2 {
                            self.outbox.take(&mut self.stream, out, 0)?;
                        }
                        body.advance(count);
                        answer.moved += count as u64;
                        Ok(if ends { Sent::All } else { Sent::Some(count) })
                    }
                    Piece::File(file, offset, len) => {
                        let file = file.clone();
                        let wanted = usize::try_from(len).unwrap_or(usize::MAX).min(room);
                        self.send_file(at, &file, offset, wanted.min(frames * PAYLOAD_BYTES), memory)
                    }
                }
            }
        }
    }

    /// Reads what is in memory right behind the heads of its frames.
    fn send_file(
        &mut self,
        at: usize,
        file: &Handle,
        offset: u64,
        wanted: usize,
        memory: &mut Memory,
    ) -> Result<Sent, NoMemory> {
        let buffers = &mut memory.buffers;
        let least = wanted.min(PAYLOAD_BYTES) + HEAD_BYTES;
        let all = (wanted + wanted.div_ceil(PAYLOAD_BYTES) * HEAD_BYTES).min(SLICE_BYTES_MAX);
        self.outbox.take(&mut self.stream, &mut buffers.out, all)?;
        let room = self.outbox.room(&mut self.stream, least, all)?;
        let capacity = room.len().min(all);
        let room = &mut room[..capacity];
        let Some(answer) = self.answers.get_mut(at) else { return Ok(Sent::Nothing) };
        let Work::Sending(body) = &mut answer.work else { return Ok(Sent::Nothing) };
        let count = match read_framed(&self.stream, file, room, wanted, offset) {
            Ok(0) => return Ok(Sent::Broken),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let reads = self.answers.iter().filter(|other| other.is_reading()).count();
                if reads < COLD_READS_MAX {
                    return Ok(self.read_cold(at, file, offset, wanted));
                }
                return Ok(Sent::Nothing);
            }
            Err(_) => return Ok(Sent::Broken),
        };
        let ends = count as u64 == body.left();
        let Some(bytes) = write_heads(&mut self.machine, answer.stream, room, count, ends, buffers) else {
            return Ok(Sent::Broken);
        };
        body.advance(count);
        answer.moved += count as u64;
        self.outbox.fill(bytes);
        Ok(if ends { Sent::All } else { Sent::Some(count) })
    }

    /// Has the ring read what a disk must be waited for.
    fn read_cold(&mut self, at: usize, file: &Handle, offset: u64, wanted: usize) -> Sent {
        let wanted = wanted.min(COLD_READ_BYTES);
        let Some(buffer) = self.stream.pool().get(wanted) else { return Sent::Broken };
        let want = u32::try_from(wanted).unwrap_or(0);
        let read = Op::Read(ReadFile::new(file.clone(), buffer, offset, want));
        let (Ok(operation), Some(answer)) = (self.stream.worker().operation(read), self.answers.get_mut(at))
        else {
            // At the ring's limit an answer cannot be finished.
            return Sent::Broken;
        };
        if let Work::Sending(body) = &mut answer.work {
            body.cold = Cold::Reading(operation);
        }
        // Looked at again, so that the operation knows whom to wake.
        Sent::Some(0)
    }

    /// Ends streams whose reader has taken nothing for a window although others were served.
    pub(super) fn drop_stalled(&mut self, buffers: &mut Buffers) {
        let mut at = 0;
        while let Some(answer) = self.answers.get_mut(at) {
            let is_sending = matches!(answer.work, Work::Sending(_));
            let is_stuck = is_sending && answer.moved == 0 && self.machine.is_stalled(answer.stream);
            answer.moved = 0;
            if is_stuck {
                let answer = self.answers.swap_remove(at);
                self.tell_made(&answer);
                self.give_up(answer.stream, Code::CANCEL, buffers);
            } else {
                at += 1;
            }
        }
    }
}

impl Answering {
    fn is_reading(&self) -> bool {
        matches!(&self.work, Work::Sending(body) if matches!(body.cold, Cold::Reading(_)))
    }
}

/// Whether the next bytes are at hand: takes in a read that has ended. One that failed leaves the finding out to the next
/// read.
fn is_at_hand(body: &mut Body, context: &mut Context<'_>) -> bool {
    let Cold::Reading(operation) = &mut body.cold else { return true };
    let Poll::Ready(completion) = Pin::new(operation).poll(context) else { return false };
    body.cold = match (completion.result, completion.payload) {
        (Ok(count @ 1..), Payload::Finished(Op::Read(read))) => {
            Cold::Read(read.buffer.freeze(count as usize))
        }
        // The end, or an error: no byte is at hand, which breaks the answer off.
        (_, Payload::Finished(Op::Read(read))) => Cold::Read(read.buffer.freeze(0)),
        _ => Cold::No,
    };
    true
}

/// Fills `room` with frames' payloads, leaving place for their heads.
fn read_framed(
    stream: &Stream,
    file: &Handle,
    room: &mut [u8],
    wanted: usize,
    offset: u64,
) -> io::Result<usize> {
    let mut left = wanted;
    let mut targets: [IoSliceMut<'_>; FRAMES_MAX] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
    let mut count = 0;
    for (target, frame) in targets.iter_mut().zip(room.chunks_mut(PAYLOAD_BYTES + HEAD_BYTES)) {
        let Some(payload) = frame.get_mut(HEAD_BYTES..).filter(|payload| !payload.is_empty()) else { break };
        let len = payload.len().min(left);
        if len == 0 {
            break;
        }
        *target = IoSliceMut::new(&mut payload[..len]);
        left -= len;
        count += 1;
    }
    stream.try_read(file, &mut targets[..count], offset)
}

/// Puts the heads before the payloads; how many bytes of the room the frames take.
fn write_heads(
    machine: &mut Connection,
    stream: u32,
    room: &mut [u8],
    count: usize,
    ends: bool,
    buffers: &mut Buffers,
) -> Option<usize> {
    let (mut left, mut bytes) = (count, 0);
    for frame in room.chunks_mut(PAYLOAD_BYTES + HEAD_BYTES) {
        let len = left.min(frame.len().saturating_sub(HEAD_BYTES));
        if len == 0 {
            break;
        }
        left -= len;
        let head = machine.frame_data(stream, len, ends && left == 0, buffers)?;
        frame[..HEAD_BYTES].copy_from_slice(&head);
        bytes += HEAD_BYTES + len;
    }
    Some(bytes)
}
