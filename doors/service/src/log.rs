//! The log of a service: the last lines are kept for whoever looks, and all go to where the host says.

use ringway_lock::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines that are kept.
pub const LINES_MAX: usize = 256;

/// Longest line, in bytes; more is cut.
pub const LINE_BYTES_MAX: usize = 1024;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// Something is not as it should be, and goes on.
    Warn,
    /// Something was not done.
    Error,
}

impl Level {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 0 on without gaps.
    pub number: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// What it says; line ends and other control characters are escaped.
    pub text: Box<str>,
}

/// Where lines go besides what is kept.
pub trait LogTarget: Send + Sync {
    /// Takes a line. It is called from any thread and must not wait.
    fn line(&self, service: &str, line: &Line);
}

/// The log of a service. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    service: Box<str>,
    level_min: Level,
    kept: Mutex<Kept>,
    target: OnceLock<Arc<dyn LogTarget>>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    next: u64,
}

impl Log {
    pub(crate) fn new(service: &str) -> Self {
        let (kept, target) = (Mutex::default(), OnceLock::new());
        Self { inner: Arc::new(Inner { service: service.into(), level_min: Level::Info, kept, target }) }
    }

    /// Has lines go to `target` too, from now on. `false`: they go somewhere already.
    pub fn set_target(&self, target: Arc<dyn LogTarget>) -> bool {
        self.inner.target.set(target).is_ok()
    }

    /// Writes a line; [`Level::Debug`] is left out where nobody takes it.
    pub fn write(&self, level: Level, text: impl fmt::Display) {
        if level < self.inner.level_min && self.inner.target.get().is_none() {
            return;
        }
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |passed| u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        let text = plain(&text.to_string());
        let line = {
            let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let line = Line { number: kept.next, unix_ms, level, text };
            kept.next += 1;
            if kept.lines.len() >= LINES_MAX {
                kept.lines.pop_front();
            }
            kept.lines.push_back(line.clone());
            line
        };
        if let Some(target) = self.inner.target.get() {
            target.line(&self.inner.service, &line);
        }
    }

    /// For whoever looks for a fault.
    pub fn debug(&self, text: impl fmt::Display) {
        self.write(Level::Debug, text);
    }

    /// What happens.
    pub fn info(&self, text: impl fmt::Display) {
        self.write(Level::Info, text);
    }

    /// Something is not as it should be.
    pub fn warn(&self, text: impl fmt::Display) {
        self.write(Level::Warn, text);
    }

    /// Something was not done.
    pub fn error(&self, text: impl fmt::Display) {
        self.write(Level::Error, text);
    }

    /// The lines that are kept, from the one of this number on. Whoever follows the log asks next for the last number and one.
    #[must_use]
    pub fn since(&self, number: u64) -> Vec<Line> {
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.iter().filter(|line| line.number >= number).cloned().collect()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({})", self.inner.service)
    }
}

/// Text as one line of bounded length.
fn plain(text: &str) -> Box<str> {
    let mut line = String::with_capacity(text.len().min(LINE_BYTES_MAX));
    for char in text.trim_end().chars() {
        if line.len() + 12 > LINE_BYTES_MAX {
            line.push_str("...");
            break;
        }
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_each_on_a_line_of_its_own() {
        let log = Log::new("a");
        for at in 0..LINES_MAX + 10 {
            log.info(format_args!("line {at}\nx"));
        }
        log.debug("nobody takes it");
        let lines = log.since(0);
        assert_eq!((lines.len(), lines[0].number, &*lines[0].text), (LINES_MAX, 10, "line 10\\nx"));
        assert_eq!(log.since(lines[LINES_MAX - 1].number), lines[LINES_MAX - 1..]);
        log.error("\u{e9}".repeat(LINE_BYTES_MAX));
        let last = log.since(lines[LINES_MAX - 1].number + 1);
        assert!(last[0].text.len() <= LINE_BYTES_MAX && last[0].text.ends_with("..."), "{last:?}");
    }

    #[test]
    fn lines_go_where_the_host_says() {
        #[derive(Default)]
        struct Told(Mutex<Vec<String>>);
        impl LogTarget for Told {
            fn line(&self, service: &str, line: &Line) {
                let text = format!("{service} {} {}", line.level.as_str(), line.text);
                self.0.lock().expect("no panic").push(text);
            }
        }
        let (log, told) = (Log::new("b"), Arc::new(Told::default()));
        assert!(log.set_target(Arc::clone(&told) as Arc<dyn LogTarget>));
        log.debug("one");
        log.warn("two");
        assert_eq!(*told.0.lock().expect("no panic"), ["b debug one", "b warn two"]);
    }
}
