//! Handlers of datagrams that are replaced while their sockets stay: each worker takes the new one with its next batch.

use crate::engine::ring::Batch;
use crate::engine::ring::socket::Refusal;
use crate::engine::{DatagramHandler, DatagramHandlerFactory, Outgoing, WorkerHandle};
use ringway_lock::Mutex;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Who hears that a worker could not make a handler.
type Tell = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// What makes the handler of an endpoint of datagrams now. Clones are the same.
#[derive(Clone)]
pub(super) struct Switch {
    shared: Arc<Shared>,
}

struct Shared {
    factory: Mutex<DatagramHandlerFactory>,
    /// Counts what was put there.
    version: AtomicU64,
    tell: Tell,
}

impl Switch {
    pub(super) fn new(factory: DatagramHandlerFactory, tell: Tell) -> Self {
        let shared = Shared { factory: Mutex::new(factory), version: AtomicU64::new(0), tell };
        Self { shared: Arc::new(shared) }
    }

    /// Workers make their handlers by `factory` from now on.
    pub(super) fn set(&self, factory: DatagramHandlerFactory) {
        *self.shared.factory.lock().unwrap_or_else(PoisonError::into_inner) = factory;
        // Behind the factory: whoever sees the number finds what it counts.
        self.shared.version.fetch_add(1, Ordering::Release);
    }

    /// What the engine makes its handlers by.
    pub(super) fn factory(&self) -> DatagramHandlerFactory {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |worker| {
            let version = shared.version.load(Ordering::Acquire);
            let handler = shared.make(worker)?;
            Ok(Rc::new(Switched {
                shared: Arc::clone(&shared),
                worker: worker.clone(),
                version: Cell::new(version),
                endpoint: Cell::new(None),
                handler: RefCell::new(handler),
            }))
        })
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switch")
    }
}

impl Shared {
    fn make(&self, worker: &WorkerHandle) -> io::Result<Rc<dyn DatagramHandler>> {
        let factory = Arc::clone(&self.factory.lock().unwrap_or_else(PoisonError::into_inner));
        factory(worker)
    }
}

/// A worker's handler, the newest.
struct Switched {
    shared: Arc<Shared>,
    worker: WorkerHandle,
    version: Cell<u64>,
    endpoint: Cell<Option<usize>>,
    handler: RefCell<Rc<dyn DatagramHandler>>,
}

impl Switched {
    #[cold]
    fn renew(&self, version: u64) {
        self.version.set(version);
        match self.shared.make(&self.worker) {
            Ok(handler) => {
                self.endpoint.get().into_iter().for_each(|endpoint| handler.placed(endpoint));
                // Dropped behind the exchange: it may reach for what it was.
                let _before = self.handler.replace(handler);
            }
            // The one that is there serves on.
            Err(error) => (self.shared.tell)(&error),
        }
    }

    fn current(&self) -> Rc<dyn DatagramHandler> {
        Rc::clone(&self.handler.borrow())
    }
}

impl DatagramHandler for Switched {
    #[inline]
    fn datagrams(&self, batch: &mut Batch, out: &mut Outgoing<'_>) {
        let version = self.shared.version.load(Ordering::Acquire);
        if version != self.version.get() {
            self.renew(version);
        }
        self.current().datagrams(batch, out);
    }

    fn placed(&self, endpoint: usize) {
        self.endpoint.set(Some(endpoint));
        self.current().placed(endpoint);
    }

    fn error(&self, error: &io::Error) {
        self.current().error(error);
    }

    fn refused(&self, refusals: &[Refusal]) {
        self.current().refused(refusals);
    }
}
