//! What bodies and queries hold, as values: JSON, forms, and forms with files.

use crate::error::Error;
use crate::owned::OwnedRequest;
use ringway_http::head::Known;
use ringway_http::status::Status;
use serde::de::DeserializeOwned;
use std::rc::Rc;

impl OwnedRequest {
    /// The whole body, of `bytes_max` at most, and no more than the route's limit.
    ///
    /// # Errors
    /// 413 for a longer one, 400 and 408 for one that does not come to its end.
    ///
    /// # Cancellation
    /// What was read is lost.
    pub async fn bytes(&mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let Some(mut body) = self.take_body() else {
            return Err(Error::of(Status::INTERNAL_SERVER_ERROR).because("the body was taken before"));
        };
        let length = body.length().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        // What a client announces is not believed before it comes.
        let mut bytes = Vec::with_capacity(length.min(64 * 1024));
        let (behind, worker) = (Rc::clone(&self.behind), self.worker().clone());
        while let Some(piece) = body.next().await? {
            worker.note_time(&behind.read_ms);
            if bytes.len() + piece.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`OwnedRequest::bytes`]; 400 for what is no UTF-8.
    pub async fn text(&mut self, bytes_max: usize) -> Result<String, Error> {
        let bytes = self.bytes(bytes_max).await?;
        String::from_utf8(bytes).map_err(|_not| Error::bad_request("the body is no text in UTF-8"))
    }

    /// The whole body as a value that was sent as JSON.
    ///
    /// # Errors
    /// As [`OwnedRequest::bytes`]; 415 for another media type; 400 that says where the body is wrong.
    pub async fn json<T: DeserializeOwned>(&mut self, bytes_max: usize) -> Result<T, Error> {
        let is_json = |kind: &str| {
            kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
        };
        self.demand_type(is_json, "application/json")?;
        let bytes = self.bytes(bytes_max).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::bad_request(format!("the body is not the JSON that is wanted: {error}")))
    }

    /// The whole body as a value that was sent as a form without files.
    ///
    /// # Errors
    /// As [`OwnedRequest::bytes`]; 415 for another media type; 400 that says which field is wrong or missing.
    pub async fn form<T: DeserializeOwned>(&mut self, bytes_max: usize) -> Result<T, Error> {
        fields_as("the form", &self.form_bytes(bytes_max).await?)
    }

    /// The same undecoded, for [`crate::Fields`].
    ///
    /// # Errors
    /// As [`OwnedRequest::bytes`]; 415 for another media type.
    pub async fn form_bytes(&mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        const FORM: &str = "application/x-www-form-urlencoded";
        self.demand_type(|kind| kind == FORM, FORM)?;
        self.bytes(bytes_max).await
    }

    /// The media type that the client says the body has, in lower case, without parameters.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let head = self.head();
        let value = str::from_utf8(head.sole(Known::ContentType)?).ok()?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    pub(crate) fn demand_type(&self, is_wanted: impl Fn(&str) -> bool, wanted: &str) -> Result<(), Error> {
        match self.media_type() {
            Some(kind) if is_wanted(&kind) => Ok(()),
            Some(kind) => Err(unsupported(format!("the body is {kind:?}; {wanted} is wanted here"))),
            None => Err(unsupported(format!("the body has no Content-Type; {wanted} is wanted here"))),
        }
    }
}

fn unsupported(text: String) -> Error {
    Error::new(Status::UNSUPPORTED_MEDIA_TYPE, text)
}

fn too_large(bytes_max: usize) -> Error {
    Error::new(Status::CONTENT_TOO_LARGE, format!("the body is longer than {bytes_max} bytes"))
}

/// Fields in the form of URLs as a value.
pub(crate) fn fields_as<T: DeserializeOwned>(what: &str, raw: &[u8]) -> Result<T, Error> {
    serde_urlencoded::from_bytes(raw)
        .map_err(|error| Error::bad_request(format!("{what} is not what is wanted: {error}")))
}
