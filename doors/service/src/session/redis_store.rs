//! Sessions in Redis, shared by machines: what was acknowledged is as durable as the server is told to be (`appendonly`).

use super::SessionError;
use super::options::SessionOptions;
use super::record::{Change, Key, Life, Record};
use crate::redis::{Command, Redis, RedisError, Value};
use ringway_engine::WorkerHandle;
use std::fmt::Write;

/// What is changed, whole or not at all: scripts run alone. What is kept is a hash with the fields `c` (created), `t` (used),
/// `u` (user) and `v:NAME`; its key is gone by itself when the session's time is over.
const APPLY: &str = "
local from, to, now, idle, absolute = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local created, used = unpack(redis.call('HMGET', from, 'c', 't'))
if created and (now - tonumber(used or 0) >= idle or now - tonumber(created) >= absolute) then created = false end
if not created then
  redis.call('DEL', from)
  if ARGV[4] == '0' then return 0 end
  created = ARGV[1]
elseif from ~= to then
  redis.call('RENAME', from, to)
end
if ARGV[5] == '1' then created = ARGV[1] end
redis.call('HSET', to, 'c', created, 't', ARGV[1])
local at = 6
while at <= #ARGV do
  if ARGV[at] == 'set' then
    redis.call('HSET', to, ARGV[at + 1], ARGV[at + 2])
    at = at + 3
  else
    redis.call('HDEL', to, ARGV[at + 1])
    at = at + 2
  end
end
redis.call('EXPIRE', to, math.max(1, math.min(idle, tonumber(created) + absolute - now)))
return 1
";

/// The sessions of a server.
#[derive(Debug)]
pub(super) struct RedisStore {
    redis: Redis,
    prefix: String,
    life: Life,
}

impl RedisStore {
    pub(super) fn new(redis: &Redis, prefix: &str, options: &SessionOptions) -> Self {
        let life = Life { idle_s: options.idle_s, absolute_s: options.absolute_s };
        Self { redis: redis.clone(), prefix: prefix.to_owned(), life }
    }

    pub(super) async fn load(
        &self,
        worker: &WorkerHandle,
        key: &Key,
        now_s: u64,
    ) -> Result<Option<Record>, RedisError> {
        let command = Command::new("HGETALL").arg(self.name(key));
        let Value::Array(fields) = self.redis.client(worker).command(&command).await? else {
            return Err(RedisError::Type);
        };
        Ok(record(fields).filter(|record| record.is_alive(self.life, now_s)))
    }

    pub(super) async fn apply(
        &self,
        worker: &WorkerHandle,
        from: Option<&Key>,
        to: &Key,
        change: &Change,
        now_s: u64,
    ) -> Result<bool, SessionError> {
        let flag = |is_set: bool| if is_set { "1" } else { "0" };
        let may_begin = from.is_none() || change.is_log_in;
        let mut command = Command::new("EVAL")
            .arg(APPLY)
            .number(2)
            .arg(self.name(from.unwrap_or(to)))
            .arg(self.name(to))
            .number(now_s)
            .number(self.life.idle_s)
            .number(self.life.absolute_s)
            .arg(flag(may_begin))
            .arg(flag(change.is_log_in));
        let user = change.user.iter().map(|user| ("u".to_owned(), user));
        let values = change.values.iter().map(|(name, value)| (format!("v:{name}"), value));
        for (field, value) in user.chain(values) {
            command = match value {
                Some(value) => command.arg("set").arg(field).arg(value),
                None => command.arg("remove").arg(field),
            };
        }
        Ok(self.redis.client(worker).command(&command).await? == Value::Int(1))
    }

    pub(super) async fn remove(&self, worker: &WorkerHandle, key: &Key) -> Result<(), RedisError> {
        let command = Command::new("DEL").arg(self.name(key));
        self.redis.client(worker).command(&command).await.map(drop)
    }

    fn name(&self, key: &Key) -> String {
        let mut name = self.prefix.clone();
        for byte in key {
            // Writing to memory does not fail.
            let _written = write!(name, "{byte:02x}");
        }
        name
    }
}

impl From<RedisError> for SessionError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A session of a hash's fields; `None` where they are none.
fn record(fields: Vec<Value>) -> Option<Record> {
    let mut record = Record::default();
    let mut is_session = false;
    let mut texts = fields.into_iter().map(|field| match field {
        Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    });
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        let (name, value) = (name?, value?);
        match (name.as_str(), name.strip_prefix("v:")) {
            ("c", _) => (record.created_s, is_session) = (value.parse().ok()?, true),
            ("t", _) => record.used_s = value.parse().ok()?,
            ("u", _) => record.user = Some(value),
            (_, Some(name)) => drop(record.values.insert(name.to_owned(), value)),
            // Of a later version.
            _ => {}
        }
    }
    is_session.then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Vec<Value> {
        texts.iter().map(|text| Value::Bytes(text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_hash_is_a_session_or_none() {
        let whole = record(fields(&["c", "5", "t", "7", "u", "ada", "v:a", "1", "v:", "2", "new", "x"]));
        let whole = whole.expect("a session");
        assert_eq!((whole.created_s, whole.used_s, whole.user.as_deref()), (5, 7, Some("ada")));
        assert_eq!(whole.values, [("a".to_owned(), "1".to_owned()), (String::new(), "2".to_owned())].into());
        for none in [&[][..], &["t", "7"], &["c", "x"], &["c", "5", "t", "-1"]] {
            assert_eq!(record(fields(none)), None, "{none:?}");
        }
    }
}
