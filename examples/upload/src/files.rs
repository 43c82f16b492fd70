//! What was uploaded: names and lengths in SQLite, contents in a directory, under numbers that no client chooses.

use ringway::service::SetupError;
use ringway::service::sqlite::{Sqlite, SqliteError, SqliteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that the page shows.
const SHOWN_MAX: i64 = 200;

/// Each is run once, in order; new ones go to the end.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE file (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        bytes INTEGER
    ) STRICT;
"];

/// A file that is there.
pub(crate) struct File {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) bytes: i64,
}

/// All of them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Files {
    database: Sqlite,
    folder: Arc<Path>,
}

impl Files {
    /// Opens the database and the directory, or makes them.
    pub(crate) fn open(data: &Path) -> Result<Self, SetupError> {
        let folder: PathBuf = data.join("files");
        std::fs::create_dir_all(&folder)?;
        let database = Sqlite::open(data.join("upload.db"), &SqliteOptions::default(), MIGRATIONS)?;
        Ok(Self { database, folder: folder.into() })
    }

    /// Where their contents are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file that begins to come; its number.
    pub(crate) async fn begin(&self, name: &str) -> Result<i64, SqliteError> {
        let name = name.to_owned();
        self.database
            .write(move |database| {
                database.prepare_cached("INSERT INTO file (name) VALUES (?)")?.execute([&name])?;
                Ok(database.last_insert_rowid())
            })
            .await
    }

    /// It has come to its end.
    pub(crate) async fn finish(&self, id: i64, bytes: u64) -> Result<(), SqliteError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.database.execute("UPDATE file SET bytes = ? WHERE id = ?", (bytes, id)).await.map(|_count| ())
    }

    /// Those that are there, the newest first.
    pub(crate) async fn all(&self) -> Result<Vec<File>, SqliteError> {
        let sql = "SELECT id, name, bytes FROM file WHERE bytes IS NOT NULL ORDER BY id DESC LIMIT ?";
        self.database
            .query(sql, [SHOWN_MAX], |row| {
                Ok(File { id: row.get(0)?, name: row.get(1)?, bytes: row.get(2)? })
            })
            .await
    }
}
