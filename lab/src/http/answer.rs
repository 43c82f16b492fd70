//! Reads the answers on one connection as their bytes arrive: framing taken off, bodies counted and dropped in place.

use ringway_http::body::{BodyDecoder, Limits as BodyLimits, Step};
use ringway_http::head::Body;
use ringway_http::reply::{Delivery, Fault, Likeness, Limits, Reply, ReplyScan};

/// What a server may make grow in one answer's head.
pub(super) const HEAD_LIMITS: Limits = Limits { head_bytes_max: 32 * 1024, fields_max: 200 };

/// Chunked bodies may be as long as they like: nothing of them is kept.
const BODY_LIMITS: BodyLimits =
    BodyLimits { body_bytes_max: u64::MAX, extension_bytes_max: 1 << 20, trailer_bytes_max: 8 * 1024 };

/// Interim answers (1xx) before a real one; a server that sends more is taken for broken.
const INTERIM_MAX: u8 = 16;

/// A whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Bytes of body, framing not counted.
    pub(super) length: u64,
    /// The connection takes another request.
    pub(super) keep_alive: bool,
}

/// What came of reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Bytes of the input that are done with.
    pub(super) consumed: usize,
    /// The answer that ended there; without one, all that can be read has been: the rest, part of a head or a trailer, is
    /// given again with what follows.
    pub(super) answer: Option<Answer>,
}

/// Why reading cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Fault(Fault),
    /// More interim answers than [`INTERIM_MAX`].
    Interim,
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Broken {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.reason(),
            Self::Interim => "interim answers without end",
        }
    }
}

/// The head of a target's last answer and what it said: the next one is usually the same but for its date.
#[derive(Debug, Default)]
pub(super) struct Memo {
    kept: Vec<u8>,
    likeness: Option<Likeness>,
    meaning: Option<Meaning>,
}

#[derive(Clone, Copy, Debug)]
struct Meaning {
    status: u16,
    delivery: Delivery,
    keep_alive: bool,
}

impl Memo {
    /// What the head at the front of `input` says, and its length, if it says what the last one said.
    fn recall(&mut self, input: &[u8]) -> Option<(Meaning, usize)> {
        let (likeness, meaning) = (self.likeness?, self.meaning?);
        if input.starts_with(&self.kept) {
            return Some((meaning, self.kept.len()));
        }
        if !likeness.is_repeated(&self.kept, input) {
            return None;
        }
        // The date of the next ones too.
        self.kept.copy_from_slice(&input[..likeness.head_bytes()]);
        Some((meaning, self.kept.len()))
    }

    fn keep(&mut self, reply: &Reply<'_>, meaning: Meaning) {
        self.kept.clear();
        self.kept.extend_from_slice(reply.as_bytes());
        self.likeness = Some(Likeness::of(reply));
        self.meaning = Some(meaning);
    }
}

/// The state of reading.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    state: State,
    scan: ReplyScan,
    status: u16,
    keep_alive: bool,
    interim: u8,
    length: u64,
}

#[derive(Clone, Debug)]
enum State {
    Head,
    /// So many bytes of body are still to come.
    Length(u64),
    Chunks(Box<BodyDecoder>),
    UntilClose,
}

impl Default for Reader {
    fn default() -> Self {
        let scan = ReplyScan::new();
        Self { state: State::Head, scan, status: 0, keep_alive: false, interim: 0, length: 0 }
    }
}

impl Reader {
    /// Reads on. `to_head`: the answer is one to `HEAD`.
    ///
    /// # Errors
    /// At the first byte that is part of no answer.
    #[inline]
    pub(super) fn read(&mut self, input: &[u8], to_head: bool, memo: &mut Memo) -> Result<Read, Broken> {
        match self.read_repeated(input, memo) {
            Some(read) => Ok(read),
            None => self.read_any(input, to_head, memo),
        }
    }

    /// The usual case: a whole answer that says what the last one said, with all of its body. Changes no state but that of
    /// a scan, which begins anew.
    #[inline]
    fn read_repeated(&mut self, input: &[u8], memo: &mut Memo) -> Option<Read> {
        if !matches!(self.state, State::Head) || self.interim > 0 {
            return None;
        }
        let (Meaning { status, delivery, keep_alive }, head) = memo.recall(input)?;
        let length = match delivery {
            Delivery::None => 0,
            Delivery::Length(length) => length,
            Delivery::Chunked | Delivery::UntilClose => return None,
        };
        let body = usize::try_from(length).ok().filter(|body| input.len() - head >= *body)?;
        self.scan = ReplyScan::new();
        Some(Read { consumed: head + body, answer: Some(Answer { status, length, keep_alive }) })
    }

    fn read_any(&mut self, input: &[u8], to_head: bool, memo: &mut Memo) -> Result<Read, Broken> {
        let mut at = 0;
        loop {
            let unread = &input[at..];
            match &mut self.state {
                State::Head => match self.read_head(unread, to_head, memo)? {
                    Some((head, is_whole)) => {
                        at += head;
                        if is_whole {
                            return Ok(self.end_answer(at));
                        }
                    }
                    None => return Ok(Read { consumed: at, answer: None }),
                },
                State::Length(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
                    *left -= taken as u64;
                    self.length += taken as u64;
                    at += taken;
                    if *left == 0 {
                        return Ok(self.end_answer(at));
                    }
                    return Ok(Read { consumed: at, answer: None });
                }
                State::Chunks(decoder) => match decoder.decode(unread).map_err(Fault::Body)? {
                    Step::Done { consumed } => return Ok(self.end_answer(at + consumed)),
                    Step::NeedMore { consumed } => return Ok(Read { consumed: at + consumed, answer: None }),
                    step => {
                        if let Step::Data { data } = &step {
                            self.length += data.len() as u64;
                        }
                        at += step.consumed();
                    }
                },
                State::UntilClose => {
                    self.length += unread.len() as u64;
                    return Ok(Read { consumed: input.len(), answer: None });
                }
            }
        }
    }

    /// The connection has ended: the answer that lasted until then.
    pub(super) fn end(&mut self) -> Option<Answer> {
        matches!(self.state, State::UntilClose).then(|| self.end_answer(0).answer)?
    }

    /// Whether part of an answer's body or of its interim answers has been read.
    pub(super) fn is_within(&self) -> bool {
        !matches!(self.state, State::Head) || self.interim > 0
    }

    /// Bytes of body read, of how many where that is known.
    pub(super) fn so_far(&self) -> (u64, Option<u64>) {
        match &self.state {
            State::Length(left) => (self.length, Some(self.length + left)),
            _ => (self.length, None),
        }
    }

    /// The head at the front: its length, and whether the answer ends with it. `None` while it is not whole.
    fn read_head(
        &mut self,
        input: &[u8],
        to_head: bool,
        memo: &mut Memo,
    ) -> Result<Option<(usize, bool)>, Broken> {
        if let Some((meaning, length)) = memo.recall(input) {
            return Ok(Some((length, self.begin_body(meaning))));
        }
        let Some(length) = self.scan.find(input, &HEAD_LIMITS)? else { return Ok(None) };
        let reply = Reply::parse(&input[..length], to_head, &HEAD_LIMITS)?;
        self.scan = ReplyScan::new();
        if reply.is_interim() {
            self.interim += 1;
            return if self.interim > INTERIM_MAX { Err(Broken::Interim) } else { Ok(Some((length, false))) };
        }
        let meaning = Meaning {
            status: reply.status().code(),
            delivery: reply.delivery(),
            keep_alive: reply.keep_alive(),
        };
        memo.keep(&reply, meaning);
        Ok(Some((length, self.begin_body(meaning))))
    }

    /// Whether there is none.
    fn begin_body(&mut self, meaning: Meaning) -> bool {
        (self.status, self.keep_alive, self.length) = (meaning.status, meaning.keep_alive, 0);
        self.scan = ReplyScan::new();
        self.state = match meaning.delivery {
            Delivery::None | Delivery::Length(0) => return true,
            Delivery::Length(length) => State::Length(length),
            Delivery::UntilClose => State::UntilClose,
            Delivery::Chunked => match BodyDecoder::new(Body::Chunked, BODY_LIMITS) {
                Ok(decoder) => State::Chunks(Box::new(decoder)),
                // It refuses announced lengths only.
                Err(_refusal) => State::UntilClose,
            },
        };
        false
    }

    fn end_answer(&mut self, consumed: usize) -> Read {
        let answer = Answer { status: self.status, length: self.length, keep_alive: self.keep_alive };
        self.state = State::Head;
        (self.interim, self.length) = (0, 0);
        Read { consumed, answer: Some(answer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `bytes` in pieces that end at `stops`, as a connection would: what is not consumed comes again.
    fn feed(bytes: &[u8], stops: &[usize], memo: &mut Memo) -> (Vec<Answer>, Result<usize, Broken>) {
        let (mut reader, mut from, mut answers) = (Reader::default(), 0, Vec::new());
        for stop in stops.iter().copied().chain([bytes.len()]) {
            loop {
                match reader.read(&bytes[from..stop.max(from)], false, memo) {
                    Ok(Read { consumed, answer }) => {
                        from += consumed;
                        let Some(answer) = answer else { break };
                        answers.push(answer);
                    }
                    Err(broken) => return (answers, Err(broken)),
                }
            }
        }
        answers.extend(reader.end());
        (answers, Ok(from))
    }

    const OK: &str =
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\nhello";
    const LATER: &str =
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n";
    const HINTED: &str =
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const ENDLESS: &str = "HTTP/1.0 200 OK\r\n\r\nhello, and so on";

    fn answer(status: u16, length: u64, keep_alive: bool) -> Answer {
        Answer { status, length, keep_alive }
    }

    #[test]
    fn every_kind_of_answer_is_read_at_every_split() {
        let text = [OK, OK, CHUNKED, LATER, HINTED, ENDLESS].concat();
        let bytes = text.as_bytes();
        let wanted = vec![
            answer(200, 5, true),
            answer(200, 5, true),
            answer(200, 5, true),
            answer(200, 5, true),
            answer(404, 0, true),
            answer(200, 16, false),
        ];
        let stops: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(feed(bytes, &stops, &mut Memo::default()), (wanted.clone(), Ok(bytes.len())), "by bytes");
        for split in 0..bytes.len() {
            let found = feed(bytes, &[split], &mut Memo::default());
            assert_eq!(found, (wanted.clone(), Ok(bytes.len())), "at {split}");
        }
    }

    #[test]
    fn what_is_no_answer_breaks_at_every_split() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(17);
        for bad in [
            "HTTP/1.1 200 OK\nA: b\r\n\r\n",
            "SSH-2.0-x\r\n",
            interim.as_str(),
            &CHUNKED.replace("hel\r", "helo"),
        ] {
            let text = [OK, bad].concat();
            let whole = feed(text.as_bytes(), &[], &mut Memo::default());
            assert_eq!(whole.0.len(), 1, "{bad:?}");
            assert!(whole.1.is_err(), "{bad:?}");
            for split in 0..text.len() {
                assert_eq!(
                    feed(text.as_bytes(), &[split], &mut Memo::default()),
                    whole,
                    "{bad:?} at {split}"
                );
            }
        }
    }

    #[test]
    fn a_cut_body_says_how_far_it_came() {
        let (mut reader, mut memo) = (Reader::default(), Memo::default());
        assert!(!reader.is_within());
        let cut = OK.as_bytes().split_last_chunk::<2>().expect("longer").0;
        assert_eq!(reader.read(cut, false, &mut memo), Ok(Read { consumed: cut.len(), answer: None }));
        assert!(reader.is_within());
        assert_eq!((reader.so_far(), reader.end()), ((3, Some(5)), None));
    }

    proptest! {
        #[test]
        fn a_memo_changes_nothing(
            parts in proptest::collection::vec(prop_oneof![Just(OK), Just(LATER), Just(CHUNKED), Just(HINTED)], 1..6),
            place in 0_usize..400,
            byte in any::<u8>(),
            split in 0_usize..400,
        ) {
            let mut bytes = parts.concat().into_bytes();
            if let Some(hit) = bytes.get_mut(place) {
                *hit = byte;
            }
            let split = split.min(bytes.len());
            // Without memory of any head: each answer read by a memo of its own.
            let fresh = {
                let (mut reader, mut from, mut answers) = (Reader::default(), 0, Vec::new());
                let end = loop {
                    match reader.read(&bytes[from..], false, &mut Memo::default()) {
                        Ok(Read { consumed, answer: Some(answer) }) => {
                            from += consumed;
                            answers.push(answer);
                        }
                        Ok(Read { consumed, answer: None }) => {
                            answers.extend(reader.end());
                            break Ok(from + consumed);
                        }
                        Err(broken) => break Err(broken),
                    }
                };
                (answers, end)
            };
            prop_assert_eq!(feed(&bytes, &[], &mut Memo::default()), fresh.clone());
            prop_assert_eq!(feed(&bytes, &[split], &mut Memo::default()), fresh);
        }
    }
}
