//! The C face of a server inside of a program: the functions of `include/ringway_host.h`, and the trait [`Host`] behind them.
//!
//! Functions that a program links against must be in the crate that becomes the shared library, and what they do is at the top of
//! the import table, where no unsafe code is. So both are here but for one line: [`face!`] makes the functions in the crate that
//! says it, named as the header has them, and each of them calls one of [`calls`], which looks at its arguments and asks a
//! [`Host`] that this crate knows by its trait only. The crate at the top implements the trait, in safe Rust.
//!
//! A host is a number in a table ([`table`](mod@calls)): what is no host, or no longer one, is told so.
//!
//! # Unsafe code
//! This crate is one of the few that may use `unsafe`. Every block cites one of these invariants:
//!
//! - **I1** What a program gives is null, or as the header says: a text that ends, a place for a result, a table that stays. It is
//!   looked at for null and alignment, texts up to a limit, and copied before the function returns.
//! - **I2** Arguments of a plain system call are valid for the call.
//! - **I3** A function that a program gives is called as the header says, with the word that came with it, which the header has good on
//!   any thread.
#![allow(unsafe_code, reason = "sys is where unsafe code lives; the invariants above say why it is sound")]

pub mod calls;
mod hook;
mod said;
mod signals;
mod table;

pub use hook::Hook;
pub use ringway_plugin::Library;
pub use table::Make;

use ringway_plugin::abi::code;
use std::time::Duration;

/// Why something is not done: a number for the program, words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`code`].
    pub code: i32,
    /// A sentence without its full stop, or several lines.
    pub text: String,
}

impl Refusal {
    /// An argument makes no sense.
    #[must_use]
    pub fn invalid(text: impl Into<String>) -> Self {
        Self { code: code::INVALID, text: text.into() }
    }

    /// It is not the time for it.
    #[must_use]
    pub fn state(text: impl Into<String>) -> Self {
        Self { code: code::STATE, text: text.into() }
    }

    /// The server failed.
    #[must_use]
    pub fn server(text: impl Into<String>) -> Self {
        Self { code: code::SERVER, text: text.into() }
    }
}

/// Where something of the program's answers.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// The site's name; `None`: the one for whatever no other site is for.
    pub site: Option<&'a str>,
    /// The path that it is below.
    pub path: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// What a configuration would have in `[[service]]`.
    pub settings: &'a str,
}

/// A server as the functions see it: put together, started, stopped. One thread at a time calls it.
pub trait Host: Send {
    /// Takes the text of a configuration.
    ///
    /// # Errors
    /// What is wrong with it, with its lines; or there is one already.
    fn configure(&mut self, toml: &str) -> Result<(), Refusal>;

    /// Takes a setting.
    ///
    /// # Errors
    /// There is none of that name, or it has no such value.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refusal>;

    /// Listens there.
    ///
    /// # Errors
    /// It is no address.
    fn listen(&mut self, address: &str) -> Result<(), Refusal>;

    /// Adds a site.
    ///
    /// # Errors
    /// There is one of that name.
    fn site(&mut self, name: Option<&str>, root: Option<&str>) -> Result<(), Refusal>;

    /// Has a library of the program's answer; the number by which it may log.
    ///
    /// # Errors
    /// What it says, or what is wrong with the settings.
    fn library(&mut self, spot: &Spot<'_>, library: &Library) -> Result<u64, Refusal>;

    /// Has workers call this at their beginning and end.
    ///
    /// # Errors
    /// It was said before.
    fn workers(&mut self, hook: Hook) -> Result<(), Refusal>;

    /// Starts serving. Threads that this starts have the caller's mask of signals.
    ///
    /// # Errors
    /// The first thing that cannot be had.
    fn start(&mut self) -> Result<(), Refusal>;

    /// Address and port (0 where there is none) of that index.
    fn address(&self, index: usize) -> Option<(String, u16)>;

    /// Stops serving.
    ///
    /// # Errors
    /// It does not serve; or a worker had died.
    fn stop(&mut self, within: Duration) -> Result<(), Refusal>;

    /// The end: stops at once if it must, and returns when nothing of the program's is used any more.
    fn end(self: Box<Self>);
}

/// Makes the functions of `ringway_host.h` in the crate that is to become the shared library, once: `face!(function)`, which makes
/// a [`Host`].
#[macro_export]
macro_rules! face {
    ($make:path) => {
        $crate::face! { @functions
            fn ringway_host_create() -> u64 = create($make);
            fn ringway_host_configure(host: u64, toml: *const $crate::calls::Char) -> i32 = configure();
            fn ringway_host_set(
                host: u64, key: *const $crate::calls::Char, value: *const $crate::calls::Char,
            ) -> i32 = set();
            fn ringway_host_listen(host: u64, address: *const $crate::calls::Char) -> i32 = listen();
            fn ringway_host_site(
                host: u64, name: *const $crate::calls::Char, root: *const $crate::calls::Char,
            ) -> i32 = site();
            fn ringway_host_plugin(
                host: u64, site: *const $crate::calls::Char, path: *const $crate::calls::Char,
                name: *const $crate::calls::Char, entry: Option<$crate::calls::Entry>,
                settings: *const $crate::calls::Char,
            ) -> i32 = plugin();
            fn ringway_host_handler(
                host: u64, site: *const $crate::calls::Char, path: *const $crate::calls::Char,
                name: *const $crate::calls::Char, handler: *const $crate::calls::RequestHandler,
                instance: *mut $crate::calls::Void, settings: *const $crate::calls::Char, service: *mut u64,
            ) -> i32 = handler();
            fn ringway_host_workers(
                host: u64, start: Option<$crate::calls::Start>, stop: Option<$crate::calls::Stop>,
                data: *mut $crate::calls::Void,
            ) -> i32 = workers();
            fn ringway_host_start(host: u64) -> i32 = start();
            fn ringway_host_address(
                host: u64, index: usize, text: *mut $crate::calls::Char, text_bytes: usize,
            ) -> i32 = address();
            fn ringway_host_port(host: u64, index: usize) -> i32 = port();
            fn ringway_host_stop(host: u64, within_ms: u32) -> i32 = stop();
            fn ringway_host_destroy(host: u64) -> i32 = destroy();
            fn ringway_host_functions() -> *const $crate::calls::Server = functions();
            fn ringway_host_error() -> *const $crate::calls::Char = error();
            fn ringway_host_version() -> *const $crate::calls::Char = version();
        }
    };
    (@functions $(
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty = $call:ident($($given:path)?);
    )*) => {$(
        #[doc(hidden)]
        #[allow(unsafe_code, reason = "the names are the interface's; no other function of the library has them")]
        // SAFETY: what the program gives is as the header says (I1).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: as above (I1).
            unsafe { $crate::calls::$call($($given,)? $($argument),*) }
        }
    )*};
}
