//! Bodies of answers as a client reads them (RFC 9112 section 6.3): framing taken off, data handed out in place.

use super::{Delivery, Fault};
use crate::body::{BodyDecoder, Limits, Step};
use crate::head::Body;

/// Most bytes of chunk extensions and of trailer section that are read over in one answer.
const EXTENSION_BYTES_MAX: u32 = 64 * 1024;
const TRAILER_BYTES_MAX: u32 = 16 * 1024;

/// Walks the body of one answer. The sequence of data bytes and the outcome do not depend on how the input was split.
///
/// ```
/// use ringway_http::body::Step;
/// use ringway_http::reply::{Delivery, ReplyBody};
///
/// let mut body = ReplyBody::new(Delivery::Chunked);
/// let received = b"5\r\nhello\r\n0\r\nServer-Timing: x\r\n\r\n";
/// assert_eq!(body.decode(received)?, Step::Data { data: 3..8 });
/// assert_eq!(body.decode(&received[8..])?, Step::Done { consumed: received.len() - 8 });
/// # Ok::<(), ringway_http::reply::Fault>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReplyBody {
    /// `None`: everything up to the end of the connection.
    framed: Option<BodyDecoder>,
}

impl ReplyBody {
    /// A body that is delivered as [`super::Reply::delivery`] says. Its length has no limit; what frames it has.
    pub fn new(delivery: Delivery) -> Self {
        let limits = Limits {
            body_bytes_max: u64::MAX,
            extension_bytes_max: EXTENSION_BYTES_MAX,
            trailer_bytes_max: TRAILER_BYTES_MAX,
        };
        let body = match delivery {
            Delivery::None => Body::None,
            Delivery::Length(length) => Body::Length(length),
            Delivery::Chunked => Body::Chunked,
            Delivery::UntilClose => return Self { framed: None },
        };
        // No length is over the limit.
        Self { framed: BodyDecoder::new(body, limits).ok() }
    }

    /// Whether the body has ended. One that lasts until the connection ends has not.
    pub fn is_done(&self) -> bool {
        self.framed.as_ref().is_some_and(BodyDecoder::is_done)
    }

    /// Data bytes still to come; `None` where nobody knows.
    pub fn remaining(&self) -> Option<u64> {
        self.framed.as_ref().and_then(BodyDecoder::remaining)
    }

    /// Takes the next step through `input`, which begins where the last step's consumed bytes ended. Trailer fields are read
    /// over: there never is a [`Step::Trailer`].
    ///
    /// # Errors
    /// [`Fault::Body`] at the first byte that cannot be part of the body; every later call says the same.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let Some(decoder) = &mut self.framed else {
            let all = Step::Data { data: 0..input.len() };
            return Ok(if input.is_empty() { Step::NeedMore { consumed: 0 } } else { all });
        };
        let mut at = 0;
        loop {
            let step = decoder.decode(input.get(at..).unwrap_or_default()).map_err(Fault::Body)?;
            return Ok(match step {
                Step::Trailer { consumed, .. } => {
                    at += consumed;
                    continue;
                }
                Step::Data { data } => Step::Data { data: at + data.start..at + data.end },
                Step::NeedMore { consumed } => Step::NeedMore { consumed: at + consumed },
                Step::Done { consumed } => Step::Done { consumed: at + consumed },
            });
        }
    }

    /// The server has ended the connection.
    ///
    /// # Errors
    /// [`Fault::Cut`], unless that ends the body too, or it had ended before.
    pub fn end(&self) -> Result<(), Fault> {
        if self.framed.is_none() || self.is_done() { Ok(()) } else { Err(Fault::Cut) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::refusal::Refusal;

    /// The data, whether the body has ended, and how many bytes belonged to it.
    type Outcome = Result<(Vec<u8>, bool, usize), Fault>;

    /// Feeds `bytes` as a connection does, which receives up to each of `stops`.
    fn feed(delivery: Delivery, bytes: &[u8], stops: impl Iterator<Item = usize>) -> Outcome {
        let mut body = ReplyBody::new(delivery);
        let (mut at, mut data) = (0, Vec::new());
        for stop in stops.chain([bytes.len()]) {
            loop {
                let step = body.decode(&bytes[at..stop])?;
                if let Step::Data { data: range } = &step {
                    assert!(!range.is_empty());
                    data.extend_from_slice(&bytes[at + range.start..at + range.end]);
                }
                at += step.consumed();
                match step {
                    Step::Data { .. } => {}
                    Step::NeedMore { .. } => break,
                    Step::Done { .. } => return Ok((data, true, at)),
                    Step::Trailer { .. } => panic!("a trailer"),
                }
            }
        }
        Ok((data, body.end().is_ok(), at))
    }

    fn outcome(delivery: Delivery, bytes: &[u8]) -> Outcome {
        let whole = feed(delivery, bytes, std::iter::empty());
        for split in 0..bytes.len() {
            assert_eq!(
                feed(delivery, bytes, std::iter::once(split)),
                whole,
                "{} at {split}",
                bytes.escape_ascii()
            );
        }
        assert_eq!(feed(delivery, bytes, 0..bytes.len()), whole, "{} by bytes", bytes.escape_ascii());
        whole
    }

    #[test]
    fn every_delivery_gives_its_data_and_leaves_the_rest() {
        let cases: &[(Delivery, &str, &str, usize)] = &[
            (Delivery::None, "HTTP/1.1", "", 0),
            (Delivery::Length(0), "x", "", 0),
            (Delivery::Length(5), "hello", "hello", 5),
            (Delivery::Length(5), "helloHTTP/1.1", "hello", 5),
            (Delivery::Chunked, "5\r\nhello\r\n0\r\n\r\nrest", "hello", 15),
            (Delivery::Chunked, "1;a=b\r\nh\r\n4\r\nello\r\n0\r\nA: b\r\nC: d\r\n\r\nrest", "hello", 36),
        ];
        for (delivery, bytes, data, taken) in cases {
            let expected = (data.as_bytes().to_vec(), true, *taken);
            assert_eq!(outcome(*delivery, bytes.as_bytes()), Ok(expected), "{bytes}");
        }
        assert_eq!(outcome(Delivery::UntilClose, b"all of it"), Ok((b"all of it".to_vec(), true, 9)));
    }

    #[test]
    fn a_connection_that_ends_early_cuts_the_body() {
        for (delivery, bytes) in [
            (Delivery::Length(5), "hell"),
            (Delivery::Length(1), ""),
            (Delivery::Chunked, ""),
            (Delivery::Chunked, "5\r\nhello\r\n"),
            (Delivery::Chunked, "5\r\nhello\r\n0\r\nA: b\r\n"),
        ] {
            assert!(matches!(outcome(delivery, bytes.as_bytes()), Ok((_, false, _))), "{bytes}");
        }
        assert_eq!(ReplyBody::new(Delivery::Chunked).end(), Err(Fault::Cut));
        assert_eq!(ReplyBody::new(Delivery::UntilClose).end(), Ok(()));
    }

    #[test]
    fn what_frames_the_body_badly_is_a_fault() {
        for (bytes, refusal) in [
            ("x\r\n", Refusal::ChunkSize),
            ("5\r\nhelloX", Refusal::ChunkEnd),
            ("0\r\nContent-Length: 1\r\n\r\n", Refusal::TrailerField),
            ("5\nhello", Refusal::BareLf),
        ] {
            assert_eq!(outcome(Delivery::Chunked, bytes.as_bytes()), Err(Fault::Body(refusal)), "{bytes}");
        }
        let endless = format!("1;{}\r\n", "x".repeat(EXTENSION_BYTES_MAX as usize));
        let fault = Fault::Body(Refusal::ChunkExtensionLength);
        assert_eq!(feed(Delivery::Chunked, endless.as_bytes(), std::iter::empty()), Err(fault));
    }

    #[test]
    fn what_is_still_to_come_is_known_where_it_was_announced() {
        let mut body = ReplyBody::new(Delivery::Length(u64::MAX));
        assert_eq!(body.remaining(), Some(u64::MAX));
        assert_eq!(body.decode(b"abc"), Ok(Step::Data { data: 0..3 }));
        assert_eq!(body.remaining(), Some(u64::MAX - 3));
        assert_eq!(ReplyBody::new(Delivery::Chunked).remaining(), None);
        assert_eq!(ReplyBody::new(Delivery::UntilClose).remaining(), None);
    }

    proptest! {
        #[test]
        fn no_split_changes_an_outcome(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'1'), any::<u8>()], 0..40),
            length in 0..50_u64,
        ) {
            outcome(Delivery::Chunked, &bytes).ok();
            outcome(Delivery::UntilClose, &bytes).ok();
            prop_assert!(outcome(Delivery::Length(length), &bytes).is_ok());
        }

        #[test]
        fn chunks_of_any_size_give_the_data(sizes in proptest::collection::vec(1..30_usize, 0..5)) {
            let (mut bytes, mut data) = (Vec::new(), Vec::new());
            for size in sizes {
                bytes.extend_from_slice(format!("{size:X}\r\n{}\r\n", "x".repeat(size)).as_bytes());
                data.resize(data.len() + size, b'x');
            }
            bytes.extend_from_slice(b"0\r\n\r\nnext");
            let taken = bytes.len() - 4;
            prop_assert_eq!(outcome(Delivery::Chunked, &bytes), Ok((data, true, taken)));
        }
    }
}
