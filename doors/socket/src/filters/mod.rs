//! Filters between transport and handler, in any number: as a configuration names them, and as the one filter that the engine sees.
//!
//! [`FilterSpec`] is one of them as it is written, [`Filters`] all of an endpoint's, their libraries loaded; its
//! [`Filters::factory`] is what [`ringway_engine::Endpoint::filter`] takes. The first is nearest to the wire. An endpoint
//! without any costs nothing: its connections have no filter, or TLS alone.

mod flow;
mod layer;
mod library;
mod proxy;
mod sealed;
mod spec;
mod stack;
#[cfg(test)]
mod tests;
mod trace;

pub use spec::{FilterSpec, FilterSpecError};
pub use trace::{TraceLevel, TraceSwitch};

use layer::Layer;
use ringway_engine::{Filter, FilterFactory, FilterSource, WorkerHandle};
use ringway_plugin::{FilterWorker, Instance, Level, Listener, LoadError, Setting};
use stack::Stack;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Lines of a trace, and lines on faults, that a worker tells in a second. What is more is counted.
const LINES_PER_S_MAX: u32 = 200;

/// Whose word on whom it speaks for is taken.
pub type Trusts = Arc<dyn Fn(Option<SocketAddr>) -> bool + Send + Sync>;

/// What the filters of an endpoint share.
#[derive(Clone)]
pub struct FilterOptions {
    /// The endpoint's name, for messages.
    pub endpoint: String,
    /// Who hears traces, what libraries say, and what they do wrong.
    pub listener: Listener,
    /// Which peers `proxy-protocol` believes; those of Unix sockets have no address.
    pub trusts: Trusts,
}

impl Default for FilterOptions {
    /// Nobody listens, and nobody is believed.
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            listener: Arc::new(|_level, _line| {}),
            trusts: Arc::new(|_peer| false),
        }
    }
}

impl fmt::Debug for FilterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterOptions").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The filters of an endpoint. Clones are the same ones.
#[derive(Clone)]
pub struct Filters {
    made: Arc<[Made]>,
    options: FilterOptions,
    trace: Arc<TraceSwitch>,
}

/// A filter whose library, if it is one, is loaded.
enum Made {
    Tls,
    Trace,
    ProxyProtocol,
    Flow(u64),
    Library(Instance),
}

impl Filters {
    /// Makes the filters of an endpoint, and loads their libraries: before the process is confined.
    ///
    /// # Errors
    /// [`LoadError`] names the library and what is wrong with it.
    pub fn load(specs: &[FilterSpec], options: FilterOptions) -> Result<Self, LoadError> {
        let mut level = TraceLevel::Off;
        let mut made = Vec::with_capacity(specs.len());
        for spec in specs {
            made.push(match spec {
                FilterSpec::Tls => Made::Tls,
                FilterSpec::Trace(wanted) => {
                    level = *wanted;
                    Made::Trace
                }
                FilterSpec::ProxyProtocol => Made::ProxyProtocol,
                FilterSpec::Flow { bytes_per_s } => Made::Flow(*bytes_per_s),
                FilterSpec::Library { path, config } => {
                    let library = ringway_plugin::Library::open(path)?;
                    let setting = Setting {
                        name: &options.endpoint,
                        config,
                        listener: Arc::clone(&options.listener),
                        broadcast: None,
                        connections: None,
                    };
                    Made::Library(Instance::of_filters(&library, &setting)?)
                }
            });
        }
        Ok(Self { made: made.into(), options, trace: TraceSwitch::new(level) })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// What switches the `trace` among them.
    #[must_use]
    pub fn trace(&self) -> &Arc<TraceSwitch> {
        &self.trace
    }

    /// What the engine puts on the endpoint's connections. `tls` is the endpoint's TLS, if it has any: it stands where `tls`
    /// stands among them, or else behind a `proxy-protocol` that comes first, or first of all.
    #[must_use]
    pub fn factory(&self, tls: Option<FilterFactory>) -> FilterFactory {
        let filters = self.clone();
        Arc::new(move |worker: &WorkerHandle| {
            let tls = tls.as_ref().map(|tls| tls(worker)).transpose()?;
            Ok(Rc::new(Source::new(&filters, tls)?) as Rc<dyn FilterSource>)
        })
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filters").field("len", &self.made.len()).field("options", &self.options).finish()
    }
}

/// A worker's source of stacks.
struct Source {
    parts: Vec<Part>,
    trusts: Trusts,
    trace: Arc<TraceSwitch>,
    voice: Voice,
    next_number: Cell<u64>,
    asks_peer: bool,
}

enum Part {
    Tls(Rc<dyn FilterSource>),
    Trace,
    ProxyProtocol,
    Flow(u64),
    Library(Rc<FilterWorker>),
}

impl Source {
    fn new(filters: &Filters, mut tls: Option<Rc<dyn FilterSource>>) -> io::Result<Self> {
        let is_named = filters.made.iter().any(|made| matches!(made, Made::Tls));
        let place = usize::from(matches!(filters.made.first(), Some(Made::ProxyProtocol)));
        let mut parts = Vec::with_capacity(filters.made.len() + 1);
        for (at, made) in filters.made.iter().enumerate() {
            if at == place && !is_named {
                parts.extend(tls.take().map(Part::Tls));
            }
            match made {
                // Without TLS its place is empty.
                Made::Tls => parts.extend(tls.take().map(Part::Tls)),
                Made::Trace => parts.push(Part::Trace),
                Made::ProxyProtocol => parts.push(Part::ProxyProtocol),
                Made::Flow(bytes_per_s) => parts.push(Part::Flow(*bytes_per_s)),
                Made::Library(instance) => {
                    let worker = FilterWorker::start(instance).map_err(io::Error::other)?;
                    parts.push(Part::Library(Rc::new(worker)));
                }
            }
        }
        parts.extend(tls.take().map(Part::Tls));
        let asks_peer = parts.iter().any(|part| !matches!(part, Part::Tls(_) | Part::Flow(_)));
        Ok(Self {
            parts,
            trusts: Arc::clone(&filters.options.trusts),
            trace: Arc::clone(&filters.trace),
            voice: Voice::new(Arc::clone(&filters.options.listener)),
            next_number: Cell::new(1),
            asks_peer,
        })
    }

    fn stack(&self, peer: Option<SocketAddr>) -> Stack {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        let mut is_secret = false;
        let mut layers: Vec<Box<dyn Layer>> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            layers.push(match part {
                Part::Tls(source) => {
                    is_secret = true;
                    Box::new(sealed::Sealed(source.make()))
                }
                Part::Trace => {
                    let switch = Arc::clone(&self.trace);
                    Box::new(trace::Trace::new(switch, self.voice.clone(), peer, number, is_secret))
                }
                Part::ProxyProtocol => {
                    let is_trusted = (self.trusts)(peer);
                    Box::new(proxy::Proxy::new(self.voice.clone(), peer, is_trusted))
                }
                Part::Flow(bytes_per_s) => Box::new(flow::Flow::new(*bytes_per_s)),
                Part::Library(worker) => {
                    let worker = Rc::clone(worker);
                    Box::new(library::Library::new(worker, self.voice.clone(), peer, is_secret))
                }
            });
        }
        Stack::new(layers)
    }
}

impl FilterSource for Source {
    fn make(&self) -> Box<dyn Filter> {
        Box::new(self.stack(None))
    }

    fn make_for(&self, peer: &mut dyn FnMut() -> Option<SocketAddr>) -> Box<dyn Filter> {
        let peer = if self.asks_peer { peer() } else { None };
        Box::new(self.stack(peer))
    }
}

/// What filters of a worker say, no more than so many lines a second.
#[derive(Clone)]
pub(crate) struct Voice {
    listener: Listener,
    said: Rc<Cell<Said>>,
}

#[derive(Clone, Copy)]
struct Said {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Voice {
    pub(crate) fn new(listener: Listener) -> Self {
        let said = Said { since: Instant::now(), lines: 0, left_out: 0 };
        Self { listener, said: Rc::new(Cell::new(said)) }
    }

    pub(crate) fn warn(&self, line: &str) {
        if self.may_say() {
            (self.listener)(Level::Warn, line);
        }
    }

    /// Whether a line of a trace will be heard: asked before it is made.
    pub(crate) fn may_trace(&self) -> bool {
        self.may_say()
    }

    pub(crate) fn trace(&self, line: &str) {
        (self.listener)(Level::Info, line);
    }

    fn may_say(&self) -> bool {
        let mut said = self.said.get();
        if said.since.elapsed().as_secs() >= 1 {
            if said.left_out > 0 {
                (self.listener)(Level::Warn, &format!("filters: {} lines were left out", said.left_out));
            }
            said = Said { since: Instant::now(), lines: 0, left_out: 0 };
        }
        let is_heard = said.lines < LINES_PER_S_MAX;
        said.lines += u32::from(is_heard);
        said.left_out += u64::from(!is_heard);
        self.said.set(said);
        is_heard
    }
}
