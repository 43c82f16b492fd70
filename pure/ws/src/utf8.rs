//! Text that comes in pieces: checked as it comes, refused at the first byte that no text can have.

use crate::fault::Fault;

/// A text under way, and the beginning of a character whose rest has not come yet.
#[derive(Debug, Default)]
pub(crate) struct Text {
    whole: String,
    part: [u8; 4],
    part_bytes: u8,
}

impl Text {
    /// Adds a piece.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), Fault> {
        while self.part_bytes > 0 {
            let Some((first, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.go_on(*first)?;
        }
        let (whole, part) = piece.split_at(piece.len() - unfinished(piece));
        self.whole.push_str(simdutf8::basic::from_utf8(whole).map_err(|_invalid| Fault::Utf8)?);
        part.iter().try_for_each(|byte| self.go_on(*byte))
    }

    /// Makes room for `bytes` more.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.whole.reserve_exact(bytes);
    }

    /// Bytes so far, those of an unfinished character included.
    pub(crate) fn bytes(&self) -> usize {
        self.whole.len() + usize::from(self.part_bytes)
    }

    /// What is whole of it.
    pub(crate) fn as_str(&self) -> &str {
        &self.whole
    }

    /// Whether it may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.part_bytes == 0
    }

    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.whole)
    }

    /// One byte more of a character.
    fn go_on(&mut self, byte: u8) -> Result<(), Fault> {
        let count = usize::from(self.part_bytes) + 1;
        self.part[count - 1] = byte;
        match std::str::from_utf8(&self.part[..count]) {
            Ok(character) => {
                self.whole.push_str(character);
                self.part_bytes = 0;
            }
            // A part of a character is at most three bytes: the fourth makes it whole or wrong.
            Err(error) if error.error_len().is_none() => self.part_bytes += 1,
            Err(_) => return Err(Fault::Utf8),
        }
        Ok(())
    }
}

/// How many bytes at the end begin a character that is longer than what there is of it.
fn unfinished(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0.. => 4,
            _ => 1,
        };
        return if length > back + 1 { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the pieces are read as: the text, or how many bytes were taken before the fault.
    fn read(bytes: &[u8], pieces: impl Iterator<Item = usize>) -> Result<String, ()> {
        let mut text = Text::default();
        let mut at = 0;
        for end in pieces.chain([bytes.len()]) {
            text.push(&bytes[at..end]).map_err(|_fault| ())?;
            at = end;
        }
        if text.is_whole() { Ok(text.take()) } else { Err(()) }
    }

    #[test]
    fn every_split_reads_as_the_whole_does() {
        let samples: [&[u8]; 9] = [
            "κόσμε, \u{10ffff}\u{0}\u{d7ff}\u{e000} plain".as_bytes(),
            b"",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
            b"\xf4\x90\x80\x80",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"ab\xff",
            b"\xf0\x9f\x98",
            b"\x80",
        ];
        for sample in samples {
            let wanted = std::str::from_utf8(sample).map(str::to_owned).map_err(|_error| ());
            assert_eq!(read(sample, 0..sample.len()), wanted, "{sample:x?} byte by byte");
            for split in 0..=sample.len() {
                assert_eq!(read(sample, [split].into_iter()), wanted, "{sample:x?} split at {split}");
            }
        }
    }

    #[test]
    fn a_wrong_byte_is_refused_as_soon_as_it_has_come() {
        for (prefix, wrong) in
            [(&b"\xed"[..], 0xa0), (b"\xf4", 0x90), (b"\xe0", 0x80), (b"", 0xc1), (b"\xf0\x9f", b'a')]
        {
            let mut text = Text::default();
            text.push(b"fine").unwrap();
            text.push(prefix).unwrap();
            assert_eq!(text.push(&[wrong]), Err(Fault::Utf8), "{prefix:x?} {wrong:x}");
        }
    }

    #[test]
    fn every_character_survives_every_split() {
        for character in (0..=0x10_ffff).step_by(61).filter_map(char::from_u32) {
            let text = format!("a{character}b");
            for split in 0..=text.len() {
                assert_eq!(read(text.as_bytes(), [split].into_iter()).as_deref(), Ok(&*text));
            }
        }
    }
}
