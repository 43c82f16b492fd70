//! What connections hear: opened, checked, examined where it is wrong.

use ringway_ring::{Completion, Op, Payload};

use super::{Clients, EXAMINE_MS, Farewell, Kind, Phase, Stage};
use crate::stress::cause::{Cause, Evidence, Other};
use crate::stress::cursor::{Cursor, Way as Direction};
use crate::stress::failure::What;
use crate::stress::plan::FAILURES_KEPT;
use crate::stress::reader::Wrong;

/// Bytes behind a wrong one that are looked at.
const EVIDENCE_BYTES_MAX: usize = 256 * 1024;

/// Messages before the ones under way that another connection's answer may belong to.
const OTHERS_BEFORE: u64 = 4;

impl Clients<'_> {
    pub(super) fn receive(&mut self, index: u32) {
        let Some(socket) = self.all[index as usize].socket.clone() else { return };
        let operation = self.submit(Op::Stream { socket }, Kind::Receive, index);
        self.all[index as usize].receiving = operation;
    }

    pub(super) fn received(&mut self, index: u32, completion: Completion) {
        if !completion.more {
            self.all[index as usize].receiving = None;
        }
        let life = self.all[index as usize].life;
        match (completion.result, completion.payload) {
            (Ok(1..), Payload::Bytes(bytes)) => {
                if self.all[index as usize].sealed.is_some() {
                    self.open_sealed(index, &bytes);
                } else {
                    self.hear(index, &bytes);
                }
                if self.is_alive(index, life) && self.all[index as usize].receiving.is_none() {
                    self.receive(index);
                }
            }
            (Ok(_), _) => self.ended(index),
            // All buffers were in use: those that are back by now will do.
            (Err(error), _) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                self.receive(index);
            }
            (Err(_), _) if self.all[index as usize].phase == Phase::Examining => self.conclude(index),
            (Err(error), _) => self.broken(index, error.to_string()),
        }
    }

    /// Whether a connection is still in the same life, and open.
    fn is_alive(&self, index: u32, life: u32) -> bool {
        let client = &self.all[index as usize];
        client.life == life && !matches!(client.phase, Phase::Absent | Phase::Connecting)
    }

    pub(super) fn broken(&mut self, index: u32, error: String) {
        let client = &self.all[index as usize];
        let what = match client.phase {
            Phase::Greeting | Phase::Shaking => What::Handshake(error),
            _ => What::Broken { message: client.reader.message(), error },
        };
        self.fail(index, what);
    }

    fn open_sealed(&mut self, index: u32, wire: &[u8]) {
        let life = self.all[index as usize].life;
        let mut rest = wire;
        let mut plain = std::mem::take(&mut self.plain);
        while !rest.is_empty() && self.is_alive(index, life) {
            plain.clear();
            let Some(sealed) = self.all[index as usize].sealed.as_mut() else { break };
            let was_greeting = sealed.is_handshaking();
            let opened = sealed.open(&mut rest, &mut plain);
            let is_greeted = was_greeting && !sealed.is_handshaking();
            let wants_write = sealed.wants_write();
            if let Err(error) = opened {
                self.broken(index, format!("TLS: {error}"));
                break;
            }
            if is_greeted && self.all[index as usize].phase == Phase::Greeting {
                self.greeted(index);
            }
            if !plain.is_empty() {
                self.hear(index, &plain);
            }
            if wants_write && self.is_alive(index, life) {
                self.send(index);
            }
        }
        self.plain = plain;
    }

    fn hear(&mut self, index: u32, bytes: &[u8]) {
        let client = &mut self.all[index as usize];
        match client.phase {
            Phase::Absent | Phase::Connecting => {}
            Phase::Shaking => self.shake(index, bytes),
            Phase::Examining => {
                if let Some(doubt) = client.doubt.as_mut() {
                    client.reader.gather(bytes, &mut doubt.1);
                }
                self.conclude_if_enough(index);
            }
            _ => self.check(index, bytes),
        }
    }

    fn shake(&mut self, index: u32, bytes: &[u8]) {
        let Some(upgrade) = self.all[index as usize].upgrade.as_mut() else { return };
        match upgrade.hear(bytes) {
            Ok(None) => {}
            Ok(Some(used)) => {
                self.all[index as usize].upgrade = None;
                let life = self.all[index as usize].life;
                self.talk(index);
                if used < bytes.len() && self.is_alive(index, life) {
                    self.hear(index, &bytes[used..]);
                }
            }
            Err(error) => self.fail(index, What::Handshake(error)),
        }
    }

    fn check(&mut self, index: u32, bytes: &[u8]) {
        let client = &mut self.all[index as usize];
        let begun = client.writer.begun();
        let heard = match client.reader.hear(bytes, begun) {
            Ok(heard) => heard,
            Err(wrong) => return self.wrong(index, wrong),
        };
        if self.stage == Stage::Measured {
            self.report.bytes += bytes.len() as u64;
        }
        self.series.received(bytes.len() as u64);
        if let Some(code) = heard.closed {
            client.is_closed = true;
            if client.farewell == Farewell::None || client.unanswered() > heard.finished {
                let (message, at, owed) = (client.reader.message(), client.reader.at(), client.unanswered());
                return self.fail(index, What::Ended { message, at, owed, code });
            }
        }
        // Who has said that it ends says nothing more (RFC 6455 section 5.5.1).
        if client.farewell != Farewell::Said {
            client.urgent.extend(&heard.replies);
        }
        let life = client.life;
        if heard.finished > 0 {
            self.answered(index, heard.finished);
        }
        if !heard.replies.is_empty() && self.is_alive(index, life) {
            self.send(index);
        }
    }

    /// So many messages were answered in full.
    fn answered(&mut self, index: u32, finished: u64) {
        let now_ns = self.now_ns();
        let is_measured = self.stage == Stage::Measured;
        let first = self.all[index as usize].reader.message().saturating_sub(finished);
        for message in first..first + finished {
            let client = &mut self.all[index as usize];
            let begun_ns = client.begun_ns.pop_front().unwrap_or(now_ns);
            client.answers += 1;
            let is_talking = client.phase == Phase::Talking;
            self.series.answered(now_ns - begun_ns);
            if is_measured {
                self.report.messages += 1;
                self.report.latency.record(now_ns - begun_ns);
            }
            if is_talking {
                self.decide(index, message);
            }
        }
        match self.all[index as usize].phase {
            Phase::Closing => {
                self.arm_patience(index);
                self.close_if_answered(index);
            }
            Phase::Talking | Phase::Finishing | Phase::Cutting => {
                self.arm_patience(index);
                self.send(index);
            }
            _ => {}
        }
    }

    /// The server has finished.
    fn ended(&mut self, index: u32) {
        let client = &self.all[index as usize];
        let owed = client.unanswered();
        let (message, at) = (client.reader.message(), client.reader.at());
        match client.phase {
            Phase::Absent | Phase::Connecting => {}
            Phase::Greeting | Phase::Shaking => {
                self.fail(index, What::Handshake("the server closed instead".to_owned()));
            }
            Phase::Examining => self.conclude(index),
            Phase::Finishing if owed == 0 && client.farewell == Farewell::Said => {
                if self.plan.is_websocket() && !client.is_closed {
                    let sentence = "the server ended a WebSocket without a close frame".to_owned();
                    return self.fail(index, What::Frame { message, sentence });
                }
                self.ended_on_purpose(index);
                self.begin_again(index, false);
            }
            _ => self.fail(index, What::Ended { message, at, owed, code: None }),
        }
    }

    // What is wrong.

    fn wrong(&mut self, index: u32, wrong: Wrong) {
        let client = &mut self.all[index as usize];
        let message = client.reader.message();
        let what = match wrong {
            Wrong::Different(mismatch, evidence) if self.report.failures.len() < FAILURES_KEPT => {
                client.phase = Phase::Examining;
                (client.owed, client.wanted) = (0, 0);
                client.doubt = Some(Box::new((*mismatch, evidence)));
                let until_ms = self.now_ms() + EXAMINE_MS;
                self.wheel.arm(index, until_ms);
                return self.conclude_if_enough(index);
            }
            Wrong::Different(mismatch, _) => What::Different(mismatch, Cause::Unknown),
            Wrong::Unasked(bytes) => What::Unasked { messages: client.writer.begun(), bytes },
            Wrong::Length { message, size, is_longer, at } => What::Length { message, size, at, is_longer },
            Wrong::Frame(sentence) => What::Frame { message, sentence },
        };
        self.fail(index, what);
    }

    /// Judges once as many bytes came as were still owed.
    fn conclude_if_enough(&mut self, index: u32) {
        let client = &self.all[index as usize];
        let Some(doubt) = &client.doubt else { return };
        let key = self.plan.shape.messages.key(index, client.life);
        let mut owed = 0;
        for message in doubt.0.message..client.writer.begun() {
            let cursor = Cursor::at_message(self.plan.shape, Direction::Back, key, message);
            owed += cursor.left() as usize;
            if owed > EVIDENCE_BYTES_MAX {
                break;
            }
        }
        if doubt.1.len() >= owed.saturating_sub(doubt.0.at_whole as usize).min(EVIDENCE_BYTES_MAX) {
            self.conclude(index);
        }
    }

    /// Says where the wrong bytes come from.
    pub(super) fn conclude(&mut self, index: u32) {
        let Some(doubt) = self.all[index as usize].doubt.take() else { return };
        let (mismatch, bytes) = *doubt;
        let shape = self.plan.shape;
        let client = &self.all[index as usize];
        let evidence = Evidence {
            shape,
            key: shape.messages.key(index, client.life),
            mismatch: &mismatch,
            bytes: &bytes,
            begun: client.writer.begun(),
        };
        let others =
            (0..).zip(&self.all).filter(|(other, _)| *other != index).map(|(connection, client)| Other {
                connection,
                key: shape.messages.key(connection, client.life),
                messages: client.reader.message().saturating_sub(OTHERS_BEFORE)..client.writer.begun(),
            });
        let cause = evidence.cause(others);
        self.fail(index, What::Different(Box::new(mismatch), cause));
    }
}
