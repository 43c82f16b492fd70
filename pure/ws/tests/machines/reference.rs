//! A decoder that is written to be plainly right: no splits, nothing in place, byte by byte. No compression.

use ringway_ws::Role;
use ringway_ws::code::CloseCode;
use ringway_ws::decoder::{Decoder, Event, Limits, Message, Step};
use ringway_ws::fault::Fault;

/// What was received, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// All that was received, and the fault that ended it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) told: Vec<Told>,
    pub(crate) fault: Option<Fault>,
}

/// Feeds `bytes` to `decoder` in pieces that end at `stops` and at the end, as a connection does.
pub(crate) fn feed(mut decoder: Decoder, bytes: &[u8], stops: impl Iterator<Item = usize>) -> Read {
    let mut read = Read::default();
    let (mut input, mut fed) = (Vec::new(), 0);
    for stop in stops.chain([bytes.len()]) {
        input.extend_from_slice(&bytes[fed..stop.max(fed)]);
        fed = stop.max(fed);
        loop {
            let length = input.len();
            let consumed = match decoder.next(&mut input) {
                Err(fault) => {
                    read.fault = Some(fault);
                    return read;
                }
                Ok(Step::NeedMore { consumed, bytes_min }) => {
                    assert!(bytes_min > length - consumed, "nothing is left that could be read");
                    assert!(length - consumed < 14 + 125, "only heads and control frames wait to be whole");
                    input.drain(..consumed);
                    break;
                }
                Ok(Step::Event { consumed, event }) => {
                    assert!(consumed > 0 && consumed <= length);
                    read.told.push(told(event));
                    consumed
                }
            };
            input.drain(..consumed);
        }
        if matches!(read.told.last(), Some(Told::Close(..))) {
            return read;
        }
    }
    read
}

fn told(event: Event<'_>) -> Told {
    match event {
        Event::Message { message: Message::Text(text), .. } => Told::Text(text.to_owned()),
        Event::Message { message: Message::Binary(bytes), .. } => Told::Binary(bytes.to_vec()),
        Event::Ping(payload) => Told::Ping(payload.to_vec()),
        Event::Pong(payload) => Told::Pong(payload.to_vec()),
        Event::Close(close) => Told::Close(close.code.map(CloseCode::get), close.reason.to_owned()),
    }
}

/// Reads `bytes` the plain way.
pub(crate) fn read(bytes: &[u8], role: Role, limits: Limits) -> Read {
    let mut read = Read::default();
    if let Err(fault) = frames(bytes, role, limits, &mut read.told) {
        read.fault = Some(fault);
    }
    read
}

fn frames(mut bytes: &[u8], role: Role, limits: Limits, told: &mut Vec<Told>) -> Result<(), Fault> {
    // Whether the message under way is text, and what has come of it.
    let mut message: Option<(bool, Vec<u8>)> = None;
    while let Some(first) = bytes.first() {
        let (last, opcode) = (first & 0x80 != 0, first & 15);
        let compressed = first & 0x40 != 0;
        check_first(*first)?;
        let Some(second) = bytes.get(1) else { return Ok(()) };
        let short = check_second(*second, opcode, role)?;
        let Some((length, at)) = length(bytes, short)? else { return Ok(()) };
        let key_bytes = if role == Role::Server { 4 } else { 0 };
        let Some(key) = bytes.get(at..at + key_bytes) else { return Ok(()) };
        let rest = &bytes[at + key_bytes..];
        if opcode < 8 {
            match (opcode, &message) {
                (0, None) => return Err(Fault::ContinuationAlone),
                (1 | 2, Some(_)) => return Err(Fault::MessageInMessage),
                _ => {}
            }
            if compressed {
                return Err(Fault::ReservedBit);
            }
            if length > u64::from(limits.frame_bytes_max) {
                return Err(Fault::FrameLength);
            }
            let so_far = message.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
            if so_far + length > u64::from(limits.message_bytes_max) {
                return Err(Fault::MessageLength);
            }
        }
        let here = rest.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let whole = here as u64 == length;
        let payload: Vec<u8> =
            rest[..here].iter().enumerate().map(|(at, byte)| byte ^ key.get(at % 4).unwrap_or(&0)).collect();
        if opcode < 8 {
            let (is_text, so_far) = message.get_or_insert((opcode == 1, Vec::new()));
            so_far.extend_from_slice(&payload);
            let text = std::str::from_utf8(so_far);
            if *is_text && text.is_err_and(|error| error.error_len().is_some() || (last && whole)) {
                return Err(Fault::Utf8);
            }
        }
        if !whole {
            return Ok(());
        }
        match opcode {
            8 => {
                told.push(closed(&payload)?);
                return Ok(());
            }
            9 => told.push(Told::Ping(payload)),
            10 => told.push(Told::Pong(payload)),
            _ if last => told.push(match message.take() {
                Some((true, text)) => Told::Text(String::from_utf8(text).expect("it was checked")),
                Some((false, bytes)) => Told::Binary(bytes),
                None => unreachable!("a frame of data has a message"),
            }),
            _ => {}
        }
        bytes = &rest[here..];
    }
    Ok(())
}

fn check_first(first: u8) -> Result<(), Fault> {
    let opcode = first & 15;
    if first & 0x30 != 0 {
        return Err(Fault::ReservedBit);
    }
    if !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
        return Err(Fault::ReservedOpcode);
    }
    if opcode >= 8 && first & 0x80 == 0 {
        return Err(Fault::ControlFragmented);
    }
    if first & 0x40 != 0 && !matches!(opcode, 1 | 2) {
        return Err(Fault::ReservedBit);
    }
    Ok(())
}

/// Returns the length, or which form it has.
fn check_second(second: u8, opcode: u8, role: Role) -> Result<u8, Fault> {
    match (role, second & 0x80 != 0) {
        (Role::Server, false) => return Err(Fault::MaskMissing),
        (Role::Client, true) => return Err(Fault::MaskPresent),
        _ => {}
    }
    let short = second & 0x7f;
    if opcode >= 8 && short > 125 { Err(Fault::ControlLength) } else { Ok(short) }
}

/// The payload's length and where it ends, if it is all there.
fn length(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Fault> {
    let (count, least) = match short {
        126 => (2, 126),
        127 => (8, 65536),
        _ => return Ok(Some((u64::from(short), 2))),
    };
    let Some(sent) = bytes.get(2..2 + count) else { return Ok(None) };
    let length = sent.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
    if length < least || length >= 1 << 63 { Err(Fault::LengthForm) } else { Ok(Some((length, 2 + count))) }
}

fn closed(payload: &[u8]) -> Result<Told, Fault> {
    match payload {
        [] => Ok(Told::Close(None, String::new())),
        [_] => Err(Fault::CloseLength),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            let valid = (1000..=1014).contains(&code) && !(1004..=1006).contains(&code);
            if !valid && !(3000..5000).contains(&code) {
                return Err(Fault::CloseCode);
            }
            let reason = String::from_utf8(reason.to_vec()).map_err(|_error| Fault::CloseReason)?;
            Ok(Told::Close(Some(code), reason))
        }
    }
}
