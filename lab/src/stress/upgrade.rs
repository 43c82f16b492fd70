//! A client's side of the WebSocket handshake (RFC 6455 section 4).

use ringway_ws::handshake::accept_key;

use super::message::mix;

/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What keys are spelt with.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who is asked.
    pub host: String,
    /// For what.
    pub path: String,
}

/// A handshake under way.
#[derive(Clone, Debug)]
pub struct Upgrade {
    key: [u8; 24],
    head: Vec<u8>,
}

impl Upgrade {
    /// A handshake whose key follows from `word`.
    #[must_use]
    pub fn new(word: u64) -> Upgrade {
        let mut key = *b"AAAAAAAAAAAAAAAAAAAAAA==";
        for (place, letter) in key[..21].iter_mut().enumerate() {
            *letter = LETTERS[usize::from(mix(word ^ place as u64).to_le_bytes()[0] % 64)];
        }
        Upgrade { key, head: Vec::new() }
    }

    /// What is sent first.
    #[must_use]
    pub fn request(&self, ask: &Ask) -> Vec<u8> {
        let key = String::from_utf8_lossy(&self.key);
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n",
            ask.path, ask.host
        )
        .into_bytes()
    }

    /// Takes bytes of the answer; says how many of them belong to it once it is whole.
    ///
    /// # Errors
    /// Why it is no WebSocket.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let end = self.head[from..].windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end.map(|end| from + end + 4) else {
            let is_long = self.head.len() > HEAD_BYTES_MAX;
            return if is_long { Err("the answer's head does not end".to_owned()) } else { Ok(None) };
        };
        let head = String::from_utf8_lossy(&self.head[..end]).into_owned();
        self.judge(&head)?;
        Ok(Some(end - before))
    }

    fn judge(&self, head: &str) -> Result<(), String> {
        let first = head.lines().next().unwrap_or_default();
        if !first.starts_with("HTTP/1.1 101 ") {
            return Err(format!("the answer is {first:?}, not 101"));
        }
        let field = |name: &str| {
            let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
        };
        let accept = accept_key(&self.key);
        if field("sec-websocket-accept").is_none_or(|found| found.as_bytes() != accept) {
            return Err("the answer does not accept this handshake's key".to_owned());
        }
        if !field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
            return Err("the answer does not upgrade to websocket".to_owned());
        }
        match field("sec-websocket-extensions") {
            Some(extensions) => Err(format!("the server uses extensions that nobody offered: {extensions}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(upgrade: &Upgrade) -> String {
        let accept = String::from_utf8(accept_key(&upgrade.key).to_vec()).expect("letters");
        format!("HTTP/1.1 101 Go\r\nUPGRADE: WebSocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
    }

    #[test]
    fn an_answer_is_read_at_every_split_and_the_rest_left() {
        let upgrade = Upgrade::new(1);
        let answer = answer(&upgrade);
        let bytes = [answer.as_bytes(), b"\x82\x00"].concat();
        for split in 0..bytes.len() {
            let mut upgrade = upgrade.clone();
            let first = upgrade.hear(&bytes[..split]).expect("sound");
            let used = match first {
                Some(used) => used,
                None => split + upgrade.hear(&bytes[split..]).expect("sound").expect("whole"),
            };
            assert_eq!(used, answer.len(), "split at {split}");
        }
    }

    #[test]
    fn what_is_no_websocket_is_refused() {
        let answer = answer(&Upgrade::new(1));
        for (answer, part) in [
            (answer.replace("101", "200"), "not 101"),
            (answer.replace("UPGRADE", "X"), "does not upgrade"),
            (answer.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"), "extensions"),
        ] {
            let refused = Upgrade::new(1).hear(answer.as_bytes()).expect_err("it is none");
            assert!(refused.contains(part), "{refused}");
        }
        assert!(Upgrade::new(2).hear(answer.as_bytes()).expect_err("another key").contains("key"));
        assert!(Upgrade::new(1).hear(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
