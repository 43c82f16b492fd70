//! Characters without end, as fast as the peer reads (RFC 864): lines of 72 characters, each a place further on than the one before.

use ringway_sdk::{Connection, ConnectionHandler, Endpoint, Message, Setup};

const LINE_CHARS: usize = 72;

/// How much is made at a time.
const LINES: usize = 512;

/// The characters that there are.
const CHARS: std::ops::RangeInclusive<u8> = b' '..=b'~';

struct Generator;

/// The first character of a connection's next line, as its place.
type Place = usize;

impl ConnectionHandler for Generator {
    type Worker = Vec<u8>;
    type State = Place;

    fn create(_setup: &Setup<'_>, _endpoint: Endpoint<Place>) -> Result<Self, String> {
        Ok(Self)
    }

    /// The characters, twice: every line is a piece of them.
    fn worker(&self) -> Vec<u8> {
        CHARS.chain(CHARS).collect()
    }

    fn opened(&self, chars: &Vec<u8>, conn: &mut Connection<'_>, place: &mut Place) {
        self.written(chars, conn, place);
    }

    /// What was made is sent: there is room for more.
    fn written(&self, chars: &Vec<u8>, conn: &mut Connection<'_>, place: &mut Place) {
        let mut lines = Vec::with_capacity(LINES * (LINE_CHARS + 2));
        for _ in 0..LINES {
            lines.extend_from_slice(&chars[*place..*place + LINE_CHARS]);
            lines.extend_from_slice(b"\r\n");
            *place = (*place + 1) % CHARS.count();
        }
        if conn.send(&lines).is_ok() {
            conn.call_when_sent();
        }
    }

    /// What the peer says is of no interest.
    fn message(&self, _: &Vec<u8>, _: &mut Connection<'_>, _: &mut Place, _: Message<'_>) {}
}

ringway_sdk::export!("generator"; connection: Generator);
