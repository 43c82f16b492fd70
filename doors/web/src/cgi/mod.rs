//! The handler of CGI scripts (RFC 3875): a starter runs them, and what they read and write passes through here as it comes.
//!
//! The worker asks the starter over a socket of whole messages ([`ringway_http::cgi::order`]), and holds the other ends of
//! the script's standard input and output, and of the starter's own stream about the script, as connections of its own. So
//! nothing waits, nothing is read ahead of the client, and a script whose client has left, or whose server is gone, is ended
//! by the stream's end.

mod answer;
mod desk;
mod ear;
mod failure;
mod handler;
mod run;
mod upward;

pub use handler::{Cgi, CgiOptions};
