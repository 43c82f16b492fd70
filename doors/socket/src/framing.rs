//! Where messages begin and end in a stream of bytes: a pure machine, fed with what is there.

use std::fmt;
use std::ops::Range;

/// Longest delimiter, in bytes.
pub const DELIMITER_BYTES_MAX: usize = 64;

/// Longest frame around a payload, in bytes: that of a WebSocket, or of a delimiter.
pub(crate) const FRAME_BYTES_MAX: usize = DELIMITER_BYTES_MAX;

/// In which order the bytes of a length stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// The most significant byte first: the network's order.
    #[default]
    Big,
    /// The least significant byte first.
    Little,
}

/// How messages are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: what came is a message.
    #[default]
    None,
    /// A length stands before each.
    Length {
        /// Bytes of the length: 1, 2, 4 or 8.
        bytes: u8,
        /// Their order.
        order: ByteOrder,
        /// Whether the length counts its own bytes, too.
        inclusive: bool,
    },
    /// These bytes stand behind each: 1 to [`DELIMITER_BYTES_MAX`] of them.
    Delimiter(Box<[u8]>),
    /// Each has so many bytes, at least 1.
    Fixed(usize),
    /// The handler says: [`crate::Handler::measure`].
    Handler,
    /// Those of a WebSocket (RFC 6455), after an upgrade.
    WebSocket,
    /// A WebSocket where the peer asks for one, and this elsewhere; neither [`Framing::WebSocket`] nor itself. The handler
    /// hears of a connection when that is known, and at the latest after [`FramingLimits::auto_wait_ms`]: a peer of a protocol
    /// in which the server speaks first says nothing.
    Auto(Box<Framing>),
}

impl Framing {
    /// Lines that end with a line feed, and maybe a carriage return before it, which belongs to the message.
    #[must_use]
    pub fn lines() -> Self {
        Self::Delimiter(Box::new(*b"\n"))
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// A [`FramingError`] that says what does not.
    pub fn check(&self) -> Result<(), FramingError> {
        match self {
            Self::Length { bytes, .. } if !matches!(bytes, 1 | 2 | 4 | 8) => {
                Err(FramingError::LengthBytes(*bytes))
            }
            Self::Delimiter(delimiter) if delimiter.is_empty() || delimiter.len() > DELIMITER_BYTES_MAX => {
                Err(FramingError::Delimiter(delimiter.len()))
            }
            Self::Fixed(0) => Err(FramingError::Fixed),
            Self::Auto(raw) => match **raw {
                Self::Auto(_) | Self::WebSocket => Err(FramingError::Auto),
                ref raw => raw.check(),
            },
            _ => Ok(()),
        }
    }

    /// What messages are told apart by where no WebSocket is spoken.
    pub(crate) fn raw(&self) -> &Self {
        match self {
            Self::Auto(raw) => raw,
            other => other,
        }
    }

    /// Looks for the message at the beginning of `input`, of which the first `seen` bytes were looked at before without
    /// finding its end. `measure` is asked where the handler says.
    pub fn next(
        &self,
        input: &[u8],
        seen: usize,
        limits: &FramingLimits,
        measure: &mut dyn FnMut(&[u8]) -> Measure,
    ) -> Found {
        if input.is_empty() {
            return Found::NeedMore(None);
        }
        match self {
            Self::None => Found::whole(input.len(), 0..input.len()),
            Self::Length { bytes, order, inclusive } => {
                length_prefixed(input, usize::from(*bytes), *order, *inclusive, limits)
            }
            Self::Delimiter(delimiter) => delimited(input, seen, delimiter, limits),
            Self::Fixed(bytes) => sized(input, *bytes),
            Self::Handler => measured(input, measure(input), limits),
            Self::Auto(raw) => raw.next(input, seen, limits, measure),
            // Its frames are taken apart elsewhere.
            Self::WebSocket => Found::Wrong(FramingFault::Measure),
        }
    }

    /// What stands before a payload of so many bytes, written to the end of `out`; the bytes written. `None`: it is longer
    /// than its length can say.
    pub(crate) fn head(&self, payload: u64, out: &mut [u8; FRAME_BYTES_MAX]) -> Option<usize> {
        let Self::Length { bytes, order, inclusive } = self.raw() else { return Some(0) };
        let count = usize::from(*bytes);
        let said = if *inclusive { payload.checked_add(u64::from(*bytes))? } else { payload };
        if count < 8 && said >> (8 * count) != 0 {
            return None;
        }
        let place = &mut out[FRAME_BYTES_MAX - count..];
        match order {
            ByteOrder::Big => place.copy_from_slice(&said.to_be_bytes()[8 - count..]),
            ByteOrder::Little => place.copy_from_slice(&said.to_le_bytes()[..count]),
        }
        Some(count)
    }

    /// What stands behind each payload.
    pub(crate) fn tail(&self) -> &[u8] {
        match self.raw() {
            Self::Delimiter(delimiter) => delimiter,
            _ => &[],
        }
    }
}

/// Why a [`Framing`] makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// A length of so many bytes.
    LengthBytes(u8),
    /// A delimiter of so many bytes.
    Delimiter(usize),
    /// Messages of no bytes.
    Fixed,
    /// `Auto` around a WebSocket or itself.
    Auto,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthBytes(bytes) => write!(f, "a length has 1, 2, 4 or 8 bytes, not {bytes}"),
            Self::Delimiter(bytes) => {
                write!(f, "a delimiter has 1 to {DELIMITER_BYTES_MAX} bytes, not {bytes}")
            }
            Self::Fixed => f.write_str("messages have at least 1 byte"),
            Self::Auto => f.write_str("\"auto\" stands around raw traffic, not around a WebSocket"),
        }
    }
}

impl std::error::Error for FramingError {}

/// What a peer may send at a time, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramingLimits {
    /// The longest message with its frame, in bytes. 1 MiB.
    pub message_bytes_max: usize,
    /// What all unfinished messages of a worker's connections may keep together beyond 64 KiB each, in bytes. 64 MiB.
    pub assembling_bytes_max: usize,
    /// How long a connection's type may be open where WebSockets and raw traffic come together, in milliseconds. 200.
    pub auto_wait_ms: u64,
}

impl Default for FramingLimits {
    fn default() -> Self {
        Self { message_bytes_max: 1 << 20, assembling_bytes_max: 64 << 20, auto_wait_ms: 200 }
    }
}

/// What a handler says of the message that begins with what it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// It cannot be said yet: show more.
    NeedMore,
    /// It has so many bytes, at least 1; they need not all be there.
    Bytes(usize),
    /// It is none: the connection is closed.
    Wrong,
}

/// What [`Framing::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message.
    Whole {
        /// Its bytes with its frame, at the beginning of the input.
        total: usize,
        /// Where its payload lies among them.
        payload: Range<usize>,
    },
    /// No whole message is there. So many bytes make one, where that is known.
    NeedMore(Option<usize>),
    /// No message can come of this.
    Wrong(FramingFault),
}

impl Found {
    fn whole(total: usize, payload: Range<usize>) -> Self {
        Self::Whole { total, payload }
    }
}

/// How a peer, or a handler's measure, broke the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingFault {
    /// The message is longer than allowed: so many bytes at least.
    TooLong(u64),
    /// The length counts its own bytes and is less than them.
    Length(u64),
    /// The handler says that it is none.
    Refused,
    /// The handler's measure makes no sense: a message of no bytes.
    Measure,
}

impl fmt::Display for FramingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => {
                write!(f, "a message of {bytes} bytes or more is beyond message_bytes_max")
            }
            Self::Length(said) => write!(f, "a length of {said} that does not even count itself"),
            Self::Refused => f.write_str("the handler knows no such message"),
            Self::Measure => f.write_str("the handler measured a message of 0 bytes"),
        }
    }
}

impl std::error::Error for FramingFault {}

fn length_prefixed(
    input: &[u8],
    count: usize,
    order: ByteOrder,
    inclusive: bool,
    limits: &FramingLimits,
) -> Found {
    let Some(prefix) = input.get(..count) else { return Found::NeedMore(None) };
    let mut bytes = [0; 8];
    let said = match order {
        ByteOrder::Big => {
            bytes[8 - count..].copy_from_slice(prefix);
            u64::from_be_bytes(bytes)
        }
        ByteOrder::Little => {
            bytes[..count].copy_from_slice(prefix);
            u64::from_le_bytes(bytes)
        }
    };
    let own = count as u64;
    if inclusive && said < own {
        return Found::Wrong(FramingFault::Length(said));
    }
    let total = if inclusive { said } else { said.saturating_add(own) };
    match usize::try_from(total) {
        Ok(total) if total <= limits.message_bytes_max => framed(input, total, count..total),
        _ => Found::Wrong(FramingFault::TooLong(total)),
    }
}

fn delimited(input: &[u8], seen: usize, delimiter: &[u8], limits: &FramingLimits) -> Found {
    // A delimiter may have begun in what was looked at before.
    let from = seen.saturating_sub(delimiter.len().saturating_sub(1)).min(input.len());
    let most = limits.message_bytes_max;
    match find(&input[from..], delimiter).map(|at| from + at) {
        Some(at) if at + delimiter.len() <= most => Found::whole(at + delimiter.len(), 0..at),
        None if input.len() < most => Found::NeedMore(None),
        _ => Found::Wrong(FramingFault::TooLong(input.len().min(most.saturating_add(1)) as u64)),
    }
}

fn find(input: &[u8], delimiter: &[u8]) -> Option<usize> {
    let (first, rest) = delimiter.split_first()?;
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(*first, input.get(from..)?)?;
        if input.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn measured(input: &[u8], measure: Measure, limits: &FramingLimits) -> Found {
    let most = limits.message_bytes_max;
    match measure {
        Measure::NeedMore if input.len() < most => Found::NeedMore(None),
        Measure::NeedMore => Found::Wrong(FramingFault::TooLong(input.len() as u64)),
        Measure::Wrong => Found::Wrong(FramingFault::Refused),
        Measure::Bytes(0) => Found::Wrong(FramingFault::Measure),
        Measure::Bytes(bytes) if bytes > most => Found::Wrong(FramingFault::TooLong(bytes as u64)),
        Measure::Bytes(bytes) => sized(input, bytes),
    }
}

fn sized(input: &[u8], bytes: usize) -> Found {
    framed(input, bytes, 0..bytes)
}

fn framed(input: &[u8], total: usize, payload: Range<usize>) -> Found {
    if input.len() < total { Found::NeedMore(Some(total)) } else { Found::whole(total, payload) }
}
