//! The tree: what the files say, with the place of every key and value.

use crate::config::source::Place;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// What.
    pub value: Value,
    /// Whether something was wrong inside and was taken out: what is missing then is not missed again.
    pub is_damaged: bool,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Value {
    /// `"text"`; `from_environment` when a part of it was substituted.
    Text {
        /// The text.
        text: String,
        /// Whether a part of it came from the environment.
        from_environment: bool,
    },
    /// `1`.
    Integer(i64),
    /// `1.5`.
    Float(f64),
    /// `true`.
    Boolean(bool),
    /// A date or time, as written.
    Moment(String),
    /// `[...]` or `[[...]]`.
    List(Vec<Node>),
    /// `[table]` or `{...}`.
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_place: Place,
    /// Its value.
    pub node: Node,
}

impl Value {
    /// What this is, with an article, for sentences.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "a string",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a fraction",
            Self::Boolean(_) => "a boolean",
            Self::Moment(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// A value that stands there.
    #[must_use]
    pub const fn new(place: Place, value: Value) -> Self {
        Self { place, value, is_damaged: false }
    }

    /// The entry of a table's key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The elements of the list under `key`; none when there is no such list.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Node] {
        match self.entry(key).map(|entry| &entry.node.value) {
            Some(Value::List(nodes)) => nodes,
            _ => &[],
        }
    }

    /// The text under `key`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.node.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Where the value under `key` stands; where this stands, when there is none.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        self.entry(key).map_or(self.place, |entry| entry.node.place)
    }

    /// Where `key` itself stands; where this stands, when there is none.
    #[must_use]
    pub fn key_place_of(&self, key: &str) -> Place {
        self.entry(key).map_or(self.place, |entry| entry.key_place)
    }

    /// Where element `index` of the list under `key` stands.
    #[must_use]
    pub fn place_in(&self, key: &str, index: usize) -> Place {
        self.list(key).get(index).map_or_else(|| self.place_of(key), |node| node.place)
    }

    /// The table under `key`; this when there is none, so that places stay near.
    #[must_use]
    pub fn under(&self, key: &str) -> &Self {
        self.entry(key).map_or(self, |entry| &entry.node)
    }

    /// Element `index` of the list under `key`; this when there is none, so that places stay near.
    #[must_use]
    pub fn item(&self, key: &str, index: usize) -> &Self {
        self.list(key).get(index).unwrap_or(self)
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text { text, .. } | Value::Moment(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(value) => (*value).into(),
            Value::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Table(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }
}
