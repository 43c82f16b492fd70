//! Files that programs have this server send: `X-Accel-Redirect` and `X-Sendfile`, below directories that were set up for it.

use super::FastCgi;
use super::answer::{SentFile, is_said_here};
use super::trouble::Trouble;
use crate::exchange::{Exchange, is_normal};
use crate::field_edits::FieldEdits;
use crate::pipeline::{Finish, Handled, Handler, PlanBody};
use crate::static_files::StaticFiles;
use ringway_engine::heap::local_future;
use ringway_http::cgi::AnswerHead;
use ringway_http::head::Field;
use ringway_http::response::EncodeError;
use ringway_http::target;

/// A directory that programs may have files sent from.
#[derive(Debug)]
pub(super) struct SendDir {
    /// Its path among the server's, without a slash at its end.
    pub(super) prefix: Box<[u8]>,
    /// Its path on disk, as the program knows it, without a slash at its end.
    pub(super) disk: Box<[u8]>,
    pub(super) files: StaticFiles,
}

/// Fields that describe what the program itself would have sent.
const OF_BODY: [&[u8]; 8] = [
    b"content-type",
    b"content-encoding",
    b"content-range",
    b"accept-ranges",
    b"etag",
    b"last-modified",
    b"vary",
    b"location",
];

impl FastCgi {
    /// Sends the file in the place of the program's answer, whose other fields stay.
    pub(super) fn send_file(
        &self,
        exchange: &mut Exchange<'_>,
        answer: &AnswerHead<'_>,
        wanted: SentFile<'_>,
        backend: &str,
    ) -> Result<Handled, EncodeError> {
        let found = self.find(wanted);
        let Some((dir, _)) = found.filter(|(_, path)| exchange.rewrite(path, None).is_ok()) else {
            let (SentFile::Path(name) | SentFile::Name(name)) = wanted;
            let upstream = &self.0.terms.upstream;
            self.0.terms.log.error(
                "fastcgi",
                format_args!("backend {backend} of {upstream} {}: {}", Trouble::File, name.escape_ascii()),
            );
            return exchange.error(Trouble::File.status()).map(Handled::Answer);
        };
        for field in answer.fields().filter(|field| goes_on(*field)) {
            exchange.add_field(field.name, field.value)?;
        }
        let media_type = answer.field("content-type").and_then(|value| str::from_utf8(value).ok());
        let files = dir.files.clone();
        let handled = files.handle(exchange);
        typed(exchange, handled, media_type.map(Into::into))
    }

    /// The directory and the server's path for what a program wants sent.
    fn find(&self, wanted: SentFile<'_>) -> Option<(&SendDir, Vec<u8>)> {
        let dirs = &self.0.send_dirs;
        match wanted {
            SentFile::Path(path) => {
                let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
                let mut memory = vec![0; path.len()];
                let path = target::normalise(path, &mut memory).ok()?;
                let dir = dirs.iter().find(|dir| behind(path, &dir.prefix).is_some())?;
                Some((dir, path.to_vec()))
            }
            SentFile::Name(name) => {
                let (dir, rest) = dirs.iter().find_map(|dir| Some((dir, behind(name, &dir.disk)?)))?;
                is_normal(rest).then(|| (dir, [&dir.prefix, rest].concat()))
            }
        }
    }
}

/// What follows a directory's path, from the slash on.
fn behind<'p>(path: &'p [u8], dir: &[u8]) -> Option<&'p [u8]> {
    path.strip_prefix(dir).filter(|rest| rest.first() == Some(&b'/'))
}

fn goes_on(field: Field<'_>) -> bool {
    !is_said_here(field.name) && !OF_BODY.iter().any(|name| field.name.eq_ignore_ascii_case(name))
}

/// Gives the file the type that the program said.
fn typed(
    exchange: &mut Exchange<'_>,
    handled: Result<Handled, EncodeError>,
    media_type: Option<Box<str>>,
) -> Result<Handled, EncodeError> {
    match (handled?, media_type) {
        (Handled::Answer(mut reply), Some(media_type)) => {
            // Several parts have each its own; a refusal is none of the file.
            let is_whole = matches!(reply.plan.body, PlanBody::File { .. } | PlanBody::Memory(_));
            let mut edits = FieldEdits::default();
            if is_whole && edits.set("Content-Type", &media_type).is_ok() {
                reply.plan.head_len = edits.apply(exchange.memory, reply.plan.head_len)?;
            }
            Ok(Handled::Answer(reply))
        }
        (Handled::Later(later), media_type) => Ok(Handled::Later(local_future(async move {
            let finish = later.await;
            let finish: Finish = Box::new(move |exchange| {
                exchange.ask_once();
                let handled = finish(exchange);
                typed(exchange, handled, media_type)
            });
            finish
        }))),
        (handled, _) => Ok(handled),
    }
}
