//! A protocol of one's own: lines come back in capitals, with their number. It is a library that Ringway loads; `ringway.toml` beside it
//! serves it on port 7000.

use ringway_sdk::{Closed, Connection, ConnectionHandler, Endpoint, Log, Message, Setup};

/// One value is one endpoint of a configuration, for all workers.
struct Protocol {
    greeting: String,
    log: Log,
}

/// What is kept with each connection.
#[derive(Default)]
struct State {
    lines: u64,
}

impl ConnectionHandler for Protocol {
    /// What each worker keeps for itself.
    type Worker = ();
    type State = State;

    /// `config` is the endpoint's section `[endpoint.config]`, as text.
    fn create(setup: &Setup<'_>, _endpoint: Endpoint<State>) -> Result<Self, String> {
        let greeting = setup.config().split('"').nth(1).unwrap_or("Hello!").to_owned();
        Ok(Self { greeting, log: setup.log() })
    }

    fn worker(&self) -> Self::Worker {}

    fn opened(&self, (): &(), conn: &mut Connection<'_>, _state: &mut State) {
        let _gone = conn.send(self.greeting.as_bytes());
    }

    /// A message is whole, whatever pieces it came in, and may be changed where it lies. This must not wait.
    fn message(&self, (): &(), conn: &mut Connection<'_>, state: &mut State, mut message: Message<'_>) {
        state.lines += 1;
        message.make_ascii_uppercase();
        let answer = format!("{}: {}", state.lines, String::from_utf8_lossy(&message));
        // The peer does not read, or is gone.
        if conn.send(answer.as_bytes()).is_err() {
            conn.close();
        }
    }

    fn closed(&self, (): &(), state: State, why: Closed) {
        self.log.info(&format!("{} lines, then {why:?}", state.lines));
    }
}

ringway_sdk::export!(connection: Protocol);
