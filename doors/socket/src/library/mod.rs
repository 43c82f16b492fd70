//! Protocols in shared libraries, behind the C interface of plug-ins (`ringway.h`).
//!
//! A [`Library`] is one endpoint that names a library. On each worker it is a [`crate::Handler`], or one of datagrams; what the library
//! says is looked at before anything is done, and whatever it does wrong costs the connection it did it with. It can be replaced while
//! it runs: connections that are open end where they began, new ones get the new version, and the old one is unmapped behind the last
//! of them.

#[cfg(feature = "datagrams")]
mod datagrams;
mod outward;
mod reach;
mod serving;
mod shown;
mod slab;
mod version;
mod waiting;

pub use ringway_plugin::{Level, Listener, LoadError, census};

use crate::blocking::{BlockingFactory, BlockingHandler, BlockingOptions, blocking};
use crate::handler::{Handler, HandlerFactory};
use reach::{OfInstance, Reach};
use ringway_lock::{Mutex, MutexGuard};
use ringway_plugin::{Connections, Instance, Problem, Setting};
use serving::Serving;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Waker;

/// Complaints of an endpoint's library that are told one by one.
const COMPLAINTS_TOLD: u64 = 8;

/// What an endpoint asks of its library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// That it speaks on connections.
    #[default]
    Connections,
    /// The same, and that it says how long messages are: [`crate::Framing::Handler`].
    Framing,
    /// That it speaks by datagrams.
    Datagrams,
}

/// How a library is used.
#[derive(Clone)]
pub struct LibraryOptions {
    /// What the library and its messages are called: the endpoint's name.
    pub name: String,
    /// What the endpoint asks of it.
    pub asked: Asked,
    /// Who hears what it says, and what it does wrong; on any thread.
    pub listener: Listener,
}

impl Default for LibraryOptions {
    /// Connections, and nobody listens.
    fn default() -> Self {
        Self { name: String::from("library"), asked: Asked::Connections, listener: Arc::new(|_, _| {}) }
    }
}

impl fmt::Debug for LibraryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LibraryOptions")
            .field("name", &self.name)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

/// A library that speaks a protocol on an endpoint. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Library {
    shared: Arc<Shared>,
}

/// What all workers share.
pub(crate) struct Shared {
    options: LibraryOptions,
    /// Counted up when the instance is another one.
    generation: AtomicU64,
    /// The current instance, and its number.
    current: Mutex<(Instance, u64)>,
    /// The workers' watches.
    watches: Mutex<Vec<(u64, Waker)>>,
    complaints: AtomicU64,
    reach: Arc<Reach>,
}

impl Library {
    /// Loads the library at `path` and has it make an instance with `config`, its own section of the configuration as text.
    ///
    /// Loading maps code: it is for before a process is confined. Both run code of the library on this thread.
    ///
    /// # Errors
    /// [`LoadError`] names the file, and the symbol or whatever is wrong with it.
    pub fn load(path: &Path, config: &str, options: LibraryOptions) -> Result<Self, LoadError> {
        let reach = Arc::new(Reach::new());
        let instance = instance(path, config, &options, &reach)?;
        let shared = Shared {
            options,
            generation: AtomicU64::new(1),
            current: Mutex::new(instance),
            watches: Mutex::default(),
            complaints: AtomicU64::new(0),
            reach,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Has another version, or another configuration, take over on all workers: connections that are open stay with the one they
    /// have, and of datagrams the next one is the new version's. It may be the same file.
    ///
    /// # Errors
    /// As [`Library::load`]; everything then stays as it is.
    pub fn replace(&self, path: &Path, config: &str) -> Result<(), LoadError> {
        let fresh = instance(path, config, &self.shared.options, &self.shared.reach)?;
        let old = std::mem::replace(&mut *self.shared.current(), fresh);
        self.shared.generation.fetch_add(1, Ordering::Release);
        let watches = std::mem::take(&mut *self.shared.watches());
        watches.into_iter().for_each(|(_, waker)| waker.wake());
        // Outside of every lock: it may be the last user.
        drop(old);
        Ok(())
    }

    /// What makes its handler of connections on each worker: for [`crate::SocketProtocol::factory`].
    #[must_use]
    pub fn handler(&self) -> HandlerFactory {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |worker| {
            let serving = Serving::new(Arc::clone(&shared), worker).map_err(io::Error::other)?;
            Ok(serving as Rc<dyn Handler>)
        })
    }

    /// The same, called on threads, where it may wait. There it opens no connections of its own, and `measure`, which is called on
    /// workers and must not wait, gets no word of its connection.
    #[must_use]
    pub fn blocking(&self, threads_max: usize) -> HandlerFactory {
        let shared = Arc::clone(&self.shared);
        let measure: HandlerFactory = Arc::new(move |worker| {
            let measuring = waiting::Measuring::new(Arc::clone(&shared), worker).map_err(io::Error::other)?;
            Ok(measuring as Rc<dyn Handler>)
        });
        let is_measured = self.shared.options.asked == Asked::Framing;
        let options = BlockingOptions {
            name: self.shared.options.name.clone(),
            threads_max,
            measure: is_measured.then_some(measure),
        };
        let shared = Arc::clone(&self.shared);
        let handlers: BlockingFactory = Arc::new(move |thread| {
            let waiting = waiting::Waiting::new(Arc::clone(&shared), thread).map_err(io::Error::other)?;
            Ok(waiting as Rc<dyn BlockingHandler>)
        });
        blocking(handlers, options)
    }

    /// What makes its handler of datagrams on each worker. `keeps_peers`: whether the endpoint keeps words of peers
    /// ([`crate::datagrams::DatagramRules::peers_max`]).
    #[cfg(feature = "datagrams")]
    #[must_use]
    pub fn datagrams(&self, keeps_peers: bool) -> crate::datagrams::DatagramHandlerFactory {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |worker| {
            let made = datagrams::Datagrams::new(Arc::clone(&shared), worker, keeps_peers);
            Ok(made.map_err(io::Error::other)? as Rc<dyn crate::datagrams::DatagramHandler>)
        })
    }

    /// What it calls itself, and its version.
    #[must_use]
    pub fn identity(&self) -> (String, String) {
        let instance = self.shared.current();
        (instance.0.library().name().to_owned(), instance.0.library().version().to_owned())
    }

    /// The file it was loaded from.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.shared.current().0.library().path().to_owned()
    }

    /// How it is: fine, or not, for a reason.
    ///
    /// # Errors
    /// What it says of itself.
    pub fn health(&self) -> Result<(), String> {
        // It may take its time, so the lock is not held.
        let instance = self.shared.current().0.clone();
        instance.health()
    }
}

/// The handler of a library: see [`Library::handler`].
#[must_use]
pub fn handler(library: &Library) -> HandlerFactory {
    library.handler()
}

fn instance(
    path: &Path,
    config: &str,
    options: &LibraryOptions,
    reach: &Arc<Reach>,
) -> Result<(Instance, u64), LoadError> {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let library = ringway_plugin::Library::open(path)?;
    let table = library.connections()?;
    let lacks = |member: &'static str| Err(library.objection(Problem::NoFunction(member)));
    match options.asked {
        Asked::Connections | Asked::Framing if !table.has_messages() => {
            return lacks("ringway_connection_handler.message");
        }
        Asked::Framing if !table.has_measure() => return lacks("ringway_connection_handler.measure"),
        Asked::Datagrams if !table.has_datagrams() => return lacks("ringway_connection_handler.datagram"),
        _ => {}
    }
    if table.hears_broadcasts() {
        reach.is_broadcasting.store(true, Ordering::Relaxed);
    }
    let listener = Arc::clone(&options.listener);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let connections: Arc<dyn Connections> =
        Arc::new(OfInstance { reach: Arc::clone(reach), instance: number });
    let setting =
        Setting { name: &options.name, config, listener, broadcast: None, connections: Some(connections) };
    Ok((Instance::of_connections(&library, &setting)?, number))
}

impl Shared {
    /// Says what a library did wrong: the first times, and then ever less often.
    fn complain(&self, what: fmt::Arguments<'_>) {
        let count = self.complaints.fetch_add(1, Ordering::Relaxed) + 1;
        if count <= COMPLAINTS_TOLD || count.is_power_of_two() {
            (self.options.listener)(Level::Error, &what.to_string());
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The current instance.
    fn current(&self) -> MutexGuard<'_, (Instance, u64)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who wait for another version, by numbers of their own.
    fn watches(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, number: u64, waker: &Waker) {
        let mut watches = self.watches();
        watches.retain(|(of, _)| *of != number);
        watches.push((number, waker.clone()));
    }

    fn unwatch(&self, number: u64) {
        let watch = {
            let mut watches = self.watches();
            let place = watches.iter().position(|(of, _)| *of == number);
            place.map(|place| watches.swap_remove(place))
        };
        if let Some((_, waker)) = watch {
            waker.wake();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).field("instance", &self.current().0).finish()
    }
}
