//! memcached (1.6 and later): a small client of a worker, pipelined and reconnecting, for values that may be gone at any time.

pub use crate::link::{LinkOptions as MemcachedOptions, Standing, StoreAddress};
pub use ringway_kv::memcached::{KEY_BYTES_MAX, Store};

use crate::link::{Link, LinkError, Wire};
use ringway_engine::WorkerHandle;
use ringway_http::status::Status;
use ringway_kv::memcached::{Command, Decoder, KeyFault, Reply};
use std::fmt;

/// A worker's client. Clones are the same. While the server cannot be reached commands fail at once.
#[derive(Clone, Debug)]
pub struct Memcached {
    link: Link<Reply>,
}

/// A value, and the number by which [`Store::Unchanged`] knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub data: Vec<u8>,
    /// Another one whenever the value was stored.
    pub unique: u64,
}

/// Why a command has no answer that one can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemcachedError {
    /// A key has 1 to [`KEY_BYTES_MAX`] bytes without spaces and controls.
    Key,
    /// The server was not reached, or did not answer.
    Link(LinkError),
    /// It refuses, in these words; or its answer is none to what was asked.
    Refused(String),
}

impl Memcached {
    /// Begins to connect to the server at an address, from this worker.
    #[must_use]
    pub fn connect(worker: &WorkerHandle, address: StoreAddress, options: MemcachedOptions) -> Self {
        let speech = Speech { bytes_max: options.answer_bytes_max, decoder: Decoder::new(0) };
        Self { link: Link::new(worker, address, options, speech) }
    }

    /// A key's value.
    ///
    /// # Errors
    /// [`MemcachedError`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Found>, MemcachedError> {
        match self.ask(Command::get(key)?).await? {
            Reply::Value { data, unique } => Ok(Some(Found { data, unique: unique.unwrap_or(0) })),
            Reply::Missing => Ok(None),
            other => Err(refused(other)),
        }
    }

    /// Stores a value for so many seconds, at most thirty days; 0: until the server needs its room. Whether `store` let it.
    ///
    /// # Errors
    /// [`MemcachedError`]; nobody knows whether it was stored when the connection broke.
    pub async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        ttl_s: u32,
        store: Store,
    ) -> Result<bool, MemcachedError> {
        match self.ask(Command::set(key, value, ttl_s, store)?).await? {
            Reply::Done => Ok(true),
            Reply::NotStored | Reply::Changed | Reply::Missing => Ok(false),
            other => Err(refused(other)),
        }
    }

    /// Removes a value; whether it was there.
    ///
    /// # Errors
    /// As [`Memcached::set`].
    pub async fn delete(&self, key: &[u8]) -> Result<bool, MemcachedError> {
        match self.ask(Command::delete(key)?).await? {
            Reply::Done => Ok(true),
            Reply::Missing => Ok(false),
            other => Err(refused(other)),
        }
    }

    /// Adds to a number, which begins with `delta` where there is none and then lives `ttl_s` seconds; the sum.
    ///
    /// # Errors
    /// As [`Memcached::set`].
    pub async fn add(&self, key: &[u8], delta: u64, ttl_s: u32) -> Result<u64, MemcachedError> {
        match self.ask(Command::add(key, delta, ttl_s)?).await? {
            Reply::Value { data, .. } => {
                let number = std::str::from_utf8(&data).ok().and_then(|text| text.trim().parse().ok());
                number.ok_or_else(|| MemcachedError::Refused("the sum is no number".to_owned()))
            }
            other => Err(refused(other)),
        }
    }

    /// How the connection stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.link.standing()
    }

    async fn ask(&self, command: Command) -> Result<Reply, MemcachedError> {
        let mut replies = self.link.ask(command.bytes().to_vec(), 1).await?;
        replies.pop().ok_or(MemcachedError::Link(LinkError::Lost))
    }
}

impl MemcachedError {
    /// What a request is answered whose handler fails with this.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Link(_) => Status::SERVICE_UNAVAILABLE,
            Self::Key | Self::Refused(_) => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

fn refused(reply: Reply) -> MemcachedError {
    MemcachedError::Refused(match reply {
        Reply::Error(text) => text,
        other => format!("that is no answer to this: {other:?}"),
    })
}

/// The meta protocol on a connection.
struct Speech {
    decoder: Decoder,
    bytes_max: usize,
}

impl Wire for Speech {
    type Reply = Reply;

    fn begin(&mut self) {
        self.decoder = Decoder::new(self.bytes_max);
    }

    fn greeting(&self) -> (Vec<u8>, usize) {
        (self.ping(), 1)
    }

    fn welcome(&self, reply: Reply) -> Result<(), String> {
        match reply {
            Reply::Nothing => Ok(()),
            // One before 1.6 does not know the meta protocol.
            other => Err(format!("it does not speak the meta protocol: {other:?}")),
        }
    }

    fn ping(&self) -> Vec<u8> {
        Command::nothing().bytes().to_vec()
    }

    fn next(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, String> {
        self.decoder.next(input).map_err(|fault| fault.to_string())
    }
}

impl From<KeyFault> for MemcachedError {
    fn from(_: KeyFault) -> Self {
        Self::Key
    }
}

impl From<LinkError> for MemcachedError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl fmt::Display for MemcachedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => KeyFault.fmt(f),
            Self::Link(error) => write!(f, "memcached: {error}"),
            Self::Refused(text) => write!(f, "memcached refuses: {text}"),
        }
    }
}

impl std::error::Error for MemcachedError {}
