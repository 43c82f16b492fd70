//! A message that is put together from pieces.

use crate::Kind;
use crate::fault::Fault;
use crate::utf8::Text;

/// Payloads up to this size have their room reserved when their first byte comes, whatever has come of them.
const RESERVED_BYTES_MAX: usize = 4 << 10;

/// What has come of a message.
#[derive(Debug)]
pub(crate) enum Store {
    Text(Text),
    Binary(Vec<u8>),
}

impl Store {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(Text::default()),
            Kind::Binary => Self::Binary(Vec::new()),
        }
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.bytes(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Makes room for a message's first payload of `announced` bytes, of which `here` have come: all of it when most is here,
    /// so that nobody makes a connection hold more than twice what was sent to it. What follows it grows the room by more
    /// than is needed, because many small pieces would move the message as often otherwise.
    pub(crate) fn expect(&mut self, announced: usize, here: usize) {
        if self.bytes() > 0 || announced > RESERVED_BYTES_MAX.max(here.saturating_mul(2)) {
            return;
        }
        match self {
            Self::Text(text) => text.reserve(announced),
            Self::Binary(bytes) => bytes.reserve_exact(announced),
        }
    }

    /// Adds a piece, unless the message then has more than `bytes_max` bytes.
    pub(crate) fn push(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), Fault> {
        if piece.len() > bytes_max.saturating_sub(self.bytes()) {
            return Err(Fault::MessageLength);
        }
        match self {
            Self::Text(text) => text.push(piece),
            Self::Binary(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The end of the message: text has to end with a whole character.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        match self {
            Self::Text(text) if !text.is_whole() => Err(Fault::Utf8),
            _ => Ok(()),
        }
    }

    /// The whole characters or bytes so far.
    #[cfg(feature = "deflate")]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_str().as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_for_what_came_and_not_for_what_was_announced() {
        let room = |store: &Store| match store {
            Store::Binary(bytes) => bytes.capacity(),
            Store::Text(_) => 0,
        };
        for (announced, here, wanted) in
            [(4096, 1, 4096), (4097, 1, 0), (60_000, 30_000, 60_000), (60_000, 29_999, 0)]
        {
            let mut store = Store::new(Kind::Binary);
            store.expect(announced, here);
            assert_eq!(room(&store), wanted, "{announced} announced, {here} here");
        }
    }

    #[test]
    fn many_small_pieces_do_not_move_the_message_as_often() {
        let mut store = Store::new(Kind::Binary);
        let (mut moves, mut room) = (0, 0);
        for _ in 0..20_000 {
            store.expect(16, 16);
            store.push(&[7; 16], 1 << 20).unwrap();
            let Store::Binary(bytes) = &store else { return };
            moves += usize::from(bytes.capacity() != room);
            room = bytes.capacity();
        }
        assert!(moves < 30 && room < 3 * 320_000, "{moves} moves, {room} bytes of room");
        assert_eq!(store.push(&[0; 16], 320_000), Err(Fault::MessageLength));
    }
}
