//! What connections say: composed message by message, sealed where that is asked, sent in one piece.

use std::io;
use std::net::Shutdown;

use ringway_ring::{Completion, Op, Payload, Slice};

use super::{Clients, Farewell, Kind, Phase};
use crate::stress::frames::control;
use crate::stress::message::mix;
use crate::stress::plan::Way;

/// Bytes handed to the ring in one send.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are sealed at a time: one record.
const SEAL_BYTES: usize = 16 * 1024;

/// What a record adds to what is in it, at most, and small records besides it.
const SEALED_MORE_BYTES: usize = 512;

/// Room for what TLS says by itself.
const GREETING_BYTES: usize = 4 * 1024;

/// A close frame's payload: code 1000, "normal closure" (RFC 6455 section 7.4.1).
const CLOSE: [u8; 2] = 1000_u16.to_be_bytes();

impl Clients<'_> {
    /// Sends what a connection owes, unless a send is under way.
    pub(super) fn send(&mut self, index: u32) {
        let client = &self.all[index as usize];
        if client.sending.is_some() || client.phase == Phase::Examining {
            return;
        }
        let Some(socket) = client.socket.clone() else { return };
        let mut bytes = match self.next_bytes(index) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.flushed(index),
            Err(Starved) => return self.starved.push_back(index),
        };
        self.arm_patience(index);
        if self.ring.prefers_direct_send() {
            match self.ring.try_send(&socket, &bytes) {
                Ok(count) => bytes.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.broken(index, error.to_string()),
            }
            if bytes.is_empty() {
                return self.send(index);
            }
        }
        let operation = self.submit(Op::Send { socket, bytes, sent: 0 }, Kind::Send, index);
        self.all[index as usize].sending = operation;
    }

    /// The next bytes for the wire; nothing when nothing is owed.
    fn next_bytes(&mut self, index: u32) -> Result<Option<Slice>, Starved> {
        if self.all[index as usize].sealed.is_some() {
            return self.next_sealed(index);
        }
        let most = self.owed_bytes(index).min(SEND_BYTES_MAX);
        if most == 0 {
            return Ok(None);
        }
        let mut buffer = self.ring.pool().get(most).ok_or(Starved)?;
        let filled = self.compose(index, &mut buffer);
        Ok(Some(buffer.freeze(filled)))
    }

    fn next_sealed(&mut self, index: u32) -> Result<Option<Slice>, Starved> {
        let wants_write = self.all[index as usize].sealed.as_ref().is_some_and(|sealed| sealed.wants_write());
        let is_greeting = self.all[index as usize].phase == Phase::Greeting;
        let most = if is_greeting || wants_write { 0 } else { self.owed_bytes(index).min(SEAL_BYTES) };
        // Room first: what is composed cannot be taken back.
        let mut buffer = self.ring.pool().get(most + SEALED_MORE_BYTES.max(GREETING_BYTES)).ok_or(Starved)?;
        if most > 0 {
            let mut plain = std::mem::take(&mut self.plain_out);
            plain.resize(most, 0);
            let filled = self.compose(index, &mut plain);
            if let Some(sealed) = self.all[index as usize].sealed.as_mut() {
                // Memory without a limit takes everything.
                let _always = sealed.seal(&plain[..filled]);
            }
            self.plain_out = plain;
        }
        let client = &mut self.all[index as usize];
        let is_last = client.owed == 0 && client.urgent.is_empty() && !client.writer.is_inside();
        let Some(sealed) = client.sealed.as_mut() else { return Ok(None) };
        if is_last && client.farewell == Farewell::Due && !self.plan.is_websocket() {
            sealed.finish();
            client.farewell = Farewell::Said;
        }
        let filled = sealed.write(&mut buffer).unwrap_or(0);
        Ok((filled > 0).then(|| buffer.freeze(filled)))
    }

    /// Bytes that could be sent now, at most.
    fn owed_bytes(&mut self, index: u32) -> usize {
        let size_max = self.plan.size_max() as usize;
        let is_websocket = self.plan.is_websocket();
        let client = &mut self.all[index as usize];
        let is_last = client.owed == 0 && !client.writer.is_inside();
        if is_websocket && is_last && client.farewell == Farewell::Due {
            client.urgent.extend(control(0x8, &CLOSE, [0xa5; 4]));
            client.farewell = Farewell::Said;
        }
        let inside = if client.writer.is_inside() { client.writer.left() as usize } else { 0 };
        client.urgent.len() + inside + (client.owed as usize).saturating_mul(size_max)
    }

    /// Writes the next bytes of a connection: what is urgent between two messages, as many whole messages as it owes, or a part of
    /// one. Says how many bytes it was.
    fn compose(&mut self, index: u32, target: &mut [u8]) -> usize {
        let now_ns = self.now_ns();
        let client = &mut self.all[index as usize];
        let mut filled = 0;
        while filled < target.len() {
            if !client.writer.is_inside() {
                if !client.urgent.is_empty() {
                    let count = client.urgent.len().min(target.len() - filled);
                    target[filled..filled + count].copy_from_slice(&client.urgent[..count]);
                    client.urgent.drain(..count);
                    filled += count;
                    continue;
                }
                if client.owed == 0 {
                    break;
                }
                client.owed -= 1;
                client.begun_ns.push_back(now_ns);
            }
            let mut count = (client.writer.left() as usize).min(target.len() - filled);
            if client.phase == Phase::Cutting && client.owed == 0 {
                // The last message is cut off somewhere in its first buffer, and never whole.
                let most = count.min((client.writer.left() as usize).saturating_sub(1)).max(1) as u64;
                count = usize::try_from(mix(client.writer.message() ^ u64::from(client.life)) % most)
                    .unwrap_or(0)
                    + 1;
                client.writer.fill(&mut target[filled..filled + count]);
                filled += count;
                break;
            }
            client.writer.fill(&mut target[filled..filled + count]);
            filled += count;
        }
        filled
    }

    pub(super) fn sent(&mut self, index: u32, completion: Completion) {
        self.all[index as usize].sending = None;
        match (completion.result, completion.payload) {
            (Ok(count), Payload::Finished(Op::Send { bytes, .. })) if count as usize == bytes.len() => {
                if self.is_cut(index) { self.flushed(index) } else { self.send(index) }
            }
            _ if self.all[index as usize].phase == Phase::Examining => {}
            (Ok(_), _) => self.broken(index, io::Error::from(io::ErrorKind::WriteZero).to_string()),
            (Err(error), _) => self.broken(index, error.to_string()),
        }
    }

    /// Whether a part of a last message was composed, and nothing more is to come.
    fn is_cut(&self, index: u32) -> bool {
        let client = &self.all[index as usize];
        let is_sealed = client.sealed.as_ref().is_some_and(|sealed| sealed.wants_write());
        client.phase == Phase::Cutting && client.owed == 0 && !is_sealed
    }

    /// Everything that was owed is with the kernel.
    fn flushed(&mut self, index: u32) {
        if self.is_cut(index) {
            self.report.ended[Way::Reset as usize] += 1;
            return self.begin_again(index, true);
        }
        let client = &mut self.all[index as usize];
        match client.phase {
            Phase::Closing => self.close_if_answered(index),
            Phase::Finishing if !self.plan.is_websocket() && !client.is_closed => {
                // The end is said once; a WebSocket's was a frame.
                client.farewell = Farewell::Said;
                client.is_closed = true;
                if let Some(socket) = client.socket.clone()
                    && let Err(error) = self.ring.shutdown(&socket, Shutdown::Write)
                {
                    self.broken(index, error.to_string());
                }
            }
            _ => {}
        }
    }

    pub(super) fn feed_starved(&mut self) {
        for _ in 0..self.starved.len() {
            let Some(index) = self.starved.pop_front() else { return };
            self.send(index);
        }
    }
}

/// The ring has no memory at the moment.
struct Starved;
