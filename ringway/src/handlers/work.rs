//! A handler at work: what speaks on an endpoint, and what it has done.

use super::datagrams::Switch;
use super::outward;
use super::source::{self, Makes, Stamp};
use super::terms;
use crate::config::settings::{self, EndpointProtocol, Limits, Trace};
use crate::engine::{DatagramHandlerFactory, Protocol, ProtocolFactory, WorkerHandle};
use crate::snapshot::HandlerFigures;
use crate::socket::datagrams::DatagramService;
use crate::socket::{
    EndpointCounters, Level as LineLevel, Log, SocketProtocol, Terms, TraceLevel, Tracer, Watched,
    time_bucket_end_ns,
};
use crate::web::log::errors::{ErrorLog, Level};
use ringway_lock::RwLock;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

thread_local! {
    /// What speaks on this worker, by the number of its work: all addresses of an endpoint have the same, and a reload that
    /// leaves a handler as it is leaves what it keeps.
    static AT_WORK: RefCell<HashMap<u64, Weak<dyn Protocol>>> = RefCell::default();
}

/// What is kept under an endpoint's name as long as the process lives.
pub(super) struct Known {
    pub(super) name: Arc<str>,
    counters: EndpointCounters,
    tracer: Tracer,
    /// How often the handler was replaced.
    pub(super) replaced: AtomicU64,
    /// Where lines go now.
    log: RwLock<ErrorLog>,
}

/// A handler with all it works under. One that another configuration has unchanged is the same.
pub(crate) struct Work {
    /// Of this one alone.
    number: u64,
    pub(super) settings: settings::Endpoint,
    pub(super) limits: Limits,
    pub(super) stamp: Stamp,
    pub(super) known: Arc<Known>,
    /// What more there is to say of the handler.
    about: String,
    pub(crate) kind: Kind,
}

/// What the engine makes protocols or handlers by.
pub(crate) enum Kind {
    /// For connections.
    Streams(ProtocolFactory, Arc<Terms>),
    /// For datagrams.
    Datagrams(DatagramHandlerFactory),
}

impl Known {
    pub(super) fn new(name: &str, log: &ErrorLog) -> Arc<Self> {
        Arc::new_cyclic(|weak: &std::sync::Weak<Self>| {
            let weak = weak.clone();
            let tell = move |line: &str| {
                if let Some(known) = weak.upgrade() {
                    known.say(Level::Notice, format_args!("{line}"));
                }
            };
            Self {
                name: name.into(),
                counters: EndpointCounters::default(),
                tracer: Tracer::new(tell),
                replaced: AtomicU64::new(0),
                log: RwLock::new(log.clone()),
            }
        })
    }

    /// Lines go to `log` from now on.
    pub(super) fn log_to(&self, log: &ErrorLog) {
        *self.log.write().unwrap_or_else(PoisonError::into_inner) = log.clone();
    }

    pub(super) fn say(&self, level: Level, message: fmt::Arguments<'_>) {
        self.log.read().unwrap_or_else(PoisonError::into_inner).say(level, "endpoint", message);
    }

    pub(super) fn trace(&self, level: Trace) {
        self.tracer.set(match level {
            Trace::Off => TraceLevel::Off,
            Trace::Sizes => TraceLevel::Sizes,
            Trace::Bytes => TraceLevel::Bytes,
        });
    }

    fn traced(&self) -> &'static str {
        match self.tracer.level() {
            TraceLevel::Off => "off",
            TraceLevel::Sizes => "sizes",
            TraceLevel::Bytes => "bytes",
        }
    }
}

impl Work {
    /// A handler of these settings. What it makes on workers is made there.
    ///
    /// # Errors
    /// Why there is none, as words.
    pub(super) fn new(
        settings: &settings::Endpoint,
        limits: &Limits,
        stamp: Stamp,
        known: &Arc<Known>,
    ) -> Result<Self, String> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (makes, about) = source::makes(settings, known)?;
        let kind = match makes {
            Makes::Streams(handlers) => {
                let terms = Arc::new(terms_of(settings, limits, known));
                let made = SocketProtocol::factory(handlers, Arc::clone(&terms));
                Kind::Streams(Arc::new(move |worker| once(number, worker, &made)), terms)
            }
            Makes::Datagrams(handlers) => {
                let rules = terms::datagram_rules(settings, limits);
                let service = DatagramService::new(handlers, rules, known.counters.clone());
                let terms = terms_of(settings, limits, known);
                let watched = Watched { endpoint: terms.name, handler: terms.handler, log: terms.log };
                let service = service.watched(watched);
                Kind::Datagrams(service.factory())
            }
        };
        let (settings, limits, known) = (settings.clone(), limits.clone(), Arc::clone(known));
        Ok(Self { number, settings, limits, stamp, known, about, kind })
    }

    /// The endpoint's name.
    pub(crate) fn name(&self) -> &str {
        &self.known.name
    }

    /// Its handler, as it is configured.
    pub(crate) fn handler(&self) -> String {
        self.settings.handler.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Whether these settings make the same of it.
    pub(super) fn is_the_same(&self, settings: &settings::Endpoint, limits: &Limits, stamp: &Stamp) -> bool {
        let mut settings = settings.clone();
        // What is not the handler's: addresses, how connections find workers, bandwidth, and what changes while it is at work.
        settings.listen.clone_from(&self.settings.listen);
        settings.balance = self.settings.balance;
        settings.fast_open = self.settings.fast_open;
        settings.governor.clone_from(&self.settings.governor);
        settings.trace = self.settings.trace;
        settings.limits.clone_from(&self.settings.limits);
        settings == self.settings && *limits == self.limits && *stamp == self.stamp
    }

    /// What the engine is given for datagrams, to be replaced later.
    pub(crate) fn switch(&self) -> Option<Replaceable> {
        let Kind::Datagrams(factory) = &self.kind else { return None };
        let known = Arc::clone(&self.known);
        let tell = move |error: &io::Error| {
            known.say(Level::Error, format_args!("{}: the handler was not replaced: {error}", known.name));
        };
        Some(Replaceable(Switch::new(Arc::clone(factory), Arc::new(tell))))
    }

    /// How it is.
    pub(super) fn figures(&self) -> HandlerFigures {
        let totals = self.known.counters.totals();
        let times = totals.handler_time.iter().enumerate();
        HandlerFigures {
            name: self.known.name.to_string(),
            handler: self.handler(),
            about: self.about.clone(),
            protocol: match self.settings.spoken() {
                EndpointProtocol::Udp => "udp".to_owned(),
                _ => "tcp".to_owned(),
            },
            trace: self.known.traced().to_owned(),
            open: totals.open(),
            opened: totals.opened,
            refused: totals.refused,
            messages_in: totals.messages_in,
            messages_out: totals.messages_out,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            errors: totals.errors,
            faults: totals.faults,
            timeouts: totals.timeouts,
            panics: totals.panics,
            replaced: self.known.replaced.load(Ordering::Relaxed),
            timed: totals.timed,
            timed_ns: totals.timed_ns,
            times: times.map(|(at, count)| (time_bucket_end_ns(at).unwrap_or(0), *count)).collect(),
        }
    }
}

/// A handler of datagrams in the engine, which others may take the place of. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Replaceable(Switch);

impl Replaceable {
    /// What the engine makes its handlers by.
    pub(crate) fn factory(&self) -> DatagramHandlerFactory {
        self.0.factory()
    }

    /// Has another handler take the datagrams from now on.
    pub(crate) fn replace(&self, work: &Work) {
        if let Kind::Datagrams(factory) = &work.kind {
            self.0.set(Arc::clone(factory));
        }
    }
}

fn terms_of(settings: &settings::Endpoint, limits: &Limits, known: &Arc<Known>) -> Terms {
    let told = Arc::clone(known);
    Terms {
        name: Arc::clone(&known.name),
        handler: settings.handler.as_ref().map(ToString::to_string).unwrap_or_default().into(),
        framing: terms::framing(settings),
        framing_limits: terms::framing_limits(limits),
        limits: terms::connection_limits(limits),
        urgent: terms::urgent(settings.urgent),
        origins: settings.origins.iter().map(|origin| origin.as_str().into()).collect(),
        client_tls: outward::tls(settings),
        counters: known.counters.clone(),
        log: Log::new(move |level, line| {
            let level = match level {
                LineLevel::Info => Level::Info,
                LineLevel::Error => Level::Error,
            };
            told.say(level, format_args!("{line}"));
        }),
        tracer: known.tracer.clone(),
    }
}

/// What speaks on the calling worker: what was made there before, or is now.
fn once(number: u64, worker: &WorkerHandle, made: &ProtocolFactory) -> io::Result<Rc<dyn Protocol>> {
    if let Some(known) = AT_WORK.with_borrow(|all| all.get(&number).and_then(Weak::upgrade)) {
        return Ok(known);
    }
    let protocol = made(worker)?;
    AT_WORK.with_borrow_mut(|all| {
        all.retain(|_, protocol| protocol.strong_count() > 0);
        all.insert(number, Rc::downgrade(&protocol));
    });
    Ok(protocol)
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("name", &self.name())
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
