//! Whatever comes is forgotten (RFC 863). Each connection counts its bytes, and the log hears of them at its end.

use ringway_sdk::{Closed, Connection, ConnectionHandler, Endpoint, Log, Message, Setup};

struct Discard {
    log: Log,
}

impl ConnectionHandler for Discard {
    type Worker = ();
    type State = u64;

    fn create(setup: &Setup<'_>, _endpoint: Endpoint<u64>) -> Result<Self, String> {
        Ok(Self { log: setup.log() })
    }

    fn worker(&self) -> Self::Worker {}

    fn message(&self, (): &(), _conn: &mut Connection<'_>, bytes: &mut u64, message: Message<'_>) {
        *bytes += message.len() as u64;
    }

    fn closed(&self, (): &(), bytes: u64, why: Closed) {
        self.log.info(&format!("{bytes} bytes, {why:?}"));
    }
}

ringway_sdk::export!("discard"; connection: Discard);
