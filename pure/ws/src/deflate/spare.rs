//! Engines of compression that connections of one thread lend each other.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress};

use super::agreement::WINDOW_BITS_MAX;

/// Engines of each kind that are kept while nobody uses them.
const ENGINES_KEPT_MAX: usize = 2;

/// What is decompressed at a time, in bytes.
const SCRATCH_BYTES: usize = 16 << 10;

/// The engines that are not in use, and memory to decompress to. One a thread, shared by `Rc`.
#[derive(Debug, Default)]
pub struct Spare {
    inflating: RefCell<Vec<Decompress>>,
    deflating: RefCell<Vec<(u8, u8, Compress)>>,
    scratch: RefCell<Vec<u8>>,
}

impl Spare {
    /// Nothing yet: engines are made when they are needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine to decompress what was compressed with any window.
    pub(super) fn inflating(&self) -> Decompress {
        let kept = self.inflating.borrow_mut().pop();
        kept.unwrap_or_else(|| Decompress::new_with_window_bits(false, WINDOW_BITS_MAX))
    }

    /// Takes back what [`Spare::inflating`] gave.
    pub(super) fn keep_inflating(&self, mut engine: Decompress) {
        let mut kept = self.inflating.borrow_mut();
        if kept.len() < ENGINES_KEPT_MAX {
            engine.reset(false);
            kept.push(engine);
        }
    }

    pub(super) fn deflating(&self, level: u8, window_bits: u8) -> Compress {
        let mut kept = self.deflating.borrow_mut();
        match kept.iter().position(|(of, bits, _)| (*of, *bits) == (level, window_bits)) {
            Some(at) => kept.swap_remove(at).2,
            None => engine(level, window_bits),
        }
    }

    pub(super) fn keep_deflating(&self, level: u8, window_bits: u8, mut engine: Compress) {
        let mut kept = self.deflating.borrow_mut();
        if kept.len() < ENGINES_KEPT_MAX {
            engine.reset();
            kept.push((level, window_bits, engine));
        }
    }

    /// Memory to decompress to, empty.
    pub(super) fn scratch(&self) -> Vec<u8> {
        let mut scratch = self.scratch.take();
        scratch.clear();
        scratch.reserve(SCRATCH_BYTES);
        scratch
    }

    pub(super) fn keep_scratch(&self, scratch: Vec<u8>) {
        self.scratch.replace(scratch);
    }
}

pub(super) fn engine(level: u8, window_bits: u8) -> Compress {
    Compress::new_with_window_bits(Compression::new(u32::from(level)), false, window_bits)
}
