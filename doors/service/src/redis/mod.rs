//! Redis and Valkey: a client of each worker on the engine's own connections, pipelined, reconnecting, with publishing and
//! subscriptions.
//!
//! A [`Redis`] says where the server is and may be captured by handlers of all workers; [`Redis::client`] is the worker's own
//! client, which connects when it is first asked for. While the server cannot be reached its commands fail at once, and
//! [`RedisClient::standing`] says so.

mod client;
mod error;
#[cfg(all(feature = "sessions", feature = "websockets"))]
mod relay;
mod subscribe;
mod url;

pub use crate::link::{LinkOptions as RedisOptions, Standing};
pub use client::RedisClient;
pub use error::RedisError;
#[cfg(all(feature = "sessions", feature = "websockets"))]
pub use relay::RedisRelay;
pub use ringway_kv::resp::{Command, Value};
pub use subscribe::{Message, Subscription};
pub use url::RedisUrlError;

use ringway_engine::WorkerHandle;
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Weak};
use url::Target;

/// Where a Redis server is and how it is spoken to, shared by all workers: clones are the same.
#[derive(Clone)]
pub struct Redis {
    description: Arc<Description>,
}

pub(super) struct Description {
    target: Target,
    options: RedisOptions,
}

thread_local! {
    /// The clients of this thread's worker.
    static CLIENTS: RefCell<Vec<(Weak<Description>, RedisClient)>> = const { RefCell::new(Vec::new()) };
}

impl Redis {
    /// The server at a URL: `redis://user:password@host:6379/0`, `rediss://..` with TLS (which [`RedisOptions::encryption`]
    /// makes), `unix:///path/of/socket?db=0`. Nothing is connected yet.
    ///
    /// # Errors
    /// [`RedisUrlError`].
    pub fn new(url: &str, options: RedisOptions) -> Result<Self, RedisUrlError> {
        let target = Target::parse(url)?;
        if target.is_encrypted != options.encryption.is_some() {
            // Better no connection than one that is not what its address says.
            return Err(RedisUrlError::Scheme);
        }
        Ok(Self { description: Arc::new(Description { target, options }) })
    }

    /// The client of this worker, connected when it is first asked for, and kept as long as this value lives anywhere.
    #[must_use]
    pub fn client(&self, worker: &WorkerHandle) -> RedisClient {
        CLIENTS.with_borrow_mut(|clients| {
            let own = clients
                .iter()
                .find(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(&self.description)));
            if let Some((_, client)) = own {
                return client.clone();
            }
            if clients.is_empty() {
                let end = WorkersEnd;
                worker.spawn(async move {
                    let _end = end;
                    std::future::pending::<()>().await;
                });
            }
            let client = RedisClient::new(worker, &self.description);
            clients.retain(|(known, _)| known.strong_count() > 0);
            clients.push((Arc::downgrade(&self.description), client.clone()));
            client
        })
    }
}

/// Lies in a task that ends with the worker: clients hold it, and must not outlive it until the thread's own end.
struct WorkersEnd;

impl Drop for WorkersEnd {
    fn drop(&mut self) {
        let clients = CLIENTS.try_with(RefCell::take);
        // They are dropped when the list is free again.
        drop(clients);
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({:?})", self.description.target)
    }
}
