//! Compressing what is sent.

use std::rc::Rc;

use flate2::{Compress, FlushCompress};

use super::agreement::{Agreement, Options, WINDOW_BITS_MIN};
use super::spare::engine;
use super::{Spare, TAIL};
use crate::Role;

/// Room that is made for compressed data at a time, in bytes.
const ROOM_BYTES: usize = 1 << 10;

/// Room that a flush needs at least, in bytes: in less it would be given twice.
const FLUSH_BYTES: usize = 16;

/// The compression of one connection, or of messages for many.
#[derive(Debug)]
pub struct Deflater {
    spare: Rc<Spare>,
    takeover: bool,
    window_bits: u8,
    level: u8,
    message_bytes_min: u32,
    /// Its own between messages only where this end keeps its context.
    engine: Option<Compress>,
}

impl Deflater {
    /// For the end that is `role`.
    pub fn new(role: Role, agreement: &Agreement, options: &Options, spare: Rc<Spare>) -> Self {
        let (takeover, window_bits) = agreement.of(role);
        Self { takeover, ..Self::shared(window_bits, options, spare) }
    }

    /// For messages that are sent to many: each stands for itself, whatever its recipients have agreed on, if their
    /// window ([`Deflater::window_bits`]) is no narrower than `window_bits`. See [`Deflater::sent_shared`].
    pub fn shared(window_bits: u8, options: &Options, spare: Rc<Spare>) -> Self {
        let level = options.level.clamp(1, 9);
        let message_bytes_min = options.message_bytes_min;
        Self { spare, takeover: false, window_bits, level, message_bytes_min, engine: None }
    }

    /// The window that messages are compressed with, in bits.
    pub const fn window_bits(&self) -> u8 {
        self.window_bits
    }

    /// A message that was compressed for many was sent on this connection. The other end's window has it now and this one's
    /// has not, so the next message refers to nothing before it.
    pub fn sent_shared(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.reset();
        }
    }

    /// Appends `payload` to `out`, compressed, and returns true; or leaves `out` as it was and returns false, when the
    /// message is better sent as it is.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        // There is no window of 8 bits to compress with; an empty message has nothing to flush.
        if self.window_bits < WINDOW_BITS_MIN
            || payload.is_empty()
            || payload.len() < self.message_bytes_min as usize
        {
            return false;
        }
        let start = out.len();
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None if self.takeover => engine(self.level, self.window_bits),
            None => self.spare.deflating(self.level, self.window_bits),
        };
        let whole = run(&mut engine, payload, out);
        // Without a context nothing is lost when the message goes as it is.
        let better = whole && (self.takeover || out.len() - start < payload.len());
        if self.takeover {
            if !whole {
                engine.reset();
            }
            self.engine = Some(engine);
        } else {
            self.spare.keep_deflating(self.level, self.window_bits, engine);
        }
        if !better {
            out.truncate(start);
        }
        better
    }
}

/// Compresses and flushes, and takes off the tail. False only if the engine refuses to, which it has no reason for.
fn run(engine: &mut Compress, mut payload: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(payload.len() / 4 + ROOM_BYTES);
    loop {
        let before = engine.total_in();
        if engine.compress_vec(payload, out, FlushCompress::Sync).is_err() {
            return false;
        }
        let used = usize::try_from(engine.total_in() - before).unwrap_or(payload.len());
        payload = &payload[used..];
        if payload.is_empty() && out.len() < out.capacity() {
            break;
        }
        out.reserve(ROOM_BYTES.max(FLUSH_BYTES));
    }
    if !out.ends_with(&TAIL) {
        return false;
    }
    out.truncate(out.len() - TAIL.len());
    true
}
