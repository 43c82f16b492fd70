//! A terminal in raw mode, on its second screen, and what is typed there.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

/// The second screen, without a cursor; and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// Columns and rows of a terminal that does not say.
const SIZE: (usize, usize) = (80, 24);

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `q`, Ctrl-C, or the end of the input.
    Quit,
    /// Ctrl-L, or the terminal has another size.
    Redraw,
    /// Something that means nothing.
    Other,
    /// Nothing, for as long as was waited.
    None,
}

/// A terminal that is taken over until this is dropped.
pub struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Takes standard input and output over.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        // Keys come at once and are not shown; Ctrl-C is a key, so that the screen is put right again.
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        let terminal = Self { before };
        io::stdout().write_all(ENTER)?;
        Ok(terminal)
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => SIZE,
        }
    }

    /// Waits for a key.
    #[must_use]
    pub fn key(&self, within: Duration) -> Key {
        let stdin = io::stdin();
        let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(within.subsec_nanos()),
        };
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => Key::None,
            Ok(_) => {
                let mut typed = [0; 16];
                match stdin.lock().read(&mut typed) {
                    Ok(count) if count > 0 => meaning(&typed[..count]),
                    _ => Key::Quit,
                }
            }
            // A signal: most likely another size.
            Err(rustix::io::Errno::INTR) => Key::Redraw,
            Err(_) => Key::Quit,
        }
    }
}

fn meaning(typed: &[u8]) -> Key {
    // An arrow or another key that comes as a sequence; its letters are none.
    if typed.first() == Some(&0x1b) {
        return Key::Other;
    }
    if typed.iter().any(|key| matches!(key, b'q' | b'Q' | 3 | 4)) {
        Key::Quit
    } else if typed.contains(&12) {
        Key::Redraw
    } else {
        Key::Other
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut out = io::stdout();
        let _gone = out.write_all(LEAVE).and_then(|()| out.flush());
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terminal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_keys_mean_something() {
        assert_eq!([meaning(b"q"), meaning(b"\x03"), meaning(b"\x0c")], [Key::Quit, Key::Quit, Key::Redraw]);
        assert_eq!([meaning(b"\x1b[A"), meaning(b"xy"), meaning(b"xq")], [Key::Other, Key::Other, Key::Quit]);
    }
}
