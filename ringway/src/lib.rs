//! Ringway: a completion-based server platform for Linux. This crate is its façade; the binary `ringway` stands on it.
//!
//! [`engine`] carries connections on io_uring or epoll; [`web`] speaks HTTP on it; [`serve::Serve`] puts the two together
//! for a directory of files.
#![forbid(unsafe_code)]

#[cfg(feature = "config")]
pub use ringway_acme as acme;
pub use ringway_engine as engine;
#[cfg(feature = "services")]
pub use ringway_service as service;
#[cfg(feature = "endpoints")]
pub use ringway_socket as socket;
#[cfg(feature = "tls")]
pub use ringway_tls as tls;
#[cfg(feature = "static")]
pub use ringway_web as web;

#[cfg(feature = "config")]
pub mod assembly;
#[cfg(feature = "static")]
pub mod command;
#[cfg(feature = "config")]
pub mod config;
#[cfg(feature = "console")]
pub mod console;
#[cfg(all(feature = "config", feature = "sandbox"))]
pub mod control;
pub mod cores;
#[cfg(feature = "develop")]
pub mod develop;
#[cfg(feature = "console")]
pub mod faces;
#[cfg(feature = "endpoints")]
mod handlers;
#[cfg(feature = "services")]
pub mod hosting;
pub mod listen;
#[cfg(all(feature = "config", feature = "sandbox"))]
pub mod process;
#[cfg(feature = "console")]
pub mod running;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "static")]
pub mod serve;
#[cfg(feature = "services")]
pub mod server;
#[cfg(feature = "console")]
pub mod snapshot;
#[cfg(feature = "cgi")]
pub mod starter;
#[cfg(all(feature = "config", feature = "sandbox"))]
pub mod supervisor;
#[cfg(feature = "console")]
pub mod top;
#[cfg(all(feature = "config", feature = "sandbox"))]
mod voice;

#[cfg(feature = "services")]
pub use server::{Server, Site};
