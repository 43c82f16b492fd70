//! Filters between transport and protocol: record layers such as TLS, as machines without I/O.

use crate::inbox::Inbox;
use ringway_ring::{Pool, Slice};
use std::io;

/// A record layer. It sees the wire's bytes in whatever pieces they arrive and gives plain bytes; and the other way.
/// Protocols above do not know that it is there.
pub trait Filter {
    /// Takes whole records out of `wire` (leaving an incomplete one for later) and appends plain bytes to `plain`.
    /// What must be answered on the wire at once (handshakes, alerts) goes to `reply`.
    ///
    /// # Errors
    /// A record that cannot be right ends the connection; `OutOfMemory` when `pool` is at its limit.
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()>;

    /// Turns plain bytes into records.
    ///
    /// # Errors
    /// `OutOfMemory` when `pool` is at its limit.
    fn send(&mut self, plain: &[u8], wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()>;

    /// The protocol has shut its write side: the last words on the wire (a close notification).
    ///
    /// # Errors
    /// `OutOfMemory` when `pool` is at its limit.
    fn finish(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()>;
}
