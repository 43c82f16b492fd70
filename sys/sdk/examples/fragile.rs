//! A protocol that panics when it is told to, to show what that costs: the connection, and nobody else's.

use ringway_sdk::{Closed, Connection, ConnectionHandler, Endpoint, Log, Measure, Message, Setup};
use std::cell::Cell;

struct Fragile {
    log: Log,
}

impl ConnectionHandler for Fragile {
    /// How many messages the worker has seen.
    type Worker = Cell<u64>;
    /// What was said last.
    type State = Vec<u8>;

    const TICK_MS: u32 = 1_000;

    fn create(setup: &Setup<'_>, _endpoint: Endpoint<Vec<u8>>) -> Result<Self, String> {
        match setup.config().trim() {
            "panic" => panic!("at its beginning"),
            _ => Ok(Self { log: setup.log() }),
        }
    }

    fn worker(&self) -> Self::Worker {
        Cell::new(0)
    }

    fn message(
        &self,
        count: &Cell<u64>,
        conn: &mut Connection<'_>,
        last: &mut Vec<u8>,
        mut message: Message<'_>,
    ) {
        assert!(*message != *b"panic", "as it was told");
        count.set(count.get() + 1);
        last.clear();
        last.extend_from_slice(&message);
        message.make_ascii_uppercase();
        let gone = conn.reply(message).is_err();
        assert!(!gone, "it was there a moment ago");
    }

    fn closed(&self, _count: &Cell<u64>, last: Vec<u8>, why: Closed) {
        self.log.info(&format!("last {:?}, {why:?}", String::from_utf8_lossy(&last)));
    }

    /// A message is a length in one digit, and as many bytes behind it.
    fn measure(&self, _count: &Cell<u64>, _last: &Vec<u8>, input: &[u8]) -> Measure {
        match input {
            [b'!', ..] => panic!("an exclamation"),
            [digit @ b'0'..=b'9', ..] => Measure::Bytes(u64::from(digit - b'0') + 1),
            [] => Measure::NeedMore,
            _ => Measure::Wrong,
        }
    }
}

ringway_sdk::export!(connection: Fragile);
