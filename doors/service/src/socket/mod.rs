//! WebSockets (RFC 6455): connections that become sockets, what handles them, and groups that hear of things together.
//!
//! A route's [`Acceptor`] answers handshakes and gives the connection to a [`SocketHandler`], which is called on the connection's
//! turns: a message costs no task and no allocation, and what it sends in answer to all that has come leaves in one piece.
//! [`spawned`] makes a handler of an asynchronous function that holds an [`AsyncSocket`] instead. [`Group`]s send one message to
//! many sockets on all workers; a [`client::Connector`] opens sockets to other servers.
//!
//! Everything a peer can make grow has its limit in [`SocketOptions`]; every wait has its time there.

mod accept;
pub mod client;

mod core;
mod group;
mod handler;
mod hub;
mod link;
mod options;
mod out;
mod over_h2;
mod route;
mod session;
mod task;

pub use accept::{Acceptor, Handshake};
pub use core::{GROUPS_MAX, Nudge, SendError, Socket, SocketId};
pub use group::{Group, GroupOptions, Groups, Relay, Slow};
pub use handler::{Closed, SocketHandler};
pub use options::{Origins, SocketOptions};
pub use ringway_ws::code::CloseCode;
pub use ringway_ws::decoder::{Message, Owned as OwnedMessage};
pub use ringway_ws::deflate::Options as DeflateOptions;
pub use ringway_ws::handshake::Refusal;
pub use route::IntoSocket;
pub use task::{AsyncSocket, Spawned, spawned};
