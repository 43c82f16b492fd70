//! Forms with files (`multipart/form-data`): parts one after the other while they arrive, into memory or into files.

use crate::error::Error;
use crate::owned::{Behind, OwnedRequest};
use crate::saving::Saving;
use crate::worker::Worker;
use ringway_engine::ring::Slice;
use ringway_http::head::Known;
use ringway_http::status::Status;
use ringway_web::form::{Form, FormError, FormEvent, Part};
use ringway_web::spool::{SpoolSpace, Spooled};
use std::fmt;
use std::path::Path;
use std::rc::Rc;

pub use ringway_http::multipart::Limits as FormLimits;

/// A form that arrives.
pub struct Multipart {
    form: Form,
    worker: Worker,
    behind: Rc<Behind>,
    /// Whether a part has begun whose end was not read.
    is_in_part: bool,
}

/// A part of a form: a field, or a file. What is not read of it is passed over when the next one is asked for.
pub struct FormPart<'f> {
    form: &'f mut Multipart,
    head: Part,
}

impl OwnedRequest {
    /// The body as a form with files. Its length is limited by the route ([`crate::App::body_limit`]), all else by `limits`.
    ///
    /// # Errors
    /// 415 for another media type, 400 for one without a boundary; 500 when the body was taken before.
    pub async fn multipart(&mut self, limits: FormLimits) -> Result<Multipart, Error> {
        const FORM: &str = "multipart/form-data";
        self.demand_type(|kind| kind == FORM, FORM)?;
        let Some(body) = self.take_body() else {
            return Err(Error::of(Status::INTERNAL_SERVER_ERROR).because("the body was taken before"));
        };
        // Slices are not for a connection's turn.
        let worker = self.worker().clone();
        worker.off_turn().await;
        let head = self.head();
        let content_type = head.sole(Known::ContentType).unwrap_or_default();
        let form =
            Form::new(body, content_type, limits, worker.handle().slices()).map_err(FormError::Form)?;
        let behind = Rc::clone(&self.behind);
        Ok(Multipart { form, worker, behind, is_in_part: false })
    }

    /// The whole body, kept in memory where it is short and in a file without a name where it is long.
    ///
    /// # Errors
    /// 413 for one that is longer than it may be, 507 where there is no room, 400 and 408 for one that does not come to its end.
    ///
    /// # Cancellation
    /// Dropping the future keeps nothing; what was read is gone.
    pub async fn spool(&mut self, space: &SpoolSpace) -> Result<Spooled, Error> {
        let Some(mut body) = self.take_body() else {
            return Err(Error::of(Status::INTERNAL_SERVER_ERROR).because("the body was taken before"));
        };
        let worker = self.worker().clone();
        worker.off_turn().await;
        Ok(space.spool(&mut body, worker.handle()).await?)
    }
}

impl Multipart {
    /// The next part; `None` behind the last.
    ///
    /// # Errors
    /// 400 for what is no form, 413 beyond a limit, 408 for one that does not come.
    pub async fn next_part(&mut self) -> Result<Option<FormPart<'_>>, Error> {
        loop {
            let event = self.form.next().await?;
            self.worker.note_time(&self.behind.read_ms);
            match event {
                None => return Ok(None),
                Some(FormEvent::Part(head)) => {
                    self.is_in_part = true;
                    return Ok(Some(FormPart { form: self, head }));
                }
                Some(FormEvent::Data(_) | FormEvent::PartEnd) => {}
            }
        }
    }
}

impl FormPart<'_> {
    /// The field of the form. Bytes that are no UTF-8 are U+FFFD.
    #[must_use]
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.head.name).into_owned()
    }

    /// What the client calls the file, if it is one. It may be anything: nothing of it may become part of a path.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        self.head.filename.as_ref().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The media type, where the client says one; nothing makes it true.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.head.content_type.as_deref().and_then(|kind| str::from_utf8(kind).ok())
    }

    /// The next piece of its data; `None` at its end.
    ///
    /// # Errors
    /// As for [`Multipart::next_part`].
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn next_piece(&mut self) -> Result<Option<Slice>, Error> {
        if !self.form.is_in_part {
            return Ok(None);
        }
        let event = self.form.form.next().await?;
        self.form.worker.note_time(&self.form.behind.read_ms);
        match event {
            Some(FormEvent::Data(piece)) => Ok(Some(piece)),
            Some(FormEvent::PartEnd | FormEvent::Part(_)) | None => {
                self.form.is_in_part = false;
                Ok(None)
            }
        }
    }

    /// All of its data, of `bytes_max` at most.
    ///
    /// # Errors
    /// 413 for more; else as [`FormPart::next_piece`].
    pub async fn bytes(&mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next_piece().await? {
            if bytes.len() + piece.len() > bytes_max {
                let text = format!("{:?} is longer than {bytes_max} bytes", self.name());
                return Err(Error::new(Status::CONTENT_TOO_LARGE, text));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// All of its data as text.
    ///
    /// # Errors
    /// As [`FormPart::bytes`]; 400 for what is no UTF-8.
    pub async fn text(&mut self, bytes_max: usize) -> Result<String, Error> {
        let name = self.name();
        String::from_utf8(self.bytes(bytes_max).await?)
            .map_err(|_not| Error::bad_request(format!("{name:?} is no text in UTF-8")))
    }

    /// Writes its data to a new file, which is there when all of it is; how many bytes it has. Whoever names the file makes up the
    /// name: not out of what the client says.
    ///
    /// # Errors
    /// As [`FormPart::next_piece`]; 500 when there is such a file already or the disk fails, 507 when it is full.
    ///
    /// # Cancellation
    /// Dropping the future removes what was written.
    pub async fn save_as(&mut self, path: &Path) -> Result<u64, Error> {
        let worker = self.form.worker.clone();
        let mut saving = Saving::begin(&worker, path).await?;
        while let Some(piece) = self.next_piece().await? {
            saving.write(&piece).await?;
        }
        saving.finish().await
    }
}

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart").field("form", &self.form).finish_non_exhaustive()
    }
}

impl fmt::Debug for FormPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormPart").field("head", &self.head).finish_non_exhaustive()
    }
}
