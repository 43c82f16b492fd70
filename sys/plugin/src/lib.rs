//! The C interface of plug-ins: what both sides agree on ([`abi`], `include/ringway.h`), and how libraries come and go.
//!
//! - [`Library`]: a shared library, loaded from a copy of its own and looked at before anything in it runs.
//! - [`Instance`]: what a library made for one place in a configuration; [`Worker`]: its state on one worker.
//! - [`ConnectionWorker`]: the same of what speaks a protocol; [`ConnView`], [`PeerView`]: what it is shown.
//! - [`RequestView`], [`SocketView`]: a request, a WebSocket, as whoever has it shows it to a library; [`Deferred`]: an answer that is owed, by its number.
//! - [`StageWorker`]: the same of a hook into the stages of requests; [`FilterWorker`]: of a filter of streams.
//! - [`census`]: which libraries are there, who uses them, what could not be unmapped.
//!
//! Libraries run in this process and can do to it what they like; the interface keeps them from doing so by mistake. What
//! they say is an allegation: numbers are looked up, lengths limited, the order of calls checked. What cannot be checked is that
//! their pointers lead to what they say, which [`abi`]'s header asks of their authors.
//!
//! # Unsafe code
//! This crate is one of the few that may use `unsafe`. Every block cites one of these invariants:
//!
//! - **I1** Arguments of a plain system call, or of a function of the loader, are valid for the call, and nothing of them is kept.
//! - **I2** A pointer that a library gives is null, or leads to what the header says, for as long as it says: a table and its
//!   texts while the library is loaded, an answer until the function returns. It is looked at for null and alignment, and never
//!   beyond the length that came with it, which is limited.
//! - **I3** A library stays loaded while a [`Library`] of it exists; whoever calls into it, or reads its tables, holds one.
//! - **I4** Tables are numbers, pointers and optional functions, for all of which zeros are a value; of a table no more is read
//!   than the other side says it has, and the rest is zeros.
//! - **I5** What a library made (an instance, a worker's state) is given back to functions of that library only, and to none
//!   after the one that ends it. The header has instances used on any thread, states on one, which [`Worker`] cannot leave.
//! - **I6** The pointer of a request or connection is never followed but compared with this thread's desk, and a desk shows a view only while the call
//!   lasts that lent it.
#![cfg_attr(
    feature = "host",
    allow(unsafe_code, reason = "sys is where unsafe code lives; the invariants above say why it is sound")
)]

pub mod abi;
#[cfg(feature = "host")]
mod answer;
#[cfg(feature = "host")]
mod browser;
#[cfg(feature = "host")]
pub mod census;
#[cfg(feature = "host")]
mod connection;
#[cfg(feature = "host")]
mod deferred;
#[cfg(feature = "host")]
pub mod elf;
#[cfg(feature = "host")]
mod error;
#[cfg(feature = "host")]
mod filter;
#[cfg(feature = "host")]
mod functions;
#[cfg(feature = "host")]
mod image;
#[cfg(feature = "host")]
mod instance;
#[cfg(feature = "host")]
mod library;
#[cfg(feature = "host")]
mod mapping;
#[cfg(feature = "host")]
mod request;
#[cfg(feature = "host")]
mod stage;
#[cfg(feature = "host")]
mod tables;

#[cfg(feature = "host")]
pub use answer::{ANSWER_BYTES_MAX, Answer, FIELDS_MAX};
#[cfg(feature = "host")]
pub use connection::{
    ConnView, ConnectionWorker, Connections, Event, Key, MISUSES_TOLD_MAX, Measured, PeerView, Verdict,
};
#[cfg(feature = "host")]
pub use deferred::{Deferred, PROMISES_MAX, Promise};
#[cfg(feature = "host")]
pub use error::{Fault, LoadError, Problem};
#[cfg(feature = "host")]
pub use filter::{FilterView, FilterWorker, GIVEN_BYTES_MAX, Given, Interest, PIECES_MAX};
#[cfg(feature = "host")]
pub use functions::server as functions;
#[cfg(feature = "host")]
pub use instance::{Broadcast, Instance, Level, Listener, Setting, Worker};
#[cfg(feature = "host")]
pub use library::{LIBRARY_BYTES_MAX, Library};
#[cfg(feature = "host")]
pub use mapping::LINGERING_MAX;
#[cfg(feature = "host")]
pub use request::{
    Cookie, Message, OfBody, Over, RequestView, Said, SocketView, User, is_worker, note_worker,
};
#[cfg(feature = "host")]
pub use stage::{Served, StageSaid, StageWorker};
#[cfg(feature = "host")]
pub use tables::{ConnectionTable, Requests, Route};
