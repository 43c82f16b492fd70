//! What comes in: the preface, then frame by frame (RFC 9113 sections 3.4 and 4).

use super::{Buffers, Connection, Event, Leaving, Phase, Step};
use crate::code::{Code, Fault};
use crate::frame::{HEAD_BYTES, Head, Kind, PAYLOAD_BYTES, PREFACE, flag, write_goaway, write_reset};
use crate::streams::Past;

/// What became of the front of the input.
pub(super) enum Progress {
    /// The rest of something is missing.
    NeedMore,
    /// So many bytes are done with.
    Took(usize),
    /// So many bytes are done with, and this happened.
    Found(usize, Event),
}

impl Progress {
    pub(super) fn with(consumed: usize, event: Option<Event>) -> Self {
        match event {
            Some(event) => Self::Found(consumed, event),
            None => Self::Took(consumed),
        }
    }
}

impl Connection {
    /// Takes in what arrived, up to the next event. Call it until there is none, and again with more; what is not
    /// consumed (at most a frame of 16 KiB and its head) comes again at the front. The outcome does not depend on where
    /// the bytes were split. `now_ms` is any clock that does not run backwards.
    ///
    /// # Errors
    /// The connection must end: GOAWAY is in the output. Every later call says the same again.
    pub fn receive(&mut self, input: &[u8], now_ms: u64, buffers: &mut Buffers) -> Result<Step, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut consumed = 0;
        loop {
            match self.advance(&input[consumed..], now_ms, buffers) {
                Ok(Progress::Took(bytes)) => consumed += bytes,
                Ok(Progress::NeedMore) => return Ok(Step { consumed, event: None }),
                Ok(Progress::Found(bytes, mut event)) => {
                    if let Event::Data { at, .. } = &mut event {
                        *at = at.start + consumed..at.end + consumed;
                    }
                    return Ok(Step { consumed: consumed + bytes, event: Some(event) });
                }
                Err(fault) => {
                    self.fail(fault.code(), buffers);
                    self.fault = Some(fault);
                    return Err(fault);
                }
            }
        }
    }

    fn advance(&mut self, input: &[u8], now_ms: u64, buffers: &mut Buffers) -> Result<Progress, Fault> {
        if self.phase == Phase::Preface {
            return self.preface(input);
        }
        if self.payload.is_some() {
            return Ok(self.payload(input, buffers));
        }
        let Some(head) = Head::read(input) else { return Ok(Progress::NeedMore) };
        let len = head.len as usize;
        if len > PAYLOAD_BYTES {
            return Err(Fault::FrameLength);
        }
        self.check_order(head)?;
        let rest = &input[HEAD_BYTES..];
        if head.kind == Kind::DATA {
            return self.data_frame(head, rest, now_ms, buffers);
        }
        let Some(payload) = rest.get(..len) else { return Ok(Progress::NeedMore) };
        let event = match head.kind {
            Kind::HEADERS => self.headers(head, payload, now_ms, buffers)?,
            Kind::CONTINUATION => self.continuation(head, payload, now_ms, buffers)?,
            _ => self.control(head, payload, now_ms, buffers)?,
        };
        Ok(Progress::with(HEAD_BYTES + len, event))
    }

    /// Section 3.4.
    fn preface(&mut self, input: &[u8]) -> Result<Progress, Fault> {
        let len = input.len().min(PREFACE.len());
        if input[..len] != PREFACE[..len] {
            return Err(Fault::Preface);
        }
        if len < PREFACE.len() {
            return Ok(Progress::NeedMore);
        }
        self.phase = Phase::Settings;
        Ok(Progress::Took(len))
    }

    /// What may come now: SETTINGS first (section 3.4), and nothing within a field section (section 4.3).
    fn check_order(&mut self, head: Head) -> Result<(), Fault> {
        if self.phase == Phase::Settings {
            if head.kind != Kind::SETTINGS || head.has(flag::ACK) {
                return Err(Fault::FirstFrame);
            }
            self.phase = Phase::Open;
        }
        match &self.fragment {
            Some(fragment) if head.kind != Kind::CONTINUATION || head.stream != fragment.stream => {
                Err(Fault::BlockOrder)
            }
            None if head.kind == Kind::CONTINUATION => {
                Err(if head.stream == 0 { Fault::NeedsStream } else { Fault::BlockOrder })
            }
            _ => Ok(()),
        }
    }

    /// The peer has erred on a stream (section 5.4.2): it is reset, and that counts, because a peer can make a server do
    /// it as often as it likes.
    pub(super) fn fail_stream(
        &mut self,
        stream: u32,
        code: Code,
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        write_reset(&mut buffers.out, stream, code);
        let lived = self.end_stream(stream, Past::ResetByUs, buffers);
        if !lived {
            self.streams.remember(stream, Past::ResetByUs);
        }
        self.count_reset(now_ms)?;
        Ok(lived.then_some(Event::Reset { stream }))
    }

    pub(super) fn count_reset(&mut self, now_ms: u64) -> Result<(), Fault> {
        if self.resets.take(now_ms) { Ok(()) } else { Err(Fault::ResetFlood) }
    }

    /// Counts a frame that carries nothing.
    pub(super) fn count_idle_frame(&mut self, now_ms: u64) -> Result<(), Fault> {
        if self.idle_frames.take(now_ms) { Ok(()) } else { Err(Fault::FrameFlood) }
    }

    /// Forgets a stream; what of its body nobody consumed is given back to the connection.
    pub(super) fn end_stream(&mut self, stream: u32, past: Past, buffers: &mut Buffers) -> bool {
        let Some(ended) = self.streams.remove(stream, past) else { return false };
        self.give_back(ended.unread, buffers);
        true
    }

    /// Whether a frame on this stream that does not live is one on an idle stream (section 5.1).
    pub(super) fn is_idle(&self, stream: u32) -> bool {
        stream > self.highest || stream.is_multiple_of(2)
    }

    /// Whether the stream was opened after this side had said which one is the last it serves (section 6.8).
    pub(super) fn is_ignored(&self, stream: u32) -> bool {
        matches!(self.leaving, Leaving::Settled(last) if stream > last)
    }

    /// Says GOAWAY for the last time.
    pub(super) fn fail(&mut self, code: Code, buffers: &mut Buffers) {
        let last = match self.leaving {
            Leaving::Settled(last) => last,
            _ => self.highest,
        };
        self.leaving = Leaving::Settled(last);
        write_goaway(&mut buffers.out, last, code);
    }
}
