//! What the other end sends, taken apart as it comes: messages whole, control frames between them.

use std::ops::Range;

use crate::close::Close;
#[cfg(feature = "deflate")]
use crate::deflate::Inflater;
use crate::fault::Fault;
use crate::frame::{self, Opcode, Read, Received};
use crate::store::Store;
use crate::{Kind, Role, mask};

/// How much a peer may send at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message in bytes, after decompression.
    pub message_bytes_max: u32,
    /// The longest frame in bytes, as it was sent.
    pub frame_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 1 << 20, frame_bytes_max: 1 << 20 }
    }
}

/// What [`Decoder::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing is whole yet.
    NeedMore {
        /// How many bytes of the input are done with. What follows them is to be handed in again, with what comes.
        consumed: usize,
        /// How long the next input is at least before it can lead to anything; always more than what is left over.
        bytes_min: usize,
    },
    /// Something is.
    Event {
        /// How many bytes of the input are done with; there may be more in what follows them.
        consumed: usize,
        /// What it is.
        event: Event<'a>,
    },
}

/// What was received.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message.
    Message {
        /// What it says.
        message: Message<'a>,
        /// Where that lies.
        place: Place,
    },
    /// A ping, to be answered by a pong with the same bytes.
    Ping(&'a [u8]),
    /// A pong, asked for or not.
    Pong(&'a [u8]),
    /// The last there is: what follows is ignored.
    Close(Close<'a>),
}

/// A whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, which is UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// What it is made of.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Where a message lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the input, unmasked where it lies. So are all messages that came whole, in one frame, not compressed.
    InInput(Range<usize>),
    /// In the decoder's memory, until the next call of [`Decoder::next`] gives it back or [`Decoder::take`] takes it.
    Assembled,
}

/// A message that outlives its decoder's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Owned {
    /// The same, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// What is to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The head of a frame.
    Head,
    /// The rest of a frame of data.
    Payload,
    /// The head of a frame; the message in the store was told of.
    Told,
    /// Nothing: the peer has closed, or broke the protocol.
    Over,
}

/// What is read: places only, so that nothing is borrowed yet.
enum Found {
    More { consumed: usize, bytes_min: usize },
    Whole { kind: Kind, place: Range<usize> },
    Assembled { consumed: usize },
    Control { opcode: Opcode, place: Range<usize> },
}

/// Takes apart what the other end sends.
///
/// A message that comes whole is unmasked where it lies and never copied. Of one that comes in pieces, frames or compressed
/// each piece is unmasked, checked and put into the decoder's memory at once, so that wrong text is refused with its first
/// wrong byte. Between messages a decoder owns no memory.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// What is left of the frame under way, in bytes.
    left: usize,
    /// What has come of the message under way.
    store: Option<Box<Store>>,
    #[cfg(feature = "deflate")]
    inflater: Option<Box<Inflater>>,
    key: [u8; 4],
    role: Role,
    phase: Phase,
    /// Whether the frame under way ends its message.
    last: bool,
    /// Whether the message under way is compressed.
    compressed: bool,
}

impl Decoder {
    /// A decoder for the end that is `role`, without compression.
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self {
            limits,
            left: 0,
            store: None,
            #[cfg(feature = "deflate")]
            inflater: None,
            key: [0; 4],
            role,
            phase: Phase::Head,
            last: false,
            compressed: false,
        }
    }

    /// A decoder for the end that is `role`, of a connection that agreed on compression.
    #[cfg(feature = "deflate")]
    pub fn with_deflate(role: Role, limits: Limits, inflater: Inflater) -> Self {
        Self { inflater: Some(Box::new(inflater)), ..Self::new(role, limits) }
    }

    /// Whether the next byte begins a message or a control frame between messages, and nothing is kept.
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.store.is_none()
    }

    /// Finds the next thing in `input`, which begins where the last call's `consumed` ended. Payloads are unmasked in place.
    ///
    /// Call it again with the rest until it needs more; that call also gives back the memory of an assembled message.
    ///
    /// # Errors
    /// The [`Fault`] for which the connection is to be failed. Afterwards all input is ignored.
    #[inline]
    pub fn next<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, Fault> {
        match self.advance(input) {
            Ok(found) => self.told(found, input),
            Err(fault) => {
                self.end();
                Err(fault)
            }
        }
    }

    /// Takes the message that the last event told of out of the decoder's memory, if it lies there.
    pub fn take(&mut self) -> Option<Owned> {
        if self.phase != Phase::Told {
            return None;
        }
        self.phase = Phase::Head;
        self.store.take().map(|store| match *store {
            Store::Text(mut text) => Owned::Text(text.take()),
            Store::Binary(bytes) => Owned::Binary(bytes),
        })
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.store = None;
    }

    /// Makes of places what lies there.
    #[inline]
    fn told<'a>(&'a mut self, found: Found, input: &'a [u8]) -> Result<Step<'a>, Fault> {
        let (consumed, event) = match found {
            Found::More { consumed, bytes_min } => return Ok(Step::NeedMore { consumed, bytes_min }),
            Found::Whole { kind, place } => {
                let bytes = &input[place.clone()];
                let message = match kind {
                    Kind::Binary => Message::Binary(bytes),
                    Kind::Text => match simdutf8::basic::from_utf8(bytes) {
                        Ok(text) => Message::Text(text),
                        Err(_) => {
                            self.end();
                            return Err(Fault::Utf8);
                        }
                    },
                };
                (place.end, Event::Message { message, place: Place::InInput(place) })
            }
            Found::Assembled { consumed } => {
                let message = match self.store.as_deref() {
                    Some(Store::Text(text)) => Message::Text(text.as_str()),
                    Some(Store::Binary(bytes)) => Message::Binary(bytes),
                    None => Message::Binary(&[]),
                };
                (consumed, Event::Message { message, place: Place::Assembled })
            }
            Found::Control { opcode, place } => {
                let payload = &input[place.clone()];
                let event = match opcode {
                    Opcode::Ping => Event::Ping(payload),
                    Opcode::Pong => Event::Pong(payload),
                    _ => {
                        self.end();
                        Event::Close(Close::read(payload)?)
                    }
                };
                (place.end, event)
            }
        };
        Ok(Step::Event { consumed, event })
    }

    #[inline]
    fn advance(&mut self, input: &mut [u8]) -> Result<Found, Fault> {
        let mut at = 0;
        loop {
            match self.phase {
                Phase::Head => {}
                Phase::Payload => match self.go_on(input, &mut at)? {
                    Some(found) => return Ok(found),
                    None => continue,
                },
                Phase::Told => {
                    self.store = None;
                    self.phase = Phase::Head;
                }
                Phase::Over => return Ok(Found::More { consumed: input.len(), bytes_min: 1 }),
            }
            let head = match frame::read(&input[at..], self.role)? {
                Read::Head(head) => head,
                Read::NeedMore(bytes_min) => return Ok(Found::More { consumed: at, bytes_min }),
            };
            let start = at + head.bytes;
            if head.opcode.is_control() {
                return Ok(self.control(&head, input, at));
            }
            let length = self.admit(&head)?;
            if let Some(kind) = self.is_plain(&head)
                && let Some(payload) = input[start..].get_mut(..length)
            {
                mask::apply(head.key, payload);
                return Ok(Found::Whole { kind, place: start..start + length });
            }
            self.begin(&head, length, input.len() - start);
            at = start;
        }
    }

    /// A control frame, which waits until it is whole: it is short.
    fn control(&self, head: &Received, input: &mut [u8], at: usize) -> Found {
        let start = at + head.bytes;
        #[expect(clippy::cast_possible_truncation, reason = "a control frame has 125 bytes at most")]
        let end = start + head.length as usize;
        let Some(payload) = input.get_mut(start..end) else {
            return Found::More { consumed: at, bytes_min: end - at };
        };
        mask::apply(head.key, payload);
        Found::Control { opcode: head.opcode, place: start..end }
    }

    /// Whether a frame of data may come now, and has a length that may be; returns it.
    #[inline]
    fn admit(&self, head: &Received) -> Result<usize, Fault> {
        match (head.opcode, &self.store) {
            (Opcode::Continuation, None) => return Err(Fault::ContinuationAlone),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Fault::MessageInMessage),
            _ => {}
        }
        if head.compressed && !self.inflates() {
            return Err(Fault::ReservedBit);
        }
        if head.length > u64::from(self.limits.frame_bytes_max) {
            return Err(Fault::FrameLength);
        }
        let length = usize::try_from(head.length).map_err(|_error| Fault::FrameLength)?;
        let so_far = self.store.as_ref().map_or(0, |store| store.bytes());
        let compressed = head.compressed || (self.store.is_some() && self.compressed);
        if !compressed && length > self.message_max().saturating_sub(so_far) {
            return Err(Fault::MessageLength);
        }
        Ok(length)
    }

    /// The kind of a message that is all in one frame as it is.
    #[inline]
    const fn is_plain(&self, head: &Received) -> Option<Kind> {
        if !head.last || head.compressed {
            return None;
        }
        match head.opcode {
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            _ => None,
        }
    }

    /// Begins a frame that is taken in pieces, and its message if it is the first.
    fn begin(&mut self, head: &Received, length: usize, here: usize) {
        let kind = if head.opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
        if self.store.is_none() {
            self.compressed = head.compressed;
            #[cfg(feature = "deflate")]
            if let Some(inflater) = self.inflater.as_mut().filter(|_| head.compressed) {
                inflater.begin();
            }
        }
        let store = self.store.get_or_insert_with(|| Box::new(Store::new(kind)));
        if !self.compressed {
            store.expect(length, here);
        }
        self.key = head.key;
        self.left = length;
        self.last = head.last;
        self.phase = Phase::Payload;
    }

    /// Takes what there is of the frame under way. Returns what that makes, or `None` when another frame follows.
    fn go_on(&mut self, input: &mut [u8], at: &mut usize) -> Result<Option<Found>, Fault> {
        let end = *at + self.left.min(input.len() - *at);
        let piece = &mut input[*at..end];
        if self.role == Role::Server {
            self.key = mask::apply(self.key, piece);
        }
        *at = end;
        self.left -= piece.len();
        self.put(piece)?;
        if self.left > 0 {
            return Ok(Some(Found::More { consumed: end, bytes_min: 1 }));
        }
        if !self.last {
            self.phase = Phase::Head;
            return Ok(None);
        }
        self.finish()?;
        self.phase = Phase::Told;
        Ok(Some(Found::Assembled { consumed: end }))
    }

    fn put(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let bytes_max = self.message_max();
        let Some(store) = &mut self.store else { return Ok(()) };
        #[cfg(feature = "deflate")]
        if let Some(inflater) = self.inflater.as_mut().filter(|_| self.compressed) {
            return inflater.inflate(piece, store, bytes_max);
        }
        store.push(piece, bytes_max)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        #[cfg(feature = "deflate")]
        let bytes_max = self.message_max();
        let Some(store) = &mut self.store else { return Ok(()) };
        #[cfg(feature = "deflate")]
        if let Some(inflater) = self.inflater.as_mut().filter(|_| self.compressed) {
            inflater.finish(store, bytes_max)?;
        }
        store.finish()
    }

    #[cfg(feature = "deflate")]
    const fn inflates(&self) -> bool {
        self.inflater.is_some()
    }

    #[cfg(not(feature = "deflate"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    const fn inflates(&self) -> bool {
        false
    }

    const fn message_max(&self) -> usize {
        self.limits.message_bytes_max as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder;

    #[test]
    fn an_idle_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
    }

    #[test]
    fn a_whole_message_stays_where_it_lies() {
        let mut input = Vec::new();
        encoder::frame(Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]), &mut input);
        encoder::frame(Opcode::Ping, b"?", Some([1, 2, 3, 4]), &mut input);
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        let event = Event::Message { message: Message::Text("Hello"), place: Place::InInput(6..11) };
        assert_eq!(decoder.next(&mut input), Ok(Step::Event { consumed: 11, event }));
        assert_eq!(decoder.next(&mut input[11..]), Ok(Step::Event { consumed: 7, event: Event::Ping(b"?") }));
        assert_eq!(decoder.next(&mut []), Ok(Step::NeedMore { consumed: 0, bytes_min: 2 }));
        assert!(decoder.is_idle());
    }

    #[test]
    fn a_message_in_fragments_is_assembled_and_can_be_taken() {
        let mut input = b"\x01\x03Hel\x89\x01!\x80\x02lo\x82\x00".to_vec();
        let mut decoder = Decoder::new(Role::Client, Limits::default());
        assert_eq!(decoder.next(&mut input), Ok(Step::Event { consumed: 8, event: Event::Ping(b"!") }));
        let event = Event::Message { message: Message::Text("Hello"), place: Place::Assembled };
        assert_eq!(decoder.next(&mut input[8..]), Ok(Step::Event { consumed: 4, event }));
        assert_eq!(decoder.take(), Some(Owned::Text("Hello".to_owned())));
        assert_eq!(decoder.take(), None);
        let event = Event::Message { message: Message::Binary(b""), place: Place::InInput(2..2) };
        assert_eq!(decoder.next(&mut input[12..]), Ok(Step::Event { consumed: 2, event }));
    }

    #[test]
    fn nothing_is_read_behind_a_fault_or_a_close_frame() {
        let mut decoder = Decoder::new(Role::Client, Limits::default());
        assert_eq!(decoder.next(&mut [0x83]), Err(Fault::ReservedOpcode));
        assert_eq!(decoder.next(&mut [0x83, 0]), Ok(Step::NeedMore { consumed: 2, bytes_min: 1 }));
        let mut decoder = Decoder::new(Role::Client, Limits::default());
        let close = Event::Close(Close { code: None, reason: "" });
        assert_eq!(decoder.next(&mut [0x88, 0, 0x83]), Ok(Step::Event { consumed: 2, event: close }));
        assert_eq!(decoder.next(&mut [0x83]), Ok(Step::NeedMore { consumed: 1, bytes_min: 1 }));
    }
}
