//! The line before a chunk's data: size and extensions (RFC 9112 section 7.1), a byte at a time.

use crate::octets::{hex, is_value};
use crate::refusal::Refusal;

/// Digits of a chunk size that fit 64 bits; leading zeros count, so that they cannot go on for ever.
const SIZE_DIGITS_MAX: u8 = 16;

/// Reads one chunk line wherever it is split.
#[derive(Clone, Debug)]
pub(super) struct ChunkHead {
    size: u64,
    digits: u8,
    part: Part,
    extension_bytes_left: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Size,
    Extension,
    Lf,
}

/// What came of reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadStep {
    /// All input is taken and the line goes on.
    NeedMore,
    /// The line has ended.
    Size { size: u64, consumed: usize, extension_bytes_left: u32 },
}

impl ChunkHead {
    pub(super) const fn new(extension_bytes_left: u32) -> Self {
        Self { size: 0, digits: 0, part: Part::Size, extension_bytes_left }
    }

    pub(super) fn read(&mut self, input: &[u8]) -> Result<HeadStep, Refusal> {
        for (i, byte) in input.iter().enumerate() {
            match self.part {
                Part::Size => self.size_byte(*byte)?,
                Part::Extension => self.extension_byte(*byte)?,
                Part::Lf if *byte != b'\n' => return Err(Refusal::BareCr),
                Part::Lf => {
                    let extension_bytes_left = self.extension_bytes_left;
                    return Ok(HeadStep::Size { size: self.size, consumed: i + 1, extension_bytes_left });
                }
            }
        }
        Ok(HeadStep::NeedMore)
    }

    fn size_byte(&mut self, byte: u8) -> Result<(), Refusal> {
        match hex(byte) {
            Some(digit) if self.digits < SIZE_DIGITS_MAX => {
                self.size = self.size << 4 | u64::from(digit);
                self.digits += 1;
                Ok(())
            }
            None if self.digits > 0 && byte == b'\r' => {
                self.part = Part::Lf;
                Ok(())
            }
            None if self.digits > 0 && byte == b';' => {
                self.part = Part::Extension;
                self.extension_byte(byte)
            }
            None if byte == b'\n' => Err(Refusal::BareLf),
            _ => Err(Refusal::ChunkSize),
        }
    }

    /// Extensions are read over: nobody defines any. What they may hold is what a field value may.
    fn extension_byte(&mut self, byte: u8) -> Result<(), Refusal> {
        match byte {
            b'\r' => self.part = Part::Lf,
            b'\n' => return Err(Refusal::BareLf),
            byte if !is_value(byte) => return Err(Refusal::ChunkExtension),
            _ => {
                self.extension_bytes_left =
                    self.extension_bytes_left.checked_sub(1).ok_or(Refusal::ChunkExtensionLength)?;
            }
        }
        Ok(())
    }
}
