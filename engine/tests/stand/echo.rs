//! Echo protocols: by turns, and as a task.

use ringway_engine::{Conn, Events, Filter, Protocol, Stream, Turn};
use std::io;

/// Makes a connection's filter.
pub(crate) type MakeFilter = fn() -> Box<dyn Filter>;

/// Echoes by turns; keeps what it cannot send yet unread. Closes at the peer's end, and when the server drains.
#[derive(Default)]
pub(crate) struct TurnEcho {
    pub(crate) filter: Option<MakeFilter>,
}

/// The same as a task that lives as long as its connection.
#[derive(Default)]
pub(crate) struct TaskEcho {
    pub(crate) filter: Option<MakeFilter>,
}

impl Protocol for TurnEcho {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED)
            && let Some(make) = self.filter
        {
            conn.set_filter(make());
        }
        if conn.is_broken() {
            return Turn::Close;
        }
        while conn.can_send() {
            match conn.take() {
                Some(bytes) => conn.send(bytes),
                None => break,
            }
        }
        let is_over = conn.is_ended() || conn.is_draining();
        if is_over && !conn.has_input() { Turn::Close } else { Turn::Idle }
    }
}

impl Protocol for TaskEcho {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        assert!(events.has(Events::OPENED), "the task keeps the connection to its end: {events:?}");
        if let Some(make) = self.filter {
            conn.set_filter(make());
        }
        let stream = conn.detach();
        Turn::task(async move {
            match echo(stream).await {
                Ok(()) => Turn::Close,
                Err(_broken) => Turn::Abort,
            }
        })
    }
}

async fn echo(mut stream: Stream) -> io::Result<()> {
    while let Some(bytes) = stream.read().await? {
        stream.write(bytes).await?;
    }
    stream.flush().await
}
