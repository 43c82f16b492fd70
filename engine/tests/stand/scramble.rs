//! A record layer without a purpose of its own: frames of at most 1,000 bytes, scrambled, with a last word. It stands for
//! TLS: its boundaries match nobody's, and it has handshakes' needs (answers of its own, words after the end).

use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Filter, FilterSource, Inbox, Room, Session};
use std::io;
use std::rc::Rc;

/// Most plain bytes of a record.
pub(crate) const RECORD_MAX: usize = 1_000;

/// A record of this length is the last word.
const LAST_WORD: usize = 0;

/// A record of this length asks for an answer of the filter's own.
pub(crate) const KNOCK: u16 = 0xfffe;

/// A record of this length makes the filter panic.
pub(crate) const BOMB: u16 = 0xffff;

/// The answer to a knock.
pub(crate) const ANSWER: &[u8] = &[0xff, 0xfe];

/// The answer to a record that cannot be right.
pub(crate) const REFUSAL: &[u8] = b"no";

/// One direction's scrambler: every byte has its own key, so one that is lost or doubled spoils all that follow.
#[derive(Default)]
pub(crate) struct Keys {
    counter: u64,
}

impl Keys {
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte ^= self.counter.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[1];
            self.counter += 1;
        }
    }
}

/// The filter.
#[derive(Default)]
pub(crate) struct Scramble {
    receiving: Keys,
    sending: Keys,
    /// The length of the record whose head has arrived.
    awaited: Option<usize>,
    /// The first knock is the handshake, and an end needs a last word.
    is_strict: bool,
    /// The handshake is done.
    session: Option<Rc<Session>>,
    /// The peer's last word has come.
    is_ended: bool,
}

pub(crate) fn boxed() -> Box<dyn Filter> {
    Box::new(Scramble::default())
}

/// The source of filters with a handshake.
pub(crate) struct Strict;

/// What their handshake agrees on.
pub(crate) const CIPHER: &str = "scramble";

impl FilterSource for Strict {
    fn make(&self) -> Box<dyn Filter> {
        Box::new(Scramble { is_strict: true, ..Scramble::default() })
    }
}

impl Filter for Scramble {
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()> {
        loop {
            if self.awaited.is_none() {
                let mut head = [0; 2];
                if wire.len() < head.len() {
                    return Ok(());
                }
                wire.copy_to(&mut head);
                match u16::from_be_bytes(head) {
                    KNOCK => {
                        reply(pool.copy_of(ANSWER).ok_or(io::ErrorKind::OutOfMemory)?);
                        let session = Session { cipher: CIPHER, ..Session::default() };
                        self.session.get_or_insert_with(|| Rc::new(session));
                    }
                    BOMB => panic!("on purpose: a filter"),
                    length if usize::from(length) > RECORD_MAX => {
                        reply(pool.copy_of(REFUSAL).ok_or(io::ErrorKind::OutOfMemory)?);
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    length if usize::from(length) == LAST_WORD => self.is_ended = true,
                    length => self.awaited = Some(usize::from(length)),
                }
                continue;
            }
            let Some(length) = self.awaited.filter(|&length| wire.len() >= length) else { return Ok(()) };
            let mut buffer = pool.get(length).ok_or(io::ErrorKind::OutOfMemory)?;
            wire.copy_to(&mut buffer[..length]);
            self.receiving.apply(&mut buffer[..length]);
            plain.push(buffer.freeze(length));
            self.awaited = None;
        }
    }

    fn room(&mut self, _wire: &mut dyn FnMut(Slice), _pool: &Pool) -> io::Result<Option<Room>> {
        let is_ready = !self.is_strict || self.session.is_some();
        Ok(is_ready.then_some(Room { head: 2, tail: 0, plain_max: RECORD_MAX }))
    }

    fn seal(&mut self, record: &mut [u8]) -> io::Result<()> {
        let (head, plain) = record.split_at_mut(2);
        assert!((1..=RECORD_MAX).contains(&plain.len()), "a record of {} bytes", plain.len());
        head.copy_from_slice(&u16::try_from(plain.len()).expect("a record is short").to_be_bytes());
        self.sending.apply(plain);
        Ok(())
    }

    fn finish(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()> {
        wire(pool.copy_of(&[0, 0]).ok_or(io::ErrorKind::OutOfMemory)?);
        Ok(())
    }

    fn ended(&mut self) -> io::Result<()> {
        let is_cut = self.is_strict && !self.is_ended;
        if is_cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn is_ended(&self) -> bool {
        self.is_strict && self.is_ended
    }

    fn session(&self) -> Option<Rc<Session>> {
        self.session.clone()
    }
}

fn sealed(keys: &mut Keys, part: &[u8]) -> Vec<u8> {
    let length = u16::try_from(part.len()).expect("a record is short");
    let mut record = length.to_be_bytes().to_vec();
    record.extend_from_slice(part);
    keys.apply(&mut record[2..]);
    record
}

/// The client's side of the record layer.
#[derive(Default)]
pub(crate) struct Peer {
    sending: Keys,
    receiving: Keys,
    wire: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    /// The last word has come.
    pub(crate) is_finished: bool,
}

impl Peer {
    /// Records of `bytes`, the lengths of which are taken from `lengths` over and over.
    pub(crate) fn seal(&mut self, mut bytes: &[u8], lengths: &[usize]) -> Vec<u8> {
        let mut wire = Vec::new();
        for length in lengths.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let (part, rest) = bytes.split_at((*length).clamp(1, RECORD_MAX.min(bytes.len())));
            wire.extend(sealed(&mut self.sending, part));
            bytes = rest;
        }
        wire
    }

    /// Takes in what came. Nothing may follow the last word.
    pub(crate) fn open(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
        while self.wire.len() >= 2 {
            assert!(!self.is_finished, "bytes after the last word");
            let length = usize::from(u16::from_be_bytes([self.wire[0], self.wire[1]]));
            assert!(length <= RECORD_MAX, "a record of {length} bytes");
            if self.wire.len() < 2 + length {
                return;
            }
            let mut part: Vec<u8> = self.wire.drain(..2 + length).skip(2).collect();
            self.receiving.apply(&mut part);
            self.is_finished = length == LAST_WORD;
            self.plain.append(&mut part);
        }
    }
}
