//! Who a client is: users with passwords, bearer tokens, client certificates.
//!
//! Passwords are verified on the thread pool, because that takes tens of milliseconds on purpose; what was found right is
//! remembered by each worker for a while, so that the next request costs a hash of a few hundred nanoseconds. A wrong
//! password costs its sender: few are tried at a time, and an address that was wrong often must wait.

mod basic;
pub mod certificates;
pub mod gate;
mod lines;
pub mod password;
mod remembered;
mod stage;
pub mod tokens;
pub mod users;

pub use lines::{LineError, LineReason, NAME_LEN_MAX, is_name};
pub use stage::{Auth, AuthOptions};
