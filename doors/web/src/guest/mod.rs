//! Guests: what takes a connection over from HTTP for the rest of its life, such as a session of WebSocket's.

mod seats;

use ringway_engine::{Conn, Description, Events, Turn};

pub(crate) use seats::{closed, describe, seat, turn};

/// What speaks on a connection that HTTP has given away ([`crate::exchange::Exchange::take_over`]).
///
/// It has the connection's turns as a [`ringway_engine::Protocol`] has, under the same rules: the connection receives, pauses,
/// drains and ends as the engine's connections do, and all deadlines are the guest's to set. Two things are HTTP's still: the
/// connection's context words, by which its guest is found, and the end, which the access log hears of with
/// [`Guest::body_bytes`]. A panic in a turn ends the connection, and the guest is dropped without a farewell.
pub trait Guest {
    /// Does what can be done now. The first turn comes at once, with whatever the client has sent behind its request;
    /// `events` may be empty then. After a task of the guest's own there is a turn with [`Events::SENT`].
    fn turn(&mut self, conn: &mut Conn<'_>, events: Events) -> Turn;

    /// The connection has ended, for whatever reason. Not called when the guest's own turn has panicked.
    fn closed(self: Box<Self>);

    /// Bytes that were sent since the connection was taken over, for the access log and the site's counters.
    fn body_bytes(&self) -> u64 {
        0
    }

    /// What can be said of the connection to those who look at the server.
    fn describe(&self) -> Description {
        Description { state: "guest", ..Description::default() }
    }
}
