//! What was said, in SQLite.

use ringway::service::sqlite::{Sqlite, SqliteError, SqliteOptions};
use serde::Serialize;
use std::path::Path;

/// Messages that a page is shown when it opens a room.
const SHOWN_MAX: i64 = 200;

/// Each is run once, in order; new ones go to the end.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        room TEXT NOT NULL,
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX message_of_room ON message (room, id);
"];

/// Something that was said.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Message {
    /// Later ones have larger numbers.
    pub(crate) id: i64,
    /// Who said it.
    pub(crate) name: String,
    /// What.
    pub(crate) text: String,
    /// When, in milliseconds since 1970.
    pub(crate) at: i64,
}

/// All that was said in all rooms. Clones are the same.
#[derive(Clone)]
pub(crate) struct History(Sqlite);

impl History {
    /// Opens the database, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, SqliteError> {
        Sqlite::open(path, &SqliteOptions::default(), MIGRATIONS).map(Self)
    }

    /// Keeps a message. When this is done, it is on the disk.
    pub(crate) async fn add(
        &self,
        room: &str,
        name: &str,
        text: &str,
        at: i64,
    ) -> Result<Message, SqliteError> {
        let (room, said) = (room.to_owned(), (name.to_owned(), text.to_owned()));
        self.0
            .write(move |database| {
                let sql = "INSERT INTO message (room, name, text, at) VALUES (?, ?, ?, ?)";
                database.prepare_cached(sql)?.execute((&room, &said.0, &said.1, at))?;
                let (name, text) = said.clone();
                Ok(Message { id: database.last_insert_rowid(), name, text, at })
            })
            .await
    }

    /// The last messages of a room that came behind `last`, in their order.
    pub(crate) async fn since(&self, room: &str, last: i64) -> Result<Vec<Message>, SqliteError> {
        let sql = "SELECT id, name, text, at FROM message WHERE room = ? AND id > ? ORDER BY id DESC LIMIT ?";
        let mut found = self
            .0
            .query(sql, (room.to_owned(), last, SHOWN_MAX), |row| {
                Ok(Message { id: row.get(0)?, name: row.get(1)?, text: row.get(2)?, at: row.get(3)? })
            })
            .await?;
        found.reverse();
        Ok(found)
    }
}
