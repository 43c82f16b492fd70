//! Files below a directory, by the web door's own handler of them: conditions, ranges, cached heads, sent from where they lie.

use crate::response::Response;
use ringway_http::response::EncodeError;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Handled, Handler as _};
use ringway_web::static_files::StaticFiles;
use std::fmt;
use std::rc::Rc;

/// A directory whose files handlers may answer with. See [`crate::App::directory`].
#[derive(Clone)]
pub struct Directory {
    files: Rc<StaticFiles>,
}

/// A file that is an answer.
pub(crate) struct FilePlace {
    files: Rc<StaticFiles>,
    path: Vec<u8>,
}

impl Directory {
    pub(crate) fn new(files: StaticFiles) -> Self {
        Self { files: Rc::new(files) }
    }

    /// Answers with the file of that name below the directory, in whole or in part as the request asks, 304 where the client
    /// has it already, and 404 where it is not there. What leads out of the directory, and names that begin with a dot, are
    /// not there either. Field lines of the answer are added to those of the file; its status is the file's.
    #[must_use]
    pub fn file(&self, name: &str) -> Response {
        Response::of_file(self.place(name))
    }

    /// The file of that name.
    pub(crate) fn place(&self, name: &str) -> FilePlace {
        let mut path = Vec::with_capacity(name.len() + 1);
        path.push(b'/');
        path.extend_from_slice(name.trim_start_matches('/').as_bytes());
        FilePlace { files: Rc::clone(&self.files), path }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Directory").field(&self.files).finish()
    }
}

impl fmt::Debug for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FilePlace").field(&self.path.escape_ascii().to_string()).finish()
    }
}

impl FilePlace {
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        match exchange.rewrite(&self.path, None) {
            Ok(()) => self.files.handle(exchange),
            Err(status) => exchange.error(status).map(Handled::Answer),
        }
    }
}
