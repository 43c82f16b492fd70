//! Fixed answers: prepared once, counted out to whoever ends a request with an empty line.

use crate::refusal::Refusal;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::str::FromStr;

/// Longest body of an answer, in bytes.
pub const BODY_BYTES_MAX: u64 = 64 << 20;

/// Answers kept behind each other, so that pipelined ones leave together.
const BATCH_MAX: usize = 64;

/// Bytes of answers kept behind each other, unless one is longer.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// How the body leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Transfer {
    /// From memory, with the head.
    #[default]
    Memory,
    /// From a file in memory, by sendfile behind the head.
    File,
}

/// What every request is answered with.
#[derive(Debug)]
pub struct Answers {
    batch: Vec<u8>,
    answer_bytes: usize,
    per_batch: usize,
    body_bytes: u64,
    file: Option<OwnedFd>,
    is_closing: bool,
}

/// How far a stream of requests has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    tail: [u8; 3],
    tail_bytes: u8,
}

impl Answers {
    /// Prepares answers with bodies of so many bytes. With `is_closing` an answer says that it is the connection's last.
    ///
    /// # Errors
    /// When the body's file cannot be made.
    pub fn new(body_bytes: u64, transfer: Transfer, is_closing: bool) -> Result<Answers, Refusal> {
        let close = if is_closing { "Connection: close\r\n" } else { "" };
        let head =
            format!("HTTP/1.1 200 OK\r\nServer: ceiling\r\n{close}Content-Length: {body_bytes}\r\n\r\n")
                .into_bytes();
        let body = vec![b'x'; usize::try_from(body_bytes).unwrap_or(usize::MAX)];
        let file = match transfer {
            Transfer::Memory => None,
            Transfer::File => Some(file_of(&body).map_err(Refusal::because("cannot make the body's file"))?),
        };
        let answer = if file.is_some() { head } else { [head, body].concat() };
        let room = (BATCH_BYTES_MAX / answer.len()).clamp(1, BATCH_MAX);
        // With a file or a close, one answer leaves at a time.
        let per_batch = if file.is_some() || is_closing { 1 } else { room };
        Ok(Answers {
            answer_bytes: answer.len(),
            batch: answer.repeat(per_batch),
            per_batch,
            body_bytes,
            file,
            is_closing,
        })
    }

    /// Whole answers behind each other; with a file, one head.
    #[must_use]
    pub fn batch(&self) -> &[u8] {
        &self.batch
    }

    /// How many answers are in [`Answers::batch`].
    #[must_use]
    pub fn per_batch(&self) -> usize {
        self.per_batch
    }

    /// Bytes of one answer in the batch.
    #[must_use]
    pub fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// The file with the body and its length, if bodies leave from one.
    #[must_use]
    pub fn file(&self) -> Option<(&OwnedFd, u64)> {
        self.file.as_ref().map(|file| (file, self.body_bytes))
    }

    /// Whether a connection ends with its first answer.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }
}

impl Ends {
    /// Counts the ends of requests (CR LF CR LF) in what came next, those that began in what came before included.
    pub fn count(&mut self, bytes: &[u8]) -> u64 {
        let before = usize::from(self.tail_bytes);
        let mut seam = [0; 6];
        let joined = bytes.len().min(3);
        seam[..before].copy_from_slice(&self.tail[..before]);
        seam[before..before + joined].copy_from_slice(&bytes[..joined]);
        let count = ends_in(&seam[..before + joined]) + ends_in(bytes);
        let kept = (before + bytes.len()).min(3);
        let from_bytes = kept.min(bytes.len());
        let from_tail = kept - from_bytes;
        self.tail.copy_within(before - from_tail..before, 0);
        self.tail[from_tail..kept].copy_from_slice(&bytes[bytes.len() - from_bytes..]);
        self.tail_bytes = u8::try_from(kept).unwrap_or(0);
        count
    }

    /// As a number below 2^26, to be kept in a connection's context.
    #[must_use]
    pub fn bits(self) -> u32 {
        let [one, two, three] = self.tail;
        u32::from_be_bytes([self.tail_bytes, one, two, three])
    }

    /// From the number.
    #[must_use]
    pub fn from_bits(bits: u32) -> Ends {
        let [tail_bytes, one, two, three] = bits.to_be_bytes();
        Ends { tail: [one, two, three], tail_bytes: tail_bytes.min(3) }
    }
}

/// How often CR LF CR LF stands in `bytes`. Without branches, so that the compiler makes it wide.
fn ends_in(bytes: &[u8]) -> u64 {
    let starts = bytes.len().saturating_sub(3);
    let at = |offset: usize| bytes.get(offset..offset + starts).unwrap_or_default().iter();
    let fours = at(0).zip(at(1)).zip(at(2)).zip(at(3));
    fours
        .map(|(((a, b), c), d)| u64::from((*a == b'\r') & (*b == b'\n') & (*c == b'\r') & (*d == b'\n')))
        .sum()
}

fn file_of(body: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("ceiling", MemfdFlags::CLOEXEC)?);
    file.write_all(body)?;
    Ok(file.into())
}

/// A body's length in bytes, as a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyBytes(pub u64);

impl FromStr for BodyBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<BodyBytes, String> {
        match text.parse() {
            Ok(bytes) if bytes <= BODY_BYTES_MAX => Ok(BodyBytes(bytes)),
            _ => Err(format!("a body has 0 to {BODY_BYTES_MAX} bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_at_every_split() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\nX: \r\r\n\n\r\nY\r\n\r\n";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut ends = Ends::default();
                let mut count = 0;
                for part in [&text[..first], &text[first..second], &text[second..]] {
                    count += ends.count(part);
                    ends = Ends::from_bits(ends.bits());
                }
                assert_eq!(count, 3, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn bytes_one_by_one_are_a_request_too() {
        let mut ends = Ends::default();
        let count: u64 = b"GET / HTTP/1.1\r\n\r\nG".iter().map(|byte| ends.count(&[*byte])).sum();
        assert_eq!(count, 1);
    }

    #[test]
    fn answers_stand_behind_each_other() {
        let answers = Answers::new(100, Transfer::Memory, false).expect("no file");
        assert_eq!(answers.batch().len(), answers.per_batch() * answers.answer_bytes());
        assert_eq!(answers.per_batch(), BATCH_MAX);
        assert!(answers.batch().starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(answers.batch().ends_with(&[b'x'; 100]));
        let large = Answers::new(200_000, Transfer::Memory, false).expect("no file");
        assert_eq!(large.per_batch(), 1);
        let file = Answers::new(200_000, Transfer::File, false).expect("a file in memory");
        assert!(file.batch().ends_with(b"Content-Length: 200000\r\n\r\n") && file.file().is_some());
        let last = Answers::new(1, Transfer::Memory, true).expect("no file");
        assert_eq!(last.per_batch(), 1);
    }

    #[test]
    fn bodies_have_a_limit() {
        assert_eq!("0".parse(), Ok(BodyBytes(0)));
        assert!("67108865".parse::<BodyBytes>().is_err() && "-1".parse::<BodyBytes>().is_err());
    }
}
