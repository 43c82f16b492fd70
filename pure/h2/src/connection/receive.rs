//! What comes in: the preface, then frame by frame (RFC 9113 sections 3.4 and 4).

use super::{Buffers, Connection, Event, Leaving, Step};
use crate::code::{Code, Fault};
use crate::frame::{HEAD_BYTES, Kind, PREFACE, write_goaway};
use crate::link::{Next, Progress};

impl Connection {
    /// Takes in what arrived, up to the next event. Call it until there is none, and again with more; what is not
    /// consumed (at most a frame of 16 KiB and its head) comes again at the front. The outcome does not depend on where
    /// the bytes were split. `now_ms` is any clock that does not run backwards.
    ///
    /// # Errors
    /// The connection must end: GOAWAY is in the output. Every later call says the same again.
    pub fn receive(&mut self, input: &[u8], now_ms: u64, buffers: &mut Buffers) -> Result<Step, Fault> {
        if let Some(fault) = self.link.fault {
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
                    self.link.fault = Some(fault);
                    return Err(fault);
                }
            }
        }
    }

    fn advance(
        &mut self,
        input: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Progress<Event>, Fault> {
        if !self.has_preface {
            return self.preface(input);
        }
        let (head, payload) = match self.link.next(input, now_ms, buffers)? {
            Next::Frame(head, payload) => (head, payload),
            Next::Done(progress) => return Ok(progress.into()),
        };
        let event = match head.kind {
            Kind::HEADERS => self.headers(head, payload, now_ms, buffers)?,
            Kind::CONTINUATION => self.continuation(head, payload, now_ms, buffers)?,
            Kind::PING => self.ping(head, payload, now_ms, buffers).map(|()| None)?,
            Kind::GOAWAY => self.link.goaway_by_peer(head, payload, now_ms).map(|_last| None)?,
            _ => self.link.control(head, payload, now_ms, buffers)?.map(Event::from),
        };
        Ok(Progress::with(HEAD_BYTES + payload.len(), event))
    }

    /// Section 3.4.
    fn preface(&mut self, input: &[u8]) -> Result<Progress<Event>, Fault> {
        let len = input.len().min(PREFACE.len());
        if input[..len] != PREFACE[..len] {
            return Err(Fault::Preface);
        }
        if len < PREFACE.len() {
            return Ok(Progress::NeedMore);
        }
        self.has_preface = true;
        Ok(Progress::Took(len))
    }

    /// Says GOAWAY for the last time.
    pub(super) fn fail(&mut self, code: Code, buffers: &mut Buffers) {
        self.link.served = self.link.served.min(self.link.highest);
        self.leaving = Leaving::Settled;
        write_goaway(&mut buffers.out, self.link.served, code);
    }
}
