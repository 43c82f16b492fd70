//! Aids for tests: a simulated ring driver with seeded faults, and small clients for real sockets. Development only.
//!
//! - [`sim`]: an in-memory network under a [`ringway_ring::Ring`], with a clock that tests advance.
//! - [`Seed`]: where randomness comes from; printed when a test fails, set with `RINGWAY_SEED`.
//! - [`Client`], [`drip`], [`storm`]: peers of a real server.
//! - [`autobahn`]: the test suite of that name, which plays against WebSockets.
//! - [`Pebble`]: a certificate authority. [`Fpm`]: PHP behind FastCGI.
//! - [`Program`]: a server as a process of its own. [`Browser`]: windows of a headless Chromium.
//! - [`Scratch`]: a directory that goes when the test does.
#![forbid(unsafe_code)]

pub mod autobahn;
mod browser;
mod client;
mod drip;
mod fpm;
mod pebble;
mod program;
mod scratch;
mod seed;
mod storm;

pub mod sim;

pub use browser::{Browser, Window};
pub use client::{Answer, Client};
pub use drip::{Drip, drip};
pub use fpm::Fpm;
pub use pebble::{Pebble, free_port};
pub use program::Program;
pub use scratch::Scratch;
pub use seed::{Rng, Seed};
pub use storm::{Storm, StormReport, storm};
