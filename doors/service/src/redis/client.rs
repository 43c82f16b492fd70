//! A worker's client: commands, pipelines and transactions on one connection that its handlers share.

use super::subscribe::{Subscriber, Subscription};
use super::url::Target;
use super::{Description, RedisError};
use crate::link::{Link, Standing, Wire};
use ringway_engine::WorkerHandle;
use ringway_kv::resp::{Command, Decoder, Value};
use std::fmt;
use std::future::Future;
use std::rc::Rc;

/// Commands that change or stop the connection, which others use, too.
const NOT_SHARED: &[&str] = &[
    "ASKING",
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WAIT",
    "WAITAOF",
    "WATCH",
];

/// A worker's client. Clones are the same. Commands are on their way when a method returns, so several are pipelined by
/// awaiting them later; a future that is dropped leaves its command done or not.
#[derive(Clone)]
pub struct RedisClient {
    link: Link<Value>,
    subscriber: Rc<Subscriber>,
}

impl RedisClient {
    pub(super) fn new(worker: &WorkerHandle, description: &Description) -> Self {
        let Description { target, options } = description;
        let speech = Speech::new(target, options.answer_bytes_max);
        let link = Link::new(worker, target.address.clone(), options.clone(), speech);
        let subscriber = Subscriber::new(worker, target, options);
        Self { link, subscriber: Rc::new(subscriber) }
    }

    /// Any command. Those that would change or stop the connection for all others are refused: transactions have
    /// [`RedisClient::transaction`], subscriptions [`RedisClient::subscribe`], and waiting for a list's next item has no place
    /// here.
    ///
    /// # Errors
    /// [`RedisError`]. After a connection that broke nobody knows whether the command was done.
    pub fn command(&self, command: &Command) -> impl Future<Output = Result<Value, RedisError>> + use<> {
        let asked = check(command).map(|()| {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            self.link.ask(bytes, 1)
        });
        async move {
            match asked?.await?.pop() {
                Some(Value::Error(text)) => Err(RedisError::Refused(text)),
                Some(value) => Ok(value),
                None => Err(RedisError::Type),
            }
        }
    }

    /// Any command, whose answer nobody waits for.
    #[cfg(all(feature = "sessions", feature = "websockets"))]
    pub(super) fn tell(&self, command: &Command) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.link.tell(bytes, 1);
    }

    /// Several commands whose answers come together; a refused one is a [`Value::Error`] in its place.
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub fn pipeline(
        &self,
        commands: &[Command],
    ) -> impl Future<Output = Result<Vec<Value>, RedisError>> + use<> {
        let asked = commands.iter().try_for_each(check).map(|()| {
            let mut bytes = Vec::new();
            commands.iter().for_each(|command| command.encode(&mut bytes));
            (!commands.is_empty()).then(|| self.link.ask(bytes, commands.len()))
        });
        async move {
            match asked? {
                Some(asked) => Ok(asked.await?),
                None => Ok(Vec::new()),
            }
        }
    }

    /// Several commands that are done together or, when the server finds a mistake in one before, not at all. A command that
    /// fails while they are done is a [`Value::Error`] in its place, and the others are done: Redis knows no way back.
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub fn transaction(
        &self,
        commands: &[Command],
    ) -> impl Future<Output = Result<Vec<Value>, RedisError>> + use<> {
        let asked = commands.iter().try_for_each(check).map(|()| {
            let mut bytes = Vec::new();
            Command::new("MULTI").encode(&mut bytes);
            commands.iter().for_each(|command| command.encode(&mut bytes));
            Command::new("EXEC").encode(&mut bytes);
            self.link.ask(bytes, commands.len() + 2)
        });
        async move {
            match asked?.await?.pop() {
                Some(Value::Array(values)) => Ok(values),
                Some(Value::Error(text)) => Err(RedisError::Refused(text)),
                _ => Err(RedisError::Type),
            }
        }
    }

    /// A key's bytes.
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisError> {
        match self.command(&Command::new("GET").arg(key)).await? {
            Value::Nil => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            _ => Err(RedisError::Type),
        }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub async fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), RedisError> {
        self.command(&Command::new("SET").arg(key).arg(value)).await.map(drop)
    }

    /// Sets a key that is gone after so many milliseconds (from 1).
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub async fn set_for(&self, key: &str, value: impl AsRef<[u8]>, ttl_ms: u64) -> Result<(), RedisError> {
        let command = Command::new("SET").arg(key).arg(value).arg("PX").number(ttl_ms);
        self.command(&command).await.map(drop)
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub async fn delete(&self, key: &str) -> Result<bool, RedisError> {
        Ok(number(self.command(&Command::new("DEL").arg(key)).await?)? > 0)
    }

    /// Adds to a number, which is zero where there is none; the sum.
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub async fn add(&self, key: &str, delta: i64) -> Result<i64, RedisError> {
        number(self.command(&Command::new("INCRBY").arg(key).number(delta)).await?)
    }

    /// Sends a message to who has subscribed to a channel; how many those were, at this server.
    ///
    /// # Errors
    /// As [`RedisClient::command`].
    pub async fn publish(&self, channel: &str, message: impl AsRef<[u8]>) -> Result<i64, RedisError> {
        number(self.command(&Command::new("PUBLISH").arg(channel).arg(message)).await?)
    }

    /// Hears a channel's messages from when the server knows of it, on a second connection of the worker's. At most once: what
    /// is said while that connection is broken is lost, and [`Subscription::missed`] counts that.
    #[must_use]
    pub fn subscribe(&self, channel: &str) -> Subscription {
        self.subscriber.subscribe(channel)
    }

    /// How the connection stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.link.standing()
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisClient({:?})", self.link)
    }
}

fn check(command: &Command) -> Result<(), RedisError> {
    let name = command.name();
    match NOT_SHARED.iter().find(|other| other.as_bytes().eq_ignore_ascii_case(name)) {
        Some(name) => Err(RedisError::Shared((*name).to_owned())),
        None => Ok(()),
    }
}

fn number(value: Value) -> Result<i64, RedisError> {
    match value {
        Value::Int(number) => Ok(number),
        _ => Err(RedisError::Type),
    }
}

/// RESP on a connection.
pub(super) struct Speech {
    greeting: (Vec<u8>, usize),
    decoder: Decoder,
    bytes_max: usize,
}

impl Speech {
    pub(super) fn new(target: &Target, bytes_max: usize) -> Self {
        let mut commands = Vec::new();
        if let Some(password) = &target.password {
            let command = Command::new("AUTH");
            let command = target.user.iter().fold(command, |command, user| command.arg(user));
            commands.push(command.arg(password));
        }
        if target.database > 0 {
            commands.push(Command::new("SELECT").number(target.database));
        }
        commands.push(Command::new("PING"));
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.encode(&mut bytes));
        Self { greeting: (bytes, commands.len()), decoder: Decoder::new(bytes_max), bytes_max }
    }
}

impl Wire for Speech {
    type Reply = Value;

    fn begin(&mut self) {
        self.decoder = Decoder::new(self.bytes_max);
    }

    fn greeting(&self) -> (Vec<u8>, usize) {
        self.greeting.clone()
    }

    fn welcome(&self, reply: Value) -> Result<(), String> {
        match reply {
            Value::Error(text) => Err(text),
            _ => Ok(()),
        }
    }

    fn ping(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        Command::new("PING").encode(&mut bytes);
        bytes
    }

    fn next(&mut self, input: &mut &[u8]) -> Result<Option<Value>, String> {
        self.decoder.next(input).map_err(|fault| fault.to_string())
    }
}
