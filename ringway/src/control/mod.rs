//! The control channel between a supervisor and its server processes: messages in JSON, and descriptors beside them.
//!
//! It is a pair of sockets that nobody else can open. What a server process says is still only an allegation to its
//! supervisor: the server meets the internet, and may be in other hands. So sizes are bounded, the supervisor takes no
//! descriptors, and it never waits for the rest of a message.

mod channel;
mod message;

pub use channel::{BYTES_MAX, Channel, DESCRIPTORS_MAX, Received};
pub use message::{Listeners, Order, Reload, Report, Secrets, Start, VERSION, sorted};
