//! Plug-ins for Ringway in Rust: services in shared libraries that a server loads, replaces and unloads while it runs.
//!
//! A library is a crate of type `cdylib` with one line, [`export!`], for one type that implements [`RequestHandler`]:
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
//! Panics are caught here, before the server: the client is told 500, the operator what the panic said.
//!
//! # What to know of libraries
//! - Requests come on the server's workers, several at once, and must not wait there: [`Request::later`] gives a handle to answer
//!   with from any thread.
//! - Dropping the handler is the end of the library: threads of its own must be joined in its `Drop`, for the code is unmapped
//!   behind it.
//! - What a worker keeps belongs in [`RequestHandler::Worker`], not into `thread_local!`: a thread-local value with a
//!   destructor on a worker's thread keeps the library in memory after it was replaced. The server counts such libraries and
//!   loads no more when there are too many.
//!
//! # Unsafe code
//! This crate is one of the few that may use `unsafe`. Every block cites one of these invariants:
//!
//! - **I1** The server's table and its texts last as long as the process, and its functions take what the header says.
//! - **I2** What the server gives to a callback is as the header says, and valid until the callback returns.
//! - **I3** An instance's pointer is a box of `tables.rs`' own making, which `create` gave away and `destroy` takes back, once; a
//!   worker's state likewise, by `worker_start` and `worker_stop`.
//! - **I4** Tables are constants: numbers, functions, and pointers to other constants.
#![allow(unsafe_code, reason = "sys is where unsafe code lives; the invariants above say why it is sound")]

mod answer;
mod handler;
mod later;
mod request;
mod server;
mod tables;

pub use answer::Answer;
pub use handler::{Level, Log, Promised, Reply, RequestHandler, Route, Setup};
pub use later::{Fault, Later, Writer};
pub use request::Request;
#[doc(hidden)]
pub use ringway_plugin::abi;
#[doc(hidden)]
pub use tables::{Table, entry, table, text};

/// Makes this library a plug-in: a type that implements [`RequestHandler`], and optionally its name, which is else the crate's.
/// Once a library.
#[macro_export]
macro_rules! export {
    ($handler:ty) => {
        $crate::export!($handler, env!("CARGO_PKG_NAME"));
    };
    ($handler:ty, $name:expr) => {
        #[doc(hidden)]
        static RINGWAY_PLUGIN: $crate::Table = $crate::table::<$handler>(
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
}
