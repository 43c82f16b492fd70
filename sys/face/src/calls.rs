//! The functions of `ringway_host.h`: each looks at what it was given, asks the host, and remembers why it failed if it did.
//!
//! Programs call them by the names that [`face!`](crate::face) gives them. All are unsafe for one reason: what they are given must
//! be as the header says (I1).

use crate::hook::Hook;
pub use crate::hook::{Start, Stop};
use crate::table::{self, Make, TEXT_BYTES_MAX};
use crate::{Refusal, Spot, said, signals};
use ringway_plugin::abi::code;
pub use ringway_plugin::abi::{Entry, RequestHandler, Server};
use ringway_plugin::{Library, LoadError, is_worker};
use std::cell::Cell;
pub use std::ffi::{c_char as Char, c_void as Void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Runs a function: no panic gets out, and why it fails is remembered.
fn run(act: impl FnOnce() -> Result<i32, Refusal>) -> i32 {
    let refuse = |refusal: Refusal| {
        said::remember(&refusal.text);
        refusal.code
    };
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => done.unwrap_or_else(refuse),
        Err(_panic) => refuse(Refusal::server("the server has a fault; standard error says more")),
    }
}

/// The same of what waits, which no worker may.
fn waiting(act: impl FnOnce() -> Result<i32, Refusal>) -> i32 {
    run(|| {
        if is_worker() {
            let text = "this is a worker's thread, which may not wait for itself";
            return Err(Refusal { code: code::THREAD, text: text.to_owned() });
        }
        if IS_INSIDE.replace(true) {
            return Err(Refusal::state(
                "this is called from within another function of a host, such as by a `create`",
            ));
        }
        let _inside = Inside;
        act()
    })
}

thread_local! {
    /// Whether this thread is in a function of a host already, which holds the host.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Puts the thread outside again, however the call ends.
struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INSIDE.set(false);
    }
}

/// A text that a program gave; `None` where it gave null.
///
/// # Safety
/// It is as the header says (I1).
unsafe fn optional<'a>(text: *const Char, what: &str) -> Result<Option<&'a str>, Refusal> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: a text that ends, and it is not looked at beyond a limit (I1).
    let len = unsafe { libc::strnlen(text, TEXT_BYTES_MAX + 1) };
    if len > TEXT_BYTES_MAX {
        return Err(Refusal {
            code: code::LIMIT,
            text: format!("{what} has more than {TEXT_BYTES_MAX} bytes"),
        });
    }
    // SAFETY: so many bytes are there, and stay until the function returns (I1).
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    str::from_utf8(bytes).map(Some).map_err(|_no_text| Refusal::invalid(format!("{what} is not UTF-8")))
}

/// A text that must be there.
///
/// # Safety
/// As above (I1).
unsafe fn text<'a>(text: *const Char, what: &str) -> Result<&'a str, Refusal> {
    // SAFETY: the caller's word (I1).
    unsafe { optional(text, what) }?.ok_or_else(|| Refusal::invalid(format!("{what} is NULL")))
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// What is given is as the header says.
        #[must_use]
        #[allow(clippy::too_many_arguments, reason = "the header says what they are")]
        pub unsafe fn $name($($argument: $type),*) -> $result $body
    )*};
}

calls! {
    /// Makes a host; 0 where that cannot be.
    create(make: Make) -> u64 {
        let mut number = 0;
        let _remembered = run(|| {
            number = table::add(make())?;
            Ok(code::OK)
        });
        number
    }

    /// Takes the text of a configuration.
    configure(host: u64, toml: *const Char) -> i32 {
        waiting(|| {
            // SAFETY: the program's word (I1).
            let toml = unsafe { text(toml, "the configuration") }?;
            table::with(host, |host| host.configure(toml)).map(|()| code::OK)
        })
    }

    /// Takes a setting.
    set(host: u64, key: *const Char, value: *const Char) -> i32 {
        waiting(|| {
            // SAFETY: the program's word (I1).
            let (key, value) = unsafe { (text(key, "the key")?, text(value, "the value")?) };
            table::with(host, |host| host.set(key, value)).map(|()| code::OK)
        })
    }

    /// Listens there.
    listen(host: u64, address: *const Char) -> i32 {
        waiting(|| {
            // SAFETY: the program's word (I1).
            let address = unsafe { text(address, "the address") }?;
            table::with(host, |host| host.listen(address)).map(|()| code::OK)
        })
    }

    /// Adds a site.
    site(host: u64, name: *const Char, root: *const Char) -> i32 {
        waiting(|| {
            // SAFETY: the program's word (I1).
            let (name, root) = unsafe { (optional(name, "the name")?, optional(root, "the directory")?) };
            table::with(host, |host| host.site(name, root)).map(|()| code::OK)
        })
    }

    /// Has a plug-in of the program's answer.
    plugin(
        host: u64, site: *const Char, path: *const Char, name: *const Char, entry: Option<Entry>,
        settings: *const Char
    ) -> i32 {
        waiting(|| {
            // SAFETY: the program's word (I1).
            let spot = unsafe { spot(site, path, name, settings) }?;
            let entry = entry.ok_or_else(|| Refusal::invalid("the plug-in's entry is NULL"))?;
            table::with(host, |host| {
                // SAFETY: the program's word (I1).
                let library = unsafe { Library::of_program(entry, spot.name) }.map_err(unloaded)?;
                host.library(&spot, &library)
            })
            .map(|_number| code::OK)
        })
    }

    /// Has a table of the program's answer.
    handler(
        host: u64, site: *const Char, path: *const Char, name: *const Char, handler: *const RequestHandler,
        instance: *mut Void, settings: *const Char, service: *mut u64
    ) -> i32 {
        waiting(|| {
            // SAFETY: the program's word (I1).
            let spot = unsafe { spot(site, path, name, settings) }?;
            if handler.is_null() || !handler.is_aligned() || !service.is_aligned() {
                return Err(Refusal::invalid("the handler is NULL, or does not lie where a table can"));
            }
            let number = table::with(host, |host| {
                // SAFETY: the program's word (I1).
                let library = unsafe { Library::of_handler(handler, instance, spot.name) }.map_err(unloaded)?;
                host.library(&spot, &library)
            })?;
            if !service.is_null() {
                // SAFETY: a place of the program's for a number (I1).
                unsafe { service.write(number) };
            }
            Ok(code::OK)
        })
    }

    /// Has workers call the program.
    workers(host: u64, start: Option<Start>, stop: Option<Stop>, data: *mut Void) -> i32 {
        waiting(|| table::with(host, |host| host.workers(Hook::new(start, stop, data))).map(|()| code::OK))
    }

    /// Starts serving.
    start(host: u64) -> i32 {
        waiting(|| table::with(host, |host| signals::blocked(|| host.start())).map(|()| code::OK))
    }

    /// Where it listens.
    address(host: u64, index: usize, text: *mut Char, text_bytes: usize) -> i32 {
        waiting(|| {
            let (address, _port) = asked(host, index)?;
            if text.is_null() {
                return Err(Refusal::invalid("the place for the address is NULL"));
            }
            if address.len() >= text_bytes {
                let text = format!("{address} and its NUL have more than {text_bytes} bytes");
                return Err(Refusal { code: code::LIMIT, text });
            }
            // SAFETY: a place of the program's for so many bytes (I1).
            let place = unsafe { std::slice::from_raw_parts_mut(text.cast::<u8>(), address.len() + 1) };
            place[..address.len()].copy_from_slice(address.as_bytes());
            place[address.len()] = 0;
            Ok(code::OK)
        })
    }

    /// The port that it has.
    port(host: u64, index: usize) -> i32 {
        waiting(|| asked(host, index).map(|(_address, port)| port.into()))
    }

    /// Stops.
    stop(host: u64, within_ms: u32) -> i32 {
        let within = Duration::from_millis(within_ms.into());
        waiting(|| table::with(host, |host| host.stop(within)).map(|()| code::OK))
    }

    /// Ends it.
    destroy(host: u64) -> i32 {
        waiting(|| {
            table::take(host)?.end();
            Ok(code::OK)
        })
    }

    /// What handlers may call.
    functions() -> *const Server {
        ringway_plugin::functions()
    }

    /// Why the last function failed that did.
    error() -> *const Char {
        said::last()
    }

    /// The version.
    version() -> *const Char {
        concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
    }
}

/// # Safety
/// The texts are as the header says (I1).
unsafe fn spot<'a>(
    site: *const Char,
    path: *const Char,
    name: *const Char,
    settings: *const Char,
) -> Result<Spot<'a>, Refusal> {
    // SAFETY: the caller's word (I1).
    unsafe {
        Ok(Spot {
            site: optional(site, "the site")?,
            path: text(path, "the path")?,
            name: text(name, "the name")?,
            settings: optional(settings, "the settings")?.unwrap_or_default(),
        })
    }
}

fn asked(host: u64, index: usize) -> Result<(String, u16), Refusal> {
    table::with(host, |host| {
        let gone = || Refusal { code: code::GONE, text: format!("it listens on no address {index}") };
        host.address(index).ok_or_else(gone)
    })
}

fn unloaded(error: LoadError) -> Refusal {
    Refusal::invalid(error.to_string())
}
