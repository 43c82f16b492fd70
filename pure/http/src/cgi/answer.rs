//! A read answer's head: its status, where it leads, and the fields that go on to the client, borrowed from the bytes.

use memchr::memchr;

use super::Fault;
use crate::head::Field;
use crate::octets::{decimal, token_end, trim, value_end};
use crate::reply::Limits;
use crate::status::Status;

/// Fields that are not the script's to say (RFC 3875 section 6.3.4): those between two neighbours, and those of this
/// server's own. `Status` is no field of HTTP, and the length is told by [`AnswerHead::content_length`].
const KEPT_BACK: [&[u8]; 11] = [
    b"status",
    b"content-length",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"date",
    b"server",
];

/// The head of a script's answer that has passed every check. It borrows the head; nothing is stored per field.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'b> {
    /// The field lines and the empty one.
    lines: &'b [u8],
    status: Option<Status>,
    location: Option<&'b [u8]>,
    content_length: Option<u64>,
    is_coded: bool,
    /// Fields besides `Location` and `Content-Type`.
    others: u16,
}

impl<'b> AnswerHead<'b> {
    /// Reads a head exactly as [`super::AnswerScan::find`] delimits it. A status line (`HTTP/1.1 200 OK`), as `nph-` scripts
    /// write it, may stand before the fields.
    ///
    /// # Errors
    /// Whatever has not one reading; see [`Fault`] for each reason.
    pub fn parse(head: &'b [u8], limits: &Limits) -> Result<Self, Fault> {
        if head.len() > limits.head_max() {
            return Err(Fault::HeadLength);
        }
        let (status, lines) = match head.strip_prefix(b"HTTP/") {
            Some(rest) => status_line(rest).map(|(status, lines)| (Some(status), lines))?,
            None => (None, head),
        };
        let mut answer =
            Self { lines, status, location: None, content_length: None, is_coded: false, others: 0 };
        let (mut rest, mut count) = (lines, 0);
        while !matches!(rest, b"\n" | b"\r\n") {
            let (field, behind) = field_line(rest)?;
            count += 1;
            if count > limits.fields_max {
                return Err(Fault::FieldCount);
            }
            answer.note(field)?;
            rest = behind;
        }
        if count == 0 && status.is_none() { Err(Fault::Empty) } else { Ok(answer) }
    }

    /// The status to answer with: what the script says, else 302 where it names a `Location`, else 200. Always 200 or more.
    pub const fn status(&self) -> Status {
        match (self.status, self.location) {
            (Some(status), _) => status,
            (None, Some(_)) => Status::FOUND,
            (None, None) => Status::OK,
        }
    }

    /// Whether the script itself says a status.
    pub const fn says_status(&self) -> bool {
        self.status.is_some()
    }

    /// `Location`, as the script wrote it.
    pub const fn location(&self) -> Option<&'b [u8]> {
        self.location
    }

    /// The path, with its query, that this server shall answer with instead (RFC 3875 section 6.2.2): `Location` is a path of
    /// this server, and there is neither a status nor a field besides `Content-Type`, which would be lost.
    pub fn local_redirect(&self) -> Option<&'b [u8]> {
        let location = self.location.filter(|_| self.status.is_none() && self.others == 0)?;
        (location.starts_with(b"/") && !location.starts_with(b"//")).then_some(location)
    }

    /// How long the script says its body is, in bytes.
    pub const fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the script says `Transfer-Encoding`, which is not its business: what it writes then may be framed.
    pub const fn has_transfer_coding(&self) -> bool {
        self.is_coded
    }

    /// The first value of a field, its name compared ignoring case, also of those that do not go on to the client.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.all().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }

    /// The fields that go on to the client, in the order they were written: none about the connection, none that this
    /// server writes itself (`Date`, `Server`, the length).
    pub fn fields(&self) -> AnswerFields<'b> {
        AnswerFields { rest: self.lines, is_all: false }
    }

    fn all(&self) -> AnswerFields<'b> {
        AnswerFields { rest: self.lines, is_all: true }
    }

    fn note(&mut self, field: Field<'b>) -> Result<(), Fault> {
        let is = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            6 if is(b"status") => {
                if self.status.is_some() {
                    return Err(Fault::Repeated);
                }
                self.status = Some(status(field.value)?);
            }
            8 if is(b"location") => {
                if self.location.is_some() {
                    return Err(Fault::Repeated);
                }
                // An empty one leads nowhere, and is as good as none.
                self.location = Some(field.value).filter(|value| !value.is_empty());
            }
            12 if is(b"content-type") => {}
            14 if is(b"content-length") => {
                let length = decimal(field.value).ok_or(Fault::Length)?;
                if self.content_length.is_some_and(|other| other != length) {
                    return Err(Fault::Length);
                }
                self.content_length = Some(length);
            }
            17 if is(b"transfer-encoding") => self.is_coded = true,
            _ => self.others = self.others.saturating_add(1),
        }
        Ok(())
    }
}

/// Fields of a script's answer, walked in place.
#[derive(Clone, Debug)]
pub struct AnswerFields<'b> {
    rest: &'b [u8],
    is_all: bool,
}

impl<'b> Iterator for AnswerFields<'b> {
    type Item = Field<'b>;

    fn next(&mut self) -> Option<Field<'b>> {
        loop {
            // The lines were checked; the empty one is no field.
            let (field, behind) = field_line(self.rest).ok()?;
            self.rest = behind;
            if self.is_all || !is_kept_back(field.name) {
                return Some(field);
            }
        }
    }
}

fn is_kept_back(name: &[u8]) -> bool {
    KEPT_BACK.iter().any(|kept| kept.len() == name.len() && kept.eq_ignore_ascii_case(name))
}

/// The field at the front, and what is behind its line.
fn field_line(bytes: &[u8]) -> Result<(Field<'_>, &[u8]), Fault> {
    let (line, behind) = line(bytes)?;
    let name_end = token_end(line, 0);
    match line.get(name_end) {
        Some(b':') if name_end > 0 => {}
        Some(b' ' | b'\t') if name_end == 0 => return Err(Fault::FoldedField),
        _ => return Err(Fault::FieldName),
    }
    let value = &line[name_end + 1..];
    if value_end(value, 0) != value.len() {
        return Err(Fault::ControlByte);
    }
    Ok((Field { name: &line[..name_end], value: trim(value) }, behind))
}

/// The line at the front without its end, and what is behind it.
fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let end = memchr(b'\n', bytes).ok_or(Fault::HeadEnd)?;
    let line = &bytes[..end];
    Ok((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

/// The status of a status line whose `HTTP/` is read, and the lines behind it.
fn status_line(rest: &[u8]) -> Result<(Status, &[u8]), Fault> {
    let (line, behind) = line(rest)?;
    match line {
        [b'0'..=b'9', b'.', b'0'..=b'9', b' ', rest @ ..] => Ok((status(rest)?, behind)),
        _ => Err(Fault::Status),
    }
}

/// `404`, or `404 Not Found`: the reason is this server's own.
fn status(value: &[u8]) -> Result<Status, Fault> {
    let (digits, reason) = value.split_at_checked(3).ok_or(Fault::Status)?;
    if !matches!(reason.first(), None | Some(b' ' | b'\t')) || value_end(reason, 0) != reason.len() {
        return Err(Fault::Status);
    }
    let code = decimal(digits).and_then(|code| u16::try_from(code).ok());
    code.and_then(Status::new).filter(|status| status.code() >= 200).ok_or(Fault::Status)
}
