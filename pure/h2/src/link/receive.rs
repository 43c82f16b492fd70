//! What comes in, frame by frame (RFC 9113 sections 3.4 and 4), and what errors come to (section 5.4).

use super::{Link, StreamEvent};
use crate::buffers::Buffers;
use crate::code::{Code, Fault};
use crate::frame::{HEAD_BYTES, Head, Kind, PAYLOAD_BYTES, flag, write_reset};
use crate::streams::Past;

/// What became of the front of the input.
#[derive(Debug)]
pub(crate) enum Progress<E> {
    /// The rest of something is missing.
    NeedMore,
    /// So many bytes are done with.
    Took(usize),
    /// So many bytes are done with, and this happened.
    Found(usize, E),
}

impl<E> Progress<E> {
    pub(crate) fn with(consumed: usize, event: Option<E>) -> Self {
        match event {
            Some(event) => Self::Found(consumed, event),
            None => Self::Took(consumed),
        }
    }

    /// The same, said in the words of one side.
    #[inline]
    pub(crate) fn into<F: From<E>>(self) -> Progress<F> {
        match self {
            Self::NeedMore => Progress::NeedMore,
            Self::Took(bytes) => Progress::Took(bytes),
            Self::Found(bytes, event) => Progress::Found(bytes, event.into()),
        }
    }
}

/// What stands at the front of the input.
#[derive(Debug)]
pub(crate) enum Next<'i> {
    /// A whole frame that is not DATA.
    Frame(Head, &'i [u8]),
    /// DATA, or nothing that is whole: dealt with.
    Done(Progress<StreamEvent>),
}

impl Link {
    /// Looks at the front of the input. Bodies are taken as they come, everything else when it is a whole frame.
    #[inline]
    pub(crate) fn next<'i>(
        &mut self,
        input: &'i [u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Next<'i>, Fault> {
        if self.payload.is_some() {
            return Ok(Next::Done(self.payload(input, buffers)));
        }
        let Some(head) = Head::read(input) else { return Ok(Next::Done(Progress::NeedMore)) };
        let len = head.len as usize;
        if len > PAYLOAD_BYTES {
            return Err(Fault::FrameLength);
        }
        self.check_order(head)?;
        let rest = &input[HEAD_BYTES..];
        if head.kind == Kind::DATA {
            return self.data_frame(head, rest, now_ms, buffers).map(Next::Done);
        }
        Ok(match rest.get(..len) {
            Some(payload) => Next::Frame(head, payload),
            None => Next::Done(Progress::NeedMore),
        })
    }

    /// What may come now: SETTINGS first (section 3.4), and nothing within a field section (section 4.3).
    fn check_order(&mut self, head: Head) -> Result<(), Fault> {
        if !self.is_open {
            if head.kind != Kind::SETTINGS || head.has(flag::ACK) {
                return Err(Fault::FirstFrame);
            }
            self.is_open = true;
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

    /// The peer has erred on a stream (section 5.4.2): it is reset, and that counts, because a peer can make this side do
    /// it as often as it likes.
    pub(crate) fn fail_stream(
        &mut self,
        stream: u32,
        code: Code,
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<StreamEvent>, Fault> {
        write_reset(&mut buffers.out, stream, code);
        let lived = self.end_stream(stream, Past::ResetByUs, buffers);
        if !lived {
            self.streams.remember(stream, Past::ResetByUs);
        }
        self.count_reset(now_ms)?;
        Ok(lived.then_some(StreamEvent::Reset { stream, code, is_by_peer: false }))
    }

    pub(super) fn count_reset(&mut self, now_ms: u64) -> Result<(), Fault> {
        if self.resets.take(now_ms) { Ok(()) } else { Err(Fault::ResetFlood) }
    }

    /// Counts a frame that carries nothing.
    pub(crate) fn count_idle_frame(&mut self, now_ms: u64) -> Result<(), Fault> {
        if self.idle_frames.take(now_ms) { Ok(()) } else { Err(Fault::FrameFlood) }
    }

    /// Forgets a stream; what of its body nobody consumed is given back to the connection.
    pub(crate) fn end_stream(&mut self, stream: u32, past: Past, buffers: &mut Buffers) -> bool {
        let Some(ended) = self.streams.remove(stream, past) else { return false };
        self.give_back(ended.unread, buffers);
        true
    }

    /// Whether a frame on this stream that does not live is one on an idle stream (section 5.1).
    pub(crate) fn is_idle(&self, stream: u32) -> bool {
        stream > self.highest || stream.is_multiple_of(2)
    }

    /// Whether the stream was opened after this side had said which one is the last it serves (section 6.8).
    pub(crate) fn is_ignored(&self, stream: u32) -> bool {
        stream > self.served
    }
}
