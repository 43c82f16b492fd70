//! Questions to backends: what is asked, and whether an answer is a good one. Pure: bytes in, a verdict out.

use crate::upstream::options::{Check, Speaks};
use ringway_http::reply::{Limits, Reply, ReplyScan};

/// The head of a good answer is not longer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// `FCGI_GET_VALUES` for `FCGI_MPXS_CONNS` (FastCGI 1.0, section 4.1): a header, a pair of a name and nothing, padding.
const FASTCGI_QUESTION: &[u8] =
    b"\x01\x09\x00\x00\x00\x11\x07\x00\x0f\x00FCGI_MPXS_CONNS\x00\x00\x00\x00\x00\x00\x00";

/// A record's version, and the types of answers: known (`FCGI_GET_VALUES_RESULT`) and unknown (`FCGI_UNKNOWN_TYPE`).
const FASTCGI_VERSION: u8 = 1;
const FASTCGI_ANSWERS: [u8; 2] = [10, 11];
const FASTCGI_HEADER_BYTES: usize = 8;

/// The preface of HTTP/2 and an empty `SETTINGS` frame (RFC 9113, section 3.4).
const H2_QUESTION: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const H2_HEADER_BYTES: usize = 9;
const H2_SETTINGS: u8 = 4;

/// One question, and what has come of its answer.
#[derive(Debug)]
pub(super) struct Question {
    speaks: Speaks,
    bytes: Vec<u8>,
    answer: Vec<u8>,
    scan: ReplyScan,
}

impl Question {
    /// The question of a check to the backend of that name; `None` where connecting is enough.
    pub(super) fn new(speaks: Speaks, check: &Check, backend: &str) -> Option<Self> {
        let bytes = match speaks {
            Speaks::FastCgi => FASTCGI_QUESTION.to_vec(),
            Speaks::Http2 => H2_QUESTION.to_vec(),
            Speaks::Http1 => {
                let path = check.path.as_ref()?;
                // A Unix socket has no name of its own.
                let own = if backend.starts_with("unix:") { "localhost" } else { backend };
                let host = check.host.as_deref().unwrap_or(own);
                format!(
                    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ringway (health)\r\nConnection: close\r\n\r\n"
                )
                .into_bytes()
            }
        };
        Some(Self { speaks, bytes, answer: Vec::new(), scan: ReplyScan::new() })
    }

    /// What is asked.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// More of the answer has come. The verdict, once there is one.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Result<(), String>> {
        self.answer.extend_from_slice(bytes);
        let verdict = match self.speaks {
            Speaks::Http1 => self.judge_http(),
            Speaks::Http2 => self.judge_header(H2_HEADER_BYTES, |header| header[3] == H2_SETTINGS, "HTTP/2"),
            Speaks::FastCgi => {
                let is_good =
                    |header: &[u8]| header[0] == FASTCGI_VERSION && FASTCGI_ANSWERS.contains(&header[1]);
                self.judge_header(FASTCGI_HEADER_BYTES, is_good, "FastCGI")
            }
        };
        let is_endless = verdict.is_none() && self.answer.len() > ANSWER_BYTES_MAX;
        if is_endless { Some(Err("its answer has no end".to_owned())) } else { verdict }
    }

    /// The verdict when nothing more comes.
    pub(super) fn ended(&self) -> String {
        if self.answer.is_empty() {
            "it closes the connection without an answer".to_owned()
        } else {
            "it closes the connection in the middle of an answer".to_owned()
        }
    }

    fn judge_header(
        &self,
        bytes: usize,
        is_good: impl Fn(&[u8]) -> bool,
        protocol: &str,
    ) -> Option<Result<(), String>> {
        let header = self.answer.get(..bytes)?;
        Some(if is_good(header) { Ok(()) } else { Err(format!("what it says is not {protocol}")) })
    }

    fn judge_http(&mut self) -> Option<Result<(), String>> {
        let limits = Limits::default();
        loop {
            let end = match self.scan.find(&self.answer, &limits) {
                Ok(end) => end?,
                Err(fault) => return Some(Err(fault.reason().to_owned())),
            };
            let reply = match Reply::parse(&self.answer[..end], false, &limits) {
                Ok(reply) => reply,
                Err(fault) => return Some(Err(fault.reason().to_owned())),
            };
            if !reply.is_interim() {
                let status = reply.status().code();
                let is_good = (200..400).contains(&status);
                return Some(if is_good { Ok(()) } else { Err(format!("it answers {status}")) });
            }
            self.answer.drain(..end);
            self.scan = ReplyScan::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(speaks: Speaks) -> Question {
        let check = Check { path: Some("/health".to_owned()), ..Check::default() };
        Question::new(speaks, &check, "127.0.0.1:8080").unwrap()
    }

    /// The verdict on an answer, the same wherever it is split.
    fn verdict(speaks: Speaks, answer: &[u8]) -> Option<Result<(), String>> {
        let whole = asked(speaks).feed(answer);
        for at in 0..answer.len() {
            let mut question = asked(speaks);
            let early = question.feed(&answer[..at]);
            let late = early.clone().or_else(|| question.feed(&answer[at..]));
            assert_eq!(
                late.is_some_and(|verdict| verdict.is_ok()),
                whole.clone().is_some_and(|verdict| verdict.is_ok()),
                "split at {at}"
            );
        }
        whole
    }

    #[test]
    fn http_is_asked_for_a_path_and_judged_by_its_status() {
        let text = String::from_utf8(asked(Speaks::Http1).bytes().to_vec()).unwrap();
        assert!(
            text.starts_with("GET /health HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n")
                && text.ends_with("\r\n\r\n")
        );
        let answer = |head: &str| verdict(Speaks::Http1, format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
        assert_eq!(answer("200 OK\r\nContent-Length: 2"), Some(Ok(())));
        assert_eq!(answer("302 Found\r\nLocation: /"), Some(Ok(())));
        assert_eq!(answer("503 Busy"), Some(Err("it answers 503".to_owned())));
        assert_eq!(answer("103 Early Hints\r\n\r\nHTTP/1.1 204 No Content"), Some(Ok(())));
        assert!(matches!(verdict(Speaks::Http1, b"SSH-2.0-OpenSSH\r\n\r\n"), Some(Err(_))));
        assert_eq!(verdict(Speaks::Http1, b"HTTP/1.1 200 OK\r\n"), None);
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 2 * ANSWER_BYTES_MAX]].concat();
        assert!(matches!(asked(Speaks::Http1).feed(&endless), Some(Err(_))));
    }

    #[test]
    fn others_are_asked_in_their_own_way() {
        let question = asked(Speaks::FastCgi);
        let bytes = question.bytes();
        let content = usize::from(bytes[5]);
        assert_eq!(bytes.len(), FASTCGI_HEADER_BYTES + content + usize::from(bytes[6]), "as its header says");
        assert_eq!(usize::from(bytes[8]) + 2, content);
        let answer = b"\x01\x0a\x00\x00\x00\x12\x06\x00\x0f\x01FCGI_MPXS_CONNS0";
        assert_eq!(verdict(Speaks::FastCgi, answer), Some(Ok(())));
        assert!(matches!(verdict(Speaks::FastCgi, b"HTTP/1.1 400 Bad"), Some(Err(_))));
        assert_eq!(verdict(Speaks::Http2, b"\x00\x00\x06\x04\x00\x00\x00\x00\x00"), Some(Ok(())));
        assert!(matches!(verdict(Speaks::Http2, b"HTTP/1.1 400 Bad"), Some(Err(_))));
        assert!(Question::new(Speaks::Http1, &Check::default(), "x:1").is_none(), "connecting is enough");
    }
}
