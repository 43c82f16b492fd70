//! Where sessions are kept: the same few questions to memory, SQLite and Redis.

use super::SessionError;
use super::memory::Memory;
use super::record::{Change, Key, Record};
#[cfg(feature = "redis")]
use super::redis_store::RedisStore;
#[cfg(feature = "sqlite")]
use super::sqlite_store::SqliteStore;
use ringway_engine::WorkerHandle;

/// The place of a service's sessions, shared by its workers.
#[derive(Debug)]
pub(super) enum Store {
    Memory(Box<Memory>),
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
}

impl Store {
    /// A session that is alive.
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused_variables, reason = "only a store on the network needs the worker")
    )]
    pub(super) async fn load(
        &self,
        worker: &WorkerHandle,
        key: &Key,
        now_s: u64,
    ) -> Result<Option<Record>, SessionError> {
        match self {
            Self::Memory(memory) => Ok(memory.load(key, now_s).map(|record| Record::clone(&record))),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => Ok(store.load(key, now_s).await?),
            #[cfg(feature = "redis")]
            Self::Redis(store) => Ok(store.load(worker, key, now_s).await?),
        }
    }

    /// Changes what is kept under `from` (nothing yet: a new session) and keeps it under `to` from now on, all or nothing.
    /// False when there is nothing under `from` any more and nobody logs in: then nothing has changed.
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused_variables, reason = "only a store on the network needs the worker")
    )]
    pub(super) async fn apply(
        &self,
        worker: &WorkerHandle,
        from: Option<Key>,
        to: Key,
        change: Change,
        now_s: u64,
    ) -> Result<bool, SessionError> {
        match self {
            Self::Memory(memory) => memory.apply(from.as_ref(), &to, &change, now_s),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.apply(from, to, change, now_s).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.apply(worker, from.as_ref(), &to, &change, now_s).await,
        }
    }

    /// Ends a session.
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused_variables, reason = "only a store on the network needs the worker")
    )]
    pub(super) async fn remove(&self, worker: &WorkerHandle, key: Key) -> Result<(), SessionError> {
        match self {
            Self::Memory(memory) => memory.remove(&key),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.remove(key).await?,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.remove(worker, &key).await?,
        }
        Ok(())
    }

    /// Whether looking a session up is a use of it that need not be written.
    pub(super) fn notes_use(&self) -> bool {
        matches!(self, Self::Memory(_))
    }
}
