//! Forms that carry their session's token: another site does not know it, so it cannot send them (CSRF).

use crate::error::Error;
use crate::extract::fields_as;
use crate::owned::OwnedRequest;
use crate::session::{Session, SessionError};
use crate::values::Fields;
use ringway_http::status::Status;
use serde::de::DeserializeOwned;

/// The form's field that the token is in.
pub const TOKEN_FIELD: &str = "csrf_token";

impl Session {
    /// The token as a hidden field, to be written into a form as it is.
    ///
    /// # Errors
    /// As [`Session::csrf_token`].
    pub fn token_field(&self) -> Result<String, SessionError> {
        // Tokens are letters, digits, hyphens and underscores.
        let token = self.csrf_token()?;
        Ok(format!("<input type=\"hidden\" name=\"{TOKEN_FIELD}\" value=\"{token}\">"))
    }
}

impl OwnedRequest {
    /// The whole body as a form without files that carries the token of the browser's session.
    ///
    /// # Errors
    /// 403 without the token, or with another session's; else as [`OwnedRequest::form`] and [`OwnedRequest::session`].
    pub async fn form_with_token<T: DeserializeOwned>(&mut self, bytes_max: usize) -> Result<T, Error> {
        let raw = self.form_bytes(bytes_max).await?;
        let session = self.session().await?;
        if !Fields::new(&raw).get(TOKEN_FIELD).is_some_and(|token| session.is_csrf_token(&token)) {
            return Err(Error::new(Status::FORBIDDEN, "the form is not of this session: load its page anew"));
        }
        fields_as("the form", &raw)
    }
}
