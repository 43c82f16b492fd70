//! Stacks of layers under a chunker: whatever the splits, moods and sizes, what comes out is what went in, and then the end.

use super::layer::{Layer, Out, Pieces, Wants};
use super::sealed::Sealed;
use super::stack::Stack;
use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Filter, Inbox, Room, Session};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

/// Steps after which a run that is not over never will be.
const STEPS_MAX: usize = 200_000;

/// A small generator of numbers that do not look alike (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0) % sides
    }
}

/// Changes bytes where they lie, by their position.
#[derive(Default)]
struct Scramble {
    read: u64,
    written: u64,
}

fn scramble(bytes: &mut Vec<u8>, position: &mut u64) {
    for byte in bytes {
        *byte ^= position.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[1];
        *position += 1;
    }
}

impl Layer for Scramble {
    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = below.take_first() {
            let mut bytes = piece.to_vec();
            scramble(&mut bytes, &mut self.read);
            out.up.push(out.pool.copy_of(&bytes).ok_or(io::ErrorKind::OutOfMemory)?);
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = above.pop() {
            let mut bytes = piece.to_vec();
            scramble(&mut bytes, &mut self.written);
            out.down.push(out.pool.copy_of(&bytes).ok_or(io::ErrorKind::OutOfMemory)?);
        }
        Ok(())
    }
}

/// Frames of a length of two bytes, whose last is empty: sizes change in both directions, and the end has a word.
#[derive(Default)]
struct Frames {
    has_last: bool,
}

impl Layer for Frames {
    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(mut piece) = below.next_joined(out.pool) {
            let length = match piece[..] {
                [high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
                _ => usize::MAX,
            };
            if length == usize::MAX || piece.len() < 2 + length {
                below.unread(piece);
                return Ok(());
            }
            piece.advance(2);
            let frame = piece.split_to(length);
            self.has_last |= length == 0;
            out.up.push(frame);
            below.unread(piece);
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = above.pop() {
            for part in piece.chunks(777) {
                let length = u16::try_from(part.len()).expect("it is short");
                let mut frame = length.to_be_bytes().to_vec();
                frame.extend_from_slice(part);
                out.down.push(out.pool.copy_of(&frame).ok_or(io::ErrorKind::OutOfMemory)?);
            }
        }
        Ok(())
    }

    fn ended(&mut self, _out: &mut Out<'_>) -> io::Result<()> {
        if self.has_last { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn finish(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        out.down.push(out.pool.copy_of(&[0, 0]).ok_or(io::ErrorKind::OutOfMemory)?);
        Ok(())
    }
}

/// Takes now this, now that, now nothing.
struct Moody {
    dice: Dice,
    wants: Wants,
}

impl Moody {
    fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), wants: Wants::ALL }
    }
}

impl Layer for Moody {
    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        if let Some(mut piece) = below.take_first() {
            let count = self.dice.roll(piece.len() + 1);
            out.up.push(piece.split_to(count));
            below.unread(piece);
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        if let Some(mut piece) = above.pop() {
            let count = self.dice.roll(piece.len() + 1);
            out.down.push(piece.split_to(count));
            above.unpop(piece);
        }
        Ok(())
    }

    fn wants(&mut self) -> Wants {
        let wants = Wants { read: self.dice.roll(3) > 0, write: self.dice.roll(3) > 0, after_ms: 1 };
        self.wants = wants;
        wants
    }
}

/// A filter of the engine that seals in place, with a handshake: each side says a byte first.
#[derive(Default)]
struct Seals {
    has_said: bool,
    session: Option<Rc<Session>>,
    is_ended: bool,
}

const MARK: u8 = 0x17;

impl Filter for Seals {
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_said, true) {
            reply(pool.copy_of(b"!").ok_or(io::ErrorKind::OutOfMemory)?);
        }
        while let Some(mut piece) = wire.next_joined(pool) {
            if self.session.is_none() {
                assert_eq!(piece[0], b'!');
                piece.advance(1);
                self.session = Some(Rc::default());
                wire.unread(piece);
                continue;
            }
            let length = match piece[..] {
                [high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
                _ => usize::MAX,
            };
            if length == usize::MAX || piece.len() < 3 + length {
                wire.unread(piece);
                return Ok(());
            }
            piece.advance(2);
            plain.push(piece.split_to(length));
            assert_eq!(piece[0], MARK);
            piece.advance(1);
            self.is_ended |= length == 0;
            wire.unread(piece);
        }
        Ok(())
    }

    fn room(&mut self, _wire: &mut dyn FnMut(Slice), _pool: &Pool) -> io::Result<Option<Room>> {
        Ok(self.session.is_some().then_some(Room { head: 2, tail: 1, plain_max: 1000 }))
    }

    fn seal(&mut self, record: &mut [u8]) -> io::Result<()> {
        let length = u16::try_from(record.len() - 3).expect("it is short");
        record[..2].copy_from_slice(&length.to_be_bytes());
        if let Some(last) = record.last_mut() {
            *last = MARK;
        }
        Ok(())
    }

    fn finish(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()> {
        wire(pool.copy_of(&[0, 0, MARK]).ok_or(io::ErrorKind::OutOfMemory)?);
        Ok(())
    }

    fn ended(&mut self) -> io::Result<()> {
        if self.is_ended { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn session(&self) -> Option<Rc<Session>> {
        self.session.clone()
    }
}

/// One side of a connection, as the engine drives it.
struct Side {
    stack: Stack,
    wire: Inbox,
    plain: Inbox,
    to_wire: VecDeque<u8>,
    to_send: VecDeque<u8>,
    received: Vec<u8>,
    has_finished: bool,
    has_ended: bool,
}

impl Side {
    fn new(layers: Vec<Box<dyn Layer>>, bytes: Vec<u8>, pool: &Pool) -> Self {
        let mut side = Self {
            stack: Stack::new(layers),
            wire: Inbox::default(),
            plain: Inbox::default(),
            to_wire: VecDeque::new(),
            to_send: bytes.into(),
            received: Vec::new(),
            has_finished: false,
            has_ended: false,
        };
        side.receive(pool);
        side
    }

    fn receive(&mut self, pool: &Pool) {
        let to_wire = &mut self.to_wire;
        let mut reply = |piece: Slice| to_wire.extend(piece.iter());
        self.stack.receive(&mut self.wire, &mut self.plain, &mut reply, pool).expect("nothing is wrong");
        while let Some(piece) = self.plain.take_first() {
            assert!(!self.has_ended, "bytes behind the end");
            self.received.extend_from_slice(&piece);
        }
    }

    /// Sends what the dice say, or the end.
    fn send(&mut self, dice: &mut Dice, pool: &Pool) {
        let to_wire = &mut self.to_wire;
        let mut wire = |piece: Slice| to_wire.extend(piece.iter());
        if self.to_send.is_empty() {
            if !self.has_finished && self.stack.is_open() {
                self.has_finished = true;
                self.stack.finish(&mut wire, pool).expect("nothing is wrong");
            }
            return;
        }
        let Some(room) = self.stack.room(&mut wire, pool).expect("nothing is wrong") else { return };
        assert_eq!((room.head, room.tail), (0, 0));
        let count = (1 + dice.roll(5_000)).min(self.to_send.len());
        let bytes: Vec<u8> = self.to_send.drain(..count).collect();
        self.stack.rewrite(pool.copy_of(&bytes).expect("memory"), &mut wire, pool).expect("it goes on");
    }

    /// Whether everything is on the wire, the end too.
    fn is_done(&self) -> bool {
        self.has_finished && !self.stack.holds() && self.to_wire.is_empty()
    }

    /// Takes some of what the other side has on the wire, and its end.
    fn take(&mut self, other: &mut Self, dice: &mut Dice, pool: &Pool) {
        // As the engine does: what is not wanted is not received without bounds.
        let is_dammed = !self.stack.wants_input() && self.wire.len() > 4096;
        if !other.to_wire.is_empty() && !is_dammed {
            let sides = if dice.roll(4) == 0 { 20_000 } else { 3 };
            let count = (1 + dice.roll(sides)).min(other.to_wire.len());
            let bytes: Vec<u8> = other.to_wire.drain(..count).collect();
            self.wire.push(pool.copy_of(&bytes).expect("memory"));
        }
        self.receive(pool);
        if other.is_done() && !self.has_ended {
            match self.stack.ended() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                told => {
                    told.expect("nothing is missing");
                    self.receive(pool);
                    self.has_ended = self.stack.is_ended();
                }
            }
        }
    }
}

fn bytes(seed: u64, dice: &mut Dice) -> Vec<u8> {
    let count = if dice.roll(5) == 0 { 0 } else { dice.roll(30_000) };
    (0..count as u64).map(|at| (at ^ seed).wrapping_mul(0x9e37_79b9).to_be_bytes()[4]).collect()
}

/// The same layers for both sides, but for their moods.
fn layers(kinds: &[usize], seed: u64) -> Vec<Box<dyn Layer>> {
    let layer = |(at, kind): (usize, &usize)| -> Box<dyn Layer> {
        match kind {
            0 => Box::new(Scramble::default()),
            1 => Box::new(Frames::default()),
            2 => Box::new(Moody::new(seed * 31 + at as u64)),
            _ => Box::new(Sealed(Box::new(Seals::default()))),
        }
    };
    kinds.iter().enumerate().map(layer).collect()
}

#[test]
fn any_stack_gives_back_what_went_in_at_any_splits() {
    let pool = Pool::new(64 << 20);
    for seed in 0..80 {
        let dice = &mut Dice::new(seed);
        let kinds: Vec<usize> = (0..dice.roll(6)).map(|_| dice.roll(4)).collect();
        let (there, back) = (bytes(seed, dice), bytes(seed + 1_000_000, dice));
        let mut left = Side::new(layers(&kinds, seed), there.clone(), &pool);
        let mut right = Side::new(layers(&kinds, seed + 7), back.clone(), &pool);
        let mut steps = 0;
        while !(left.has_ended && right.has_ended) {
            match dice.roll(4) {
                0 => left.send(dice, &pool),
                1 => right.send(dice, &pool),
                2 => left.take(&mut right, dice, &pool),
                _ => right.take(&mut left, dice, &pool),
            }
            steps += 1;
            assert!(
                steps < STEPS_MAX,
                "seed {seed}, {kinds:?}: {} of {}, {} of {}",
                right.received.len(),
                there.len(),
                left.received.len(),
                back.len()
            );
        }
        assert!(right.received == there, "seed {seed}, {kinds:?}");
        assert!(left.received == back, "seed {seed}, {kinds:?}");
        assert!(!left.stack.holds() && !right.stack.holds());
    }
    assert_eq!(pool.slices_out(), 0, "nothing is kept");
}

#[test]
fn one_side_may_end_long_before_the_other() {
    let pool = Pool::new(16 << 20);
    let dice = &mut Dice::new(1);
    let kinds = [1, 3, 2, 0];
    let back = vec![b'b'; 50_000];
    let mut left = Side::new(layers(&kinds, 1), b"question".to_vec(), &pool);
    let mut right = Side::new(layers(&kinds, 2), Vec::new(), &pool);
    // What the right side has to send comes when the left one has ended.
    right.to_send = back.clone().into();
    for _ in 0..STEPS_MAX {
        left.send(dice, &pool);
        left.take(&mut right, dice, &pool);
        right.take(&mut left, dice, &pool);
        if right.has_ended {
            break;
        }
    }
    assert!(right.has_ended && !left.has_ended);
    assert_eq!(right.received, b"question");
    for _ in 0..STEPS_MAX {
        right.send(dice, &pool);
        // As when its nap is over.
        right.receive(&pool);
        left.take(&mut right, dice, &pool);
        if left.has_ended {
            break;
        }
    }
    let (received, has_ended) = (left.received.len(), left.has_ended);
    assert!(left.received == back && has_ended, "{received} {has_ended} {}", right.to_send.len());
}

#[test]
fn an_end_in_the_middle_of_a_frame_is_none() {
    let pool = Pool::new(1 << 20);
    let mut side = Side::new(layers(&[0, 1], 1), Vec::new(), &pool);
    side.wire.push(pool.copy_of(&[0, 9, 1]).expect("memory"));
    side.receive(&pool);
    assert_eq!(side.stack.ended().expect_err("half a frame").kind(), io::ErrorKind::UnexpectedEof);
    assert!(side.stack.ended().is_err(), "it says so again");
}

/// Gives back what it gets, in both directions: two of them never come to rest.
struct Mirror;

impl Layer for Mirror {
    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = below.take_first() {
            out.down.push(piece);
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = above.pop() {
            out.up.push(piece);
        }
        Ok(())
    }
}

#[test]
fn layers_that_answer_one_another_without_end_are_cut_off() {
    let pool = Pool::new(1 << 20);
    // What goes down from the upper one comes back from the lower one.
    let mut stack = Stack::new(vec![Box::new(Mirror), Box::new(Mirror)]);
    let mut wire = |_piece: Slice| {};
    stack.receive(&mut Inbox::default(), &mut Inbox::default(), &mut wire, &pool).expect("it begins");
    let turned = stack.rewrite(pool.copy_of(b"x").expect("memory"), &mut wire, &pool);
    assert!(turned.is_ok(), "the upper one gives it back at once: {turned:?}");
    let mut stack = Stack::new(vec![Box::new(Mirror), Box::new(Upside)]);
    stack.receive(&mut Inbox::default(), &mut Inbox::default(), &mut wire, &pool).expect("it begins");
    let turned = stack.rewrite(pool.copy_of(b"x").expect("memory"), &mut wire, &pool);
    assert!(turned.is_err(), "it goes round between them");
    assert!(stack.room(&mut wire, &pool).is_err(), "and the connection is over");
}

/// Lets down what comes from above, and sends down again what comes from below.
struct Upside;

impl Layer for Upside {
    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = below.take_first() {
            out.down.push(piece);
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = above.pop() {
            out.down.push(piece);
        }
        Ok(())
    }
}
