//! Names and values, as parameters and GET_VALUES have them.

use super::Fault;

/// Most bytes that the lengths before a name and a value take.
pub const PAIR_HEAD_BYTES_MAX: usize = 8;

/// Lengths from here on take four bytes.
const LONG_MIN: usize = 128;

/// Longest name or value: 31 bits.
const LEN_MAX: usize = 0x7fff_ffff;

/// Names and values, one after the other. Ends at the first that is cut, after saying so.
#[derive(Clone, Debug)]
pub struct Pairs<'b> {
    rest: &'b [u8],
}

impl<'b> Pairs<'b> {
    /// Reads what a whole stream of parameters, or the content of one record of values, holds.
    #[must_use]
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<(&'b [u8], &'b [u8]), Fault> {
        let name_len = self.length()?;
        let value_len = self.length()?;
        let (name, rest) = self.rest.split_at_checked(name_len).ok_or(Fault::Pair)?;
        let (value, rest) = rest.split_at_checked(value_len).ok_or(Fault::Pair)?;
        self.rest = rest;
        Ok((name, value))
    }

    fn length(&mut self) -> Result<usize, Fault> {
        let (length, rest) = match *self.rest {
            [short @ 0..128, ref rest @ ..] => (u32::from(short), rest),
            [a, b, c, d, ref rest @ ..] => (u32::from_be_bytes([a & 0x7f, b, c, d]), rest),
            _ => return Err(Fault::Pair),
        };
        self.rest = rest;
        usize::try_from(length).map_err(|_beyond_memory| Fault::Pair)
    }
}

impl<'b> Iterator for Pairs<'b> {
    type Item = Result<(&'b [u8], &'b [u8]), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// Writes a name and its value to the front of `memory`; how many bytes they took, or `None` where there is no room.
pub fn write_pair(memory: &mut [u8], name: &[u8], value: &[u8]) -> Option<usize> {
    let name_at = length_bytes(name.len()) + length_bytes(value.len());
    let value_at = name_at.checked_add(name.len())?;
    let end = value_at.checked_add(value.len())?;
    if end > memory.len() || name.len() > LEN_MAX || value.len() > LEN_MAX {
        return None;
    }
    let at = write_length(memory, 0, name.len());
    write_length(memory, at, value.len());
    memory[name_at..value_at].copy_from_slice(name);
    memory[value_at..end].copy_from_slice(value);
    Some(end)
}

const fn length_bytes(length: usize) -> usize {
    if length < LONG_MIN { 1 } else { 4 }
}

/// Writes a length at `at`; where it ends.
fn write_length(memory: &mut [u8], at: usize, length: usize) -> usize {
    // It is at most LEN_MAX.
    let [a, b, c, d] = u32::try_from(length).unwrap_or(0).to_be_bytes();
    if length < LONG_MIN {
        memory[at] = d;
        return at + 1;
    }
    memory[at..at + 4].copy_from_slice(&[a | 0x80, b, c, d]);
    at + 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_take_one_byte_or_four() {
        let mut memory = [0; 600];
        for (name, value, bytes) in
            [(0, 0, 2), (127, 127, 256), (127, 128, 260), (128, 1, 134), (300, 200, 508)]
        {
            let (name, value) = (vec![b'n'; name], vec![b'v'; value]);
            assert_eq!(write_pair(&mut memory, &name, &value), Some(bytes));
            assert_eq!(write_pair(&mut memory[..bytes - 1], &name, &value), None);
            assert_eq!(Pairs::new(&memory[..bytes]).next(), Some(Ok((&name[..], &value[..]))));
        }
        // A long form of a short length is one, too.
        assert_eq!(Pairs::new(b"\x80\0\0\x01\x01ab").next(), Some(Ok((&b"a"[..], &b"b"[..]))));
    }

    #[test]
    fn what_is_cut_is_said_once() {
        for cut in
            [&b"\x01"[..], b"\x01\x01a", b"\x05\x00a", b"\x80\0\0", b"\xff\xff\xff\xff\x00", b"\x00\xff"]
        {
            let mut pairs = Pairs::new(cut);
            assert_eq!((pairs.next(), pairs.next()), (Some(Err(Fault::Pair)), None), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(list in proptest::collection::vec((
            proptest::collection::vec(any::<u8>(), 0..200), proptest::collection::vec(any::<u8>(), 0..200)), 0..8)) {
            let mut memory = vec![0; 4000];
            let mut len = 0;
            for (name, value) in &list {
                len += write_pair(&mut memory[len..], name, value).unwrap();
            }
            let read: Vec<_> = Pairs::new(&memory[..len]).map(|pair| {
                let (name, value) = pair.unwrap();
                (name.to_vec(), value.to_vec())
            }).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn anything_is_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Pairs::new(&bytes).count() <= bytes.len());
        }
    }
}
