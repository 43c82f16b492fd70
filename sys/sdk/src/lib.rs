//! Plug-ins for Ringway in Rust: services in shared libraries that a server loads, replaces and unloads while it runs.
//!
//! A library is a crate of type `cdylib` with one line, [`export!`], for a type that implements [`ConnectionHandler`] (a protocol of its
//! own on connections), [`DatagramHandler`] (the same by datagrams) or [`RequestHandler`] (a service):
//!
//! ```
//! use ringway_sdk::{Connection, ConnectionHandler, Endpoint, Message, Setup};
//!
//! struct Echo;
//!
//! impl ConnectionHandler for Echo {
//!     type Worker = ();
//!     type State = ();
//!
//!     fn create(_setup: &Setup<'_>, _endpoint: Endpoint<()>) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn worker(&self) -> Self::Worker {}
//!
//!     fn message(&self, (): &(), conn: &mut Connection<'_>, (): &mut (), message: Message<'_>) {
//!         if conn.reply(message).is_err() {
//!             conn.close();
//!         }
//!     }
//! }
//!
//! ringway_sdk::export!(connection: Echo);
//! # fn main() {}
//! ```
//!
//! A service:
//!
//! ```
//! use ringway_sdk::{Answer, Reply, Request, RequestHandler, Route, Setup};
//!
//! struct Greeter {
//!     greeting: String,
//! }
//!
//! impl RequestHandler for Greeter {
//!     type Worker = ();
//!     const ROUTES: &'static [Route] = &[Route::new(c"GET", c"/greet/{name}", 1)];
//!
//!     fn create(setup: &Setup<'_>) -> Result<Self, String> {
//!         Ok(Self { greeting: setup.config().trim().to_owned() })
//!     }
//!
//!     fn worker(&self) -> Self::Worker {}
//!
//!     fn request(&self, (): &Self::Worker, request: &Request<'_>) -> Reply {
//!         let name = request.param_str("name").unwrap_or("you");
//!         Reply::Answer(Answer::text(format!("{}, {name}!", self.greeting)))
//!     }
//! }
//!
//! ringway_sdk::export!(Greeter);
//! # fn main() {}
//! ```
//!
//! Panics are caught here, before the server: the client is told 500, or its connection reset; the operator what the panic said.
//!
//! # What to know of libraries
//! - Requests and events come on the server's workers, several at once, and must not wait there: [`Request::later`] gives a handle to
//!   answer with from any thread, [`Connection::key`] and [`Endpoint`] reach a connection from any thread.
//! - Dropping the handler is the end of the library: threads of its own must be joined in its `Drop`, for the code is unmapped
//!   behind it.
//! - What a worker keeps belongs in the handler's `Worker`, not into `thread_local!`: a thread-local value with a
//!   destructor on a worker's thread keeps the library in memory after it was replaced. The server counts such libraries and
//!   loads no more when there are too many.
//!
//! # Unsafe code
//! This crate is one of the few that may use `unsafe`. Every block cites one of these invariants:
//!
//! - **I1** The server's table and its texts last as long as the process, and its functions take what the header says.
//! - **I2** What the server gives to a callback is as the header says, and valid until the callback returns.
//! - **I3** An instance's pointer is a box of `tables.rs`' own making, which `create` gave away and `destroy` takes back, once; a
//!   worker's state likewise, by `worker_start` and `worker_stop`, and a connection's word, by its first event and `closed`.
//! - **I4** Tables are constants: numbers, functions, and pointers to other constants.
#![allow(unsafe_code, reason = "sys is where unsafe code lives; the invariants above say why it is sound")]

mod answer;
mod connection;
mod connection_table;
mod datagram;
mod endpoint;
mod filter;
mod handler;
mod later;
mod request;
mod request_table;
mod server;
mod stage;
mod state;
mod tables;

pub use answer::Answer;
pub use connection::{Closed, Connection, ConnectionHandler, Measure, Message};
#[doc(hidden)]
pub use connection_table::{Connections, Datagrams};
pub use datagram::{DatagramHandler, Peer};
pub use endpoint::{Endpoint, Key, Kind};
#[doc(hidden)]
pub use filter::Filters;
pub use filter::{Broken, Filtered, StreamFilter};
pub use handler::{Level, Log, Promised, Reply, RequestHandler, Route, Setup};
pub use later::{Fault, Later, Writer};
pub use request::Request;
#[doc(hidden)]
pub use request_table::Requests;
#[doc(hidden)]
pub use ringway_plugin::abi;
#[doc(hidden)]
pub use stage::Stages;
pub use stage::{StageHook, Staged};
#[doc(hidden)]
pub use tables::{Part, Parts, Table, entry, table, text};

/// Makes this library a plug-in, once a library: `export!(T)` for a [`RequestHandler`], `export!(connection: T)` for a
/// [`ConnectionHandler`], `export!(datagrams: T)` for a [`DatagramHandler`], or several kinds, as in `export!(connection: T, request: U)`. It has
/// the crate's name, or another: `export!(T, "name")`, `export!("name"; connection: T)`.
#[macro_export]
macro_rules! export {
    (@parts) => { () };
    (@parts $part:ty) => { ($part,) };
    (@parts $part:ty, $($rest:ty),+) => { ($part, $crate::export!(@parts $($rest),+)) };
    (@kind stage, $handler:ty) => { $crate::Stages<$handler> };
    (@kind filter, $handler:ty) => { $crate::Filters<$handler> };
    (@kind request, $handler:ty) => { $crate::Requests<$handler> };
    (@kind connection, $handler:ty) => { $crate::Connections<$handler> };
    (@kind datagrams, $handler:ty) => { $crate::Datagrams<$handler> };
    (@all $name:expr, $parts:ty) => {
        #[doc(hidden)]
        static RINGWAY_PLUGIN: $crate::Table = $crate::table::<$parts>(
            $crate::text(concat!($name, "\0")),
            $crate::text(concat!(env!("CARGO_PKG_VERSION"), "\0")),
        );

        #[doc(hidden)]
        #[allow(unsafe_code, reason = "the symbol's name is the interface's, once a library")]
        // SAFETY: no other function of a library has the name that the interface gives to this one (I1).
        #[unsafe(no_mangle)]
        pub extern "C" fn ringway_plugin_entry(
            server: *const $crate::abi::Server,
        ) -> *const $crate::abi::Plugin {
            $crate::entry(server, &RINGWAY_PLUGIN)
        }
    };
    ($($kind:ident: $handler:ty),+ $(,)?) => {
        $crate::export!(env!("CARGO_PKG_NAME"); $($kind: $handler),+);
    };
    ($handler:ty) => {
        $crate::export!(env!("CARGO_PKG_NAME"); request: $handler);
    };
    ($handler:ty, $name:expr) => {
        $crate::export!($name; request: $handler);
    };
    ($name:expr; $($kind:ident: $handler:ty),+ $(,)?) => {
        $crate::export!(@all $name, $crate::export!(@parts $($crate::export!(@kind $kind, $handler)),+));
    };
}
