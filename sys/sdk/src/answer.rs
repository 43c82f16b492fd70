//! Answers.

use ringway_plugin::abi::{self, Bytes};
use std::borrow::Cow;

/// An answer, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    length: Option<u64>,
}

impl Answer {
    /// An answer with this status, 200 to 599, without a body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Cow::Borrowed(b""), length: None }
    }

    /// Plain text, 200.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::typed("text/plain; charset=utf-8", text.into())
    }

    /// A page, 200.
    #[must_use]
    pub fn html(text: impl Into<Cow<'static, str>>) -> Self {
        Self::typed("text/html; charset=utf-8", text.into())
    }

    /// JSON as it is written, 200.
    #[must_use]
    pub fn json(text: impl Into<Cow<'static, str>>) -> Self {
        Self::typed("application/json", text.into())
    }

    /// With another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With a field line more. What says how the answer is framed, such as `Content-Length`, is the server's to say, and makes it one
    /// that cannot be sent.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// With this body; the first piece of it, for [`crate::Later::begin`].
    #[must_use]
    pub fn body(mut self, body: impl Into<Cow<'static, [u8]>>) -> Self {
        self.body = body.into();
        self
    }

    /// With the length of the whole body in bytes, for [`crate::Later::begin`].
    #[must_use]
    pub fn length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }

    /// Gives it on as the interface has it.
    pub(crate) fn with<R>(&self, give: impl FnOnce(*const abi::Answer) -> R) -> R {
        let of = |text: &str| Bytes::of(text.as_bytes());
        let fields: Vec<abi::Field> =
            self.fields.iter().map(|(name, value)| abi::Field { name: of(name), value: of(value) }).collect();
        let answer = abi::Answer {
            #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
            struct_size: size_of::<abi::Answer>() as u32,
            status: self.status.into(),
            fields: fields.as_ptr(),
            fields_len: fields.len(),
            body: Bytes::of(&self.body),
            length: self.length.unwrap_or(abi::LENGTH_UNKNOWN),
        };
        give(&raw const answer)
    }

    fn typed(media_type: &'static str, text: Cow<'static, str>) -> Self {
        let body = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::new(200).field("Content-Type", media_type).body(body)
    }
}
