//! What is to be done, in SQLite.

use ringway::service::sqlite::{Sqlite, SqliteError, SqliteOptions};
use serde::Serialize;
use std::path::Path;

/// Each is run once, in order; new ones go to the end.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE todo (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        done INTEGER NOT NULL DEFAULT 0
    ) STRICT;
"];

/// One thing that is to be done, or was.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Todo {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) done: bool,
}

/// All of them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Todos {
    database: Sqlite,
}

impl Todos {
    /// Opens the database, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, SqliteError> {
        let database = Sqlite::open(path, &SqliteOptions::default(), MIGRATIONS)?;
        Ok(Self { database })
    }

    /// All, in the order in which they were added.
    pub(crate) async fn all(&self) -> Result<Vec<Todo>, SqliteError> {
        self.database
            .query("SELECT id, title, done FROM todo ORDER BY id", (), |row| {
                Ok(Todo { id: row.get(0)?, title: row.get(1)?, done: row.get(2)? })
            })
            .await
    }

    /// Adds one.
    pub(crate) async fn add(&self, title: &str) -> Result<Todo, SqliteError> {
        let title = title.to_owned();
        self.database
            .write(move |database| {
                database.prepare_cached("INSERT INTO todo (title) VALUES (?)")?.execute([&title])?;
                Ok(Todo { id: database.last_insert_rowid(), title: title.clone(), done: false })
            })
            .await
    }

    /// Changes one, and says what it is now; `None` when there is none of that number.
    pub(crate) async fn change(
        &self,
        id: i64,
        title: Option<String>,
        done: Option<bool>,
    ) -> Result<Option<Todo>, SqliteError> {
        let sql = "UPDATE todo SET title = coalesce(?, title), done = coalesce(?, done) WHERE id = ?
            RETURNING id, title, done";
        self.database
            .write(move |database| {
                let mut statement = database.prepare_cached(sql)?;
                let mut rows = statement.query((&title, done, id))?;
                let Some(row) = rows.next()? else { return Ok(None) };
                Ok(Some(Todo { id: row.get(0)?, title: row.get(1)?, done: row.get(2)? }))
            })
            .await
    }

    /// Removes one; whether it was there.
    pub(crate) async fn remove(&self, id: i64) -> Result<bool, SqliteError> {
        Ok(self.database.execute("DELETE FROM todo WHERE id = ?", [id]).await? > 0)
    }

    /// Removes those that are done.
    pub(crate) async fn clear(&self) -> Result<(), SqliteError> {
        self.database.execute("DELETE FROM todo WHERE done", ()).await.map(|_count| ())
    }
}
